"""Statistics against references: worked examples of the literature, scipy, and how often they are wrong by design."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from scalearn.experiments.statistics import (
    Comparison,
    Pair,
    best_of,
    best_overall,
    compare_methods,
    critical_difference,
    holm,
    interval,
    mean_ranks,
)

DEMSAR = np.array(
    [
        *([0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967]),
        *([0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931]),
        *([0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875]),
        *([1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669]),
        *([0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970]),
    ]
)
"""AUC of four classifiers on 14 data sets (Demsar, JMLR 2006); a tie in print is broken as the ranks printed there."""


def grid(**by_method: list[list[float]]) -> Mapping[str, Mapping[tuple[str, int], float]]:
    """Scores by method as tasks of seeds."""
    return {
        method: {(f"t{t}", s): score for t, seeds in enumerate(tasks) for s, score in enumerate(seeds)}
        for method, tasks in by_method.items()
    }


def compared(**by_method: list[list[float]]) -> Comparison:
    found = compare_methods(grid(**by_method))
    assert found is not None
    return found


def test_interval_is_that_of_scipy() -> None:
    scores = [61.0, 63.5, 62.0, 60.2]
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert interval(scores) == pytest.approx((expected.low, expected.high))
    assert interval([60.0, 60.0]) == (60.0, 60.0)
    assert interval([60.0]) is None


def test_three_seeds_reach_two_and_a_half_deviations() -> None:
    low, high = interval([59.0, 60.0, 61.0]) or (0, 0)
    assert high - 60 == pytest.approx(60 - low) == pytest.approx(2.484, abs=1e-3)  # t(2) of 4.303 over sqrt(3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_interval_covers_the_truth_as_often_as_it_says(seeds: int) -> None:
    draws = np.random.default_rng(0).normal(70, 3, size=(4000, seeds))
    intervals = [interval(scores) or (0, 0) for scores in draws.tolist()]
    covered = np.mean([low <= 70 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors of 4,000 draws


def test_holm_by_hand() -> None:
    # sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, and 0.04, which may not be less than 0.06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_ranks_and_critical_difference_of_the_literature() -> None:
    assert mean_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=1e-3)
    assert critical_difference(methods=4, tasks=14) == pytest.approx(1.25, abs=5e-3)
    # table 5 (a) of the same: q of 2, 5 and 10 methods is 1.960, 2.728 and 3.164
    for methods, quantile in ((2, 1.960), (5, 2.728), (10, 3.164)):
        found = critical_difference(methods=methods, tasks=9) / math.sqrt(methods * (methods + 1) / 54)
        assert found == pytest.approx(quantile, abs=1e-3)


def test_comparison_ranks_the_means_over_seeds() -> None:
    tasks = [[score - 0.001, score + 0.001] for score in DEMSAR[:, 0].tolist()]
    others = {name: [[score] * 2 for score in DEMSAR[:, i].tolist()] for i, name in ((1, "b"), (2, "c"), (3, "d"))}
    found = compared(a=tasks, **others)
    assert list(found.ranks.values()) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=1e-3)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).pvalue)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert [(pair.first, pair.second) for pair in found.pairs] == [
        *(("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d"))
    ]


def test_wilcoxon_is_over_tasks_and_not_over_seeds() -> None:
    above = [[2.0 + t, 4.0 + t, 3.0 + t] for t in range(8)]
    (pair,) = compared(a=above, b=[[0.0] * 3] * 8).pairs
    assert pair.wilcoxon == 2 / 2**8  # all eight signs alike; of 24 it would be 1e-7
    means = [1.5, -0.5, 2.0, 0.7, -0.2, 3.0, 1.1]
    (pair,) = compared(a=[[mean - 1, mean + 1] for mean in means], b=[[0.0] * 2] * 7).pairs
    assert pair.wilcoxon == pytest.approx(stats.wilcoxon(means).pvalue)


def test_tasks_without_a_difference_have_no_sign() -> None:
    (pair,) = compared(a=[[mean] for mean in (2.0, 3.0, 1.0, 0.0, 4.0, 0.0, 0.0)], b=[[0.0]] * 7).pairs
    assert pair.wilcoxon == 2 / 2**4


def test_holm_is_over_all_pairs() -> None:
    tasks = [[10.0 + t] for t in range(8)]
    found = compared(a=tasks, b=[[0.0 + t / 2] for t in range(8)], c=[[-30.0 + t / 3] for t in range(8)])
    assert [pair.wilcoxon for pair in found.pairs] == pytest.approx([3 * 2 / 2**8] * 3)
    assert [pair.bootstrap for pair in found.pairs] == pytest.approx([3 * 2 / 10_001] * 3)


def test_bootstrap_of_single_runs_is_student_over_tasks() -> None:
    differences = np.random.default_rng(3).normal(0.6, 1, size=9)
    (pair,) = compared(a=[[value] for value in differences.tolist()], b=[[0.0]] * 9).pairs
    expected = stats.ttest_1samp(differences, 0)
    assert pair.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.02)
    assert pair.bootstrap == pytest.approx(expected.pvalue, abs=0.005)
    assert pair.difference == pytest.approx(differences.mean())


def test_bootstrap_draws_tasks_and_then_seeds() -> None:
    generator = np.random.default_rng(1)
    tasks = [
        generator.normal(mean, 3, size=seeds).tolist() for mean, seeds in ((2, 2), (-1, 3), (4, 5), (0, 1), (3, 4))
    ]
    (pair,) = compared(a=tasks, b=[[0.0] * len(seeds) for seeds in tasks]).pairs
    draws = []
    for _ in range(8_000):
        drawn = [tasks[index] for index in generator.integers(len(tasks), size=len(tasks))]
        draws.append(np.mean([generator.choice(seeds, size=len(seeds)).mean() for seeds in drawn]))
    reach = stats.t.ppf(0.975, 4) * np.std(draws) * math.sqrt(5 / 4)
    assert pair.interval[1] - pair.difference == pytest.approx(reach, rel=0.03)
    assert pair.difference - pair.interval[0] == pytest.approx(reach, rel=0.03)
    assert pair.difference == pytest.approx(np.mean([np.mean(seeds) for seeds in tasks]))


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 3), (3, 3), (8, 3), (8, 1)])
def test_bootstrap_of_equal_methods_is_rarely_wrong(tasks: int, seeds: int) -> None:
    """Methods that differ from task to task and seed to seed, and on the whole do not."""
    generator = np.random.default_rng(0)
    wrong = missed = 0
    for _ in range(500):
        effect = generator.normal(0, 1, size=(tasks, 1)) if tasks > 1 else 0.0
        differences = effect + generator.normal(0, 1, size=(tasks, seeds))
        (pair,) = compared(a=differences.tolist(), b=np.zeros((tasks, seeds)).tolist()).pairs
        wrong += pair.bootstrap < 0.05
        missed += not pair.interval[0] <= 0 <= pair.interval[1]
    most = 500 * 0.05 + 3 * math.sqrt(500 * 0.05 * 0.95)
    assert max(wrong, missed) <= most


def test_the_same_numbers_give_the_same_comparison() -> None:
    tasks = np.random.default_rng(0).normal(size=(3, 6, 4)).tolist()
    by_method = dict(zip("abc", tasks, strict=True))
    assert compared(**by_method) == compared(**by_method)


def test_few_tasks_are_never_best_overall() -> None:
    # five differences of one sign happen to equal methods once in 16 times
    found = compared(a=[[50.0 + t] * 3 for t in range(5)], b=[[10.0] * 3] * 5)
    assert found.pairs[0].bootstrap < 0.001
    assert found.pairs[0].wilcoxon == 1 / 16
    assert best_overall(found) is None


def test_differences_that_are_all_alike_count_by_their_signs_over_tasks_too() -> None:
    found = compared(a=[[50.0] * 3] * 4, b=[[10.0] * 3] * 4)
    assert found.pairs[0].bootstrap == 1 / 8
    assert found.pairs[0].interval == pytest.approx((40.0, 40.0))


def test_one_task_speaks_of_its_seeds_alone() -> None:
    (pair,) = compared(a=[[5.0, 6.0, 7.5]], b=[[1.0, 1.0, 1.0]]).pairs
    expected = stats.ttest_1samp([4.0, 5.0, 6.5], 0)
    assert pair.bootstrap == pytest.approx(expected.pvalue, rel=0.05)
    assert pair.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.1)
    assert pair.wilcoxon == 1.0


def test_one_run_of_each_says_nothing() -> None:
    found = compared(a=[[5.0]], b=[[1.0]])
    assert found.pairs == (
        Pair(
            first="a",
            second="b",
            difference=4.0,
            interval=(-math.inf, math.inf),
            bootstrap=1.0,
            wilcoxon=1.0,
            wins=1,
            ties=0,
            losses=0,
        ),
    )
    assert (found.ranks, found.friedman, found.critical_difference) == ({"a": 1.0, "b": 2.0}, None, None)


def test_equal_scores_are_ties() -> None:
    found = compared(a=[[0.1 + 0.2, 1.0]] * 7, b=[[0.3, 1.0]] * 7, c=[[0.3, 1.0]] * 7)
    assert [(pair.wins, pair.ties, pair.losses) for pair in found.pairs] == [(0, 14, 0)] * 3
    assert all(pair.bootstrap == pair.wilcoxon == 1.0 for pair in found.pairs)
    assert (found.friedman, found.ranks) == (1.0, {"a": 2.0, "b": 2.0, "c": 2.0})


def test_only_runs_that_both_have_are_compared() -> None:
    scores = {
        "a": {("x", 0): 5.0, ("x", 1): 6.0, ("y", 0): 9.0, ("z", 0): 1.0},
        "b": {("x", 0): 4.0, ("x", 2): 90.0, ("y", 0): 7.0},
        "c": {("w", 0): 1.0},
        "d": {},
    }
    found = compare_methods(scores)
    assert found is not None
    assert found.methods == ("a", "b", "c")
    assert [(pair.first, pair.second, pair.difference, pair.wins) for pair in found.pairs] == [("a", "b", 1.5, 2)]
    assert (found.tasks, found.ranks, found.friedman, found.critical_difference) == ((), {}, None, None)
    assert best_overall(found) is None
    assert compare_methods({"a": scores["a"], "d": {}}) is None


def test_best_of_needs_to_beat_each_rival() -> None:
    best = {0: 80.0, 1: 81.0, 2: 80.4}
    assert best_of({"a": best, "b": {0: 70.0, 1: 70.8, 2: 70.6}}) == "a"
    near = {0: 79.9, 1: 81.2, 2: 80.2}
    assert best_of({"a": best, "b": {0: 70.0, 1: 70.8, 2: 70.6}, "c": near}) is None
    assert best_of({"b": {0: 70.0, 1: 70.8, 2: 70.6}, "a": best, "c": {}}) == "a"


def test_best_of_agrees_with_scipy_at_its_threshold() -> None:
    base = np.array([70.0, 71.0, 70.5, 69.0])
    noise = np.array([0.3, -0.2, 0.5, -0.6])
    for shift in (0.5, 0.7, 0.77, 0.78, 0.8, 1.0):
        expected = stats.ttest_rel(base + shift + noise, base).pvalue < 0.05
        found = best_of({"a": dict(enumerate(base + shift + noise)), "b": dict(enumerate(base))})
        assert (found == "a") == expected, shift


def test_best_of_corrects_for_the_number_of_rivals() -> None:
    best = dict(enumerate([80.0, 81.0, 80.5, 80.3]))
    rival = dict(enumerate([79.0, 80.3, 79.1, 79.5]))
    alone = stats.ttest_rel(list(best.values()), list(rival.values())).pvalue
    assert 0.05 / 7 < alone < 0.05 / 6
    assert best_of({"best": best, **{f"r{i}": rival for i in range(6)}}) == "best"
    assert best_of({"best": best, **{f"r{i}": rival for i in range(7)}}) is None


def test_best_of_needs_three_common_seeds_and_a_rival() -> None:
    far = {0: 10.0, 1: 10.5, 2: 10.2}
    assert best_of({"a": {0: 80.0, 1: 81.0}, "b": far}) is None
    assert best_of({"a": {0: 80.0, 1: 81.0, 3: 80.0}, "b": far}) is None
    assert best_of({"a": {0: 80.0, 1: 81.0, 2: 80.5}}) is None
    assert best_of({}) is None


def test_differences_without_variance_count_by_their_signs() -> None:
    def shifted(seeds: int) -> dict[str, dict[int, float]]:
        return {"a": {s: 61.0 + s for s in range(seeds)}, "b": {s: 60.0 + s for s in range(seeds)}}

    assert best_of(shifted(5)) is None  # 2 / 2^5 = 0.0625
    assert best_of(shifted(6)) == "a"
    assert best_of({"a": dict.fromkeys(range(6), 50.0), "b": dict.fromkeys(range(6), 50.0)}) is None


@pytest.mark.parametrize(("methods", "seeds"), [(2, 3), (2, 5), (3, 3), (6, 3)])
def test_best_of_equal_methods_is_rare(methods: int, seeds: int) -> None:
    draws = np.random.default_rng(0).normal(70, 2, size=(1500, methods, seeds))
    found = [best_of({str(m): dict(enumerate(own)) for m, own in enumerate(draw)}) for draw in draws.tolist()]
    assert np.mean([best is not None for best in found]) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_best_of_two_equal_ones_above_the_others_is_rare() -> None:
    draws = np.random.default_rng(0).normal(70, 2, size=(1500, 4, 3))
    draws[:, 2:] -= 300  # these do not use up any of the 5 %
    found = [best_of({str(m): dict(enumerate(own)) for m, own in enumerate(draw)}) for draw in draws.tolist()]
    rate = np.mean([best is not None for best in found])
    assert 0.02 < rate < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_best_overall_needs_both_tests_against_every_other() -> None:
    tasks = [[t * 1.0] for t in range(8)]
    found = compared(a=[[t + 5.0 + t / 9] for t in range(8)], b=tasks)
    assert best_overall(found) == "a"
    flipped = compared(a=tasks, b=[[t + 5.0 + t / 9] for t in range(8)])
    assert best_overall(flipped) == "b"
    third = compared(a=[[t + 5.0 + t / 9] for t in range(8)], b=tasks, c=[[t + 5.0 - (-1) ** t] for t in range(8)])
    assert best_overall(third) is None
    assert best_overall(None) is None
