"""What was asked for when a model or a source of a growing shelf was made, and whether it is asked for now.

FOLDER/grown.json    method and its options, recipe, seed, backbone, rows: all that `scalearn grow` is told of a target

The sources that were combined are no part of it, for the shelf has grown since.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalearn.atomic import write_text
from scalearn.errors import InputError
from scalearn.methods import Method, Recipe, method_from_name
from scalearn.methods.base import LATER, validated
from scalearn.saved import DESCRIPTION, SavedModel
from scalearn.tasks import Task

GROWN = "grown.json"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for."""

    method: Method
    """As it was named: before it looked at any data."""
    recipe: Recipe
    seed: int
    backbone: str
    """Its name."""
    rows: int
    """Of training."""
    data: str
    """The fingerprint of the task with its rows."""

    @classmethod
    def of(cls, method: Method, recipe: Recipe, task: Task, *, seed: int, backbone: str) -> Asked:
        """What is asked for of a task."""
        rows = len(task.splits["train"])
        return cls(method=method, recipe=recipe, seed=seed, backbone=backbone, rows=rows, data=task.fingerprint())

    def keep(self, folder: Path) -> None:
        """Writes it beside what was made."""
        told = {
            "method": self.method.name,
            "options": self.method.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "seed": self.seed,
            "backbone": self.backbone,
            "rows": self.rows,
            "data": self.data,
        }
        write_text(folder / GROWN, json.dumps(told, indent=2) + "\n")

    def differences(self, kept: Mapping[str, Any]) -> Iterator[str]:
        """What was otherwise when something was made; what is not known of it does not count."""
        if kept["method"] != self.method.name:
            yield f"method {kept['method']}, not {self.method.name}"
        elif "options" in kept:
            old = method_from_name(kept["method"], **kept["options"])
            yield from _differences("option ", old, self.method)
        for name, here in (("seed", self.seed), ("backbone", self.backbone)):
            if kept.get(name, here) != here:
                yield f"{name} {kept[name]}, not {here}"
        if kept.get("rows", self.rows) != self.rows:
            yield f"{kept['rows']} training rows, not {self.rows}"
        elif kept.get("data", self.data) != self.data:
            yield "other rows"
        fields = type(self.recipe).model_fields
        known = {name: value for name, value in kept.get("recipe", {}).items() if name in fields}
        if known:
            known = {name: value for name, value in self.recipe.model_dump().items() if name not in LATER} | known
            yield from _differences("", validated(type(self.recipe), known, what="recipe"), self.recipe)


def check_model(place: Path, asked: Asked) -> None:
    """Refuses a transferred model that was made otherwise; there may be none.

    Raises:
        InputError: it was.
    """
    if not (place / DESCRIPTION).is_file():
        return
    kept = _kept(place)
    if kept is None:  # by another command, or before this was kept: its provenance says less
        saved = SavedModel.read(place)
        told = saved.facts.get("provenance", {})
        kept = {"method": saved.method.name, "seed": told.get("seed"), "rows": told.get("rows", {}).get("train")}
        kept |= {"recipe": told["recipe"]} if "recipe" in told else {}
    _refuse(place, asked.differences(kept), remedy="give another folder (--out), or remove it")


def check_source(place: Path, asked: Callable[[Method], Asked]) -> None:
    """Refuses a source that `grow` made otherwise; there may be none, and one that it did not make is taken as it is.

    Args:
        place: where it is.
        asked: what is asked for of a source of its method, which those on the shelf decide.

    Raises:
        InputError: it was.
    """
    kept = _kept(place)
    if kept is not None:
        own = asked(method_from_name(kept["method"], **kept["options"]))
        _refuse(place, own.differences(kept), remedy="give another shelf, or remove this source")


def _refuse(place: Path, differences: Iterator[str], *, remedy: str) -> None:
    if told := "; ".join(differences):
        raise InputError(f"{place} was made with {told}: {remedy}")


def _kept(place: Path) -> dict[str, Any] | None:
    """What was asked for when it was made; None where that is not known."""
    path = place / GROWN
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): restore it, or remove {place}") from error
    return kept


def _differences(prefix: str, old: Method | Recipe, new: Method | Recipe) -> Iterator[str]:
    """The fields in which they differ; those that a dump leaves out are used by neither."""
    earlier, later = old.model_dump(), new.model_dump()
    for name in type(new).model_fields:
        before, here = earlier.get(name), later.get(name)
        if before != here:
            yield f"{prefix}{name} {_said(before)}, not {_said(here)}"


def _said(value: Any) -> str:
    return "none" if value is None else str(value)
