"""What tests/training/test_parallel.py runs in each of two processes, and in one to compare with."""

import copy
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

import scalearn as sl
from scalearn.encoding import collator
from scalearn.methods import Method
from scalearn.training.sharding import shard

ROWS = [("good " * n + "film", "bad " * (8 - n)) for n in range(8)]
LABELS = [0, 1, 2, 1, 0, 2, 2, 1]
METHODS: dict[str, Method] = {
    "adapter": sl.Adapter(bottleneck=4),
    "lora": sl.LoRA(rank=2),
    "scalearn": sl.ScaLearn(regularisation=0.1),
    "scalearn++": sl.ScaLearn(shared=True, regularisation=0.1),
}
FORMATS = {"float64": torch.float64, "float32": torch.float32}
TASK = sl.Task(
    name="pairs",
    kind="classification",
    text=("premise", "claim"),
    label="label",
    labels=("no", "perhaps", "yes"),
    metrics=("accuracy",),
    main_metric="accuracy",
)


def ready(backbone: str, shelf: Path, method: str, dtype: torch.dtype) -> tuple[sl.TransferModel, dict[str, Tensor]]:
    """A model with weights that matter, in training, and the global batch of eight rows."""
    sources = sl.Shelf(shelf) if method.startswith("scalearn") else None
    model = sl.TransferModel.from_backbone(backbone, task=TASK, method=METHODS[method], sources=sources).to(dtype)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.trained_state().values():
            tensor.add_(0.2 * torch.randn(tensor.shape, dtype=dtype, generator=generator))
    model.backbone_dropout = False
    first, second = ([row[i] for row in ROWS] for i in (0, 1))
    rows = model.encode({"text_a": first, "text_b": second}, labels=LABELS)
    return model.train(), collator(model.need_tokenizer())(rows)


def gradients(model: sl.TransferModel) -> dict[str, Tensor]:
    """Of all that is trained."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}


def stepped(model: sl.TransferModel) -> dict[str, Tensor]:
    """The state_dict after a step of AdamW."""
    torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2).step()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def compute(backbone: str, shelf: Path, out: Path, method: str, dtype: str, rank: int) -> dict[str, list[str]]:
    """Gradients and weights under DDP and under FSDP2, of a copy of the model each."""

    def keep(what: str, tensors: dict[str, Tensor]) -> None:
        save_file(tensors, out / f"{what}-{method}-{dtype}-{rank}.safetensors")

    original, batch = ready(backbone, shelf, method, FORMATS[dtype])
    own = {key: value[4 * rank : 4 * rank + 4] for key, value in batch.items()}

    wrapped = DistributedDataParallel(copy.deepcopy(original), broadcast_buffers=False)
    wrapped(**own).loss.backward()
    keep("ddp", gradients(wrapped.module))
    keep("ddp-step", stepped(wrapped.module))

    sharded = copy.deepcopy(original)
    shard(sharded)
    sharded(**own).loss.backward()
    keep("fsdp", gradients(sharded))
    keep("fsdp-step", stepped(sharded))

    sharded = copy.deepcopy(original)
    shard(sharded)
    for part in (slice(0, 2), slice(2, 4)):
        (sharded(**{key: value[part] for key, value in own.items()}).loss / 2).backward()
    keep("fsdp-parts", gradients(sharded))
    frozen = {type(p).__name__ for p in sharded.backbone.parameters() if not p.requires_grad}
    sharded.predict(ROWS)  # in step with the other process
    if rank == 0:
        sharded.save_pretrained(out / f"saved-{method}-{dtype}")
    return {"state": list(wrapped.state_dict()), "frozen": sorted(frozen)}


def main() -> None:
    """Everything, in one of two processes."""
    backbone, shelf, out, rank = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.nn.functional.dropout = lambda x, *_, **__: x  # each process would drop other things
    distributed.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=2)
    said: dict[str, object] = {
        f"{method}-{dtype}": compute(backbone, shelf, out, method, dtype, rank)
        for method in METHODS
        for dtype in FORMATS
    }
    csv = out / f"rows-{rank}.csv"
    csv.write_text("text,label\n" + "the film,good\nthe film,bad\n" * 10)
    model = sl.TransferModel.from_backbone(
        backbone, task=sl.Task.from_files(csv, text="text", label="label"), method="adapter"
    )
    try:
        sl.train(model, out / "trained")
    except sl.InputError as error:
        said["train"] = str(error)
    (out / f"said-{rank}.json").write_text(json.dumps(said))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
