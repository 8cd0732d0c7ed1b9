"""The page stands alone, escapes what it shows, and has what was promised."""

import re
from pathlib import Path

import numpy as np
import pytest

from scalearn.experiments.compare import Row
from scalearn.experiments.heatmap import omega_heatmap
from scalearn.experiments.page import Example, _begun, write_page
from scalearn.shelf import Shelf
from scalearn.tasks import load_task


@pytest.fixture
def page(tmp_path: Path) -> str:
    row = Row(
        method="scalearn",
        own=False,
        seeds=3,
        method_parameters=18432,
        head_parameters=148995,
        dev=50.0,
        test=48.25,
        spread=1.5,
        seconds=12,
    )
    example = Example(
        texts={"premise": "No <b>dogs</b>", "claim": "Dogs & cats"},
        truth="supported",
        answer="contradicted",
        probabilities={"supported": 0.2, "contradicted": 0.8},
    )
    shelf = Shelf("builtin")
    write_page(
        tmp_path / "page.html",
        task=load_task("policy-claims"),
        rows=[row],
        sources=list(shelf),
        omega=np.full((len(shelf), 6), 0.25),
        starts=[0.25] * len(shelf),
        examples=[example],
        peak_memory=0.8,
    )
    return (tmp_path / "page.html").read_text()


def test_needs_nothing_from_outside(page: str) -> None:
    loaded = re.findall(r"""(?:src|href)=["'](?!#)([^"']*)""", page)
    assert not [address for address in loaded if not address.startswith("data:")]
    assert "@import" not in page and "<script" not in page


def test_shows_scores_and_examples(page: str) -> None:
    assert "18,432" in page and "48.2 ± 1.5" in page and "167,427" in page
    assert "contradicted\n(80 %), truth: supported" in page


def test_says_where_omega_began(page: str) -> None:
    assert "It started at 0.250 everywhere" in page
    assert _begun(["a", "b"], [0.0, 1.0]) == (
        "It started where the rows told: b 1.000, the others at 0. Blue is above 0, red below."
    )


def test_escapes_texts(page: str) -> None:
    assert "No &lt;b&gt;dogs&lt;/b&gt;" in page and "Dogs &amp; cats" in page


def test_heatmap_has_every_source_layer_and_value() -> None:
    omega = np.array([[0.11, -0.22], [0.33, 0.44], [0.0, 0.9]])
    drawing = omega_heatmap(omega, sources=["mnli", "rte", "cola"], start=0.25)
    for text in ("mnli", "rte", "cola", "0.110", "-0.220", "0.900", "layer"):
        assert text in drawing
    assert drawing.startswith("<svg") and "currentColor" in drawing


def test_heatmap_is_the_same_each_time() -> None:
    omega = np.eye(3)
    first, second = (omega_heatmap(omega, sources="abc", start=0.5) for _ in range(2))
    assert first == second
