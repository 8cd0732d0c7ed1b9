"""`scalearn push`: a model, a source or a shelf to the Hugging Face Hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scalearn.cli import options as o

if TYPE_CHECKING:
    from scalearn.pushing import Pushing


def push(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="What scalearn wrote: a model, a source, or a folder of sources.")
    ],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A model repository; made if there is none.")],
    private: Annotated[bool, typer.Option("--private", help="Make it so that only its owner sees it.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch, made if there is none; else main.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="TITLE", help="A shelf as a collection of repositories OWNER/NAME-SOURCE.")
    ] = None,
    include_sources: Annotated[
        bool, typer.Option("--include-sources", help="Also the model's sources that ship or are on the Hub.")
    ] = False,
    sources: o.MovedSources = None,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Where others find the backbone, if it was a local folder.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the files and their sizes.")] = False,
) -> None:
    """Upload a model, a source or a shelf to the Hugging Face Hub, all that others need and no path of this machine.

    Log in with `hf auth login` first, or set HF_TOKEN.

    Examples: `scalearn push runs/reviews ann/reviews --dry-run`,
    `scalearn push shelf/ ann/shelf --collection "Our sources"`
    """
    from scalearn.publish import planned, publish

    how: Pushing = {"private": private, "revision": revision, "commit_message": message}
    moved = None if sources is None else o.load_shelf(sources)
    if dry_run:
        sizes = planned(
            folder, repository, sources=moved, include_sources=include_sources, backbone=backbone,
            collection=collection, **how,
        )  # fmt: skip
        for path, size in sizes.items():
            print(f"{size:>12,}  {path}")
        print(f"{sum(sizes.values()):>12,}  bytes in {len(sizes)} files; nothing was uploaded")
    else:
        pushed = publish(
            folder, repository, sources=moved, include_sources=include_sources, backbone=backbone,
            collection=collection, **how,
        )  # fmt: skip
        print(f"{folder} is on {pushed.url}\nas {pushed.place}")
    _note_backbone(folder, backbone)


def _note_backbone(folder: str, backbone: str | None) -> None:
    """Says so when others will not find the backbone by its name."""
    from scalearn.cards import shareable_name
    from scalearn.saved import DESCRIPTION, SavedModel
    from scalearn.shelf import Shelf

    if backbone is not None:
        return
    if (Path(folder) / DESCRIPTION).is_file():
        names = [SavedModel.read(Path(folder)).backbone.name]
    else:
        names = [source.backbone.name for source in Shelf(folder)]
    for name in dict.fromkeys(names):
        if shareable_name(name) != name:
            print(
                f"note: the backbone was a folder ({name}), which is not uploaded: say with --backbone where others "
                "find it, else they have to give it",
                file=sys.stderr,
            )
