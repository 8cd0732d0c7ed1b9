"""Sites: where a delta acts in a backbone, and how it is attached there; `scalearn.families` knows the architectures.

    post-norm layer:  out = LN(s + delta(LN(s)))    the site is the layer's output LayerNorm; s is that norm's input
    pre-norm block:   out = y + delta(y)            the site is the block; y is its output
    linear map:       out = delta(x, W x + b)       the site is the map; LoRA adds to its output, IA3 rescales it
    input of a map:   out = W delta(x, x) + b       the site is the identity before the map; PEFT's IA3 rescales there

A linear map is named by its role (`Family.linears`), or by its path inside the base model with ``*`` for the layer's
index: ``layers.*.self_attn.o_proj``; its input likewise, with ``:input`` behind. A delta is attached as the child
module ``delta`` of its site (``input_delta`` at an input), and a forward hook applies it. So `copy.deepcopy`,
`state_dict`, DDP and FSDP see it like any other part of the backbone, and detaching leaves the backbone as it was.

Of a model type that the table lacks, `declare` says where the layers are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from scalearn.errors import InputError
from scalearn.families import COUNTED_BY, FAMILIES, Family, Kind
from scalearn.outline import likely_layers, outline

LAYER = "layer"
"""The site that every architecture has: a layer's output."""

INPUT = ":input"
"""Behind the name of a linear map: the site is its input."""

Placement = Mapping[str, Sequence[nn.Module]]
"""Site (``layer``, or the role or path of a linear map or its input) to the deltas there, one per layer in order."""


_CHILDREN = ("delta", "input_delta")
"""Names of the module that a site holds: at its output, and at its input; with ``_hook`` behind, of its handle."""

_DECLARED = "scalearn_sites"
"""The attribute of a base model that `declare` sets."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a method has to know of a backbone to build its deltas."""

    architecture: str
    """``config.model_type``."""
    width: int
    """d."""
    layers: int
    linears: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Role of a linear map to its numbers of inputs and outputs."""
    paths: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The same for every linear map that each layer has, by its path."""

    @classmethod
    def of(cls, backbone: PreTrainedModel) -> Shape:
        """The shape of a backbone; of one whose sites are not known, without linear maps."""
        family = declared(backbone) or FAMILIES.get(backbone.config.model_type)
        roles = family.linears if family else ()
        return cls(
            architecture=backbone.config.model_type,
            width=int(backbone.config.hidden_size),
            layers=count_layers(backbone),
            linears={role: _size(find_sites(backbone, role)[0]) for role in roles},
            paths=_paths(backbone),
        )

    def linear(self, site: str) -> tuple[int, int]:
        """Numbers of inputs and outputs of a linear map, by its role or path.

        Raises:
            InputError: the architecture has no such map of its own.
        """
        role = site.removesuffix(INPUT)
        if role in self.paths:
            return self.paths[role]
        if role not in self.linears:
            raise InputError(
                f"{self.architecture} has no linear map {role!r} of its own; it has "
                f"{', '.join(self.linears) or 'none'}, and by path {', '.join(self.paths) or 'none'}: choose others, "
                "or a method that acts on layer outputs (adapter)"
            )
        return self.linears[role]


def declare(backbone: PreTrainedModel, where: str | Family) -> None:
    """Says where the layers of a backbone are, whatever the table has for its type.

    Args:
        backbone: of any type; the sites are kept with it, and with its copies.
        where: the path of the sites inside the base model, with ``*`` for the layer's number, such as ``blocks.*``. If
            the modules there are normalisations (their class's name ends in ``Norm``), deltas act as in post-norm
            layers; else as after pre-norm blocks. A `Family` says that itself, and may name linear maps too.

    Raises:
        InputError: nothing is there, or not what can be a site.
    """
    base = backbone.base_model
    path = where if isinstance(where, str) else where.path
    found = _matches(base, path)
    norms = {type(module).__name__.endswith("Norm") for module in found}
    width = int(base.config.hidden_size)
    lists = any(isinstance(module, nn.ModuleList | nn.ModuleDict | PreTrainedModel) for module in found)
    if len(norms) != 1 or lists:
        what = "normalisations and other modules" if len(norms) == 2 else "no layer" if lists else "no module"
        raise InputError(
            f"sites {path!r} of {type(base).__name__}: {what} there; {_suggestion(base)}", detail=outline(base)
        )
    kind: Kind = "post-norm" if norms == {True} else "pre-norm"
    if any(_width(module) not in (width, None) for module in found):
        raise InputError(
            f"sites {path!r} of {type(base).__name__}: {'normalisations' if kind == 'post-norm' else 'linear maps'} of "
            f"another width than the hidden states' ({width}); {_suggestion(base)}",
            detail=outline(base),
        )
    setattr(base, _DECLARED, Family(path, kind) if isinstance(where, str) else where)


def declared(backbone: PreTrainedModel) -> Family | None:
    """What was declared of a backbone; None if the table decides."""
    family: Family | None = getattr(backbone.base_model, _DECLARED, None)
    return family


def count_layers(backbone: PreTrainedModel) -> int:
    """The number of layers that have a site of their own; of a type that is not known, what its configuration says."""
    if family := declared(backbone):
        return len(_matches(backbone.base_model, family.path))
    config = backbone.config
    names = COUNTED_BY.get(config.model_type, ("num_hidden_layers",))
    return math.prod(int(getattr(config, name, 0)) for name in names)


def find_sites(backbone: PreTrainedModel, site: str = LAYER) -> list[nn.Module]:
    """The sites of one kind in `backbone`, one per layer, first layer first.

    Args:
        backbone: of a model type in `FAMILIES`, or with sites that were declared.
        site: ``layer``, or the role or path of a linear map or of its input.

    Raises:
        InputError: the architecture is not known or has no such site, or the number of matches is not its number of
            layers.
    """
    family = _family(backbone)
    role = site.removesuffix(INPUT)
    if site != LAYER and role not in family.linears and "*" not in role:
        raise InputError(
            f"{type(backbone).__name__} ({backbone.config.model_type}) has no site {site!r}; it has "
            f"{', '.join((LAYER, *family.linears))}, and paths of linear maps with * for the layer's index"
        )
    path = family.path if site == LAYER else family.linears.get(role, role)
    found, layers = _matches(backbone.base_model, path), count_layers(backbone)
    if len(found) != layers:
        raise InputError(
            f"{type(backbone).__name__} ({backbone.config.model_type}) has {layers} layers, "
            f"but {len(found)} modules match {path!r}: "
            + (
                "correct the path"
                if path == role
                else "this version of transformers names them differently; correct the row in scalearn/families.py"
            )
        )
    return found


def attach(backbone: PreTrainedModel, deltas: Placement) -> None:
    """Attaches ``deltas[site][i]`` at that site of layer i.

    Raises:
        InputError: there is not one delta per layer, or the backbone carries deltas already.
    """
    places = {site: find_sites(backbone, site) for site in deltas}
    for site, modules in places.items():
        if len(modules) != len(deltas[site]):
            raise InputError(
                f"{len(deltas[site])} deltas for the {len(modules)} layers of {type(backbone).__name__}: "
                "give one per layer"
            )
    if attached(backbone):
        raise InputError(f"{type(backbone).__name__} carries deltas already: call scalearn.sites.detach on it first")
    for site, modules in places.items():
        for module, delta in zip(modules, deltas[site], strict=True):
            child = _child(site)
            module.add_module(child, delta)
            if child == "input_delta":
                handle = module.register_forward_pre_hook(_through_input)
            else:
                handle = module.register_forward_hook(_hook(backbone, site))
            # The handle lives beside the delta, so that a deep copy of the backbone can detach its own hooks.
            setattr(module, f"{child}_hook", (site, handle))


def detach(backbone: PreTrainedModel) -> Placement:
    """Removes the deltas, restoring the backbone exactly, and returns them."""
    deltas = attached(backbone)
    for site in deltas:
        child = _child(site)
        for module in find_sites(backbone, site):
            getattr(module, f"{child}_hook")[1].remove()
            delattr(module, f"{child}_hook")
            delattr(module, child)
    return deltas


def attached(backbone: PreTrainedModel) -> Placement:
    """The deltas that `backbone` carries; empty if there are none."""
    handles = [f"{child}_hook" for child in _CHILDREN]
    modules = backbone.base_model.modules()
    used = dict.fromkeys(getattr(m, handle)[0] for m in modules for handle in handles if hasattr(m, handle))
    if not used:
        return {}
    order = [site for site in (LAYER, *_family(backbone).linears) if site in used]
    order += [site for site in used if site not in order]
    return {site: [module.get_submodule(_child(site)) for module in find_sites(backbone, site)] for site in order}


def numbered(name: str) -> tuple[int, str] | None:
    """A module's layer and its path with ``*`` for that index: ``h.3.mlp.c_fc`` is (3, ``h.*.mlp.c_fc``); None without.

    The first number counts: what else is numbered, lies within a layer.
    """
    match = re.search(r"(?<=\.)\d+(?=\.)", name)
    return match and (int(match[0]), f"{name[: match.start()]}*{name[match.end() :]}")


def _paths(backbone: PreTrainedModel) -> dict[str, tuple[int, int]]:
    """The linear maps that each layer has, by path, with their sizes."""
    found: dict[str, list[nn.Module]] = {}
    for name, module in backbone.base_model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and (place := numbered(name)):
            found.setdefault(place[1], []).append(module)
    layers = count_layers(backbone)
    return {path: _size(modules[0]) for path, modules in found.items() if len(modules) == layers}


def _child(site: str) -> str:
    return "input_delta" if site.endswith(INPUT) else "delta"


def _matches(base: PreTrainedModel, path: str) -> list[nn.Module]:
    """The modules at a path, in the order of the numbers that ``*`` stands for."""
    parent, dot, names = path.rpartition(".")
    start = re.escape(parent + dot).replace(r"\*", r"(\d+)")
    ends = "|".join(re.escape(name).replace(r"\*", r"(\d+)") for name in names.split("|"))
    pattern = re.compile(f"{start}(?:{ends})")
    found = [
        ([int(number) for number in match.groups() if number is not None], module)
        for name, module in base.named_modules()
        if (match := pattern.fullmatch(name))
    ]
    return [module for _, module in sorted(found, key=lambda pair: pair[0])]


def _family(backbone: PreTrainedModel) -> Family:
    family = declared(backbone) or FAMILIES.get(backbone.config.model_type)
    if family is None:
        raise InputError(
            f"{type(backbone).__name__} is of type {backbone.config.model_type!r}, whose sites are not known: say "
            f"where its layers are, {_suggestion(backbone.base_model)}; or choose a backbone of type "
            f"{', '.join(FAMILIES)}",
            detail=outline(backbone.base_model),
        )
    return family


def _suggestion(base: PreTrainedModel) -> str:
    """What `declare` could be given for a model."""
    likely = likely_layers(base)
    if likely is None:
        return "with sites=PATH (--sites PATH), * in it for the number"
    path, blocks = likely
    return f"for instance sites={path!r} (--sites '{path}'): {len(blocks)} of class {type(blocks[0]).__name__}"


def _width(module: nn.Module) -> int | None:
    """Of what a normalisation or a linear map gives; None of other modules, which do not say."""
    if isinstance(module, nn.Linear | Conv1D):
        return _size(module)[1]
    weight = getattr(module, "weight", None)
    return weight.numel() if isinstance(weight, Tensor) and type(module).__name__.endswith("Norm") else None


def _size(linear: nn.Module) -> tuple[int, int]:
    if isinstance(linear, Conv1D):  # GPT-2's name for a linear map whose weight is transposed
        return int(linear.nx), int(linear.nf)
    if not isinstance(linear, nn.Linear):
        raise InputError(f"{type(linear).__name__} is not a linear map: correct the path")
    return linear.in_features, linear.out_features


def _hook(backbone: PreTrainedModel, site: str) -> Any:
    if site != LAYER:
        return _through_linear
    return _add_post_norm if _family(backbone).kind == "post-norm" else _add_pre_norm


def _through_linear(linear: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """delta(x, y), given the map's input x and output y."""
    changed: Tensor = linear.get_submodule("delta")(args[0], output)
    return changed


def _through_input(linear: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The map's arguments with delta(x, x) for its input x."""
    x = args[0]
    return (linear.get_submodule("input_delta")(x, x), *args[1:])


def _add_post_norm(norm: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """LN(s + delta(LN(s))), given the norm's input s and output LN(s)."""
    added: Tensor = norm.forward(args[0] + norm.get_submodule("delta")(output))  # not __call__: no second hook
    return added


def _add_pre_norm(block: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """Adds delta(y) to y, the block's output y, which some architectures wrap in a tuple."""
    if isinstance(output, tuple):
        return (output[0] + block.get_submodule("delta")(output[0]), *output[1:])
    return output + block.get_submodule("delta")(output)
