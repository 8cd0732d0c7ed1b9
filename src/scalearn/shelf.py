"""The shelf: an ordered collection of sources, which transfer methods combine.

On disk it is a folder of sources' folders; on the Hub a repository of such, or a collection of repositories.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Unpack

from scalearn.atomic import write_text
from scalearn.backbones import Backbone
from scalearn.cards import CARD, shelf_card
from scalearn.errors import InputError
from scalearn.hub import PREFIX, check_repo_id, collection_slug, local_or_fetched, models_of, within
from scalearn.pushing import Pushed, Pushing, called, collect, upload
from scalearn.sources import BUILTIN, DESCRIPTION, Source
from scalearn.sources import FILES as SOURCE_FILES

FILES = (*SOURCE_FILES, *(f"*/{name}" for name in SOURCE_FILES))
REPLACED = (*FILES, f"*/{CARD}")
"""What an older upload may have left that is not of this one."""


class Shelf:
    """An ordered collection of sources with distinct names.

    Args:
        sources: a folder of sources (or one source's folder), ``"builtin"`` for the shelf that ships with scalearn, a
            place on the Hub (a repository that holds either, or a collection of such), or sources already loaded.

    Raises:
        InputError: the folder does not exist or holds no source, or two sources have one name.
    """

    def __init__(self, sources: str | Path | Iterable[Source]) -> None:
        if isinstance(sources, str | Path):
            loaded = _read_builtin() if str(sources) == BUILTIN else _read_shelf(sources)
        else:
            loaded = list(sources)
        self._sources: dict[str, Source] = {}
        for source in loaded:
            if source.name in self._sources:
                other = self._sources[source.name]
                raise InputError(
                    f"two sources are named {source.name!r}: {other.location} and {source.location}; rename one "
                    f"('name' in its {DESCRIPTION}) or leave one out"
                )
            self._sources[source.name] = source

    @classmethod
    def from_hub(cls, *places: str, token: str | None = None) -> Shelf:
        """The sources of several places on the Hub, in order.

        Args:
            places: each a repository (``owner/name``, ``owner/name@revision``) or a collection.
            token: by default ``HF_TOKEN`` or that of ``hf auth login``.

        Raises:
            InputError: one is not there, holds no source, or two sources have one name.
        """
        marked = (place if place.startswith(PREFIX) else f"{PREFIX}{place}" for place in places)
        return cls(source for place in marked for source in _read_shelf(place, token=token))

    def push_to_hub(
        self, repo_id: str, *, collection: str | None = None, backbone: str | None = None, **how: Unpack[Pushing]
    ) -> Pushed:
        """Uploads the shelf: as one repository, a folder per source, or as a collection of repositories.

        Args:
            repo_id: ``owner/name``; in a collection, that of each source is this with ``-`` and the source's name.
            collection: the title of a collection, made where there is none, of one repository per source.
            backbone: where others find the sources' backbone, if it was a local folder.
            how: ``private``, ``revision``, ``token``, ``commit_message``: see `scalearn.pushing.Pushing`.

        Raises:
            InputError: the Hub refuses, or cannot be reached.
        """
        if collection is not None:
            owned = {f"{repo_id}-{source.name}": source for source in self}
            for own in owned:
                check_repo_id(own)  # before the first is uploaded
            for own, source in owned.items():
                source.push_to_hub(own, backbone=backbone, **how)
            return collect(list(owned), how, title=collection, owner=repo_id.partition("/")[0])
        place = called(repo_id, how)
        with tempfile.TemporaryDirectory(prefix="scalearn-") as aside:
            self.write_into(Path(aside), place=place, backbone=backbone)
            message = f"Sources {', '.join(self.names)}"
            return upload(Path(aside), repo_id, how, replacing=REPLACED, message=message)

    def write_into(self, folder: Path, *, place: str, backbone: str | None = None) -> None:
        """Writes the sources as others may have them, and a card, into a folder that will be uploaded.

        Args:
            folder: exists, and is empty.
            place: what the cards call the folder.
            backbone: where others find the sources' backbone, if it was a local folder.
        """
        for source in self:
            own = folder / source.name
            own.mkdir()
            source.shareable(backbone=backbone).write_into(own, place=within(place, source.name))
        descriptions = [json.loads((folder / name / DESCRIPTION).read_text(encoding="utf-8")) for name in self.names]
        write_text(folder / CARD, shelf_card(descriptions, place=place))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its sources, in order."""
        return tuple(self._sources)

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, name: str) -> Source:
        self._check_known([name])
        return self._sources[name]

    def only(self, names: Iterable[str]) -> Shelf:
        """The shelf of just these sources, in the order given."""
        names = list(names)
        self._check_known(names)
        return Shelf(self._sources[name] for name in names)

    def without(self, names: Iterable[str]) -> Shelf:
        """The shelf but for these sources; leave out a target's own data this way."""
        names = set(names)
        self._check_known(names)
        return Shelf(source for source in self if source.name not in names)

    def check_fits(self, backbone: Backbone) -> None:
        """Raises `InputError` naming each source that was trained on another backbone, or that the shelf is empty."""
        if not len(self):
            raise InputError(
                "there are zero sources: give at least one, or train one with `scalearn train TASK --out shelf/TASK`"
            )
        misfits = [
            f"source {source.name!r} {difference}"
            for source in self
            if (difference := source.backbone.difference(backbone))
        ]
        if misfits:
            raise InputError(f"{'; '.join(misfits)}: train these sources on {backbone.name}, or choose their backbone")

    def _check_known(self, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self._sources]
        if unknown:
            raise InputError(
                f"no source named {', '.join(map(repr, unknown))}; there are {', '.join(self.names) or 'none'}"
            )


def _read_shelf(place: str | Path, *, token: str | None = None) -> list[Source]:
    if not Path(place).exists() and (slug := collection_slug(str(place))) is not None:
        return [
            source
            for repo_id in models_of(slug, token=token)
            for source in _read_shelf(f"{PREFIX}{repo_id}", token=token)
        ]
    folder = local_or_fetched(place, files=FILES, token=token)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give a folder of sources, or {BUILTIN!r} for the shelf that ships")
    if (folder / DESCRIPTION).is_file():
        return [Source.load(folder)]
    found = sorted(path.parent for path in folder.glob(f"*/{DESCRIPTION}") if not path.parent.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} holds zero sources (no */{DESCRIPTION}): train one with `scalearn train TASK --out "
            f"{folder}/TASK`, or use {BUILTIN!r}"
        )
    return [Source.load(path) for path in found]


def _read_builtin() -> list[Source]:
    with resources.as_file(resources.files("scalearn") / "shelves" / "minilm") as folder:
        return [Source.load(path.parent, location=BUILTIN) for path in sorted(folder.glob(f"*/{DESCRIPTION}"))]
