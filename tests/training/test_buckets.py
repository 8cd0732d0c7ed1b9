"""The order of rows in an epoch."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from scalearn.training.buckets import LengthBucketSampler

SIZES = [1, 3, 4, 37, 256, 1001]


def lengths_of(rows: int) -> list[int]:
    chance = random.Random(0)
    return [chance.randint(3, 128) for _ in range(rows)]


def sampler(rows: int = 256, *, batch_size: int = 4, seed: int = 0, epoch: int = 0) -> LengthBucketSampler:
    made = LengthBucketSampler(lengths_of(rows), batch_size=batch_size, seed=seed)
    made.set_epoch(epoch)
    return made


def padding(order: list[int], lengths: list[int], batch_size: int) -> int:
    """Tokens of padding when the order is cut into batches."""
    batches = [[lengths[row] for row in order[i : i + batch_size]] for i in range(0, len(order), batch_size)]
    return sum(max(batch) * len(batch) - sum(batch) for batch in batches)


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("rows", SIZES)
def test_every_row_once(rows: int, batch_size: int) -> None:
    made = sampler(rows, batch_size=batch_size)
    assert Counter(made) == Counter(range(rows))
    assert len(made) == rows


def test_seed_and_epoch_decide_the_order() -> None:
    order = list(sampler())
    assert list(sampler()) == order
    assert list(sampler(seed=1)) != order
    assert list(sampler(epoch=1)) != order
    assert list(sampler(seed=1)) != list(sampler(epoch=1))


def test_an_epoch_does_not_depend_on_the_ones_before() -> None:
    made = sampler()
    first = list(made)
    made.set_epoch(3)
    third = list(made)
    assert third == list(sampler(epoch=3)) != first
    made.set_epoch(0)
    assert list(made) == first


@pytest.mark.parametrize("rows", [1001, 4096])
def test_batches_are_of_like_length(rows: int) -> None:
    lengths, batch_size = lengths_of(rows), 16
    shuffled = list(range(rows))
    random.Random(1).shuffle(shuffled)
    ours = padding(list(sampler(rows, batch_size=batch_size)), lengths, batch_size)
    assert ours < 0.3 * padding(shuffled, lengths, batch_size)


def test_batches_come_in_random_order_of_length() -> None:
    lengths, batch_size = lengths_of(1024), 16
    order = list(sampler(1024, batch_size=batch_size))
    longest = [max(lengths[row] for row in order[i : i + batch_size]) for i in range(0, 1024, batch_size)]
    rises = sum(b > a for a, b in pairwise(longest))
    assert 0.3 < rises / len(longest) < 0.7


def test_the_batch_that_is_not_full_comes_last() -> None:
    """Else every later batch would be cut askew, from the rows of two buckets."""
    lengths, batch_size = lengths_of(1001), 16
    for epoch in range(5):
        made = sampler(1001, batch_size=batch_size, epoch=epoch)
        order = list(made)
        whole = [order[i : i + batch_size] for i in range(0, 992, batch_size)]
        assert all([lengths[r] for r in batch] == sorted(lengths[r] for r in batch) for batch in whole)


def test_rows_meet_other_rows_in_another_epoch() -> None:
    def first_companions(epoch: int) -> set[int]:
        order = list(sampler(1024, batch_size=16, epoch=epoch))
        at = order.index(0) // 16 * 16
        return set(order[at : at + 16])

    assert first_companions(0) != first_companions(1)
