"""Pictures of numbers: what stands in them, and that the same numbers give the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from scalearn.experiments.heatmap import score_line, score_map, write_figure

SCORES = np.array([[50.0, 61.25, np.nan], [40.0, 70.5, 55.5]])
NAMES = {"rows": ["0", "1"], "columns": ["0", "0.5", "1"], "row_axis": "omega of mnli", "column_axis": "omega of rte"}


def drawn(figure: Figure, folder: Path) -> list[str]:
    """The texts of a picture."""
    write_figure(figure, folder / "picture")
    return re.findall(r"<text[^>]*>([^<]*)</text>", (folder / "picture.svg").read_text())


def a_map(**others: object) -> Figure:
    return score_map(SCORES, **NAMES, colour="accuracy (%)", title="rte, 500 rows", **others)


def test_a_map_has_every_number_and_name(tmp_path: Path) -> None:
    texts = drawn(a_map(), tmp_path)
    for text in ("50.0", "61.2", "40.0", "70.5", "55.5", "omega of mnli", "omega of rte", "accuracy (%)"):
        assert text in texts
    assert "rte, 500 rows" in texts and "nan" not in texts


def test_a_map_has_the_spread_under_the_score(tmp_path: Path) -> None:
    texts = drawn(a_map(spread=np.full((2, 3), 1.5)), tmp_path)
    assert texts.count("± 1.5") == 5  # not in the empty cell


def test_rows_run_downwards_and_columns_to_the_right() -> None:
    cells = {text.get_text(): text.get_position() for text in a_map().axes[0].texts}
    assert (cells["61.2"], cells["40.0"]) == ((1, 0), (0, 1))
    bottom, top = a_map().axes[0].get_ylim()
    assert bottom > top  # row 0 is at the top


def test_numbers_can_be_read_on_their_colour() -> None:
    inks = {text.get_text(): text.get_color() for text in a_map().axes[0].texts}
    assert inks["40.0"] == "white" and inks["70.5"] == "#010101"
    flat = score_map(np.ones((1, 2)), rows=["a"], columns=["b", "c"], colour="x", title="")
    assert {text.get_color() for text in flat.axes[0].texts} == {"white"}


def test_a_line_has_its_points_its_error_bars_and_its_names() -> None:
    figure = score_line(
        np.array([50.0, 60.0]), spread=np.array([1.0, 2.0]), at=[0, 1], axis="omega", score_axis="f1", title="rte"
    )
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[0, 50], [1, 60]]
    (bars,) = axes.collections
    assert [bar.tolist() for bar in bars.get_segments()] == [[[0, 49], [0, 51]], [[1, 58], [1, 62]]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("omega", "f1", "rte")


def test_a_long_title_takes_several_lines_and_keeps_its_words_whole(tmp_path: Path) -> None:
    title = "mean cosine similarity of texts (all-MiniLM-L6-v2)"
    texts = drawn(score_map(np.ones((1, 1)), rows=["a"], columns=["b"], colour="x", title=title), tmp_path)
    lines = [text for text in texts if text in title and len(text) > 1]
    assert len(lines) > 1 and " ".join(lines) == title


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture_is_the_same_each_time_and_whole(tmp_path: Path, suffix: str) -> None:
    for name in ("first", "second"):
        write_figure(a_map(), tmp_path / "new" / name)
    first, second = ((tmp_path / "new" / f"{name}.{suffix}").read_bytes() for name in ("first", "second"))
    assert first == second and len(first) > 1000
    assert not list((tmp_path / "new").glob(".*"))


def test_a_dot_in_the_name_stays(tmp_path: Path) -> None:
    write_figure(a_map(), tmp_path / "rte-0.5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rte-0.5.png", "rte-0.5.svg"]
