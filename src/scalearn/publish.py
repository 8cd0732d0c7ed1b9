"""Uploading what a folder holds, whichever of the library's results it is: a model, a source or a shelf.

A model goes without its backbone being loaded; what `train` wrote, which is a model and a source, goes as both.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from scalearn.errors import InputError
from scalearn.pushing import Pushed, Pushing, called, upload
from scalearn.saved import DESCRIPTION, REPLACED, SavedModel
from scalearn.shelf import REPLACED as SHELF_REPLACED
from scalearn.shelf import Shelf
from scalearn.sources import BUILTIN, Source
from scalearn.sources import DESCRIPTION as SOURCE_DESCRIPTION
from scalearn.sources import FILES as SOURCE_FILES


@dataclass(frozen=True, kw_only=True)
class _Assembled:
    """A folder as it will stand in the repository."""

    folder: Path
    message: str
    replacing: tuple[str, ...]


def publish(
    location: str,
    repo_id: str,
    *,
    sources: Shelf | None = None,
    include_sources: bool = False,
    backbone: str | None = None,
    collection: str | None = None,
    **how: Unpack[Pushing],
) -> Pushed:
    """Uploads a model, a source or a shelf, with nothing in it of the machine it comes from.

    Args:
        location: a folder that scalearn wrote, a folder of sources, or ``builtin``.
        repo_id: ``owner/name``.
        sources: of a model, a shelf that holds its sources if they are not where they were.
        include_sources: of a model, upload also the sources that ship with scalearn or are on the Hub.
        backbone: where others find the backbone, if it was a local folder.
        collection: of a shelf, the title of a collection with one repository per source.
        how: ``private``, ``revision``, ``token``, ``commit_message``: see `scalearn.pushing.Pushing`.

    Raises:
        InputError: there is no such folder, an option does not go with what it holds, or the Hub refuses.
    """
    if collection is not None:
        _check_shelf(location)
        return Shelf(location).push_to_hub(repo_id, collection=collection, backbone=backbone, **how)
    with _assembled(
        location, called(repo_id, how), sources=sources, include_sources=include_sources, backbone=backbone
    ) as made:
        return upload(made.folder, repo_id, how, replacing=made.replacing, message=made.message)


def planned(
    location: str,
    repo_id: str,
    *,
    sources: Shelf | None = None,
    include_sources: bool = False,
    backbone: str | None = None,
    collection: str | None = None,
    **how: Unpack[Pushing],
) -> Mapping[str, int]:
    """What `publish` would upload: bytes by ``owner/name/path``; arguments and errors as there, but the Hub's."""
    place = called(repo_id, how)
    if collection is not None:
        _check_shelf(location)
    sizes = {}
    with _assembled(location, place, sources=sources, include_sources=include_sources, backbone=backbone) as made:
        for path in sorted(path for path in made.folder.rglob("*") if path.is_file()):
            name = path.relative_to(made.folder).as_posix()
            if collection is None:
                sizes[f"{repo_id}/{name}"] = path.stat().st_size
            elif "/" in name:  # a source's folder becomes a repository, and the shelf's own card is not needed
                sizes[f"{repo_id}-{name}"] = path.stat().st_size
    return sizes


@contextmanager
def _assembled(
    location: str, place: str, *, sources: Shelf | None, include_sources: bool, backbone: str | None
) -> Iterator[_Assembled]:
    """The folder, while the block runs."""
    here = Path(location)
    with tempfile.TemporaryDirectory(prefix="scalearn-") as temporary:
        folder = Path(temporary)
        if (here / DESCRIPTION).is_file():
            saved = SavedModel.read(here)
            found = saved.find_sources(here, sources)
            saved.write_shareable(
                folder, place=place, sources=tuple(found or ()), include_sources=include_sources, backbone=backbone
            )
            if (here / SOURCE_DESCRIPTION).is_file():
                Source.load(here).shareable(backbone=backbone).write_into(folder, place=place)
            yield _Assembled(folder=folder, message=saved.title, replacing=REPLACED)
            return
        if sources is not None or include_sources:
            raise InputError(f"{location} is no model: leave out --sources and --include-sources")
        if (here / SOURCE_DESCRIPTION).is_file():
            source = Source.load(here)
            source.shareable(backbone=backbone).write_into(folder, place=place)
            yield _Assembled(folder=folder, message=f"Source {source.name}", replacing=SOURCE_FILES)
            return
        shelf = _local_shelf(location)
        shelf.write_into(folder, place=place, backbone=backbone)
        yield _Assembled(folder=folder, message=f"Sources {', '.join(shelf.names)}", replacing=SHELF_REPLACED)


def _local_shelf(location: str) -> Shelf:
    """A shelf of this machine.

    Raises:
        InputError: it is none.
    """
    if location != BUILTIN and not any(Path(location).glob(f"*/{SOURCE_DESCRIPTION}")):
        raise InputError(
            f"{location} is no folder of this machine with a model ({DESCRIPTION}), a source ({SOURCE_DESCRIPTION}) or "
            f"a shelf (*/{SOURCE_DESCRIPTION}): give what scalearn wrote, or {BUILTIN!r}"
        )
    return Shelf(location)


def _check_shelf(location: str) -> None:
    if any((Path(location) / name).is_file() for name in (DESCRIPTION, SOURCE_DESCRIPTION)):
        raise InputError(f"{location} is one model or source: a collection is for a shelf; leave --collection out")
    _local_shelf(location)
