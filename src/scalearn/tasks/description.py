"""A task's description: all its fields but the data, as JSON keeps them in the folders of models and sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from scalearn.errors import InputError, faults
from scalearn.kinds import Kind, Truncation
from scalearn.tasks.splits import Unit


class Description(BaseModel):
    """The keys that a description may have; what was not always there has a default."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: Kind
    text: tuple[str, ...]
    image: str | None = None
    label: str
    labels: tuple[str, ...]
    choices: tuple[str, ...] = ()
    unit: Unit = "row"
    metrics: tuple[str, ...]
    main_metric: str
    max_length: int
    truncation: Truncation = "longest_first"
    version: int = 1


def fields_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the task that is described.

    Raises:
        InputError: a key is missing, unknown or of the wrong type.
    """
    try:
        return dict(Description.model_validate(dict(description)))
    except ValidationError as error:
        raise InputError(f"not the description of a task: {faults(error)}") from error
