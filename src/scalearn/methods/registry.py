"""The registry: every method by name."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from scalearn.errors import InputError
from scalearn.kinds import Kind
from scalearn.methods import joint, single, small, transfer
from scalearn.methods.base import Entry, JointRecipe, Method, Recipe, Stage, changed, validated

Protocol = Literal["default", "small", "large", "published"]
"""Whose hyper-parameters: the paper's, or the library's for small data (`scalearn.methods.small`) or large; ``default``
is the library's for as many training rows as there are."""

REGISTRY: dict[str, Entry] = {
    entry.method.name: entry for entry in (*single.ENTRIES, *joint.ENTRIES, *transfer.ENTRIES)
}


def method_from_name(name: str, /, *, stage: Stage | None = None, **options: Any) -> Method:
    """The method called `name` with its published options, but for those given.

    Args:
        name: in `REGISTRY`.
        stage: refuse methods of another stage.
        options: fields of the method.

    Raises:
        InputError: there is no such method, or an option is unknown or out of range; all such options are named.
    """
    valid = [known for known, entry in REGISTRY.items() if stage in (None, entry.method.stage)]
    if name not in valid:
        near = difflib.get_close_matches(name, valid, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        of_stage = f" of stage {stage!r}" if stage else ""
        raise InputError(f"there is no method {name!r}{of_stage}{hint}; there are {', '.join(valid)}")
    base = REGISTRY[name].method
    return validated(type(base), {**base.model_dump(), **options}, what=f"method {name!r}")


def resolved(protocol: Protocol, rows: int | None) -> Protocol:
    """``small``, ``large`` or ``published``; not knowing how many rows there are, it is not ``small``."""
    if protocol != "default":
        return protocol
    return "small" if rows is not None and rows < small.ROWS else "large"


def suited(method: Method, protocol: Protocol, *, rows: int | None) -> Method:
    """The method with the options that a protocol has for so many training rows, where nothing else was asked for."""
    enough = rows is not None and rows > 1  # of one row nothing can be held out
    return method.on_small_data() if enough and resolved(protocol, rows) == "small" else method


def recipe_for(
    method: Method,
    protocol: Protocol = "default",
    *,
    rows: int | None = None,
    kind: Kind = "classification",
    task: str | None = None,
    few_shot: bool = False,
) -> Recipe:
    """The hyper-parameters of a single-task or transfer method under a protocol.

    Args:
        method: of the registry.
        protocol: see `Protocol`.
        rows: for training; None is many.
        kind: of the task: the published runs on HumSet, which is multi-label, chose by macro F1 instead of dev loss.
        task: its name: the published transfer to ReCoRD, which has 1.2 million rows, took 3 epochs.
        few_shot: a few-shot draw, which but for small data is trained as published: by steps, chosen by the metric.

    Raises:
        InputError: the method is of joint training; or the protocol is for small data, and nobody says how small.
    """
    entry, protocol = REGISTRY[method.name], resolved(protocol, rows)
    recipe = entry.published if protocol == "published" else entry.large
    if not isinstance(recipe, Recipe):
        raise InputError(f"method {method.name!r} learns several tasks at once: use scalearn joint (train_joint)")
    if protocol == "small" and entry.small is not None:
        if rows is None:
            raise InputError("protocol 'small' trains by the number of training rows: give it (rows=...)")
        return small.by_rows(entry.small, rows)
    changes: dict[str, Any] = {}
    if protocol == "published" and kind == "multi-label":
        changes = {"select": "metric", "patience": 3 if method.name == "adaptersoup" else recipe.patience}
    if protocol == "published" and method.stage == "transfer" and task == "record":
        changes["epochs"] = 3
    if few_shot:
        changes = {"steps": 1_000, "patience": 20, "select": "metric"}
    return changed(recipe, changes)


def joint_recipe_for(method: Method, protocol: Protocol = "default") -> JointRecipe:
    """The hyper-parameters of a joint method under a protocol; ``small`` is as ``large``."""
    entry = REGISTRY[method.name]
    recipe = entry.published if protocol == "published" else entry.large
    if not isinstance(recipe, JointRecipe):
        raise InputError(f"method {method.name!r} learns one task: use scalearn train or transfer (train)")
    return recipe
