"""Which task each step is of, and which rows."""

import pytest

from scalearn.training.mixing import TaskMix

SIZES = [100, 400, 25]


def mix(**options: object) -> TaskMix:
    return TaskMix(SIZES, **({"batch_size": 4, "steps": 3000, "seed": 0} | options))  # type: ignore[arg-type]


def shares(sampler: TaskMix) -> list[float]:
    tasks = [sampler.task(step) for step in range(len(sampler))]
    return [tasks.count(task) / len(tasks) for task in range(len(SIZES))]


@pytest.mark.parametrize(
    ("temperature", "cap", "weights"),
    [(1.0, None, [100, 400, 25]), (2.0, None, [10, 20, 5]), (1.0, 100, [100, 100, 25]), (2.0, 100, [10, 10, 5])],
)
def test_a_task_is_drawn_by_its_size(temperature: float, cap: int | None, weights: list[float]) -> None:
    sampler = mix(temperature=temperature, cap=cap)
    expected = [weight / sum(weights) for weight in weights]
    assert sampler.probabilities.tolist() == pytest.approx(expected)
    assert shares(sampler) == pytest.approx(expected, abs=0.03)  # three standard deviations


def test_a_batch_is_of_one_task_and_reaches_all_its_rows() -> None:
    sampler = mix()
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
