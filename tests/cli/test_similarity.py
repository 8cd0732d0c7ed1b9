"""`scalearn similarity`: tasks against tasks and sources, and the embeddings of a shelf."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from scalearn.backbones import Backbone
from scalearn.cli import similarity as module
from scalearn.errors import InputError
from scalearn.shelf import Shelf
from scalearn.similarity import embed_task
from scalearn.similarity import similarity as between
from scalearn.sources import Source
from scalearn.tasks import Task, load_task

app = typer.Typer()
app.command()(module.similarity)

TOPICS = {
    "cooking": ["Chop the onions and fry them in butter.", "Bake the bread for an hour.", "Season the soup with salt."],
    "space": ["The rocket left the launch pad.", "A probe reached the moons of Jupiter.", "Stars form in dust clouds."],
}


def invoke(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Path]:
    """A file of labelled rows for each topic."""
    paths = {}
    for topic, texts in TOPICS.items():
        paths[topic] = tmp_path / f"{topic}.csv"
        with paths[topic].open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows((f"{text} {i}", "ab"[i % 2]) for i, text in enumerate(texts * 4))
    return paths


@pytest.fixture
def topics(tmp_path: Path, backbone: Backbone, make_source: Callable[..., Source], rows: dict[str, Path]) -> Path:
    """A shelf with an embedded source for cooking and one for space."""
    for topic, path in rows.items():
        source = make_source(topic, backbone)
        embedding = tuple(embed_task(Task.from_files(path, text="text", label="label")))
        Source(**{**vars(source), "embedding": embedding}).save(tmp_path / "topics" / topic)
    return tmp_path / "topics"


def test_own_rows_are_like_the_source_of_their_topic(topics: Path, rows: dict[str, Path], tmp_path: Path) -> None:
    out = invoke("--train-file", rows["space"], "--shelf", topics, "--out", tmp_path / "out").stdout
    lines = [line.split()[1] for line in out.splitlines() if line.startswith("│")]
    assert lines == ["space", "space", "cooking"]  # the most similar first
    with (tmp_path / "out" / "similarity.csv").open() as file:
        header, *table = csv.reader(file)
    assert header == ["", "space"]
    values = {name: float(value) for name, value in table}
    embeddings = {source.name: source.embedding for source in Shelf(topics)}
    assert values["cooking (source)"] == pytest.approx(between(embeddings["space"], embeddings["cooking"]), abs=1e-6)
    assert values["space (source)"] == pytest.approx(values["space"], abs=1e-6)
    assert values["cooking (source)"] < values["space"] / 2 < 0.5
    drawing = (tmp_path / "out" / "heatmap.svg").read_text()
    assert "cooking (source)" in drawing and "cosine similarity" in drawing
    assert all(f">{value:.3f}<" in drawing for value in values.values())  # as fine as the table: differences are small
    assert (tmp_path / "out" / "heatmap.png").is_file()


def test_without_tasks_the_sources_are_compared(topics: Path) -> None:
    out = invoke("--shelf", topics).stdout
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows] == ["cooking (source)", "space (source)"]
    assert rows[0][2] == rows[1][1] and rows[0][1] > rows[0][2]  # symmetric, and most like itself


def test_a_known_task_and_own_rows_make_two_columns(topics: Path, rows: dict[str, Path]) -> None:
    out = invoke("policy-claims", "--train-file", rows["space"], "--name", "mine", "--shelf", topics).stdout
    heading = next(line for line in out.splitlines() if line.startswith("┃"))
    assert heading.strip("┃").split("┃")[1:] == [f" {name} " for name in ("policy-claims", " mine")]


def test_sources_without_embedding_are_left_out_aloud(topics: Path, backbone: Backbone, make_source) -> None:
    make_source("silent", backbone).save(topics / "silent")
    result = invoke("--shelf", topics)
    assert "left out silent" in result.stderr and "silent" not in result.stdout


# ---- --update


@pytest.fixture
def unembedded(tmp_path: Path, backbone: Backbone, make_source: Callable[..., Source]) -> Path:
    """A shelf of a source trained on the built-in task and one on rows of the user's own; neither has an embedding."""
    for name in ("policy-claims", "space"):
        make_source(name, backbone).save(tmp_path / "bare" / name)
    return tmp_path / "bare"


def test_update_stores_what_is_missing_and_nothing_else(unembedded: Path) -> None:
    before = {path: path.read_bytes() for path in unembedded.rglob("*") if path.is_file()}
    result = invoke("policy-claims", "--update", unembedded)
    assert "stored the embedding of policy-claims" in result.stdout and "left out space" in result.stderr
    changed = [path for path in unembedded.rglob("*") if path.is_file() and path.read_bytes() != before[path]]
    assert changed == [unembedded / "policy-claims" / "source.json"]  # and no file is left beside it
    old, new = json.loads(before[changed[0]]), json.loads(changed[0].read_text())
    assert new.pop("embedding") == embed_task(load_task("policy-claims"))
    assert new == {key: value for key, value in old.items() if key != "embedding"}

    before = {path: path.read_bytes() for path in before}
    with pytest.raises(InputError, match=r"no data is known for space: .* --train-file, .* --name"):
        invoke("policy-claims", "--update", unembedded)
    assert {path: path.read_bytes() for path in before} == before


def test_update_from_own_rows(unembedded: Path, rows: dict[str, Path]) -> None:
    result = invoke("--train-file", rows["space"], "--update", unembedded)
    assert "left out" not in result.stderr
    own = Task.from_files(rows["space"], text="text", label="label")
    assert list(Shelf(unembedded)["space"].embedding) == embed_task(own)
    assert "every source has an embedding already" in invoke("--update", unembedded).stdout


def test_a_shelf_of_one_is_updated_though_there_is_nothing_to_compare(unembedded: Path) -> None:
    single = unembedded / "policy-claims"
    out = invoke("--update", single).stdout
    assert "stored the embedding" in out and "│" not in out
    assert Shelf(single)["policy-claims"].embedding


# ---- refusals


def test_the_shelf_that_ships_is_not_updated() -> None:
    with pytest.raises(InputError, match="--update writes into the shelf: give a folder of your own"):
        invoke("--update", "builtin")


def test_two_shelves_are_refused(topics: Path) -> None:
    with pytest.raises(InputError, match="names the shelf, and so does --shelf builtin: leave one out"):
        invoke("--update", topics, "--shelf", "builtin")


def test_results_are_not_overwritten_unasked(topics: Path, tmp_path: Path) -> None:
    words = ("--shelf", topics, "--out", tmp_path / "out")
    invoke(*words)
    with pytest.raises(InputError, match="exists already"):
        invoke(*words)
    invoke(*words, "--overwrite")


def test_one_data_set_alone_is_refused(shelf_folder: Path) -> None:
    with pytest.raises(InputError, match="nothing to compare with"):
        invoke("policy-claims", "--shelf", shelf_folder)


def test_an_unknown_task_is_refused(topics: Path) -> None:
    with pytest.raises(InputError, match="there is no task 'rtee'"):
        invoke("rtee", "--shelf", topics)


def test_help_has_examples() -> None:
    assert "Examples" in invoke("--help").stdout
