"""`scalearn evaluate`, `scalearn predict` and `scalearn fold`."""

from __future__ import annotations

import csv
import gc
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalearn.atomic import refuse_existing, write_text
from scalearn.cli import options as o
from scalearn.cli.groups import Rows, grouped
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.joint import JointModel
    from scalearn.model import TransferModel
    from scalearn.precision import Precision
    from scalearn.prediction import Prediction
    from scalearn.tasks import Task

    Answer = Callable[[Sequence[Any]], list[Prediction]]
    """From rows of texts or images to their answers."""


JointTask = Annotated[
    str | None, typer.Option("--task", help="Which of its tasks, for a model that `scalearn joint` wrote.")
]


@grouped
def evaluate(
    model: o.Model,
    rows: Rows,
    task: JointTask = None,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
) -> None:
    """Score a model on a split of its task, or on labelled rows of your own.

    Examples: `scalearn evaluate runs/rte --data glue/`, `scalearn evaluate runs/reviews --file held-out.csv`
    """
    with uncollected():
        from scalearn.joint import JointModel
        from scalearn.training import evaluate as score

    rows.check()
    loaded = load_model(model, task, sources, backbone)
    own = loaded.task(str(task)) if isinstance(loaded, JointModel) else loaded.task
    target, split = rows.of(own, model=model, usual="test")
    scores = score(loaded, split, task=target, precision=precision)
    shown = o.percent(scores, [*own.metrics, own.main_metric])
    print(f"{model} on {split} ({len(target.splits[split])} rows): {shown}")


def predict(
    model: o.Model,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="One row: its text, its two texts, or a text and its choices; or files of images. Or use --file."
        ),
    ] = None,
    task: JointTask = None,
    file: Annotated[
        Path | None, typer.Option(help="Rows: CSV, TSV, JSONL or Parquet, with the columns of training.")
    ] = None,
    image_folder: o.ImageFolder = None,
    out: Annotated[Path | None, typer.Option(help="A new CSV file for the answers; else they are printed.")] = None,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    precision: o.PrecisionName = "auto",
    onnx: Annotated[bool, typer.Option("--onnx", help="MODEL is a folder of `scalearn export --format onnx`.")] = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Answer rows of text, or images: a label and a probability per class, as CSV.

    Examples: `scalearn predict runs/reviews "Never again."`, `scalearn predict runs/birds robin.jpg wren.jpg`,
    `scalearn predict runs/reviews --file new.csv --out answers.csv`
    """
    if bool(texts) == (file is not None):
        raise InputError("give either one row of text or --file with rows, not both")
    if file is None and image_folder is not None:
        raise InputError("--image-folder is where the images of --file lie: give it too")
    if out is not None:
        refuse_existing(out, overwrite=overwrite)
        if out.is_dir():
            raise InputError(f"{out} is a folder: give the name of a CSV file")
    if onnx:
        options = {"--task": task, "--sources": sources, "--backbone": backbone}
        beside = [name for name, value in options.items() if value is not None]
        beside += ["--precision"] if precision != "auto" else []
        own, answer = _load_onnx(model, beside)
    else:
        own, answer = _load_answers(model, task, sources, backbone, precision)
    if file is not None:
        rows = own.read_rows(file, image_folder=image_folder)
    else:
        rows = [tuple(texts or ())] if own.image is None else list(texts or ())
    answers = answer(rows)
    header = ["label", *own.labels]
    table = [
        [
            a.label if not isinstance(a.label, tuple) else "; ".join(a.label),
            *(f"{p:.4f}" for p in a.probabilities.values()),
        ]
        for a in answers
    ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(table)
    if out is None:
        print(stream.getvalue(), end="")
    else:
        write_text(out, stream.getvalue())
        print(f"{len(answers)} answers in {out}")


def fold(
    model: o.Model,
    out: o.Out,
    sources: o.MovedSources = None,
    backbone: o.MovedBackbone = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Turn sources and coefficients into one ordinary adapter per layer: same answers, no sources needed.

    LoRA sources, or a LoRA model, go into the weights themselves when the folded model is loaded.

    Example: `scalearn fold runs/reviews --out runs/reviews-folded`
    """
    with uncollected():
        from scalearn.model import TransferModel

    refuse_existing(out, overwrite=overwrite)
    loaded = load_model(model, None, sources, backbone)
    assert isinstance(loaded, TransferModel)  # without a task, nothing else is loaded
    folded = loaded.fold()
    folded.save_pretrained(out, overwrite=overwrite)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{folded.method.name} {dict(folded.method.model_dump())} saved in {out} ({size / 2**20:.1f} MB)")


def _load_onnx(model: Path, beside: Sequence[str]) -> tuple[Task, Answer]:
    """The task of an exported model, and what answers its rows; `beside` are options that say nothing to it."""
    from scalearn.interop.onnx_predictor import OnnxPredictor

    if beside:
        raise InputError(f"{', '.join(beside)} says nothing to an exported model: leave it out beside --onnx")
    predictor = OnnxPredictor.load(model)
    return predictor.task, predictor.predict


def _load_answers(
    model: Path, task: str | None, sources: str | None, backbone: str | None, precision: Precision
) -> tuple[Task, Answer]:
    """The task of a model, or one of a joint model's, and what answers its rows."""
    from scalearn.interop.onnx_predictor import DESCRIPTION

    if (Path(model) / DESCRIPTION).is_file():
        raise InputError(f"{model} is a model exported to ONNX: add --onnx")
    with uncollected():
        from scalearn.joint import JointModel

    loaded = load_model(model, task, sources, backbone)
    if isinstance(loaded, JointModel):
        own = loaded.task(str(task))
        return own, partial(loaded.predict, task=own.name, precision=precision)
    return loaded.task, partial(loaded.predict, precision=precision)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage while libraries and models load: nearly all that they make stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@uncollected()
def load_model(model: Path, task: str | None, sources: str | None, backbone: str | None) -> TransferModel | JointModel:
    """The model of a folder: a joint one where a task of it is named."""
    from scalearn.joint import JointModel
    from scalearn.model import TransferModel

    if task is not None:
        if sources is not None:
            raise InputError("--sources is for models that combine sources: leave it out beside --task")
        joint = JointModel.from_pretrained(model, backbone=backbone)
        joint.task(task)  # a name that it does not have is refused here
        return joint
    return TransferModel.from_pretrained(
        model, backbone=backbone, sources=None if sources is None else o.load_shelf(sources)
    )
