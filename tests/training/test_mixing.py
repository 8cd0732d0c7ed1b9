"""Which task each step is of, and which rows."""

from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest

from scalearn.encoding import Features
from scalearn.training.buckets import RedrawnSampler, TokenBudgetSampler
from scalearn.training.mixing import EndToEnd, TaskMix

SIZES = [100, 400, 25]
STARTS = [0, 100, 500]
BATCH = 4


def lengths(task: int) -> list[int]:
    return [8 + 8 * (row % 7) for row in range(SIZES[task])]


def drawn(task: int, *, seed: int = 0) -> RedrawnSampler:
    return RedrawnSampler(np.array(lengths(task)), batch_size=BATCH, seed=seed, stream=task)


def mix(*, seed: int = 0, steps: int = 3000, tokens: int | None = None, **options: object) -> TaskMix:
    batches: list[RedrawnSampler | TokenBudgetSampler] = [drawn(task, seed=seed) for task in range(3)]
    if tokens is not None:
        batches = [
            TokenBudgetSampler(np.array(lengths(task)), tokens=tokens, seed=seed, stream=task) for task in range(3)
        ]
    return TaskMix(batches, batch_size=BATCH, steps=steps, seed=seed, **options)  # type: ignore[arg-type]


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
    shares = np.bincount(sampler.tasks) / len(sampler)
    assert shares == pytest.approx(expected, abs=0.03)  # three standard deviations


def test_the_sequence_of_tasks_has_no_memory() -> None:
    """After each task the others are as likely as ever."""
    tasks = mix(temperature=9.0, steps=20_000).tasks
    for before in range(3):
        following = np.bincount(tasks[1:][tasks[:-1] == before]) / (tasks[:-1] == before).sum()
        assert following == pytest.approx(np.bincount(tasks) / 20_000, abs=0.03)


def test_a_batch_is_of_one_task_and_reaches_all_its_rows() -> None:
    sampler = mix(counted=[100, 100, 25])
    seen: set[int] = set()
    for task, rows in zip(sampler.tasks, sampler, strict=True):
        assert len(rows) == BATCH
        assert all(STARTS[task] <= row < STARTS[task] + SIZES[task] for row in rows)
        seen.update(rows)
    assert seen == set(range(525))


def test_a_task_goes_through_its_rounds_in_order_whatever_comes_between() -> None:
    sampler = mix(steps=200)
    for task, own in enumerate(map(drawn, range(3))):
        expected = []
        for epoch in range(30):
            own.set_epoch(epoch)
            expected += [[row + STARTS[task] for row in batch] for batch in own]
        found = [rows for which, rows in zip(sampler.tasks, sampler, strict=True) if which == task]
        assert len(found) > 3 and found == expected[: len(found)]


def test_under_a_budget_a_task_goes_through_all_its_rows_before_one_comes_again() -> None:
    sampler = mix(steps=400, tokens=128)
    for task in range(3):
        found = [rows for which, rows in zip(sampler.tasks, sampler, strict=True) if which == task]
        epoch = len(sampler.batches[task])
        assert len(found) >= epoch
        rows = Counter(chain.from_iterable(islice(found, epoch)))
        assert rows == Counter(range(STARTS[task], STARTS[task] + SIZES[task]))
        assert all(len(batch) * max(lengths(task)[row - STARTS[task]] for row in batch) <= 128 for batch in found)


@pytest.mark.parametrize("tokens", [None, 128])
def test_the_same_batches_for_the_same_seed_and_others_for_another(tokens: int | None) -> None:
    made = mix(steps=50, tokens=tokens)
    assert list(made) == list(made) == list(mix(steps=50, tokens=tokens))
    assert list(mix(steps=50, tokens=tokens)) != list(mix(steps=50, tokens=tokens, seed=1))
    assert mix(steps=50).tasks.tolist() != mix(steps=50, seed=1).tasks.tolist()
    assert list(mix(steps=80, tokens=tokens))[:50] == list(mix(steps=50, tokens=tokens))
    assert list(mix(steps=1, tokens=tokens)) == list(mix(steps=50, tokens=tokens))[:1]
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
