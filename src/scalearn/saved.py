"""What a model's folder holds, read and written with every check, without building the model.

`scalearn.json` names backbone, task, method and sources (by name, place and SHA-256); `model.safetensors` has the
trained tensors only; `sources/` has copies of the sources where they were asked for. `README.md`, of `scalearn.cards`,
tells people; it is never read. What was downloaded from the Hub is read no further than its own folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Unpack

from pydantic import BaseModel, ConfigDict
from safetensors.torch import save as save_tensors
from torch import Tensor

from scalearn.backbones import Backbone, BackboneReference
from scalearn.cards import CARD, model_card, shareable_name, without_places
from scalearn.checked import read_checked, read_description
from scalearn.errors import InputError
from scalearn.heads import Pooling
from scalearn.hub import PREFIX, is_downloaded, is_repo_id, local_or_fetched, within
from scalearn.methods import Method, method_from_name
from scalearn.pushing import Pushed, Pushing, called, upload
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN, Source
from scalearn.sources import FILES as SOURCE_FILES
from scalearn.tasks import Task

FORMAT_VERSION = 1
DESCRIPTION = "scalearn.json"
WEIGHTS = "model.safetensors"
FILES = (DESCRIPTION, WEIGHTS, *(f"sources/*/{name}" for name in SOURCE_FILES))
REPLACED = (DESCRIPTION, WEIGHTS, "sources/*", *SOURCE_FILES)
"""What an older upload may have left that is not of this one."""


class SourceReference(BaseModel):
    """A source that a saved model depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    location: str
    """``builtin``, a path seen from the model's folder, or a place on the Hub that begins with ``hub:``."""
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

    def write(self, folder: Path, *, place: str = ".") -> None:
        """Writes the two files and their card, which calls the folder `place`, into one that is being put together."""
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
            place=place,
        )
        (folder / CARD).write_text(card, encoding="utf-8", newline="")

    def load_backbone(self, given: str | Backbone | None, *, folder: str | Path) -> Backbone:
        """The backbone the model was trained on, from where it was or from what is given.

        Raises:
            InputError: it cannot be loaded, or is another, or was a folder of those who uploaded the model.
        """
        name = self.backbone.name
        if given is None and is_downloaded(Path(folder)) and not (is_repo_id(name) or re.fullmatch(r"\w[\w.-]*", name)):
            raise InputError(
                f"{folder} was trained on a backbone that is not on the Hub ({name!r}, {self.backbone.model_type} of "
                f"width {self.backbone.width}): give it with backbone=... (--backbone)"
            )
        backbone = given if isinstance(given, Backbone) else self.backbone.load(given)
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
                else _load_source(reference, folder=folder)
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

    def push_to_hub(
        self,
        repo_id: str,
        *,
        sources: Sequence[Source] = (),
        include_sources: bool = False,
        backbone: str | None = None,
        **how: Unpack[Pushing],
    ) -> Pushed:
        """Uploads the model as a model repository, with those of its `sources` that others could not find.

        Args:
            repo_id: ``owner/name``.
            sources: those that the model combines, in order.
            include_sources: upload those too that ship with scalearn or are on the Hub.
            backbone: where others find its backbone, if it was a local folder.
            how: ``private``, ``revision``, ``token``, ``commit_message``: see `scalearn.pushing.Pushing`.

        Raises:
            InputError: the Hub refuses, or cannot be reached.
        """
        place = called(repo_id, how)
        with tempfile.TemporaryDirectory(prefix="scalearn-") as aside:
            self.write_shareable(
                Path(aside), place=place, sources=sources, include_sources=include_sources, backbone=backbone
            )
            return upload(Path(aside), repo_id, how, replacing=REPLACED, message=self.title)

    @property
    def title(self) -> str:
        """Method and tasks."""
        return f"{self.method.name} on {', '.join(task.name for task in self.tasks)}"

    def write_shareable(
        self,
        folder: Path,
        *,
        place: str,
        sources: Sequence[Source] = (),
        include_sources: bool = False,
        backbone: str | None = None,
    ) -> None:
        """Writes the model as others may have it: all that they need, and no place of this machine.

        Args:
            folder: exists, and is empty.
            place: what the cards call the folder.
            sources: as for `push_to_hub`, like what follows.
            include_sources: copy in those too that ship with scalearn or are on the Hub.
            backbone: where others find its backbone, if it was a local folder.
        """
        references = [
            refer(source, folder=folder)
            if not include_sources and (source.location == BUILTIN or source.location.startswith(PREFIX))
            else copy_in(source.shareable(backbone=backbone), aside=folder, place=place)
            for source in sources
        ]
        shared = self.backbone.model_copy(update={"name": backbone or shareable_name(self.backbone.name)})
        facts = without_places(dict(self.facts))
        replace(self, backbone=shared, sources=references, facts=facts).write(folder, place=place)


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


def folder_of(location: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a saved model: `location` itself, or what is fetched of that place on the Hub (`scalearn.hub`).

    Raises:
        InputError: it is no folder, and the Hub has no such model or cannot be reached.
    """
    return local_or_fetched(location, files=FILES, revision=revision, token=token)


def _load_source(reference: SourceReference, *, folder: Path) -> Source:
    """A source of a model, from where it was.

    Raises:
        InputError: it is not there any more, or may not be read there.
    """
    place = _place_of_source(reference, folder=folder)
    if isinstance(place, Path) and not place.is_dir():
        raise InputError(
            f"source {reference.name!r} of {folder} is not in {os.path.normpath(place)} any more: give its shelf "
            "(sources=..., --sources)"
        )
    return Source.load(place)


def _place_of_source(reference: SourceReference, *, folder: Path) -> str | Path:
    """Where a source of a model is; of one that was downloaded, nowhere else on this machine than in its folder."""
    location = reference.location
    if location.startswith(PREFIX):
        return location
    outside = re.search(r"\\|:|^/|(?:^|/)\.\.(?:/|$)", location)
    if outside and is_downloaded(folder):
        raise InputError(
            f"{folder} was downloaded and says that its source {reference.name!r} is in {location!r}, outside of it, "
            "which is not read: give its sources (sources=..., --sources)"
        )
    return folder / location


def refer(source: Source, *, folder: Path) -> SourceReference:
    """How a model that will stand in `folder` refers to `source` where it is.

    Raises:
        InputError: the source is only in memory.
    """
    if not source.location:
        raise InputError(f"source {source.name!r} was never saved: save it first, or use include_sources=True")
    location = source.location
    if location != BUILTIN and not location.startswith(PREFIX):
        location = Path(os.path.relpath(Path(location).resolve(), folder.resolve())).as_posix()
    return SourceReference(name=source.name, location=location, sha256=source.sha256)


def stands_in(source: Source, *, folder: Path) -> bool:
    """Whether `source` stands in `folder`, and would be gone where a new folder takes its place."""
    location = source.location
    if not location or location == BUILTIN or location.startswith(PREFIX):
        return False
    return Path(location).resolve().is_relative_to(folder.resolve())


def copy_in(source: Source, *, aside: Path, place: str = ".") -> SourceReference:
    """Copies `source` into the folder that is being put together and will be called `place`, and refers to the copy."""
    location = f"sources/{source.name}"
    (aside / location).mkdir(parents=True)
    sha256 = source.write_into(aside / location, place=within(place, location))
    return SourceReference(name=source.name, location=location, sha256=sha256)
