"""Sources: deltas trained on one task, on disk.

A source is a folder with `source.json` (what it is and where it comes from) and `source.safetensors` (its tensors,
named as `scalearn.combinable` says). `README.md`, of `scalearn.cards`, tells people; it is never read. It
may lie on the Hub (`scalearn.hub`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack, cast

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save as save_tensors
from torch import Tensor

from scalearn.atomic import new_folder, write_text
from scalearn.backbones import BackboneReference
from scalearn.cards import CARD, shareable_name, source_card, source_section, without_places
from scalearn.checked import read_checked, read_description
from scalearn.combinable import deltas_from
from scalearn.deltas import Bottleneck, Lora, Rescaling
from scalearn.errors import InputError
from scalearn.hub import PREFIX, local_or_fetched, place_of
from scalearn.pushing import Pushed, Pushing, called, upload
from scalearn.sites import Placement

FORMAT_VERSION = 1
DESCRIPTION = "source.json"
WEIGHTS = "source.safetensors"
BUILTIN = "builtin"
FILES = (DESCRIPTION, WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained single-task adapter, Compacter++, LoRA or IA3."""

    name: str
    backbone: BackboneReference
    task: Mapping[str, Any]
    """`Task.describe()` of the task it was trained on."""
    method: str
    options: Mapping[str, Any]
    metrics: Mapping[str, Any]
    """Split name to scores, as measured when it was trained."""
    provenance: Mapping[str, Any]
    """Rows, seed, command, library versions: whatever a reader needs to judge or rebuild it."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    embedding: tuple[float, ...] = ()
    """Mean sentence embedding of its training texts (`scalearn.similarity`); empty if it was not computed."""
    sha256: str = ""
    """Of `source.safetensors`; empty until saved."""
    location: str = ""
    """The folder it was read from, ``builtin``, or its place on the Hub, pinned to a commit."""

    def __post_init__(self) -> None:
        """Refuses names that are not plain folder names: sources are stored and copied under their names."""
        check_name(self.name)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        location: str | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> Source:
        """Reads a source, checking its hash and its shapes.

        Args:
            folder: that `save` wrote, or a place on the Hub: see `scalearn.hub`.
            location: what to call the place it comes from, if not `folder`.
            revision: on the Hub, a branch, a tag or a commit.
            token: for the Hub; by default ``HF_TOKEN`` or that of ``hf auth login``.

        Raises:
            InputError: a file is missing, cut short, altered, or of another format.
        """
        folder = local_or_fetched(folder, files=FILES, revision=revision, token=token)
        described = read_description(folder / DESCRIPTION, _Description, version=FORMAT_VERSION)
        tensors = read_checked(folder / WEIGHTS, sha256=described.sha256)
        source = cls(**{**dict(described), "tensors": tensors, "location": location or place_of(folder) or str(folder)})
        source.deltas()  # shapes are checked before anything is built on them
        return source

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None, overwrite: bool = False) -> Source:
        """Writes the source as a new folder, and returns it as it stands there.

        Args:
            folder: must not exist, unless `overwrite`.
            dtype: store the tensors so, for instance in `torch.float16`; by default as they are.
            overwrite: replace a folder that exists.
        """
        self.deltas()  # what could not be loaded is not written
        with new_folder(Path(folder), overwrite=overwrite) as aside:
            self.write_into(aside, dtype=dtype)
        return Source.load(folder)

    def write_into(self, folder: Path, *, dtype: torch.dtype | None = None, place: str = ".") -> str:
        """Writes the two files and their card into a folder that the caller is putting together.

        Where the card of a model stands already, as in what `train` writes, the source becomes a section of it.

        Args:
            folder: exists.
            dtype: store the tensors so; by default as they are.
            place: what the card calls the folder.

        Returns:
            The tensors' SHA-256.
        """
        data = save_tensors({key: value.to(dtype or value.dtype).contiguous() for key, value in self.tensors.items()})
        sha256 = hashlib.sha256(data).hexdigest()
        description = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "backbone": self.backbone.model_dump(),
            "task": dict(self.task),
            "method": self.method,
            "options": dict(self.options),
            "metrics": dict(self.metrics),
            "provenance": dict(self.provenance),
            "sha256": sha256,
            "embedding": list(self.embedding),
        }
        (folder / WEIGHTS).write_bytes(data)
        write_text(folder / DESCRIPTION, _as_json(description))
        facts = json.loads(_as_json(description))
        known: dict[str, Any] = {"size": len(data), "local": os.path.exists(self.backbone.name), "place": place}
        card = folder / CARD
        if card.is_file():
            write_text(card, card.read_text(encoding="utf-8") + source_section(facts, **known))
        else:
            write_text(card, source_card(facts, **known))
        return sha256

    def shareable(self, *, backbone: str | None = None) -> Source:
        """The source as others may have it: what it says of its training names no place of this machine.

        Args:
            backbone: where others find its backbone, if it was a local folder.
        """
        return replace(
            self,
            backbone=self.backbone.model_copy(update={"name": backbone or shareable_name(self.backbone.name)}),
            provenance=without_places(dict(self.provenance)),
        )

    def push_to_hub(self, repo_id: str, *, backbone: str | None = None, **how: Unpack[Pushing]) -> Pushed:
        """Uploads the source as a model repository, which is made if there is none.

        Args:
            repo_id: ``owner/name``.
            backbone: where others find its backbone, if it was a local folder.
            how: ``private``, ``revision``, ``token``, ``commit_message``: see `scalearn.pushing.Pushing`.

        Raises:
            InputError: the Hub refuses, or cannot be reached.
        """
        place = called(repo_id, how)
        self.deltas()  # what could not be loaded is not uploaded
        with tempfile.TemporaryDirectory(prefix="scalearn-") as aside:
            self.shareable(backbone=backbone).write_into(Path(aside), place=place)
            return upload(Path(aside), repo_id, how, replacing=FILES, message=f"Source {self.name}")

    def store_embedding(self, embedding: Sequence[float]) -> Source:
        """Writes the embedding of its texts into its folder, whose tensors stay; returns it as it stands there.

        Raises:
            InputError: it lies on the Hub.
        """
        if self.location.startswith(PREFIX):
            raise InputError(
                f"source {self.name!r} lies on the Hub ({self.location}), where nothing is stored: download it with "
                "`hf download`, and give that folder"
            )
        path = Path(self.location) / DESCRIPTION
        described = json.loads(path.read_text(encoding="utf-8"))
        write_text(path, _as_json(described | {"embedding": list(embedding)}))
        return Source.load(path.parent)

    def digest(self) -> str:
        """SHA-256 of its tensors, whether it was saved or not."""
        return (
            self.sha256
            or hashlib.sha256(
                save_tensors({key: value.contiguous() for key, value in self.tensors.items()})
            ).hexdigest()
        )

    def deltas(self) -> Placement:
        """Its deltas in float32 (float64 stays), by site, one per layer; Compacter++ as plain bottlenecks.

        Raises:
            InputError: a tensor is missing, unknown or of another shape than the description says.
        """
        try:
            return deltas_from(
                self.tensors,
                method=self.method,
                options=self.options,
                width=self.backbone.width,
                layers=self.backbone.layers,
            )
        except InputError as error:
            raise InputError(f"source {self.name!r} ({self.location}) {error}") from error

    def size(self) -> str:
        """What kind of delta it is and how wide, for people."""
        delta = next(iter(self.deltas().values()))[0]
        if isinstance(delta, Lora):
            return f"{self.method}, rank {delta.down.weight.shape[0]}"
        if isinstance(delta, Rescaling):
            return f"{self.method}, {len(self.deltas())} scales a layer"
        return f"{self.method}, bottleneck {cast(Bottleneck, delta).down.out_features}"


def check_name(name: str) -> None:
    """Raises `InputError` unless `name` is a plain folder name: sources are stored and copied under their names."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise InputError(
            f"source name {name!r}: choose one (--name, name=...) of letters, digits, '.', '_', '+' and '-' only"
        )


def _as_json(description: Mapping[str, Any]) -> str:
    """A description for people: indented, but for the embedding's hundreds of numbers, on one line at the end."""
    embedding = json.dumps(description["embedding"])
    rest = {key: value for key, value in description.items() if key != "embedding"}
    return f'{json.dumps(rest, indent=2, ensure_ascii=False)[:-2]},\n  "embedding": {embedding}\n}}\n'


class _Description(BaseModel):
    """The fields of `source.json`."""

    model_config = ConfigDict(strict=True)

    name: str
    backbone: BackboneReference
    task: dict[str, Any]
    method: str
    options: dict[str, Any]
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    embedding: tuple[float, ...] = ()
    sha256: str
