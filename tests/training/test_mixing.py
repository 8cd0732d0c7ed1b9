"""Which task each step is of, and which rows."""

import pytest

from scalearn.encoding import Features
from scalearn.training.mixing import EndToEnd, TaskMix

SIZES = [100, 400, 25]


def mix(**options: object) -> TaskMix:
    return TaskMix(SIZES, **({"batch_size": 4, "steps": 3000, "seed": 0} | options))  # type: ignore[arg-type]


def shares(sampler: TaskMix) -> list[float]:
    tasks = [sampler.task(step) for step in range(len(sampler))]
    return [tasks.count(task) / len(tasks) for task in range(len(SIZES))]


@pytest.mark.parametrize(
    ("temperature", "counted", "weights"),
    [
        (1.0, None, [100, 400, 25]),
        (2.0, None, [10, 20, 5]),
        (1.0, [100, 100, 25], [100, 100, 25]),
        (2.0, [100, 100, 25], [10, 10, 5]),
    ],
)
def test_a_task_is_drawn_by_the_rows_it_counts_as(
    temperature: float, counted: list[int] | None, weights: list[float]
) -> None:
    sampler = mix(temperature=temperature, counted=counted)
    expected = [weight / sum(weights) for weight in weights]
    assert sampler.probabilities.tolist() == pytest.approx(expected)
    assert shares(sampler) == pytest.approx(expected, abs=0.03)  # three standard deviations


def test_a_batch_is_of_one_task_and_reaches_all_its_rows() -> None:
    sampler = mix(counted=[100, 100, 25])
    starts = [0, 100, 500, 525]
    seen: set[int] = set()
    for step, rows in enumerate(sampler):
        task = sampler.task(step)
        assert len(rows) == 4 and all(starts[task] <= row < starts[task + 1] for row in rows)
        seen.update(rows)
    assert seen == set(range(525))


def test_the_same_batches_for_the_same_seed_and_others_for_another() -> None:
    assert list(mix(steps=50)) == list(mix(steps=50))
    assert list(mix(steps=50)) != list(mix(steps=50, seed=1))
    assert list(mix(steps=80))[:50] == list(mix(steps=50))
    assert len(mix(steps=50)) == 50


def test_rows_laid_end_to_end_are_not_copied() -> None:
    rows: dict[str, list[Features]] = {
        name: [{"input_ids": [name, i]} for i in range(size)] for name, size in (("one", 2), ("two", 1), ("three", 3))
    }
    laid = EndToEnd(rows)
    expected = [(name, row) for name, own in rows.items() for row in own]
    assert len(laid) == 6
    for i, (name, row) in enumerate(expected):
        assert laid[i][0] == name and laid[i][1] is row
