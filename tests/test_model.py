"""`TransferModel`: building, answering, folding, saving and loading, with the tiny backbone."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from scalearn import model as model_room
from scalearn import sites
from scalearn.backbones import Backbone, load_backbone
from scalearn.deltas import ScaledSources
from scalearn.errors import InputError
from scalearn.methods import Adapter, FullFineTuning, HeadOnly, Method, Probing, ScaLearn
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

METHODS: dict[str, Method] = {
    "adapter": Adapter(bottleneck=3),
    "full": FullFineTuning(),
    "head": HeadOnly(),
    "scalearn": ScaLearn(constraint="mean", regularisation=0.1),
    "scalearn-uniform": ScaLearn(uniform=True),
    "scalearn++": ScaLearn(shared=True),
    "scalearn-uniform++": ScaLearn(uniform=True, shared=True),
    "probing": Probing(omega=(0.3, 0.0, 0.7)),
}
FOLDABLE = [name for name, method in METHODS.items() if method.stage == "transfer"]
TEXTS = ["good film", "the bad film was very long and bad", "bad", "a b c a b c a b c a b c", "short and good", "the"]

Build = Callable[..., TransferModel]


@pytest.fixture
def build(tiny_backbone: str, shelf: Shelf, task: Task) -> Build:
    """A model of a method whose trained tensors are all random, as if it had been trained."""

    def made(name: str, *, task: Task = task, sources: Shelf = shelf, seed: int = 3) -> TransferModel:
        method = METHODS[name]
        chosen = sources if method.stage == "transfer" else None
        model = TransferModel.from_backbone(tiny_backbone, task=task, method=method, sources=chosen)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return model.eval()

    return made


def logits(model: TransferModel) -> Tensor:
    return model.logits(model.encode({"text_a": TEXTS}))


# ---- building


@pytest.mark.parametrize("name", METHODS)
def test_only_what_the_method_trains_is_trained(build: Build, name: str) -> None:
    trained = set(build(name).trained_state())
    inside = {part for part in trained if not part.startswith("head.")}
    assert trained - inside == {"head.dense.weight", "head.dense.bias", "head.out.weight", "head.out.bias"}
    prefix = "backbone.encoder.layer.{}.output.LayerNorm.delta."
    expected = {
        "adapter": {prefix.format(i) + f"{p}.{k}" for i in (0, 1) for p in ("down", "up") for k in ("weight", "bias")},
        "scalearn": {prefix.format(i) + "omega.values" for i in (0, 1)},
        "scalearn-uniform": {prefix.format(i) + "omega.values" for i in (0, 1)},
        "scalearn++": {prefix.format(0) + "omega.values"},
        "scalearn-uniform++": {prefix.format(0) + "omega.values"},
        "head": set(),
        "probing": set(),
    }
    if name == "full":
        assert len(inside) == len(list(build("head").backbone.parameters()))
    else:
        assert inside == expected[name]


def test_a_seed_decides_the_start_and_leaves_the_global_generator(tiny_backbone: str, task: Task) -> None:
    torch.manual_seed(5)
    first = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter", seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(6)
    same = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter", seed=1).trained_state()
    other = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter", seed=2).trained_state()
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), drawn)
    assert all(torch.equal(value, same[key]) for key, value in first.trained_state().items())
    assert not torch.equal(first.trained_state()["head.out.weight"], other["head.out.weight"])


def test_sources_go_in_as_they_are(build: Build, shelf: Shelf) -> None:
    delta = build("probing").deltas[1]
    for t, source in enumerate(shelf):
        up = source.tensors["layers.1.up.weight"]
        assert torch.equal(delta.up_weight[t, : up.shape[1]], up.T)


@pytest.mark.parametrize("method", ["scalearn", Probing(omega=(1.0,))])
def test_transfer_without_sources_is_refused(backbone: Backbone, task: Task, method: Method | str) -> None:
    with pytest.raises(InputError, match="combines sources: give a shelf"):
        TransferModel.from_backbone(backbone, task=task, method=method)


def test_sources_for_a_single_task_method_are_refused(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    with pytest.raises(InputError, match="method 'adapter' uses no sources"):
        TransferModel.from_backbone(backbone, task=task, method="adapter", sources=shelf)


def test_zero_sources_are_refused(backbone: Backbone, task: Task) -> None:
    with pytest.raises(InputError, match="zero sources"):
        TransferModel.from_backbone(backbone, task=task, method="scalearn", sources=Shelf([]))


def test_sources_of_another_backbone_are_refused(backbone: Backbone, task: Task, shelf: Shelf) -> None:
    other = replace(backbone, fingerprint="f" * 64)
    with pytest.raises(InputError, match=r"source 'cola' was trained on"):
        TransferModel.from_backbone(other, task=task, method="scalearn", sources=shelf)


def test_a_backbone_that_carries_deltas_is_refused(backbone: Backbone, task: Task) -> None:
    TransferModel.from_backbone(backbone, task=task, method="adapter")
    with pytest.raises(InputError, match="carries deltas already"):
        TransferModel.from_backbone(backbone, task=task, method="adapter")


def test_the_choice_of_pooling_holds_for_a_loaded_backbone_too(backbone: Backbone, task: Task) -> None:
    model = TransferModel.from_backbone(backbone, task=task, method="head", pooling="mean")
    assert model.head.pooling == "mean"


# ---- loss


def test_the_penalty_is_in_the_training_loss_only(build: Build) -> None:
    model = build("scalearn")
    inputs = {"input_ids": torch.tensor([[2, 5, 3]]), "labels": torch.tensor([1])}
    omegas = [delta.omega.values for delta in model.deltas]
    expected = 0.1 * sum(((1 - omega.mean(dim=1)) ** 2).mean() for omega in omegas)
    torch.testing.assert_close(model.penalty(), expected)
    plain = model(**inputs).loss
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(model.train()(**inputs).loss, plain + expected)


def test_without_backbone_dropout_deltas_and_head_keep_theirs(build: Build) -> None:
    model = build("scalearn")
    model.backbone_dropout = False
    model.train()
    assert model.head.training and all(delta.training and delta.omega.training for delta in model.deltas)
    dropouts = [module for module in model.backbone.modules() if isinstance(module, nn.Dropout)]
    assert dropouts and not any(module.training for module in dropouts)
    model.backbone_dropout = True
    model.train()
    assert all(module.training for module in dropouts)


@pytest.mark.parametrize("name", ["adapter", "scalearn++"])
def test_gradient_checkpointing_without_backbone_dropout(build: Build, name: str) -> None:
    model = build(name)
    model.backbone_dropout = False
    inputs = {"input_ids": torch.tensor([[2, 5, 7, 3], [2, 6, 3, 0]]), "labels": torch.tensor([1, 0])}
    inputs["attention_mask"] = (inputs["input_ids"] != 0).long()
    calls: list[int] = []
    model.backbone.encoder.layer[1].intermediate.register_forward_pre_hook(lambda *_: calls.append(1))

    def gradients() -> list[Tensor]:
        calls.clear()
        model.zero_grad()
        for module in model.modules():
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0  # of omega
        model.head.dropout.p = 0.0
        model.train()(**inputs).loss.backward()
        return [parameter.grad for parameter in model.parameters() if parameter.requires_grad]

    plain = gradients()
    assert len(calls) == 1
    model.activation_checkpointing_enable()
    for ours, theirs in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert len(calls) == 2, "the layer was not recomputed"


# ---- answers


@pytest.mark.parametrize("row", ["good film", ("good film",)])
def test_predict_one_text(build: Build, row: str | tuple[str]) -> None:
    (answer,) = build("adapter").predict([row])
    assert set(answer.probabilities) == {"good", "bad"}
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert answer.label == max(answer.probabilities, key=answer.probabilities.__getitem__)


def test_predict_follows_the_logits(build: Build) -> None:
    model = build("scalearn")
    expected = logits(model).softmax(dim=-1)
    answers = model.predict(TEXTS)
    labels = [model.task.labels[index] for index in expected.argmax(dim=-1)]
    assert [answer.label for answer in answers] == labels
    assert len(set(labels)) == 2, "a model that always says the same shows nothing"
    for answer, row in zip(answers, expected.tolist(), strict=True):
        assert list(answer.probabilities.values()) == pytest.approx(row)


def test_predict_pairs(build: Build, pair_task: Task) -> None:
    model = build("adapter", task=pair_task)
    one, swapped = model.predict([("good film", "bad"), ("bad", "good film")])
    assert set(one.probabilities) == {"no", "perhaps", "yes"}
    assert one != swapped
    encoded = model.need_tokenizer()("good film", "bad", return_tensors="pt")
    expected = model(**encoded).logits.softmax(dim=-1)[0].tolist()
    assert list(one.probabilities.values()) == pytest.approx(expected, abs=1e-5)


def test_predict_numbers(build: Build, scale_task: Task) -> None:
    model = build("adapter", task=scale_task)
    answers = model.predict(TEXTS)
    assert [answer.label for answer in answers] == pytest.approx(logits(model)[:, 0].tolist())
    assert all(answer.probabilities == {} for answer in answers)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_order_does_not_depend_on_batches(build: Build, batch_size: int) -> None:
    model = build("scalearn")
    whole, parts = model.predict(TEXTS), model.predict(TEXTS, batch_size=batch_size)
    for one, other in zip(whole, parts, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert len({round(answer.probabilities["good"], 4) for answer in whole}) == len(TEXTS)


@pytest.mark.parametrize("name", ["classes", "numbers"])
def test_predict_nothing(build: Build, task: Task, scale_task: Task, name: str) -> None:
    assert build("adapter", task=task if name == "classes" else scale_task).predict([]) == []


@pytest.mark.parametrize(("row", "wanted"), [(("a", "b"), 1), ((), 1), ("a", 2), (("a", "b", "c"), 2), ((1,), 1)])
def test_a_wrong_number_of_texts_names_the_row(
    build: Build, task: Task, pair_task: Task, row: tuple[str, ...], wanted: int
) -> None:
    right = "a" if wanted == 1 else ("a", "b")
    with pytest.raises(InputError, match=rf"row 2 is .*: give {wanted} text\(s\) per row \((text|premise, claim)\)"):
        build("adapter", task=task if wanted == 1 else pair_task).predict([right, row])


def test_answering_keeps_the_mode(build: Build) -> None:
    model = build("scalearn").train()
    assert torch.equal(logits(model), logits(model)), "dropout must not act"
    assert model.training and model.deltas[0].omega.training


def test_a_model_without_tokenizer_says_so(backbone: Backbone, task: Task) -> None:
    model = TransferModel(replace(backbone, tokenizer=None), task=task, method=HeadOnly())
    with pytest.raises(InputError, match="without a tokenizer"):
        model.predict(["good"])


# ---- omega and folding


@pytest.mark.parametrize("name", FOLDABLE)
def test_omega_as_it_acts(build: Build, name: str) -> None:
    model = build(name).train()
    omega = model.omega()
    assert omega.shape == (2, 3, 16 if name in ("scalearn", "scalearn++") else 1)
    for layer, delta in zip(omega, model.eval().deltas, strict=True):
        assert torch.equal(layer, delta.omega())
    if name == "scalearn":
        torch.testing.assert_close(omega.sum(dim=1), torch.ones(2, 16))


@pytest.mark.parametrize("name", ["adapter", "head", "full"])
def test_without_omega_there_is_none_to_show_or_fold(build: Build, name: str) -> None:
    model = build(name)
    with pytest.raises(InputError, match=f"method {name!r} has no omega"):
        model.omega()
    with pytest.raises(InputError, match=f"method {name!r} has nothing to fold"):
        model.fold()


@pytest.mark.parametrize("name", FOLDABLE)
def test_fold_equals_unfolded(build: Build, name: str) -> None:
    model = build(name)
    before = logits(model)
    assert model.fold() is model
    assert (logits(model) - before).abs().max() < 1e-5
    assert (model.method, model.sources) == (Adapter(bottleneck=12), ())


@pytest.mark.parametrize("name", FOLDABLE)
def test_fold_equals_unfolded_in_double(build: Build, name: str) -> None:
    model = build(name).double()
    inputs = torch.tensor([[2, 5, 7, 11, 3], [2, 6, 8, 12, 3]])
    before = model(inputs).logits
    assert before.dtype == torch.float64
    assert (model.fold()(inputs).logits - before).abs().max() < 1e-12


def test_a_folded_model_is_an_adapter_without_sources(build: Build, tmp_path: Path, tiny_backbone: str) -> None:
    model = build("scalearn").fold()
    model.save_pretrained(tmp_path / "folded")
    loaded = TransferModel.from_pretrained(tmp_path / "folded")
    assert torch.equal(logits(loaded), logits(model))
    assert loaded.method == Adapter(bottleneck=12) and loaded.sources == ()
    source = loaded.to_source(name="folded", metrics={}, provenance={})
    again = TransferModel.from_backbone(
        tiny_backbone, task=model.task, method=Probing(omega=(1.0,)), sources=Shelf([source])
    )
    again.head.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(logits(again), logits(model))


def test_a_trained_adapter_is_a_source(build: Build) -> None:
    model = build("adapter")
    source = model.to_source(name="reviews", metrics={"dev": {"accuracy": 1.0}}, provenance={"seed": 3})
    for delta, bottleneck in zip(model.deltas, source.deltas()["layer"], strict=True):
        assert all(torch.equal(v, bottleneck.state_dict()[k]) for k, v in delta.state_dict().items())
    assert (source.task, source.method) == (model.task.describe(), "adapter")
    assert source.backbone == model.reference


@pytest.mark.parametrize("name", ["full", "head", "scalearn"])
def test_other_methods_give_no_source(build: Build, name: str) -> None:
    with pytest.raises(InputError, match=f"method {name!r} gives no source"):
        build(name).to_source(name="x", metrics={}, provenance={})


# ---- saving and loading


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("include_sources", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_save_and_load_give_the_same_answers(build: Build, tmp_path: Path, name: str, include_sources: bool) -> None:
    model = build(name)
    model.save_pretrained(tmp_path / "out", include_sources=include_sources)
    loaded = TransferModel.from_pretrained(tmp_path / "out")
    assert not loaded.training
    assert torch.equal(logits(loaded), logits(model))
    assert (loaded.method, loaded.task, loaded.reference) == (model.method, model.task, model.reference)
    assert [source.name for source in loaded.sources] == [source.name for source in model.sources]


def test_a_fresh_process_gives_the_same_answers(build: Build, tmp_path: Path) -> None:
    model = build("scalearn++")
    model.save_pretrained(tmp_path / "out")
    code = (
        "import sys, torch, scalearn, safetensors.torch as st\n"
        "model = scalearn.TransferModel.from_pretrained(sys.argv[1])\n"
        "texts = sys.argv[3:]\n"
        "rows = model.encode({'text_a': texts})\n"
        "st.save_file({'logits': model.logits(rows, precision='fp32')}, sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out"), str(tmp_path / "logits.safetensors"), *TEXTS]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert torch.equal(load_file(tmp_path / "logits.safetensors")["logits"], logits(model))


@pytest.mark.parametrize(("name", "omegas"), [("scalearn", 2), ("scalearn++", 1), ("scalearn-uniform++", 1)])
def test_only_trained_tensors_are_stored_and_a_shared_omega_once(
    build: Build, tmp_path: Path, name: str, omegas: int
) -> None:
    build(name).save_pretrained(tmp_path / "out")
    assert listing(tmp_path / "out") == ["README.md", "model.safetensors", "scalearn.json"]
    stored = load_file(tmp_path / "out" / "model.safetensors")
    heads = {key for key in stored if key.startswith("head.")}
    assert len(heads) == 4
    assert len(stored.keys() - heads) == omegas
    assert all(key.endswith(".delta.omega.values") for key in stored.keys() - heads)
    width = 1 if "uniform" in name else 16
    assert all(stored[key].shape == (3, width) for key in stored.keys() - heads)


def test_a_shared_omega_is_shared_again_after_loading(build: Build, tmp_path: Path) -> None:
    build("scalearn++").save_pretrained(tmp_path / "out")
    first, second = TransferModel.from_pretrained(tmp_path / "out").deltas
    assert isinstance(first, ScaledSources) and first.omega is second.omega


def test_facts_are_kept(build: Build, tmp_path: Path) -> None:
    model = build("scalearn-uniform")
    model.save_pretrained(tmp_path / "out", extra={"metrics": {"dev": {"accuracy": 0.5}}})
    description = json.loads((tmp_path / "out" / "scalearn.json").read_text())
    assert description["metrics"] == {"dev": {"accuracy": 0.5}}
    assert description["trained_parameters"] == {"method": 6, "head": 306, "total": 312}
    assert description["method"] == {"name": "scalearn-uniform", "options": model.method.model_dump()}


def test_a_model_with_its_sources_inside_stands_alone(build: Build, shelf_folder: Path, tmp_path: Path) -> None:
    model = build("scalearn")
    model.save_pretrained(tmp_path / "out", include_sources=True)
    shelf_folder.rename(tmp_path / "elsewhere")
    assert torch.equal(logits(TransferModel.from_pretrained(tmp_path / "out")), logits(model))
    (tmp_path / "deep").mkdir()
    (tmp_path / "out").rename(tmp_path / "deep" / "moved")
    assert torch.equal(logits(TransferModel.from_pretrained(tmp_path / "deep" / "moved")), logits(model))


def test_sources_that_moved_are_named_and_can_be_given(build: Build, shelf_folder: Path, tmp_path: Path) -> None:
    model = build("scalearn")
    model.save_pretrained(tmp_path / "out")
    shelf_folder.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"shelf/cola any more: give its shelf"):
        TransferModel.from_pretrained(tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out", sources=Shelf(tmp_path / "elsewhere"))
    assert torch.equal(logits(loaded), logits(model))


def test_model_and_shelf_can_move_together(build: Build, shelf_folder: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    shelf_folder.rename(project / "shelf")
    model = build("scalearn", sources=Shelf(project / "shelf"))
    model.save_pretrained(project / "runs" / "out")
    project.rename(tmp_path / "moved")
    assert torch.equal(logits(TransferModel.from_pretrained(tmp_path / "moved" / "runs" / "out")), logits(model))


def test_the_order_of_sources_is_the_models_not_the_shelfs(build: Build, shelf: Shelf, tmp_path: Path) -> None:
    model = build("scalearn", sources=shelf.only(["rte", "cola"]))
    model.save_pretrained(tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out", sources=shelf)
    assert [source.name for source in loaded.sources] == ["rte", "cola"]
    assert torch.equal(logits(loaded), logits(model))


def test_other_sources_of_the_same_name_are_refused(
    build: Build, tmp_path: Path, backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    build("scalearn").save_pretrained(tmp_path / "out")
    for name in ("cola", "mrpc", "rte"):
        make_source(name, backbone, seed=99).save(tmp_path / "others" / name)
    with pytest.raises(InputError, match=r"source 'cola' \(.*others/cola\) has SHA-256 .*was trained with .*sources="):
        TransferModel.from_pretrained(tmp_path / "out", sources=Shelf(tmp_path / "others"))


def test_a_given_shelf_must_hold_all_sources(build: Build, shelf: Shelf, tmp_path: Path) -> None:
    build("scalearn").save_pretrained(tmp_path / "out")
    with pytest.raises(InputError, match="no source named 'mrpc'; there are cola, rte"):
        TransferModel.from_pretrained(tmp_path / "out", sources=shelf.without(["mrpc"]))


def test_sources_that_were_never_saved_need_to_be_included(
    build: Build, tmp_path: Path, backbone: Backbone, make_source: Callable[..., Source]
) -> None:
    model = build("scalearn", sources=Shelf([make_source("mine", backbone)]))
    with pytest.raises(InputError, match="source 'mine' was never saved"):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    model.save_pretrained(tmp_path / "out", include_sources=True)
    assert torch.equal(logits(TransferModel.from_pretrained(tmp_path / "out")), logits(model))


def test_another_backbone_is_refused(build: Build, tmp_path: Path, backbone: Backbone) -> None:
    build("scalearn").save_pretrained(tmp_path / "out")
    other = replace(backbone, name="other", fingerprint="f" * 64)
    with pytest.raises(InputError, match=r"out was trained on .*tiny.*not on other \(ffffffff\): give its backbone"):
        TransferModel.from_pretrained(tmp_path / "out", backbone=other)


def test_a_backbone_that_moved_can_be_given(build: Build, tmp_path: Path, tiny_backbone: str) -> None:
    model = build("scalearn")
    model.save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "scalearn.json"
    path.write_text(path.read_text().replace(tiny_backbone, "/no/such/folder"))
    with pytest.raises(InputError, match="backbone '/no/such/folder' cannot be loaded"):
        TransferModel.from_pretrained(tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out", backbone=tiny_backbone)
    assert torch.equal(logits(loaded), logits(model))


def test_pooling_is_remembered_whatever_the_backbone_is_given_as(
    task: Task, tmp_path: Path, tiny_backbone: str
) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="adapter", pooling="mean").eval()
    model.save_pretrained(tmp_path / "out")
    for given in (None, tiny_backbone, load_backbone(tiny_backbone)):
        loaded = TransferModel.from_pretrained(tmp_path / "out", backbone=given)
        assert loaded.head.pooling == "mean", given
        assert torch.equal(logits(loaded), logits(model))


def test_an_existing_folder_is_refused(build: Build, tmp_path: Path) -> None:
    build("adapter").save_pretrained(tmp_path / "out")
    kept = (tmp_path / "out" / "model.safetensors").read_bytes()
    other = build("adapter", seed=4)
    with pytest.raises(InputError, match="out exists already"):
        other.save_pretrained(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == kept
    other.save_pretrained(tmp_path / "out", overwrite=True)
    assert torch.equal(logits(TransferModel.from_pretrained(tmp_path / "out")), logits(other))


@pytest.mark.parametrize("before", [False, True])
def test_a_failing_write_leaves_nothing_behind(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    parent = tmp_path / "runs"
    parent.mkdir()
    model = build("scalearn")
    if before:
        model.save_pretrained(parent / "out")
    there = listing(parent)
    write = Path.write_text

    def fails(path: Path, *args: object, **kwargs: object) -> int:
        write(path, "half")
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", fails)
    with pytest.raises(OSError, match="no space left"):
        model.save_pretrained(parent / "out", include_sources=True, overwrite=True)
    monkeypatch.undo()
    assert listing(parent) == there
    if before:
        assert torch.equal(logits(TransferModel.from_pretrained(parent / "out")), logits(model))


def test_weights_that_do_not_fit_are_all_named(build: Build) -> None:
    model = build("scalearn")
    state = {key: value.clone() for key, value in model.trained_state().items()}
    before = logits(model)
    state["stranger"] = state.pop("head.out.bias")
    state["head.out.weight"] = torch.zeros(3, 16)
    with pytest.raises(
        InputError,
        match=r"method 'scalearn': head\.out\.bias is missing; head\.out\.weight has shape \(3, 16\), expected "
        r"\(2, 16\); stranger is unknown",
    ):
        model.load_trained_state(state)
    assert torch.equal(logits(model), before)


def test_the_backbone_is_not_changed_by_loading(build: Build, tmp_path: Path, tiny_backbone: str) -> None:
    build("scalearn").save_pretrained(tmp_path / "out")
    loaded = TransferModel.from_pretrained(tmp_path / "out")
    sites.detach(loaded.backbone)
    fresh = load_backbone(tiny_backbone).model.state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in loaded.backbone.state_dict().items())


def test_stored_weights_that_are_not_the_methods_are_refused(build: Build, tmp_path: Path) -> None:
    from hashlib import sha256

    build("scalearn").save_pretrained(tmp_path / "out")
    weights, description = tmp_path / "out" / "model.safetensors", tmp_path / "out" / "scalearn.json"
    old = sha256(weights.read_bytes()).hexdigest()
    save_file({"head.out.bias": torch.zeros(2)}, weights)
    description.write_text(description.read_text().replace(old, sha256(weights.read_bytes()).hexdigest()))
    with pytest.raises(InputError, match="the weights do not fit method 'scalearn'"):
        TransferModel.from_pretrained(tmp_path / "out")


def test_public_names_exist() -> None:
    import scalearn

    assert scalearn.TransferModel is model_room.TransferModel
    assert all(hasattr(scalearn, name) for name in scalearn.__all__)


def test_a_backbone_is_frozen_again_for_the_next_method(backbone: Backbone, task: Task) -> None:
    TransferModel.from_backbone(backbone, task=task, method="full")
    assert TransferModel.from_backbone(backbone, task=task, method="head").parameter_counts()["method"] == 0
