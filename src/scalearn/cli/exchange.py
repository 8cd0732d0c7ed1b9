"""`scalearn import` and `scalearn export`: adapters of other libraries as sources, and models for other libraries."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scalearn.atomic import EXPORTS, refuse_existing
from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.backbones import Backbone
    from scalearn.sources import Source

Adapters = Annotated[
    list[str],
    typer.Argument(
        metavar="ADAPTER",
        help="AdapterHub or PEFT adapters: folders, or owner/name or hub:owner/name/subfolder@revision on the Hub.",
    ),
]
TrainedOn = Annotated[
    str | None,
    typer.Option("--backbone", help="What they were trained on: minilm, a folder, or a Hub id; else what they name."),
]
Format = Annotated[Literal["adapterhub", "peft", "onnx"], typer.Option("--format", help="Who is to read it.")]


def import_adapters(
    adapters: Adapters,
    out: Annotated[Path, typer.Option("--out", help="The shelf: each becomes a new folder in it, by its name.")],
    backbone: TrainedOn = None,
    name: Annotated[str | None, typer.Option("--name", help="What to call the source, if it is one.")] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Make sources of adapters that the adapters library (AdapterHub) or PEFT wrote.

    Examples: `scalearn import AdapterHub/roberta-base-pf-mnli --out shelf/`,
    `scalearn import exports/cola exports/sst2 --backbone roberta-base --out shelf/`
    """
    from scalearn.backbones import load_backbone
    from scalearn.interop.formats import fetch_adapter, needed_backbone, read_source
    from scalearn.sources import DESCRIPTION

    if name is not None and len(adapters) > 1:
        raise InputError(f"--name {name} is for one adapter, but there are {len(adapters)}: import them one by one")
    if (out / DESCRIPTION).is_file():
        raise InputError(f"{out} is a source, not a shelf of sources: give the folder above it, or a new one")
    loaded: dict[str, Backbone] = {}
    sources: dict[str, Source] = {}
    for place in adapters:
        folder = fetch_adapter(place)
        wanted = backbone or needed_backbone(folder)
        if wanted not in loaded:
            loaded[wanted] = load_backbone(wanted)
        source = read_source(folder, backbone=loaded[wanted], name=name)
        _note_other_backbone(source, folder)
        if source.name in sources:
            raise InputError(f"two adapters are named {source.name!r}: import them one by one, with --name")
        refuse_existing(out / source.name, overwrite=overwrite)
        sources[source.name] = source
    for source in sources.values():  # only once all could be read
        source.save(out / source.name, overwrite=overwrite)
        print(f"{out / source.name}: {source.size()}, trained on {source.backbone.name}")


def export(
    model: o.Model,
    out: o.Out,
    format: Format,
    name: Annotated[
        str | None, typer.Option("--name", help="adapterhub: of adapter and head; else the task's.")
    ] = None,
    no_head: Annotated[bool, typer.Option("--no-head", help="adapterhub: the adapter alone.")] = False,
    safetensors: Annotated[
        bool, typer.Option("--safetensors", help="adapterhub: for load_adapter(..., use_safetensors=True).")
    ] = False,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Write a model for others: as an adapter of the adapters library (AdapterHub) or of PEFT, or as ONNX.

    Sources and coefficients are folded on the way; the model stays as it is.

    Example: `scalearn export runs/reviews --format adapterhub --out exports/reviews`
    """
    given = {"--name": name is not None, "--no-head": no_head, "--safetensors": safetensors}
    unused = [option for option, used in given.items() if used]
    if format != "adapterhub" and unused:
        raise InputError(f"--format adapterhub has {', '.join(unused)}, and {format} has not: leave out what it lacks")
    refuse_existing(out, overwrite=overwrite, ours=EXPORTS)
    from scalearn.model import TransferModel

    shelf = None if sources is None else o.load_shelf(sources)
    loaded = TransferModel.from_pretrained(model, backbone=backbone, sources=shelf)
    match format:
        case "adapterhub":
            from scalearn.interop.adapterhub import write_adapter

            head = not no_head
            write_adapter(loaded, out, name=name, head=head, safetensors=safetensors, overwrite=overwrite)
        case "peft":
            from scalearn.interop.peft import write_peft

            write_peft(loaded, out, overwrite=overwrite)
        case "onnx":
            from scalearn.interop.onnx import export_onnx

            export_onnx(loaded, out, overwrite=overwrite)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{format} in {out} ({size / 2**20:.2f} MB)")


def _note_other_backbone(source: Source, folder: Path) -> None:
    """Says so when an adapter names another backbone than the one given: its weights cannot tell."""
    from scalearn.interop.formats import stated_backbone

    stated = stated_backbone(folder)
    if stated is not None and Path(stated).name != Path(source.backbone.name).name:
        print(
            f"note: {source.name} says that it was trained on {stated}; it fits {source.backbone.name}, but is only "
            "right if that is the same",
            file=sys.stderr,
        )
