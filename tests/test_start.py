"""Where omega starts: as published unless something else was asked for, and as before in everything stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from scalearn.errors import InputError
from scalearn.experiments.counting import count
from scalearn.methods import ScaLearn, method_from_name
from scalearn.methods.start import FEWEST, at_best, by_rank, by_rows

SCORES = [0.1, 0.9, 0.5, 0.1]


class Told:
    """Evidence that knows the scores."""

    count = 4

    def scores(self) -> list[float]:
        return SCORES


def values(method: ScaLearn) -> torch.Tensor:
    """Omega, (T, d), of four sources, as it is when a model is built."""
    torch.manual_seed(0)
    return method.omega(4, 16).values.detach()


def test_by_rank_is_a_softmax_of_standardised_scores() -> None:
    found = by_rank(SCORES, total=2.0)
    z = (np.array(SCORES) - np.mean(SCORES)) / np.std(SCORES)
    assert found == pytest.approx(2 * np.exp(z) / np.exp(z).sum(), abs=1e-6)
    assert found[1] > found[2] > found[0] == found[3] and sum(found) == pytest.approx(2, abs=1e-5)
    assert by_rank([3 + 7 * score for score in SCORES], total=2.0) == found  # no unit counts
    assert by_rank([1.0, 1.0], total=2.0) == (1, 1)


def test_at_best_is_the_first_of_the_highest() -> None:
    assert at_best([0.0, 2.0, 2.0]) == (0, 1, 0)


def test_as_published_by_default() -> None:
    torch.manual_seed(0)
    expected = torch.empty(4, 16).normal_(mean=0.5, std=0.001)
    assert values(ScaLearn()).equal(expected)  # to the bit: runs of before come out as they did


@pytest.mark.parametrize(
    ("init", "expected"),
    [("mean", (0.25,) * 4), ("best", (0, 1, 0, 0)), ("rank", by_rank(SCORES, total=2.0))],
)
def test_the_starts(init: Any, expected: tuple[float, ...]) -> None:
    prepared: Any = ScaLearn(init=init).prepare(Told())  # type: ignore[arg-type]
    found = values(prepared)
    assert found.mean(dim=1).tolist() == pytest.approx(expected, abs=1e-3)
    assert 5e-4 < found.std(dim=1).mean() < 2e-3
    assert prepared.prepare(Told()) is prepared  # not ranked again


def test_what_is_prepared_has_the_numbers_and_the_published_is_not_ranked() -> None:
    assert ScaLearn(init="rank", init_scale=1.0).prepare(Told()).starts == by_rank(SCORES, total=1.0)  # type: ignore[arg-type]
    silent: Any = None
    assert ScaLearn().prepare(silent) == ScaLearn() and ScaLearn(init="mean").prepare(silent) == ScaLearn(init="mean")


def test_what_is_stored_of_before_is_as_before() -> None:
    later = {"l1", "keep", "init", "starts"}
    assert not later & ScaLearn().model_dump().keys() and not later & ScaLearn().model_dump(mode="json").keys()
    ranked = ScaLearn(init="rank", starts=(1.5, 0.5))
    told = ranked.model_dump(mode="json")
    assert told["init"] == "rank" and told["starts"] == [1.5, 0.5]
    assert method_from_name("scalearn", **told) == ranked


def test_unranked_sources_are_refused() -> None:
    with pytest.raises(InputError, match=r"scalearn has 0 starts for 4 sources: .* or leave out init='best'"):
        values(ScaLearn(init="best"))
    with pytest.raises(InputError, match="scalearn has 2 starts for 4 sources"):
        values(ScaLearn(init="rank", starts=(1.0, 1.0)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"init": "mean", "init_scale": 1.0}, "'mean' says where omega starts, and so does init_scale 1.0"),
        ({"init": "best", "constraint": "softmax"}, "'best' is not for softmax"),
        ({"starts": (1.0,)}, "are for init 'rank', 'best' or 'auto', not for None"),
        ({"init": "auto", "constraint": "mean"}, "'auto' is for an omega without constraint, not under 'mean'"),
        ({"init": "auto", "keep": 2}, "'auto' looks at all sources, and keep at fewer"),
        ({"init": "second"}, "init: Input should be 'paper', 'mean', 'rank', 'best' or 'auto'"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        method_from_name("scalearn", **options)


def test_what_is_left_after_pruning_keeps_its_starts() -> None:
    narrowed = ScaLearn(init="rank", starts=(0.1, 0.2, 0.3)).narrowed([2, 0])
    assert narrowed.starts == (0.3, 0.1)


def test_a_start_changes_no_count() -> None:
    assert count(ScaLearn(init="rank")) == count(ScaLearn())


# ---- by the rows


class Judged:
    """Evidence whose held-out losses are a function of omega with noise of its own for each start."""

    tells_apart = True

    def __init__(self, loss: Any, *, noise: float = 0.0, rows: int = FEWEST, seed: int = 0) -> None:
        self.count, self.train_rows = 4, rows
        self.loss, self.noise, self.seed = loss, noise, seed

    def losses(self, omegas: Any) -> np.ndarray:
        chance = np.random.default_rng(self.seed)
        return np.stack([self.loss(omega) + self.noise * chance.normal(size=self.train_rows) for omega in omegas])

    def scores(self) -> list[float]:
        return [-self.loss(omega) for omega in np.eye(self.count)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((0.5, 0.5, 0.5, 0.5), (0.5,) * 4),
        ((0.25, 0.25, 0.25, 0.25), (0.25,) * 4),
        ((0.0, 0.9, 0.0, 0.0), (0, 1, 0, 0)),
        ((0.0, -0.1, 0.0, 0.0), (0, 0, 0, 0)),
    ],
)
def test_the_rows_decide(wanted: tuple[float, ...], expected: tuple[float, ...]) -> None:
    evidence: Any = Judged(lambda omega: float(np.square(omega - np.array(wanted)).sum()), noise=0.01)
    prepared = ScaLearn(init="auto").prepare(evidence)
    assert prepared.starts == expected
    assert values(prepared).mean(dim=1).tolist() == pytest.approx(expected, abs=1e-3)


def test_what_may_be_chance_leaves_the_published_start() -> None:
    chances: list[Any] = [Judged(lambda omega: 1.0, noise=1.0, seed=seed) for seed in range(200)]
    left = sum(by_rows(evidence, total=2.0) == (0.5,) * 4 for evidence in chances)
    assert left > 110  # of three others one is a standard error better in a third of the cases


def test_only_the_source_that_ranks_first_is_asked_about() -> None:
    evidence: Any = Judged(lambda omega: float(np.square(omega - np.array([0.0, 0.9, 0.0, 0.0])).sum()))
    evidence.scores = lambda: [0.0, 0.0, 1.0, 0.0]
    assert by_rows(evidence, total=2.0) == (0.25,) * 4


def test_too_few_rows_are_not_asked() -> None:
    evidence: Any = Judged(lambda omega: float(omega[0] != 1), rows=FEWEST - 1)
    assert by_rows(evidence, total=2.0) == (0.5,) * 4


def test_a_start_that_no_network_survives_is_left() -> None:
    evidence: Any = Judged(lambda omega: np.inf if omega.sum() > 1 else 1 - omega[2])
    assert by_rows(evidence, total=2.0) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    "told", [{"init": "paper"}, {"init": "rank"}, {"init_scale": 1.0}, {"constraint": "mean"}, {"keep": 2}]
)
def test_small_data_leaves_what_was_asked_for(told: dict[str, Any]) -> None:
    assert ScaLearn(**told).on_small_data() == ScaLearn(**told)
    assert ScaLearn().on_small_data() == ScaLearn(init="auto")
