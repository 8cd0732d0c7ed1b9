"""Recipes as YAML files, and all that is wrong with one in a single message."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from scalearn.errors import InputError
from scalearn.experiments.recipe import Experiment, FewShot, MethodChoice, Probe, Rows, Sources
from scalearn.methods.base import Frozen


def read_recipe(path: str | Path) -> Experiment:
    """Reads a recipe.

    Raises:
        InputError: the file cannot be read, is not YAML, or something in it cannot be used; all such things are named.
    """
    path = Path(path)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): give a recipe, for instance recipes/glue-transfer-mini.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}; mend that line") from error
    return experiment_from(given, where=str(path))


def experiment_from(given: Any, *, where: str) -> Experiment:
    """The experiment that a mapping describes.

    Args:
        given: as read from YAML or JSON.
        where: what messages call it.

    Raises:
        InputError: something in it cannot be used; all such things are named.
    """
    if not isinstance(given, dict):
        raise InputError(f"{where} holds {type(given).__name__}, not keys and values: begin with `name: ...`")
    try:
        return Experiment.model_validate(given)
    except ValidationError as error:
        raise InputError(f"{where}: {'; '.join(map(_fault, error.errors()))}") from error


_SECTIONS: Mapping[str, type[Frozen]] = {
    "methods": MethodChoice,
    "method": MethodChoice,
    "rows": Rows,
    "sources": Sources,
    "few_shot": FewShot,
    "probe": Probe,
}


def _fault(fault: ErrorDetails) -> str:
    """One fault in words: where, what is wrong, what was given or would be valid."""
    *outer, last = fault["loc"] or ("",)
    where = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        section = next((_SECTIONS[str(key)] for key in reversed(outer) if key in _SECTIONS), Experiment)
        near = difflib.get_close_matches(str(last), section.model_fields, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{where} is not known{hint} (valid are {', '.join(section.model_fields)})"
    if fault["type"] == "value_error":
        return f"{where}: {fault['ctx']['error']}" if where else str(fault["ctx"]["error"])
    if fault["type"] == "tuple_type":
        return f"{where}: give a list, [{fault['input']}]"
    given = "" if fault["type"] == "missing" else f", given {fault['input']!r:.60}"
    return f"{where}: {fault['msg']}{given}"
