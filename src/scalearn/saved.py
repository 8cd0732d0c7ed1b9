"""What a model's folder holds, read and written with every check, without building the model.

`scalearn.json` names backbone, task, method and sources (by name, place and SHA-256); `model.safetensors` has the
trained tensors only; `sources/` has copies of the sources where they were asked for. `README.md`, of `scalearn.cards`,
tells people; it is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from safetensors.torch import save as save_tensors
from torch import Tensor

from scalearn.backbones import Backbone, BackboneReference, load_backbone
from scalearn.cards import CARD, model_card
from scalearn.checked import read_checked, read_description
from scalearn.errors import InputError
from scalearn.heads import Pooling
from scalearn.methods import Method, method_from_name
from scalearn.sources import BUILTIN, Shelf, Source
from scalearn.tasks import Task

FORMAT_VERSION = 1
DESCRIPTION = "scalearn.json"
WEIGHTS = "model.safetensors"


class SourceReference(BaseModel):
    """A source that a saved model depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    location: str
    """``builtin``, or a path seen from the model's folder."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """The content of a model's folder."""

    backbone: BackboneReference
    pooling: Pooling
    tasks: Sequence[Task]
    """One, but for joint methods."""
    method: Method
    sources: Sequence[SourceReference]
    state: Mapping[str, Tensor] = field(repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping: scores, provenance, parameter counts."""

    @property
    def task(self) -> Task:
        """The task of a model of one."""
        (task,) = self.tasks
        return task

    @classmethod
    def read(cls, folder: Path) -> SavedModel:
        """Reads a folder, checking hash and format.

        Raises:
            InputError: something is missing, altered or unknown.
        """
        described = read_description(folder / DESCRIPTION, _Description, version=FORMAT_VERSION)
        method = method_from_name(described.method.name, **described.method.options)
        if (method.stage == "transfer") != bool(described.sources):
            raise InputError(
                f"{folder / DESCRIPTION} names {len(described.sources)} sources, which does not go with method "
                f"{method.name!r}: restore the file, or train anew"
            )
        tasks = described.tasks + ([] if described.task is None else [described.task])
        if method.stage == "joint":
            fits = described.task is None and len(tasks) > 1
        else:
            fits = described.task is not None and len(tasks) == 1
        if not fits:
            raise InputError(
                f"{folder / DESCRIPTION} names {len(tasks)} tasks (task and tasks together), which does not go with "
                f"method {method.name!r}: restore the file, or train anew"
            )
        return cls(
            backbone=described.backbone,
            pooling=described.pooling,
            tasks=[Task.from_description(task) for task in tasks],
            method=method,
            sources=described.sources,
            state=read_checked(folder / WEIGHTS, sha256=described.sha256),
            facts=described.model_extra or {},
        )

    def write(self, folder: Path) -> None:
        """Writes the two files and their card into a folder that the caller is putting together."""
        data = save_tensors({key: value.cpu().contiguous() for key, value in self.state.items()})
        description = {
            "format_version": FORMAT_VERSION,
            "scalearn": metadata.version("scalearn"),
            "backbone": self.backbone.model_dump(),
            "pooling": self.pooling,
            **(
                {"tasks": [task.describe() for task in self.tasks]}
                if self.method.stage == "joint"
                else {"task": self.task.describe()}
            ),
            "method": {"name": self.method.name, "options": self.method.model_dump()},
            "sources": [reference.model_dump() for reference in self.sources],
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        own = {*description, *_Description.model_fields}
        description |= {key: value for key, value in self.facts.items() if key not in own}
        (folder / WEIGHTS).write_bytes(data)
        text = json.dumps(description, indent=2, ensure_ascii=False)
        (folder / DESCRIPTION).write_text(f"{text}\n", encoding="utf-8")
        card = model_card(
            json.loads(text),
            size=len(data),
            local=os.path.exists(self.backbone.name),
            reference=self.method.reference,
        )
        (folder / CARD).write_text(card, encoding="utf-8", newline="")

    def load_backbone(self, given: str | Backbone | None, *, folder: str | Path) -> Backbone:
        """The backbone the model was trained on, from where it was or from what is given.

        Raises:
            InputError: it cannot be loaded, or is another.
        """
        backbone = given if isinstance(given, Backbone) else load_backbone(given or self.backbone.name)
        if difference := self.backbone.difference(backbone):
            raise InputError(f"{folder} {difference}: give its backbone with backbone=... (--backbone)")
        return replace(backbone, pooling=self.pooling)

    def find_sources(self, folder: Path, given: Shelf | None = None) -> Shelf | None:
        """Its sources, from the shelf given or from where they were, with the hashes recorded; None if it has none.

        Raises:
            InputError: one is not there, or is another than the model was trained with.
        """
        if not self.sources:
            return None
        if given is not None:
            shelf = given.only(reference.name for reference in self.sources)
        else:
            builtin = Shelf(BUILTIN) if any(reference.location == BUILTIN for reference in self.sources) else None
            shelf = Shelf(
                builtin[reference.name]
                if builtin is not None and reference.location == BUILTIN
                else Source.load(folder / reference.location)
                for reference in self.sources
            )
        for reference in self.sources:
            found = shelf[reference.name]
            if found.digest() != reference.sha256:
                raise InputError(
                    f"source {found.name!r} ({found.location}) has SHA-256 {found.digest()[:12]}..., but {folder} was "
                    f"trained with {reference.sha256[:12]}...: give that shelf (sources=..., --sources)"
                )
        return shelf


class _Method(BaseModel):
    name: str
    options: dict[str, Any]


class _Description(BaseModel):
    """The fields of `scalearn.json`; what else stands there is kept as facts."""

    model_config = ConfigDict(strict=True, extra="allow")

    format_version: int
    backbone: BackboneReference
    pooling: Pooling
    task: dict[str, Any] | None = None
    tasks: list[dict[str, Any]] = []
    method: _Method
    sources: list[SourceReference]
    sha256: str


def refer(source: Source, *, folder: Path) -> SourceReference:
    """How a model that will stand in `folder` refers to `source` where it is.

    Raises:
        InputError: the source is only in memory.
    """
    if not source.location:
        raise InputError(f"source {source.name!r} was never saved: save it first, or use include_sources=True")
    location = source.location
    if location != BUILTIN:
        location = Path(os.path.relpath(Path(location).resolve(), folder.resolve())).as_posix()
    return SourceReference(name=source.name, location=location, sha256=source.sha256)


def copy_in(source: Source, *, aside: Path) -> SourceReference:
    """Copies `source` into the folder that is being put together, and refers to the copy."""
    location = f"sources/{source.name}"
    (aside / location).mkdir(parents=True)
    sha256 = source.write_into(aside / location)
    return SourceReference(name=source.name, location=location, sha256=sha256)
