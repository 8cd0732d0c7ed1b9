"""Which rows meet in a batch, and in which order batches come."""

import random
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from scalearn.training.buckets import BUCKET, LengthBucketSampler, RedrawnSampler, TokenBudgetSampler

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
        padded = [[-(-lengths[row] // 8) for row in batch] for batch in whole]
        assert all(batch == sorted(batch) for batch in padded)


def test_rows_that_are_padded_alike_are_not_sorted() -> None:
    """Where length tells of the label, batches of one exact length would hold one label."""
    lengths = [1 + row % 8 for row in range(512)]
    order = list(LengthBucketSampler(lengths, batch_size=16, seed=0))
    kinds = [len({lengths[row] for row in order[i : i + 16]}) for i in range(0, 512, 16)]
    assert min(kinds) > 3


def test_a_long_epoch_has_larger_buckets() -> None:
    lengths, batch_size = lengths_of(8192), 16
    long = padding(list(sampler(8192, batch_size=batch_size)), lengths, batch_size) / 8192
    short = padding(list(sampler(512, batch_size=batch_size)), lengths[:512], batch_size) / 512
    assert long < 0.6 * short


def test_rows_meet_other_rows_in_another_epoch() -> None:
    def first_companions(epoch: int) -> set[int]:
        order = list(sampler(1024, batch_size=16, epoch=epoch))
        at = order.index(0) // 16 * 16
        return set(order[at : at + 16])

    assert first_companions(0) != first_companions(1)


# ---- a budget of tokens


def padded_lengths(rows: int) -> NDArray[np.int64]:
    return -(-np.array(lengths_of(rows)) // 8) * 8


def budget(rows: int = 256, *, tokens: int = 512, seed: int = 0, stream: int = 0, epoch: int = 0) -> TokenBudgetSampler:
    made = TokenBudgetSampler(padded_lengths(rows), tokens=tokens, seed=seed, stream=stream)
    made.set_epoch(epoch)
    return made


@pytest.mark.parametrize("tokens", [8, 64, 512, 100_000])
@pytest.mark.parametrize("rows", SIZES)
def test_every_row_once_within_the_budget_and_equally_many_batches(rows: int, tokens: int) -> None:
    lengths, made = padded_lengths(rows), budget(rows, tokens=tokens)
    for epoch in range(20):
        made.set_epoch(epoch)
        batches = list(made)
        assert Counter(chain.from_iterable(batches)) == Counter(range(rows))
        assert len(batches) == len(made)
        for batch in batches:
            assert len(batch) == 1 or len(batch) * lengths[batch].max() <= tokens


def test_a_budget_is_used_up() -> None:
    """Longest first: two rows of 64 at a time, the fifth with one of 16, and eight of the other nine."""
    lengths = np.array([16, 64, 16] * 5)
    made = TokenBudgetSampler(lengths, tokens=128, seed=0)
    assert sorted(sorted(lengths[batch].tolist()) for batch in made) == [[16], [16] * 8, [16, 64], [64] * 2, [64] * 2]


def test_no_step_of_a_budget_is_wasted_on_padding() -> None:
    lengths = padded_lengths(4096)
    taken = sum(len(batch) * lengths[batch].max() for batch in budget(4096, tokens=2048))
    assert taken < 1.01 * lengths.sum()


def test_seed_stream_and_epoch_decide_the_order_under_a_budget() -> None:
    order = list(budget())
    assert list(budget()) == order
    changed = [budget(seed=1), budget(stream=1), budget(epoch=1)]
    orders = [order, *map(list, changed)]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])
    back = budget(epoch=3)
    list(back)
    back.set_epoch(0)
    assert list(back) == order


def test_batches_of_a_budget_come_in_random_order_of_length() -> None:
    lengths = padded_lengths(1024)
    longest = [lengths[batch].max() for batch in budget(1024)]
    rises = sum(b > a for a, b in pairwise(longest))
    assert 0.3 < rises / len(longest) < 0.7


def test_rows_meet_other_rows_under_a_budget_too() -> None:
    def companions(epoch: int) -> set[int]:
        return next(set(batch) for batch in budget(1024, epoch=epoch) if 0 in batch)

    met = [companions(epoch) for epoch in range(4)]
    assert all(len(one & other) < len(one) / 2 for i, one in enumerate(met) for other in met[:i])


# ---- drawn with replacement


def redrawn(rows: int = 256, *, batch_size: int = 4, seed: int = 0, stream: int = 0, epoch: int = 0) -> RedrawnSampler:
    made = RedrawnSampler(np.array(lengths_of(rows)), batch_size=batch_size, seed=seed, stream=stream)
    made.set_epoch(epoch)
    return made


def test_a_row_is_drawn_as_often_as_another_wherever_in_a_round() -> None:
    """Chi-squared with 19 degrees of freedom: 43.8 is exceeded once in a thousand."""
    drawn = np.array([list(redrawn(20, epoch=epoch)) for epoch in range(2000)])  # (2000, BUCKET, 4)
    for place in [drawn, drawn[:, 0, 0], drawn[:, 3, 1], drawn[:, -1, -1]]:  # rows of one batch are alike
        counts = np.bincount(place.ravel(), minlength=20)
        expected = place.size / 20
        assert ((counts - expected) ** 2 / expected).sum() < 43.8


def test_a_round_is_of_like_lengths_in_batches_of_one_size() -> None:
    lengths = np.array(lengths_of(1000))
    made = redrawn(1000, batch_size=16)
    batches = list(made)
    assert len(made) == len(batches) == BUCKET
    assert {len(batch) for batch in batches} == {16}
    ranges = sorted((int(lengths[batch].min()), int(lengths[batch].max())) for batch in batches)
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
    assert [int(lengths[batch].max()) for batch in batches] != [longest for _, longest in ranges]
    assert any(lengths[batch].tolist() != sorted(lengths[batch]) for batch in batches)


def test_seed_stream_and_round_decide_what_is_drawn() -> None:
    orders = [list(made) for made in (redrawn(), redrawn(seed=1), redrawn(stream=1), redrawn(epoch=1))]
    assert list(redrawn()) == orders[0]
    assert all(one != other for i, one in enumerate(orders) for other in orders[:i])
