"""An explanation for reading: every number of it, and what hurts."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalearn.errors import InputError
from scalearn.experiments.explained import cells, markdown, title, warnings, write_explanation
from scalearn.explanation import Effect, Explanation


def effect(name: str, difference: float, verdict: str) -> Effect:
    return Effect(
        source=name,
        mean_omega=0.25,
        share=0.4,
        without=0.8 + difference,
        alone=0.61,
        difference=difference,
        stderr=0.011,
        verdict=verdict,  # type: ignore[arg-type]
    )


FOUND = Explanation(
    task="reviews",
    method="scalearn",
    split="dev",
    rows=1200,
    metric="accuracy",
    score=0.8,
    stderr=0.012,
    bare=0.5,
    effects=(effect("mnli", -0.15, "helps"), effect("cola|x", 0.02, "hurts")),
    layers=("1", "2", "3"),
    omega=((0.1, 0.2), (0.3, -0.4), (0.5, 0.6)),
)


def test_a_row_is_in_percent() -> None:
    assert cells(FOUND.effects[0]) == ("mnli", "0.2500", "40.0 %", "65.0", "-15.0 ± 1.1", "61.0", "helps")
    assert title(FOUND) == "scalearn on reviews: accuracy 80.0 (se 1.2) on dev, 1,200 rows; 50.0 with no source"


def test_what_hurts_is_said_with_the_way_out() -> None:
    (line,) = warnings(FOUND)
    assert "cola|x hurts" in line and "rises by 2.0 points (se 1.1)" in line and "--exclude cola|x" in line
    page = markdown(FOUND)
    assert line in page and r"| cola\|x |" in page and "No source hurts" not in page


def test_the_folder_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalearn.experiments.explained.write_figure", lambda figure, path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_explanation(FOUND, tmp_path / "explained")
    assert list(tmp_path.iterdir()) == []


def test_the_picture_has_a_cell_for_each_source_and_layer(tmp_path: Path) -> None:
    write_explanation(FOUND, tmp_path / "explained")
    drawing = (tmp_path / "explained" / "omega.svg").read_text()
    for text in ("0.10", "0.30", "0.50", "0.20", "-0.40", "0.60", "mnli", "layer"):
        assert text in drawing
    (tmp_path / "explained" / "explanation.json").unlink()
    with pytest.raises(InputError, match="is not replaced"):
        write_explanation(FOUND, tmp_path / "explained", overwrite=True)
