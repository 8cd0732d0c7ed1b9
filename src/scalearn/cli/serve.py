"""`scalearn serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from scalearn.cli import options as o
from scalearn.errors import InputError

_LIMITS, _BATCHES, _MEMORY = "What one client may ask", "Batches", "Memory"


def serve(
    models: Annotated[
        list[Path], typer.Argument(help="Folders of models, or folders of such folders; or owner/name on the Hub.")
    ],
    backbone: o.MovedBackbone = None,
    sources: o.MovedSources = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is all of this machine's.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8000,
    allow_admin: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Let clients add models of this directory, and remove any. Off by default."),
    ] = None,
    max_batch_rows: Annotated[int, typer.Option(min=1, help="Rows to compute at once.", rich_help_panel=_BATCHES)] = 64,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a row waits for others.", rich_help_panel=_BATCHES)
    ] = 2.0,
    queue_rows: Annotated[
        int, typer.Option(min=1, help="Rows that may wait; further requests get 429.", rich_help_panel=_BATCHES)
    ] = 4096,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of a request.", rich_help_panel=_LIMITS)] = 256,
    max_characters: Annotated[int, typer.Option(min=1, help="Of each text.", rich_help_panel=_LIMITS)] = 20_000,
    max_body_bytes: Annotated[int, typer.Option(min=1, help="Of a request's body.", rich_help_panel=_LIMITS)] = 2**20,
    client_seconds: Annotated[
        float, typer.Option(min=0.1, help="To send a request's head, and its body.", rich_help_panel=_LIMITS)
    ] = 10.0,
    head_memory: Annotated[
        int, typer.Option(min=0, help="MB of heads in memory; others lie in a file.", rich_help_panel=_MEMORY)
    ] = 256,
    head_format: Annotated[
        Literal["fp32", "bf16"], typer.Option(help="In which heads are kept.", rich_help_panel=_MEMORY)
    ] = "fp32",
    precision: o.PrecisionName = "auto",
) -> None:
    """Answer many tasks over HTTP: one backbone and one set of sources, rows of all clients in shared batches.

    Example: `scalearn serve runs/ --port 8000`, then open http://127.0.0.1:8000
    """
    try:
        from scalearn.serving.server import listen, run
    except ModuleNotFoundError as error:
        raise InputError(
            f"scalearn serve needs {error.name}, which is not installed: pip install 'scalearn[serve]'"
        ) from error
    import torch

    from scalearn.serving.app import Service
    from scalearn.serving.limits import Limits
    from scalearn.serving.predictor import MultiTaskPredictor

    if allow_admin is not None and not allow_admin.is_dir():
        raise InputError(f"--allow-admin {allow_admin} is not a directory: give the one that holds the models to add")
    listener = listen(host, port)  # before anything is loaded: a port that is taken is said at once
    predictor = MultiTaskPredictor.from_folders(
        models,
        backbone=backbone,
        sources=None if sources is None else o.load_shelf(sources),
        head_memory=head_memory * 2**20,
        head_dtype=torch.bfloat16 if head_format == "bf16" else None,
        precision=precision,
    )
    service = Service(
        predictor,
        limits=Limits(rows=max_rows, characters=max_characters, body_bytes=max_body_bytes, seconds=client_seconds),
        most=max_batch_rows,
        wait=max_wait_ms / 1000,
        room=queue_rows,
        root=allow_admin,
    )
    address, own_port = listener.getsockname()[:2]
    where = f"http://{f'[{address}]' if ':' in address else address}:{own_port}"
    names = ", ".join(predictor.names[:5]) + (", ..." if len(predictor) > 5 else "")
    print(f"{len(predictor)} task(s) at {where} ({names}); Ctrl-C stops", flush=True)
    if given_up := run(service, listener=listener):
        print(f"stopped; {given_up} request(s) were given up")
        raise typer.Exit(1)
    print("stopped; all that was asked is answered")
