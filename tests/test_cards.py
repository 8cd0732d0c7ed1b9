"""The README.md of saved models and sources: what it says, that its snippets run, and that nothing depends on it."""

from __future__ import annotations

import copy
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import EvalResult
from markdown_it import MarkdownIt
from typer.testing import CliRunner

from scalearn.adapted import AdaptedModel
from scalearn.backbones import Backbone
from scalearn.cards import model_card, shelf_card, source_card
from scalearn.cli import app
from scalearn.joint import JointModel
from scalearn.methods import LoRA, ScaLearn, recipe_for
from scalearn.methods.base import changed
from scalearn.model import TransferModel
from scalearn.saved import SavedModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task
from scalearn.training import train

SHIPPED = Path(__file__).parents[1] / "src/scalearn/shelves/minilm"
SCORES = {"dev": {"loss": 0.5, "accuracy": 0.75, "accuracy_stderr": 0.1}}
PROVENANCE = {
    "rows": {"train": 1234, "dev": 8},
    "seed": 3,
    "protocol": "default",
    "precision": "fp32",
    "best_epoch": 2.0,
    "command": "scalearn transfer --train-file /home/ann/secret.csv --out runs/x",
    "recipe": {"learning_rate": 0.01, "steps": None},
    "versions": {"scalearn": "0.1.0", "torch": "2.13.0"},
}
HOSTILE = "*x*\n---\n# y | <b>z</b> `q` ``` \"'%{} [a](http://b.c) : - &amp; \u202e🙂"


def task_of(name: str, kind: str, text: tuple[str, ...], **others: Any) -> Task:
    labels = {"regression": ()}.get(kind, ("no", "yes"))
    metric = {"regression": "pearson", "multi-label": "f1_macro"}.get(kind, "accuracy")
    fields = {"labels": labels, "metrics": (metric,), "main_metric": metric, "label": "label"} | others
    return Task(name=name, kind=kind, text=text, **fields)  # type: ignore[arg-type]


TASKS = {
    "single text": task_of("single", "classification", ("review",)),
    "pair": task_of("pair", "classification", ("premise", "claim")),
    "multiple choice": task_of("choice", "multiple-choice", ("story",), choices=("one", "two"), labels=("one", "two")),
    "multi-label": task_of("many", "multi-label", ("message",), labels=("a", "b", "c")),
    "regression": task_of("scale", "regression", ("first", "second")),
    "hostile": task_of(HOSTILE, "classification", (HOSTILE, "x\ty"), labels=(HOSTILE, "```\n# no"), label="|"),
}


@pytest.fixture
def place(tmp_path: Path, tiny_backbone: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a model is saved in, and the current one; the backbone is where the card expects it."""
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def save(model: AdaptedModel, place: Path, tiny_backbone: str, **extra: Any) -> str:
    """Saves a model in the current folder, beside a link to its backbone; returns its card."""
    assert isinstance(model, TransferModel | JointModel)
    model.save_pretrained(place.parent / "saved", extra=extra)
    for path in (place.parent / "saved").iterdir():
        path.rename(place / path.name)
    (place / "tiny").symlink_to(tiny_backbone)
    return (place / "README.md").read_text(encoding="utf-8")


def blocks(card: str, language: str) -> list[str]:
    return [found[1] for found in re.findall(rf"^(```+){language}\n(.*?)^\1$", card, flags=re.MULTILINE | re.DOTALL)]


def front(card: str) -> dict[str, Any]:
    """The front matter, found and read without the library."""
    start, text, _ = re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)
    assert not start
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def rendered(card: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)[2])


def run_python(card: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(blocks(card, "python")[0], "card", "exec"), names)
    return names


# ---- how to use it


@pytest.mark.parametrize("name", TASKS)
def test_what_the_card_shows_runs(
    place: Path, tiny_backbone: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    task = TASKS[name]
    card = save(TransferModel.from_backbone(tiny_backbone, task=task, method="head"), place, tiny_backbone)
    names = run_python(card)
    (answer,) = names["answers"]
    assert names["model"].task == task
    said = capsys.readouterr().out
    assert said.startswith(str(answer.label))

    (command,) = blocks(card, "sh")
    words = shlex.split(command)
    assert words[:3] == ["scalearn", "predict", "."]
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("label")


def test_every_task_of_a_joint_model_can_be_asked(place: Path, tiny_backbone: str) -> None:
    tasks = [TASKS["pair"], TASKS["regression"], TASKS["hostile"]]
    model = JointModel.from_backbone(tiny_backbone, tasks=tasks, method="adapter-m")
    scores = {"pair": SCORES, "scale": {"test": {"pearson": 0.5}}}
    provenance = {**PROVENANCE, "rows": {"pair": {"train": 77}, "scale": {"train": 55, "test": 44}}}
    card = save(model, place, tiny_backbone, metrics=scores, provenance=provenance)
    python, shell = blocks(card, "python")[0], blocks(card, "sh")[0]
    answers = [line for line in python.splitlines() if line.startswith("answers")]
    assert len(answers) == 3
    assert 'task="pair"' in answers[0] and 'task="scale"' in answers[1]
    run_python(card)
    lines = re.split(r"^(?=scalearn)", shell, flags=re.MULTILINE)[1:]
    assert len(lines) == 3
    for line in lines:
        assert CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False).exit_code == 0
    assert "| pair | dev |  | **accuracy** | 75.0 | ± 19.6 |" in card
    assert "| scale | test | 44 | **pearson** | 50.0 |  |" in card
    assert "- Rows: 77 train\n" in card and "- Rows: 55 train, 44 test\n" in card
    assert "adapter-m on a frozen tiny, and a head for each task." in card


def test_a_source_is_used_as_its_card_shows(
    backbone: Backbone, make_source: Callable[..., Source], tiny_backbone: str, place: Path, task: Task
) -> None:
    make_source("rte", backbone).save(place.parent / "saved")
    for path in (place.parent / "saved").iterdir():
        path.rename(place / path.name)
    (place / "tiny").symlink_to(tiny_backbone)
    rows = task.splits["train"]
    lines = [f"{text},{task.labels[label]}" for text, label in zip(rows["text_a"][:], rows["label"][:], strict=True)]
    (place / "train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    card = (place / "README.md").read_text()
    built = blocks(card, "python")[0].rpartition("sl.train(")
    names: dict[str, Any] = {}
    exec(built[0], names)
    assert [source.name for source in names["model"].sources] == ["rte"]
    assert built[2] == 'model, "runs/mine")\n'
    words = shlex.split(blocks(card, "sh")[0])
    result = CliRunner().invoke(app, [*words[1:], "--epochs", "1", "--quiet"], catch_exceptions=False)
    assert result.exit_code == 0 and (place / "runs/mine/README.md").is_file()


# ---- what the Hub reads


def saved_model(tiny_backbone: str, folder: Path, *, shelf: Shelf | None = None, task: Task, **extra: Any) -> str:
    """A card of ScaLearn, or of a head where there is no shelf."""
    method = ScaLearn(dropout=0.25) if shelf else "head"
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=shelf)
    model.save_pretrained(folder, extra=extra)
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TASKS)
def test_the_front_matter_is_what_the_hub_reads(tiny_backbone: str, tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    metric = task.main_metric
    scores = {"dev": {"loss": 1.0, metric: 0.5, f"{metric}_stderr": 0.1}, "test": {metric: float("nan")}, HOSTILE: {}}
    card = saved_model(tiny_backbone, tmp_path / "out", task=task, metrics=scores)
    data = ModelCard(card).data
    found = front(card)
    assert data.library_name == found["library_name"] == "scalearn"
    assert found["tags"] == ["adapter", "task-transfer", "head", task.kind]
    assert data.base_model is None, "it is a folder of this machine"
    assert data.get("datasets") is None
    kind = "multiple-choice" if task.kind == "multiple-choice" else "text-classification"
    assert data.pipeline_tag == (None if task.kind == "multiple-choice" else kind)
    (result,) = data.eval_results
    assert isinstance(result, EvalResult)
    hub_metric = {"pearson": "pearsonr", "f1_macro": "f1", "accuracy": "accuracy"}[metric]
    assert data.metrics == [hub_metric]
    assert (result.task_type, result.dataset_type, result.dataset_split) == (kind, "unknown", "dev")
    assert (result.metric_type, result.metric_value, result.metric_name) == (hub_metric, 0.5, f"dev {metric}")
    assert result.dataset_name == " ".join(task.name.replace("\u202e", " ").split())


def description(**changes: Any) -> dict[str, Any]:
    """What a model's `scalearn.json` may hold."""
    found = {
        "format_version": 1,
        "scalearn": "0.1.0",
        "backbone": {"name": "minilm", "fingerprint": "ab" * 32, "model_type": "bert", "width": 384, "layers": 6},
        "pooling": "mean",
        "task": TASKS["pair"].describe(),
        "method": {"name": "scalearn", "options": {"dropout": 0.3, "shared": None}},
        "sources": [{"name": "rte", "location": "builtin", "sha256": "cd" * 32}],
        "sha256": "ef" * 32,
        "metrics": SCORES,
        "provenance": PROVENANCE,
        "trained_parameters": {"method": 1000, "head": 200, "total": 1200},
    }
    return found | changes


@pytest.mark.parametrize(
    ("name", "local", "hub"),
    [
        ("minilm", False, "sentence-transformers/all-MiniLM-L6-v2"),
        ("minilm", True, "sentence-transformers/all-MiniLM-L6-v2"),
        ("FacebookAI/roberta-base", False, "FacebookAI/roberta-base"),
        ("roberta-base", False, "FacebookAI/roberta-base"),
        ("runs/tiny", True, None),
        ("roberta-base", True, None),
        ("/home/ann/tiny", False, None),
        ("../tiny", False, None),
        ("a/b/c", False, None),
        ("my-own", False, None),
    ],
)
def test_the_base_model_is_named_only_where_the_hub_has_it(name: str, local: bool, hub: str | None) -> None:
    backbone = description()["backbone"] | {"name": name}
    card = model_card(description(backbone=backbone), size=10, local=local)
    assert front(card).get("base_model") == hub
    assert front(card).get("base_model_relation") == (hub and "adapter")
    assert ("backbone=" in card) == (hub is None), "it is asked for where it cannot be found"
    assert "/home" not in card


def test_data_sets_are_named_of_tasks_that_are_those_of_a_suite() -> None:
    rte = {"name": "rte", "kind": "classification", "text": ["sentence1", "sentence2"], "main_metric": "accuracy"}
    labels = ["entailment", "not_entailment"]
    known = front(model_card(description(task=rte | {"labels": labels}), size=10, local=False))
    assert known["datasets"] == ["nyu-mll/glue"]
    assert [result["dataset"]["type"] for result in known["model-index"][0]["results"]] == ["nyu-mll/glue"]
    own = front(model_card(description(task=rte | {"labels": labels[::-1]}), size=10, local=False))
    assert "datasets" not in own
    assert [result["dataset"]["type"] for result in own["model-index"][0]["results"]] == ["unknown"]


# ---- what people read


def test_the_facts_are_there() -> None:
    card = model_card(description(), size=2048, local=False, reference="Someone, 2024")
    for said in (
        "# scalearn on pair",
        "scalearn over 1 source on a frozen minilm, and a head.",
        "- Method: `scalearn` (Someone, 2024) with `dropout=0.3`\n",
        "(bert, 6 layers, width 384), fingerprint `abababababab`",
        "- The head reads the mean over tokens",
        "- Kind: classification",
        "- Text columns: `premise`, `claim`",
        "- Labels (2): `no`, `yes`",
        "- Rows: 1,234 train, 8 dev",
        "| dev | 8 | **accuracy** | 75.0 | ± 19.6 |",
        "It is not an interval over seeds.",
        "- Trained parameters: 1,000 of the method and 200 of the head, 1,200 in all",
        "- Weights on disk: 2.0 KB, SHA-256 `efefefefefef`",
        "| rte | ships with scalearn | `cdcdcdcdcdcd` |",
        "- Seed: 3",
        "- Protocol: default",
        "- Precision: fp32",
        "- Best epoch: 2",
        "- Hyper-parameters: `learning_rate=0.01`\n",
        "- Versions: scalearn 0.1.0, torch 2.13.0",
        "scalearn transfer --train-file secret.csv --out runs/x",
    ):
        assert said in card, said


def test_scores_without_standard_errors_have_no_interval() -> None:
    card = model_card(description(metrics={"test": {"accuracy": 0.5, "f1": float("nan")}}), size=1, local=False)
    assert "| test |  | **accuracy** | 50.0 |  |" in card and "| test |  | f1 | not defined |  |" in card
    assert "No standard errors were recorded." in card
    assert "bootstrap" not in card and "chose the checkpoint" not in card


@pytest.mark.parametrize("full", ["full", "full-m"])
def test_a_backbone_that_was_trained_is_not_called_frozen(full: str) -> None:
    card = model_card(description(method={"name": full, "options": {}}, sources=[]), size=1, local=False)
    assert "frozen" not in card and f"{full} on minilm, and a head." in card
    assert "Sources" not in card


def test_where_sources_are(tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path) -> None:
    beside = saved_model(tiny_backbone, tmp_path / "out", shelf=shelf, task=task)
    (row,) = re.findall(r"^\| mrpc .*$", beside, flags=re.MULTILINE)
    assert row == f"| mrpc | `../shelf/mrpc` | `{shelf['mrpc'].sha256[:12]}` |"
    assert "--sources shelf" in beside
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="scalearn", sources=shelf)
    model.save_pretrained(tmp_path / "whole", include_sources=True)
    whole = (tmp_path / "whole/README.md").read_text()
    assert "| mrpc | copied in: `sources/mrpc` |" in whole and "--sources" not in whole
    assert (tmp_path / "whole/sources/mrpc/README.md").read_text() == (tmp_path / "shelf/mrpc/README.md").read_text()
    far = tmp_path / "a/b/c/d/out"
    assert "| mrpc | `.../mrpc` |" in saved_model(str(tiny_backbone), far, shelf=deep(shelf, tmp_path), task=task)


def deep(shelf: Shelf, folder: Path) -> Shelf:
    """The shelf, saved where the way to it has several names."""
    return Shelf(source.save(folder / "home/ann/shelf" / source.name) for source in shelf)


def test_nothing_says_where_this_machine_keeps_things(
    tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path
) -> None:
    command = f"scalearn transfer --train-file {tmp_path}/rows.csv --backbone {tiny_backbone} --out {tmp_path}/out"
    provenance = PROVENANCE | {"command": command}
    saved_model(tiny_backbone, tmp_path / "out", shelf=deep(shelf, tmp_path), task=task, provenance=provenance)
    cards = [*tmp_path.glob("home/ann/shelf/*/README.md"), tmp_path / "out/README.md"]
    assert len(cards) == 4
    for path in cards:
        text = path.read_text()
        for part in {*tmp_path.parts[1:-1], *Path(tiny_backbone).parts[1:-1], "home"}:
            assert not re.search(rf"(?<!\w){re.escape(part)}/", text), part
        assert "`tiny`" in text
    assert "--train-file rows.csv --backbone tiny --out out" in cards[-1].read_text()


def test_hostile_names_stay_names(tiny_backbone: str, tmp_path: Path) -> None:
    scores = {HOSTILE: {"accuracy": 0.5, HOSTILE: 0.25}}
    provenance = {"protocol": HOSTILE, "rows": {HOSTILE: 5}, "versions": {HOSTILE: HOSTILE}, "command": HOSTILE}
    one = saved_model(tiny_backbone, tmp_path / "out", task=TASKS["hostile"], metrics=scores, provenance=provenance)
    plain = saved_model(tiny_backbone, tmp_path / "plain", task=TASKS["pair"], metrics=SCORES, provenance=PROVENANCE)
    html, usual = rendered(one), rendered(plain)
    assert re.findall(r"<h2>.*</h2>", html) == re.findall(r"<h2>.*</h2>", usual)
    for tag in ("b", "em", "hr", "script", "img"):
        assert f"<{tag}" not in html
    assert html.count("<a ") == usual.count("<a ") == 1, "the one link is the card's own"
    assert html.count("<h1>") == 1 and len(re.findall("<td>", html)) == 10
    assert ModelCard(one).data.model_name == front(one)["model-index"][0]["name"]


# ---- folded, trained


@pytest.mark.parametrize("kind", ["adapter", "lora"])
def test_a_folded_model_says_what_was_folded(
    kind: str, tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path
) -> None:
    sources = shelf
    if kind == "lora":
        lora = TransferModel.from_backbone(tiny_backbone, task=task, method=LoRA(rank=2))
        made = (lora.to_source(name=f"s{n}", metrics={}, provenance={}).save(tmp_path / f"l/s{n}") for n in (1, 2))
        sources = Shelf(made)
    model = TransferModel.from_backbone(tiny_backbone, task=task, method=ScaLearn(dropout=0.125), sources=sources)
    trained = model.parameter_counts()["method"]
    model.facts = {"metrics": SCORES}
    model.fold().save_pretrained(tmp_path / "folded")
    card = (tmp_path / "folded/README.md").read_text()
    assert f"scalearn folded into one ordinary {kind} on a frozen tiny" in card
    (line,) = re.findall(r"^- Folded from.*$", card, flags=re.MULTILINE)
    assert "`scalearn` with" in line and "`dropout=0.125`" in line and f"over {', '.join(sources.names)}:" in line
    assert f"- Trained parameters before folding: {trained:,} of the method" in card
    assert "75.0 | ± 19.6" in card, "the scores are still its own"
    assert "## Sources" not in card
    again = TransferModel.from_pretrained(tmp_path / "folded")
    again.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again/README.md").read_text() == card


def test_what_training_writes(tiny_backbone: str, task: Task, tmp_path: Path) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter")
    recipe = changed(recipe_for(model.method), {"epochs": 1})
    result = train(model, tmp_path / "out", recipe=recipe, seed=5, name="mine", progress=False, precision="fp32")
    card = (tmp_path / "out/README.md").read_text()
    scores = result.metrics["dev"]
    shown = f"{100 * scores['accuracy']:.1f} | ± {196 * scores['accuracy_stderr']:.1f}"
    assert f"| dev | 8 | **accuracy** | {shown} |" in card
    assert "- Rows: 32 train, 8 dev" in card and "- Seed: 5" in card
    size = (tmp_path / "out/model.safetensors").stat().st_size
    assert f"- Weights on disk: {size / 1024:.1f} KB" in card
    head, section = card.split("## As a source")
    assert "is also a source named mine" in section and "Shelf" in section and "Shelf" not in head
    assert ModelCard(card).data.tags == ["adapter", "task-transfer", "classification"]


# ---- whatever is missing


def shrunk(value: Any) -> Iterator[Any]:
    """The value with one part of it left out or replaced by one of another type, wherever it is."""
    yield from (None, 5, "text", ["text"], {"key": "text"}, True, float("inf"))
    if isinstance(value, Mapping):
        for key in value:
            yield {other: kept for other, kept in value.items() if other != key}
            for part in shrunk(value[key]):
                yield {**value, key: part}


TYPED = {"task", "method", "backbone", "sources", "sha256", "pooling", "format_version", "scalearn"}
"""What is checked before a card is made of it."""


def test_whatever_facts_a_model_has_there_is_a_card() -> None:
    whole = description(folded_from={"method": "x", "options": {"a": 1}, "sources": [{"name": "b"}]})
    facts = {key: value for key, value in whole.items() if key not in TYPED}
    fixed = {key: value for key, value in whole.items() if key in TYPED}
    made = 0
    for found in shrunk(facts):
        if isinstance(found, dict):
            card = model_card(fixed | found, size=1, local=False)
            ModelCard(card)
            made += 1
    assert made > 200


def test_whatever_a_source_says_of_itself_there_is_a_card(
    backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    source = make_source("rte", backbone)
    given = {"task": TASKS["pair"].describe(), "options": {"a": 1}, "metrics": SCORES, "provenance": PROVENANCE}
    fixed = {"name": "rte", "method": "adapter", "backbone": source.backbone.model_dump(), "sha256": "ab"}
    made = 0
    for found in shrunk(given):
        if isinstance(found, dict):
            ModelCard(source_card(fixed | found, size=1, local=False))
            made += 1
    assert made > 200


def test_a_shelf_of_several_backbones_names_them_all() -> None:
    ids = ("FacebookAI/roberta-base", "google-bert/bert-base-uncased")
    made = [{"name": f"s{n}", "method": "adapter", "backbone": {"name": name}} for n, name in enumerate(ids)]
    assert front(shelf_card(made[:1], place="ann/shelf"))["base_model"] == ids[0]
    card = shelf_card(made, place="ann/shelf")
    assert f"on frozen backbones: {ids[0]}, {ids[1]}." in card and "base_model" not in front(card)


def test_a_model_that_was_never_trained_claims_nothing(tiny_backbone: str, tmp_path: Path) -> None:
    card = saved_model(tiny_backbone, tmp_path / "out", task=TASKS["pair"])
    assert "## Scores" not in card and "model-index" not in front(card) and "Rows" not in card
    assert "- Versions: scalearn" in card


# ---- nothing depends on it


def test_an_edited_card_changes_nothing(tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path) -> None:
    first = saved_model(tiny_backbone, tmp_path / "out", shelf=shelf, task=task)
    before = TransferModel.from_pretrained(tmp_path / "out")
    digests = [source.digest() for source in shelf]
    for path in [tmp_path / "out/README.md", *tmp_path.glob("shelf/*/README.md")]:
        path.write_bytes(b"\xff mine")
    (tmp_path / "shelf/rte/README.md").unlink()
    after = TransferModel.from_pretrained(tmp_path / "out")
    assert after.facts == before.facts
    assert all(torch.equal(tensor, after.trained_state()[name]) for name, tensor in before.trained_state().items())
    assert [source.digest() for source in Shelf(tmp_path / "shelf")] == digests
    after.save_pretrained(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/README.md").read_text(encoding="utf-8") == first


def test_the_same_model_has_the_same_card(tiny_backbone: str, shelf: Shelf, task: Task, tmp_path: Path) -> None:
    first = saved_model(tiny_backbone, tmp_path / "out", shelf=shelf, task=task, metrics=SCORES, provenance=PROVENANCE)
    (tmp_path / "again").mkdir()
    SavedModel.read(tmp_path / "out").write(tmp_path / "again")
    assert (tmp_path / "again/README.md").read_text(encoding="utf-8") == first
    found = json.loads((tmp_path / "out/scalearn.json").read_text())
    kept = copy.deepcopy(found)
    size = (tmp_path / "out/model.safetensors").stat().st_size
    assert model_card(found, size=size, local=True, reference=ScaLearn.reference) == first
    assert found == kept


def test_a_source_that_is_copied_keeps_its_card(
    backbone: Backbone, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    source = replace(make_source("rte", backbone), metrics=SCORES)
    first = source.save(tmp_path / "first")
    first.save(tmp_path / "second")
    assert (tmp_path / "first/README.md").read_bytes() == (tmp_path / "second/README.md").read_bytes()
    first.store_embedding([0.5, 0.25])
    assert (tmp_path / "first/README.md").read_bytes() == (tmp_path / "second/README.md").read_bytes()


@pytest.mark.parametrize("folder", sorted(SHIPPED.iterdir()), ids=lambda folder: folder.name)
def test_the_cards_that_ship_are_those_of_the_sources_that_ship(folder: Path) -> None:
    found = json.loads((folder / "source.json").read_text())
    size = (folder / "source.safetensors").stat().st_size
    card = (folder / "README.md").read_text()
    assert card == source_card(found, size=size, local=False)
    assert ModelCard(card).data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert front(card)["datasets"] == ["nyu-mll/glue"]
