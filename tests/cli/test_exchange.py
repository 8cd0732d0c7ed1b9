"""`scalearn import` and `scalearn export`: adapters of the adapters library, from files to a shelf and back."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from typer.testing import CliRunner

from scalearn.backbones import load_backbone
from scalearn.cli import app, main
from scalearn.interop.formats import stated_backbone
from scalearn.model import TransferModel
from scalearn.shelf import Shelf

BERT = Path(__file__).parents[1] / "fixtures" / "adapterhub" / "bert"
ON_BERT = ("--backbone", BERT / "base")
Run = Callable[..., str]


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns what it printed to either stream, of one that failed its one line."""

    def run(*words: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.out + captured.err

    return run


def test_from_adapters_to_an_adapter(scalearn: Run, tmp_path: Path) -> None:
    """Import, transfer, export, import: what comes back adds what the transferred model added."""
    shelf, run, out = tmp_path / "shelf", tmp_path / "run", tmp_path / "out"
    printed = scalearn("import", BERT / "s0", BERT / "s1", BERT / "s2", *ON_BERT, "--out", shelf)
    assert printed.splitlines()[2] == f"{shelf / 's2'}: adapter, bottleneck 4, trained on {BERT / 'base'}"
    assert Shelf(shelf).names == ("s0", "s1", "s2")
    few = ("--train-rows", 16, "--steps", 2, "--quiet")
    scalearn("transfer", "policy-claims", "--sources", shelf, *ON_BERT, "--out", run, *few)
    assert scalearn("export", run, "--format", "adapterhub", "--out", out).startswith(f"adapterhub in {out} (0.0")
    assert {path.name for path in out.iterdir()} == {
        "adapter_config.json",
        "head_config.json",
        "pytorch_adapter.bin",
        "pytorch_model_head.bin",
        "scalearn-adapterhub.json",
    }
    scalearn("import", out, *ON_BERT, "--out", tmp_path / "again", "--name", "mine")
    (source,) = Shelf(tmp_path / "again")
    folded = TransferModel.from_pretrained(run).fold()
    assert source.name == "mine" and source.task["name"] == "policy-claims"
    for ours, delta in zip(source.deltas()["layer"], folded.deltas, strict=True):
        assert all(torch.equal(ours.state_dict()[key], value) for key, value in delta.state_dict().items())


def test_exports_by_options(scalearn: Run, tmp_path: Path) -> None:
    few = ("--train-rows", 16, "--steps", 1, "--quiet")
    scalearn("train", "policy-claims", *ON_BERT, "--pooling", "mean", "--out", tmp_path / "run", *few)
    export = ("export", tmp_path / "run", "--format", "adapterhub", "--out", tmp_path / "out")
    assert "reads the mean of the tokens" in scalearn(*export, code=2)
    scalearn(*export, "--no-head", "--name", "claims", "--safetensors")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"adapter_config.json", "adapter.safetensors", "scalearn-adapterhub.json"}
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["name"] == "claims"
    assert "exists already" in scalearn(*export, "--no-head", code=2)
    scalearn(*export, "--no-head", "--overwrite")
    peft = ("export", tmp_path / "run", "--format", "peft", "--out", tmp_path / "peft")
    assert "--format adapterhub has --name, --no-head, and peft has not" in scalearn(
        *peft, "--name", "x", "--no-head", code=2
    )
    assert not (tmp_path / "peft").exists()


def test_peft_adapters_are_known_by_their_description(scalearn: Run, tmp_path: Path) -> None:
    base = load_backbone(str(BERT / "base")).model
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
    get_peft_model(base, config).save_pretrained(tmp_path / "lora")
    printed = scalearn("import", tmp_path / "lora", BERT / "s0", *ON_BERT, "--out", tmp_path / "shelf")
    assert "lora, rank 2" in printed and "adapter, bottleneck 4" in printed


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ((BERT / "s0",), "names no backbone on the Hub: give the one it was trained on with --backbone"),
        ((BERT,), "the folder has adapters in flex, s0, s1, s2: give one of these"),
        ((BERT / "s0", BERT / "s0", *ON_BERT), "two adapters are named 's0'"),
        ((BERT / "s0", BERT / "s1", *ON_BERT, "--name", "x"), "--name x is for one adapter, but there are 2"),
        ((BERT / "s0", *ON_BERT, "--name", "../x"), "source name '../x'"),
        ((BERT / "s0", BERT / "base", *ON_BERT), "adapter_config.json does not exist"),
        (("org/nothing-here", *ON_BERT), "org/nothing-here is no folder here"),
    ],
)
def test_nothing_is_imported_where_something_is_wrong(
    words: tuple[object, ...], fault: str, scalearn: Run, tmp_path: Path
) -> None:
    assert fault in scalearn("import", *words, "--out", tmp_path / "shelf", code=2)
    assert not (tmp_path / "shelf").exists()


def test_a_shelf_is_not_a_source(scalearn: Run, tmp_path: Path) -> None:
    scalearn("import", BERT / "s0", *ON_BERT, "--out", tmp_path / "shelf")
    into_source = scalearn("import", BERT / "s1", *ON_BERT, "--out", tmp_path / "shelf" / "s0", code=2)
    assert "is a source, not a shelf of sources" in into_source
    again = ("import", BERT / "s0", BERT / "s1", *ON_BERT, "--out", tmp_path / "shelf")
    assert "s0 exists already" in scalearn(*again, code=2)
    assert Shelf(tmp_path / "shelf").names == ("s0",)
    scalearn(*again, "--overwrite")
    assert Shelf(tmp_path / "shelf").names == ("s0", "s1")


def named(folder: Path, backbone: object) -> Path:
    """A copy of bert/s0 that names this backbone."""
    shutil.copytree(BERT / "s0", folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_name": backbone}))
    return folder


@pytest.mark.parametrize(
    "name", ["/etc", "../bert", "~/bert", "here", "a/b/c", "owner/..", "bert-base\n", "C:\\bert", "", None, 3, ["bert"]]
)
def test_paths_in_a_description_are_not_followed(name: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert stated_backbone(named(tmp_path / "s0", name)) is None


def test_another_backbone_than_the_one_named_is_noted(scalearn: Run, tmp_path: Path) -> None:
    folder = named(tmp_path / "named", "google-bert/bert-base-uncased")
    assert stated_backbone(folder) == "google-bert/bert-base-uncased"
    printed = scalearn("import", folder, *ON_BERT, "--out", tmp_path / "shelf")
    assert "note: s0 says that it was trained on google-bert/bert-base-uncased" in printed
    folder = named(tmp_path / "same", "owner/base")
    assert "note" not in scalearn("import", folder, *ON_BERT, "--out", tmp_path / "other")


def test_minilm_is_known_by_its_name_on_the_hub(tmp_path: Path) -> None:
    assert stated_backbone(named(tmp_path / "s0", "sentence-transformers/all-MiniLM-L6-v2")) == "minilm"


def test_an_export_does_not_replace_the_model(scalearn: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scalearn.json").touch()
    words = ("export", tmp_path / "run", "--out", tmp_path / "run", "--overwrite", "--format")
    for form in ("adapterhub", "peft", "onnx"):
        assert "run is not replaced: it holds other things than an export" in scalearn(*words, form, code=2)


def test_the_named_backbone_is_loaded(scalearn: Run, tmp_path: Path) -> None:
    folder = named(tmp_path / "named", "owner/not-in-the-cache")
    assert "backbone 'owner/not-in-the-cache' cannot be loaded" in scalearn(
        "import", folder, "--out", tmp_path / "shelf", code=2
    )


def test_bad_formats_name_the_good_ones() -> None:
    result = CliRunner().invoke(app, ["export", "run", "--format", "pickle", "--out", "x"])
    assert result.exit_code == 2 and "adapterhub" in result.output and "onnx" in result.output
