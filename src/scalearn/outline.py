"""A model's modules for people: an indented tree in which what repeats stands once, and where its layers seem to be.

embeddings       Embedding 100 x 32
layers.0..11     Block
  norm           LayerNorm 32
  mixer.linear   Linear 32 -> 64
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINES = 40
"""At most so many lines of a tree are shown."""


def outline(model: nn.Module, *, lines: int = LINES) -> str:
    """The tree of a model's modules.

    Args:
        model: whatever its modules are.
        lines: at most so many; a last one says how many are left out.
    """
    found = list(_rows(model, depth=1))
    width = max((len(name) for name, _ in found), default=0)
    shown = [f"{name:{width}}  {what}".rstrip() for name, what in found[:lines]]
    return "\n".join([*shown, f"  ... and {len(found) - lines} lines more"] if len(found) > lines else shown)


def likely_layers(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """The path and the modules of the longest list of blocks of one class, the outermost of several; None without."""
    lists = [
        (f"{name}.*" if name else "*", module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and _alike(module)
    ]
    return max(lists, key=lambda found: len(found[1]), default=None)


def _rows(module: nn.Module, *, depth: int) -> Iterator[tuple[str, str]]:
    """Name, indented, and content of each module below; of modules in a list that look alike, of the first."""
    for name, child in module.named_children():
        while isinstance(child, nn.ModuleList) and _alike(child):
            name += f".0..{len(child) - 1}" if len(child) > 1 else ".0"
            child = child[0]
        yield f"{'  ' * depth}{name}", _content(child)
        yield from _rows(child, depth=depth + 1)


def _alike(modules: nn.ModuleList) -> bool:
    return len({type(module) for module in modules}) == 1


def _content(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, Conv1D):
        return f"{name} {module.nx} -> {module.nf}"
    if isinstance(module, nn.Linear):
        return f"{name} {module.in_features} -> {module.out_features}"
    weight = getattr(module, "weight", None)
    return f"{name} {' x '.join(map(str, weight.shape))}" if isinstance(weight, Tensor) else name
