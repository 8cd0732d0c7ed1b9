"""DDP and FSDP2 with two processes on a CPU: the gradients of one process with the same global batch.

docs/your-own-loop.md says how it is done.
"""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.training.sharding import shard

WORKER = Path(__file__).with_name("two_processes.py")
METHODS = ("adapter", "lora", "scalearn", "scalearn++")
every_method = pytest.mark.parametrize("method", METHODS)
every_format = pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("float32", 1e-6)])


class Launched(NamedTuple):
    """What two processes left."""

    out: Path
    backbone: str
    said: list[dict[str, Any]]

    def kept(self, what: str) -> dict[str, Tensor]:
        """The tensors of the first process, which are those of the second."""
        first, second = (load_file(self.out / f"{what}-{rank}.safetensors") for rank in (0, 1))
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
        return first


@pytest.fixture(scope="module")
def launched(
    tiny_backbone: str, make_source: Callable[..., Source], tmp_path_factory: pytest.TempPathFactory
) -> Launched:
    out = tmp_path_factory.mktemp("parallel")
    for name in ("cola", "rte"):
        make_source(name, load_backbone(tiny_backbone)).save(out / "shelf" / name)
    common = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, (WORKER, tiny_backbone, out / "shelf", out))],
            env=os.environ | common | {"RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for process in processes:
            _, told = process.communicate(timeout=240)
            assert process.returncode == 0, told
    finally:
        for process in processes:
            process.kill()
    return Launched(out, tiny_backbone, [json.loads((out / f"said-{rank}.json").read_text()) for rank in (0, 1)])


class Alone(NamedTuple):
    """What one process computes of the whole batch."""

    gradients: dict[str, Tensor]
    logits: Tensor
    stepped: dict[str, Tensor]


@pytest.fixture
def alone(launched: Launched, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Alone]:
    own = runpy.run_path(str(WORKER))
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, *_, **__: x)

    def compute(method: str, dtype: str) -> Alone:
        model, batch = own["ready"](launched.backbone, launched.out / "shelf", method, own["FORMATS"][dtype])
        model(**batch).loss.backward()
        gradients, logits = own["gradients"](model), model.logits(encoded(model))
        return Alone(gradients, logits, own["stepped"](model))

    def encoded(model: TransferModel) -> Any:
        return model.encode({"text_a": ["the good film", "a b"], "text_b": ["bad", "c"]})

    return compute


@every_format
@every_method
@pytest.mark.parametrize("how", ["ddp", "fsdp", "fsdp-parts"])
def test_gradients_are_those_of_one_process(
    launched: Launched, alone: Callable[[str, str], Alone], how: str, method: str, dtype: str, close: float
) -> None:
    """``parts`` are of one batch that is accumulated from two."""
    expected = alone(method, dtype).gradients
    found = launched.kept(f"{how}-{method}-{dtype}")
    assert found.keys() == expected.keys()
    assert sum("omega" in key for key in found) == {"scalearn": 2, "scalearn++": 1}.get(method, 0)
    for key, gradient in expected.items():
        assert gradient.abs().max() > 1e-4, key
        torch.testing.assert_close(found[key], gradient, rtol=close, atol=close)


@every_method
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_a_step_leads_to_the_weights_of_one_process(
    launched: Launched, alone: Callable[[str, str], Alone], how: str, method: str
) -> None:
    """Under the names that the state_dict always has."""
    expected = alone(method, "float64").stepped
    torch.testing.assert_close(launched.kept(f"{how}-step-{method}-float64"), expected, rtol=1e-9, atol=1e-9)
    state = launched.said[0][f"{method}-float64"]["state"]
    assert sorted(key.removeprefix("module.") for key in state) == sorted(expected)


@every_method
def test_the_frozen_part_is_sharded_and_the_model_saved_as_ever(
    launched: Launched, alone: Callable[[str, str], Alone], method: str
) -> None:
    assert launched.said[0][f"{method}-float32"]["frozen"] == ["DTensor"]
    sources = Shelf(launched.out / "shelf") if method.startswith("scalearn") else None
    model = TransferModel.from_pretrained(launched.out / f"saved-{method}-float32", sources=sources)
    logits = model.logits(model.encode({"text_a": ["the good film", "a b"], "text_b": ["bad", "c"]}))
    torch.testing.assert_close(logits, alone(method, "float32").logits)


def test_train_says_what_to_do_instead(launched: Launched) -> None:
    for said in launched.said:
        assert "train runs in one process, not in 2" in said["train"] and "your-own-loop" in said["train"]
    assert [path.name for path in launched.out.iterdir() if "trained" in path.name] == []


def test_sharding_needs_processes_and_something_frozen(tiny_backbone: str, pair_task: Any, tmp_path: Path) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=pair_task, method="adapter")
    with pytest.raises(InputError, match="start with torchrun"):
        shard(model)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with pytest.raises(InputError, match="'full' trains the whole backbone"):
            shard(TransferModel.from_backbone(tiny_backbone, task=pair_task, method="full"))
    finally:
        torch.distributed.destroy_process_group()
