"""The critical-difference diagram: which methods a bar joins, and where things stand."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from scalearn.experiments.ranks import cliques, rank_diagram
from scalearn.experiments.statistics import Comparison

DEMSAR = {"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}
"""Mean ranks over 14 data sets (Demsar, JMLR 2006, table 6)."""


@pytest.mark.parametrize(
    ("ranks", "difference", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 1.5, [(0, 1), (1, 2), (2, 3)]),
        ([1.0, 2.0, 3.0, 4.0], 2.0, [(0, 2), (1, 3)]),
        ([1.0, 2.0, 3.0, 4.0], 0.5, []),
        ([1.0, 2.0, 3.0, 4.0], 9.0, [(0, 3)]),
        ([1.0, 4.0, 4.5, 4.9], 1.0, [(1, 3)]),
        (sorted(DEMSAR.values()), 1.25, [(0, 3)]),  # with Nemenyi's test no two of the four differ
    ],
)
def test_groups_are_the_largest_that_do_not_differ(
    ranks: list[float], difference: float, expected: list[tuple[int, int]]
) -> None:
    assert cliques(ranks, difference) == expected


def comparison(difference: float) -> Comparison:
    names = tuple(DEMSAR)
    return Comparison(
        methods=names, tasks=("a", "b"), ranks=DEMSAR, friedman=0.03, critical_difference=difference, pairs=()
    )


def test_the_diagram_names_every_method_and_joins_the_groups() -> None:
    figure = rank_diagram(comparison(1.0))
    (axes,) = figure.axes
    texts = {text.get_text(): text for text in axes.texts}
    best, worst = texts["C4.5+m+cf  1.96"], texts["3.14  C4.5"]
    assert best.get_position()[0] < 0 < 5 < worst.get_position()[0]
    assert {"C4.5+m  2.00", "2.89  C4.5+cf", "CD = 1.00", "1", "4"} <= texts.keys()
    bars = [line.get_xdata() for line in axes.lines if line.get_linewidth() == 3.5]
    place = lambda rank: 5 * (rank - 1) / 3  # noqa: E731
    assert [tuple(bar) for bar in bars] == [
        pytest.approx((place(1.964) - 0.06, place(2.893) + 0.06)),
        pytest.approx((place(2.893) - 0.06, place(3.143) + 0.06)),
    ]
    ruler = next(line.get_xdata() for line in axes.lines if line.get_linewidth() == 1.5)
    assert tuple(ruler) == pytest.approx((0, 5 / 3))


@pytest.mark.parametrize("difference", [1.0, 6.0])
def test_nothing_is_cut_off(difference: float) -> None:
    figure = rank_diagram(comparison(difference))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = figure.bbox
    boxes = [artist.get_window_extent(renderer) for artist in (*figure.axes[0].texts, *figure.axes[0].lines)]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
