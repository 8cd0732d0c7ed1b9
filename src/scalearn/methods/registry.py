"""The registry: every method by name."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from scalearn.errors import InputError
from scalearn.kinds import Kind
from scalearn.methods import joint, single, transfer
from scalearn.methods.base import Entry, JointRecipe, Method, Optimisation, Recipe, Stage, changed, validated

Protocol = Literal["default", "published"]

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


def _recipe(method: Method, protocol: Protocol) -> Optimisation:
    entry = REGISTRY[method.name]
    return entry.published if protocol == "published" else entry.default


def recipe_for(
    method: Method,
    protocol: Protocol = "default",
    *,
    kind: Kind = "classification",
    task: str | None = None,
    few_shot: bool = False,
) -> Recipe:
    """The hyper-parameters of a single-task or transfer method under a protocol.

    Args:
        method: of the registry.
        protocol: ``default``, or ``published`` for the paper's.
        kind: of the task: the published runs on HumSet, which is multi-label, chose by macro F1 instead of dev loss.
        task: its name: the published transfer to ReCoRD, which has 1.2 million rows, took 3 epochs.
        few_shot: for a few training rows, as published, under either protocol: by steps, chosen by the metric.
    """
    recipe = _recipe(method, protocol)
    if not isinstance(recipe, Recipe):
        raise InputError(f"method {method.name!r} learns several tasks at once: use scalearn joint (train_joint)")
    changes: dict[str, Any] = {}
    if protocol == "published" and kind == "multi-label":
        changes = {"select": "metric", "patience": 3 if method.name == "adaptersoup" else recipe.patience}
    if protocol == "published" and method.stage == "transfer" and task == "record":
        changes["epochs"] = 3
    if few_shot:
        changes = {"steps": 1_000, "patience": 20, "select": "metric"}
    return changed(recipe, changes)


def joint_recipe_for(method: Method, protocol: Protocol = "default") -> JointRecipe:
    """The hyper-parameters of a joint method under a protocol."""
    recipe = _recipe(method, protocol)
    if not isinstance(recipe, JointRecipe):
        raise InputError(f"method {method.name!r} learns one task: use scalearn train or transfer (train)")
    return recipe
