"""Which targets a predictor takes, and how they come and go."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn import InputError, MultiTaskPredictor
from scalearn.backbones import Backbone, load_backbone
from scalearn.model import TransferModel
from scalearn.serving import UnknownTask
from scalearn.shelf import Shelf
from scalearn.tasks import Task

Build = Callable[..., TransferModel]
Tasks = dict[str, Task]


@pytest.fixture
def many(tiny_backbone: str, shared_shelf: Shelf) -> MultiTaskPredictor:
    return MultiTaskPredictor(tiny_backbone, sources=shared_shelf)


def test_folders_bring_their_backbone_and_sources(runs: Path, shared_shelf: Shelf) -> None:
    many = MultiTaskPredictor.from_folders([runs])
    assert many.names == ("choice", "pairs", "reviews")  # by folder
    assert {source.name for source in many.sources} == set(shared_shelf.names)
    assert "pairs" in many and len(many) == 3
    model = TransferModel.from_pretrained(runs / "pairs")
    (answer,) = many.predict([("pairs", ("the good film", "bad"))])
    (expected,) = model.predict([("the good film", "bad")])
    assert answer.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


def test_one_source_twice_is_one_source(
    runs: Path, tmp_path: Path, build: Build, tasks: Tasks, shared_shelf: Shelf
) -> None:
    build("scalearn", tasks["scale"], shared_shelf.only(["rte"])).save_pretrained(tmp_path / "few")
    many = MultiTaskPredictor.from_folders([tmp_path / "few", runs / "pairs"])
    assert [source.name for source in many.sources] == ["rte", "cola", "mrpc"]


def test_names(many: MultiTaskPredictor, runs: Path, build: Build, tasks: Tasks, shared_shelf: Shelf) -> None:
    assert many.add(runs / "pairs") == "pairs"
    with pytest.raises(InputError, match=r"pairs cannot be called 'pairs', as another target is: give another name"):
        many.add(runs / "pairs")
    assert many.add(runs / "reviews", "pairs", overwrite=True) == "pairs"
    assert many.tasks["pairs"].name == "reviews"
    assert many.add(build("scalearn", tasks["scale"], shared_shelf)) == "scale"
    many.remove("pairs")
    assert many.names == ("scale",)
    with pytest.raises(UnknownTask, match="there is no task 'pairs'; there are scale"):
        many.remove("pairs")
    with pytest.raises(UnknownTask, match="there is no task 'scales'; there are scale"):
        many.predict([("scales", "text")])


def test_rows_of_the_wrong_form_are_all_named(many: MultiTaskPredictor, runs: Path) -> None:
    many.add(runs / "pairs")
    many.add(runs / "reviews")
    rows: list[Any] = [("pairs", "one"), ("pairs", ("a", "b")), ("reviews", ("a", "b")), ("pairs", ("a", 3))]
    with pytest.raises(InputError) as error:
        many.predict(rows)
    assert "row 1 has 1 text(s), 'pairs' takes 2 (premise, claim)" in str(error.value)
    assert "row 3 has 2 text(s), 'reviews' takes 1 (text)" in str(error.value)
    assert "row 4 has ['int', 'str'], not texts" in str(error.value)
    assert "row 2" not in str(error.value)
    assert many.predict([]) == []


def test_another_backbone_is_refused_by_name(tmp_path: Path, runs: Path, backbone: Backbone, make_source: Any) -> None:
    with torch.no_grad():
        next(backbone.model.parameters()).add_(1)
    backbone.model.save_pretrained(tmp_path / "other")
    assert backbone.tokenizer is not None
    backbone.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match=r"reviews was trained on .*tiny \(\w{8}\), not on .*other \(\w{8}\)"):
        MultiTaskPredictor(str(tmp_path / "other")).add(runs / "reviews")


def test_other_sources_are_refused_by_name(
    tiny_backbone: str, runs: Path, backbone: Backbone, make_source: Any, shared_shelf: Shelf
) -> None:
    others = Shelf([make_source("rte", backbone, seed=99), shared_shelf["cola"], shared_shelf["mrpc"]])
    many = MultiTaskPredictor(tiny_backbone, sources=others)
    with pytest.raises(InputError) as error:
        many.add(runs / "reviews")
    own, other = shared_shelf["rte"].sha256[:12], others["rte"].digest()[:12]
    assert f"reviews combines 'rte' ({own}...), but the sources here are 'rte' ({other}...), 'cola'" in str(error.value)
    assert not many.names


@pytest.mark.parametrize("method", ["full", "ia3", "lora", "adapterfusion"])
def test_methods_that_cannot_be_mixed_are_refused(
    method: str, many: MultiTaskPredictor, build: Build, tasks: Tasks, shared_shelf: Shelf
) -> None:
    with pytest.raises(InputError, match=f"is of method '{method}', which cannot be served among others"):
        many.add(build(method, tasks["reviews"], shared_shelf))


def test_tensors_that_are_not_the_methods_are_all_named(
    many: MultiTaskPredictor, build: Build, tasks: Tasks, shared_shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("scalearn", tasks["reviews"], shared_shelf)
    state = dict(model.trained_state())
    first = "backbone.encoder.layer.0.output.LayerNorm.delta.omega.values"
    state["extra"] = state.pop("head.out.bias")
    state[first] = torch.ones(2, 16)
    monkeypatch.setattr(model, "trained_state", lambda: state)
    with pytest.raises(InputError, match=r"head.out.bias is missing"):
        many.add(model)
    state["head.out.bias"] = torch.zeros(2)
    with pytest.raises(
        InputError, match=r"LayerNorm.delta.omega.values has shape \(2, 16\), expected \(3, 16\); extra is"
    ):
        many.add(model)
    del state["extra"]
    state[first] = torch.full((3, 16), float("nan"))
    with pytest.raises(InputError, match=r"not finite in backbone.encoder.layer.0"):
        many.add(model)


def test_all_models_that_cannot_be_served_together_are_named(
    tmp_path: Path, build: Build, tasks: Tasks, shared_shelf: Shelf
) -> None:
    for method in ("ia3", "head", "lora"):
        build(method, tasks["reviews"]).save_pretrained(tmp_path / method)
    with pytest.raises(InputError) as error:
        MultiTaskPredictor.from_folders([tmp_path])
    assert "ia3 is of method 'ia3'" in str(error.value) and "lora is of method 'lora'" in str(error.value)
    with pytest.raises(InputError, match=r"holds no models \(scalearn.json, \*/scalearn.json\)"):
        MultiTaskPredictor.from_folders([tmp_path / "nothing"])
    with pytest.raises(InputError, match="there are no models"):
        MultiTaskPredictor.from_folders([])


def test_an_altered_file_is_refused(tmp_path: Path, runs: Path, many: MultiTaskPredictor) -> None:
    description = json.loads((runs / "reviews" / "scalearn.json").read_text())
    (tmp_path / "altered").mkdir()
    (tmp_path / "altered" / "scalearn.json").write_text(json.dumps(description))
    data = bytearray((runs / "reviews" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "altered" / "model.safetensors").write_bytes(data)
    with pytest.raises(InputError, match="was cut short or altered"):
        many.add(tmp_path / "altered")


@pytest.mark.parametrize("budget", [0, 1500, float("inf")])
def test_heads_in_memory_and_in_the_file_give_the_same_answers(
    budget: float, tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: dict[str, list[Any]]
) -> None:
    def asked(predictor: MultiTaskPredictor) -> list[torch.Tensor]:
        return predictor.logits([(name, row) for name in predictor.names for row in texts["reviews"]])

    some = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_memory=budget)
    every = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_memory=float("inf"))
    size = 4 * (17 * 16 + 17 * 2)
    for seed in range(3):
        model = build("scalearn-uniform", tasks["reviews"], shared_shelf, seed=seed)
        some.add(model, str(seed))
        every.add(model, str(seed))
    in_memory = {0: 0, 1500: 1, float("inf"): 3}[budget]
    assert some.usage == (in_memory * size, (3 - in_memory) * size)
    assert all(map(torch.equal, asked(some), asked(every)))


def test_a_head_that_is_gone_gives_back_its_room(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_memory=1300)
    model = build("scalearn-uniform", tasks["reviews"], shared_shelf)
    for name in ("memory", "file"):
        many.add(model, name)
    full = many.usage
    assert full.memory > 0 and full.file > 0
    held = many.resolve([("file", "a text")])  # as a call under way holds it
    before = many.answer(held)
    for name in ("memory", "file"):
        many.remove(name)
    many.add(build("scalearn-uniform", tasks["reviews"], shared_shelf, seed=1), "memory again")
    many.add(build("scalearn-uniform", tasks["reviews"], shared_shelf, seed=2), "file again")
    assert many.usage.file == 2 * full.file  # what is held is not written over
    assert many.answer(held) == before
    del held
    for name in ("memory again", "file again"):
        many.remove(name)
    assert many.usage.memory == 0
    for name in ("memory", "file", "another"):
        many.add(model, name)
    assert many.usage == (full.memory, 2 * full.file)


def test_bfloat16_heads_take_half_and_answer_nearly_the_same(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks
) -> None:
    model = build("scalearn-uniform", tasks["reviews"], shared_shelf)
    sizes, logits = [], []
    for dtype in (None, torch.bfloat16):
        many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_dtype=dtype)
        many.add(model)
        sizes.append(many.usage.memory)
        logits.append(many.logits([("reviews", "the good film")])[0])
    assert sizes[0] == 2 * sizes[1]
    assert not torch.equal(*logits)
    torch.testing.assert_close(*logits, rtol=0, atol=0.05)


def test_targets_come_and_go_while_others_are_answered(
    tiny_backbone: str, shared_shelf: Shelf, build: Build, tasks: Tasks, texts: dict[str, list[Any]]
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_memory=5000)
    models = [
        build("scalearn" if seed % 2 else "scalearn-uniform", tasks["reviews"], shared_shelf, seed=seed)
        for seed in range(4)
    ]
    rows = texts["reviews"]
    expected = {}
    for seed, model in enumerate(models):
        many.add(model, str(seed))
        expected[str(seed)] = [one.probabilities for one in model.predict(rows)]
    stop, faults, answered = threading.Event(), [], [0]

    def ask(offset: int) -> None:
        turn = offset
        while not stop.is_set():
            names = [str(turn % 2), str((turn + 1) % 2), *(name for name in many.names if name in "23")]
            try:
                answers = many.predict([(name, row) for name in names for row in rows])
            except UnknownTask:
                continue  # it went between the two lines above
            except Exception as error:
                faults.append(error)
                return
            wanted = [probabilities for name in names for probabilities in expected[name]]
            for answer, probabilities in zip(answers, wanted, strict=True):
                if answer.probabilities != pytest.approx(probabilities, abs=2e-6):
                    faults.append((names, answer, probabilities))
            answered[0] += 1
            turn += 1

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        for name in ("2", "3"):
            many.remove(name)
        for name in ("2", "3"):
            many.add(models[int(name)], name)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert answered[0] > 3
    assert set(many.names) == set("0123")


def test_adds_from_several_threads_are_all_there(many: MultiTaskPredictor, runs: Path) -> None:
    def add(number: int) -> None:
        for index in range(10):
            many.add(runs / "reviews", f"{number}-{index}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(many) == 40


def test_the_backbone_itself_cannot_be_asked(many: MultiTaskPredictor, tiny_backbone: str) -> None:
    tokens = torch.ones(1, 4, dtype=torch.long)
    with pytest.raises(InputError, match="ask its MultiTaskPredictor"):
        many._room.backbone.model(input_ids=tokens)
    assert load_backbone(tiny_backbone).model(input_ids=tokens) is not None


def test_a_source_of_another_backbone_is_refused(tmp_path: Path, backbone: Backbone, make_source: Any) -> None:
    source = make_source("rte", backbone)
    with torch.no_grad():
        next(backbone.model.parameters()).add_(1)
    backbone.model.save_pretrained(tmp_path / "other")
    assert backbone.tokenizer is not None
    backbone.tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="source 'rte' was trained on"):
        MultiTaskPredictor(str(tmp_path / "other"), sources=[source])


def test_a_full_disk_harms_only_what_is_added(tiny_backbone: str, shared_shelf: Shelf, runs: Path) -> None:
    """What did not fit is not tried again, to fail again, when a head that is there is read."""
    resource = pytest.importorskip("resource")
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf, head_memory=0)
    many.add(runs / "reviews")
    before, used = many.predict([("reviews", "the good film")]), many.usage
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (used.file + 100, hard))
    try:
        with pytest.raises(InputError, match=r"a head of 1,292 bytes cannot be kept in .*: make room"):
            many.add(runs / "pairs")
        assert many.predict([("reviews", "the good film")]) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert many.usage == used and many.names == ("reviews",)
    many.add(runs / "pairs")
    assert many.predict([("reviews", "the good film")]) == before


def test_numbers_that_are_not_finite_are_no_answer(
    many: MultiTaskPredictor, build: Build, tasks: Tasks, shared_shelf: Shelf
) -> None:
    model = build("scalearn-uniform", tasks["reviews"], shared_shelf)
    many.add(model, "fine")
    with torch.no_grad():
        model.head.out.weight.fill_(3e38)
        model.head.dense.bias.fill_(50.0)
    many.add(model, "broken")
    with pytest.raises(InputError, match=r"^'broken' gives numbers that are not finite: train it anew"):
        many.predict([("fine", "good"), ("broken", "good"), ("broken", "bad")])
    assert many.predict([("fine", "good")])[0].label in ("bad", "good")
