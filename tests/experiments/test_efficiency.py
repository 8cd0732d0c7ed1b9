"""Score against trained parameters: where the points are, and that names can be read."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from scalearn.experiments.efficiency import Mark, efficiency_figure

SIZES = {
    "full": 124_055_040,
    "adapter": 894_528,
    "adapter-m": 894_528,
    "hyperformer++": 5_095_024,
    "adapterfusion": 21_252_096,
    "scalearn": 73_728,
    "scalearn-uniform": 96,
    "scalearn++": 6_144,
    "scalearn-uniform++": 8,
    "head": 0,
    "adaptersoup": 0,
}


def figure_of(scores: dict[str, float], spread: float = 0.3) -> Figure:
    marks = [Mark(label=name, trained=SIZES[name], score=score, spread=spread) for name, score in scores.items()]
    return efficiency_figure(marks, score_axis="score")


def test_places_are_logarithms_and_nothing_stands_apart() -> None:
    figure = figure_of({"head": 60.0, "scalearn-uniform++": 70.0, "adapter": 72.0})
    (axes,) = figure.axes
    points = [tuple(container[0].get_xydata()[0]) for container in axes.containers]
    assert points == [
        pytest.approx((-1.2, 60)),
        pytest.approx((np.log10(8), 70)),
        pytest.approx((5.9516, 72), abs=1e-4),
    ]
    assert [text.get_text() for text in axes.get_xticklabels()][:2] == ["0", "$10^{0}$"]
    assert [text.get_text() for text in axes.texts] == ["head", "scalearn-uniform++", "adapter"]


def test_without_parameters_of_zero_there_is_no_zero() -> None:
    (axes,) = figure_of({"scalearn": 60.0, "adapter": 70.0}).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["$10^{4}$", "$10^{5}$"]


def test_only_methods_that_train_nothing() -> None:
    (axes,) = figure_of({"head": 60.0, "adaptersoup": 70.0}).axes
    assert axes.get_xticklabels()[0].get_text() == "0"


def test_the_spread_is_drawn() -> None:
    (axes,) = figure_of({"scalearn": 60.0, "adapter": 70.0}, spread=2.0).axes
    ((low, high),) = axes.containers[0][2][0].get_segments()
    assert (low[1], high[1]) == (58.0, 62.0)


@pytest.mark.parametrize("seed", range(4))
def test_names_are_apart_and_inside(seed: int) -> None:
    scores = 80 + np.random.default_rng(seed).normal(0, 3, size=len(SIZES))
    figure = figure_of(dict(zip(SIZES, scores.tolist(), strict=True)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [Text.get_window_extent(text, renderer) for text in figure.axes[0].texts]
    assert len(boxes) == len(SIZES)
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(figure.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 for box in boxes)
