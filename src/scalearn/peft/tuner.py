"""The model of PEFT that puts scaled sources into a transformers model, and how its tensors are saved: omega alone.

base_model.model.<module>.scalearn_omega    (T, outputs), or (T, 1) for Uniform; once where layers share it
"""

from __future__ import annotations

from typing import Any

from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner
from torch import Tensor, nn

from scalearn.deltas import Lora, Omega, ScaledLoras
from scalearn.errors import InputError
from scalearn.interop.peft.checkpoint import Checkpoint, linear_maps
from scalearn.methods.sharing import share
from scalearn.peft.config import PEFT_TYPE, ScaLearnConfig
from scalearn.peft.layer import DELTA, ScaLearnLayer
from scalearn.sites import numbered

NAME = "scalearn_omega"
"""What omega is called in a checkpoint, behind the module's name."""


def register() -> None:
    """Makes the method known to PEFT.

    `peft.utils.register_peft_method` takes members of PEFT's enumeration only, which cannot be extended; the tables
    behind it are keyed by strings.
    """
    tables: tuple[tuple[dict[Any, Any], Any], ...] = (
        (PEFT_TYPE_TO_CONFIG_MAPPING, ScaLearnConfig),
        (PEFT_TYPE_TO_TUNER_MAPPING, ScaLearnModel),
        (PEFT_TYPE_TO_PREFIX_MAPPING, ScaLearnModel.prefix),
    )
    for table, entry in tables:
        table[PEFT_TYPE] = entry


class ScaLearnModel(BaseTuner):
    """A model whose linear maps have scaled sources; `peft.get_peft_model` makes it of a `ScaLearnConfig`.

    The arguments are those of PEFT's `BaseTuner`.
    """

    prefix = "scalearn_"
    tuner_layer_cls = ScaLearnLayer

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """Reads the sources, and puts them into the maps that they act on.

        Raises:
            InputError: a source is missing, altered, not plain LoRA, or does not fit the model.
        """
        if low_cpu_mem_usage or nn.Linear(1, 1).weight.is_meta:
            raise InputError("the sources are read, not trained: leave low_cpu_mem_usage at False")
        config: ScaLearnConfig = self.peft_config[adapter_name]
        self._fused = _fused(model, config)
        config.target_modules = list(self._fused)
        try:
            super().inject_adapter(model, adapter_name, autocast_adapter_dtype, state_dict=state_dict)
        finally:
            self._fused = {}

    def _create_and_replace(
        self,
        peft_config: ScaLearnConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        layer = target if isinstance(target, ScaLearnLayer) else ScaLearnLayer(target)
        layer.add(adapter_name, self._fused[current_key])
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    @classmethod
    def _get_adapter_state_dict(cls, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Each omega once, also where several layers share it."""
        state: dict[str, Tensor] = super()._get_adapter_state_dict(*args, **kwargs)
        once = {tensor.data_ptr(): key for key, tensor in reversed(state.items())}
        return {key: state[key] for key in state if once[state[key].data_ptr()] == key}

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        return key.replace(f".{DELTA}.{adapter_name}.omega.values", f".{NAME}")

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls, model: nn.Module, config: ScaLearnConfig, adapter_name: str, state_dict: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """As the model calls the tensors; one that several layers share, under each of its names."""
        state: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(model, config, adapter_name, state_dict)
        names: dict[nn.Parameter, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if f".{DELTA}.{adapter_name}." in name:
                names.setdefault(parameter, []).append(name)
        for own in names.values():
            given = next((state[name] for name in own if name in state), None)
            state |= {name: given for name in own if given is not None}
        return state


def _fused(model: nn.Module, config: ScaLearnConfig) -> dict[str, ScaledLoras]:
    """The scaled sources by the module they act on; where a source has no update, one of zero."""
    checkpoints = [Checkpoint.read(folder) for folder in config.read_sources()]
    other = [str(checkpoint.folder) for checkpoint in checkpoints if checkpoint.options.kind != "lora"]
    if other:
        raise InputError(f"{', '.join(other)}: only LoRA checkpoints here; combine IA3 with scalearn.TransferModel")
    linears = {name: module for name, module in linear_maps(model).items() if not name.endswith(".base_layer")}
    linears |= {name: m.get_base_layer() for name, m in model.named_modules() if isinstance(m, ScaLearnLayer)}
    base = getattr(model, "base_model_prefix", "")
    bases = (f"{base}.",) if base else ()
    frozen = {name for name, _ in getattr(model, "base_model", model).named_modules() if name.split(".")[0] != "pooler"}
    placed = [checkpoint.placed(linears, bases=bases, frozen=frozen)[0] for checkpoint in checkpoints]
    omegas: dict[str, Omega] = {}
    fused = {}
    for name in linears:
        known = [updates[name] for updates in placed if name in updates]
        if not known:
            continue
        sources = [updates.get(name) or known[0].absent() for updates in placed]
        loras = [source for source in sources if isinstance(source, Lora)]
        place = numbered(name) if config.shared else None
        omega = config.method.omega(len(loras), loras[0].up.out_features)
        fused[name] = share(ScaledLoras(loras, omegas.setdefault(place[1] if place else name, omega)))
    return fused
