"""`shard`: the frozen backbone split among processes, what is trained whole in each.

FSDP2 (`torch.distributed.fsdp.fully_shard`) would shard trained tensors too. That is no use for kilobytes, and does not
go with an omega that layers share ("++": one layer's shard would not be the other's) or with a penalty on tensors that
are sharded again when the loss is computed. So here they are left out of the shards, which FSDP2 then neither splits
nor averages: each process adds up their gradients with those of the others. Optimizer, `state_dict` and
`save_pretrained` see ordinary tensors. Run with two processes on CPUs; never run on a GPU.
"""

from __future__ import annotations

from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from scalearn.errors import InputError
from scalearn.model import TransferModel


def shard(model: TransferModel) -> None:
    """Shards the frozen part of a model among all processes, layer by layer, in place.

    From then on all processes have to compute in step: as many forward passes each, of training, `predict` or
    `evaluate`. The gradients of what is trained are those of the mean loss over processes.

    Args:
        model: on the device that computes, with the same weights in every process, as one seed gives them.

    Raises:
        InputError: there is no process group, or the backbone itself is trained.
    """
    if not distributed.is_initialized():
        raise InputError(
            "there are no processes to shard the model among: start with torchrun, and call "
            "torch.distributed.init_process_group first"
        )
    if model.method.trains_backbone:
        raise InputError(
            f"method {model.method.name!r} trains the whole backbone, which this leaves whole: use "
            "torch.distributed.fsdp.fully_shard, or choose a method that leaves the backbone frozen"
        )
    trained = {parameter for parameter in model.parameters() if parameter.requires_grad}
    for layer in _layers(model.backbone):
        fully_shard(layer, ignored_params=trained)
    fully_shard(model.backbone, ignored_params=trained)
    for parameter in trained:
        parameter.register_post_accumulate_grad_hook(_average)  # type: ignore[no-untyped-call]


def _layers(backbone: PreTrainedModel) -> list[nn.Module]:
    """The transformer layers: the first list of so many modules."""
    count = backbone.config.num_hidden_layers
    lists = (list(m) for m in backbone.modules() if isinstance(m, nn.ModuleList) and len(m) == count)
    return next(lists, [])


def _average(parameter: Tensor) -> None:
    """Makes a gradient the mean over processes; of one that was accumulated, its earlier parts stay as they are."""
    assert parameter.grad is not None, "it has just been accumulated"
    distributed.all_reduce(parameter.grad)
    parameter.grad /= distributed.get_world_size()
