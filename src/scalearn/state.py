"""What `state_dict` holds of a model: the tensors of `AdaptedModel.trained_state`, and nothing of the frozen rest.

Whatever keeps a model by its `state_dict` (Trainer's checkpoints, accelerate's `save_state`, `torch.save`) keeps what
was trained, kilobytes for ScaLearn, and an omega that layers share once, as safetensors wants it. `load_state_dict` is
strict about these tensors; the backbone's may be there or not. The deep copies, DDP and FSDP read parameters, not this.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, Protocol, cast

from torch import Tensor, nn


class _Trained(Protocol):
    def trained_state(self) -> Mapping[str, Tensor]: ...


def keep_trained_only(model: nn.Module) -> None:
    """Makes the `state_dict` of `model`, which has a `trained_state`, hold that alone, also inside other modules."""
    model.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
    model.register_load_state_dict_post_hook(_allow_absent_frozen)  # type: ignore[no-untyped-call]


def _leave_out_frozen(model: nn.Module, state: dict[str, Any], prefix: str, _: dict[str, Any]) -> None:
    kept = cast(_Trained, model).trained_state().keys()
    for key in [key for key in state if key.startswith(prefix) and key.removeprefix(prefix) not in kept]:
        del state[key]


def _allow_absent_frozen(model: nn.Module, found: Any) -> None:
    """Takes the names of frozen tensors out of `found.missing_keys`, which begin with those of modules around."""
    kept = cast(_Trained, model).trained_state().keys()
    names = (name for name, _ in chain(model.named_parameters(remove_duplicate=False), model.named_buffers()))
    frozen = tuple(f".{name}" for name in names if name not in kept)
    found.missing_keys[:] = [key for key in found.missing_keys if not f".{key}".endswith(frozen)]
