"""The options that commands share, and what they stand for.

Heavy imports stay inside the functions, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.shelf import Shelf
    from scalearn.tasks import Task

_DATA, _TRAINING, _COMPUTATION = "Your own data", "Training", "Computation"

TaskName = Annotated[
    str | None,
    typer.Argument(
        metavar="TASK",
        help="A task by name (`scalearn tasks` lists them); or --train-file.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="A folder laid out like the Hub's parquet repositories, instead of the Hub."),
]
TrainFile = Annotated[
    Path | None, typer.Option(help="Training rows: CSV, TSV, JSONL or Parquet.", rich_help_panel=_DATA)
]
DevFile = Annotated[
    Path | None, typer.Option(help="Dev rows; else a fifth of the training rows.", rich_help_panel=_DATA)
]
TestFile = Annotated[Path | None, typer.Option(help="Test rows.", rich_help_panel=_DATA)]
TextColumns = Annotated[
    str | None,
    typer.Option("--text", help="The text column, or two with a comma between; text.", rich_help_panel=_DATA),
]
ImageColumn = Annotated[
    str | None,
    typer.Option("--image", help="Instead of text, the column of images: paths, or images.", rich_help_panel=_DATA),
]
ImageFolder = Annotated[
    Path | None,
    typer.Option(help="Where paths of images start, and images lie; else the file's.", rich_help_panel=_DATA),
]
LabelColumn = Annotated[str | None, typer.Option("--label", help="The label column; label.", rich_help_panel=_DATA)]
TaskKind = Annotated[
    Literal["classification", "regression", "multi-label"] | None,
    typer.Option("--kind", help="What labels are; else seen from them.", rich_help_panel=_DATA),
]
Choices = Annotated[
    str | None,
    typer.Option(help="Multiple choice: the columns of the choices, comma between.", rich_help_panel=_DATA),
]
Separator = Annotated[
    str | None, typer.Option(help="Between the labels of a multi-label row; a semicolon.", rich_help_panel=_DATA)
]
Name = Annotated[
    str | None, typer.Option("--name", help="What to call the task; else the file's name.", rich_help_panel=_DATA)
]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Tokens kept of a row; 128.", rich_help_panel=_DATA)]
TrainRows = Annotated[int | None, typer.Option(help="Draw at most so many training rows.")]
DevRows = Annotated[int | None, typer.Option(help="Draw at most so many dev rows.")]
TrainFraction = Annotated[
    float | None, typer.Option(help="Draw at most this share of the training rows; smaller draws lie in larger ones.")
]
FewShot = Annotated[int | None, typer.Option(metavar="K", help="Few-shot: K training rows; see --few-shot-protocol.")]
FewShotProtocol = Annotated[
    Literal["true", "paper"] | None,
    typer.Option(
        help="true (the default): K rows to train and K others to choose by, classes in balance, drawn anew for every "
        "seed. paper: the first K of train for every seed, and the dev split up to 5,000 rows."
    ),
]
BackboneName = Annotated[str, typer.Option("--backbone", help="minilm, a folder, or a Hub id.")]
PoolingName = Annotated[
    Literal["first", "mean", "last"] | None,
    typer.Option("--pooling", help="Which tokens the head reads; else what suits the backbone."),
]
SitesPath = Annotated[
    str | None,
    typer.Option(
        "--sites", help="Where the layers of a backbone of unknown type are, such as 'blocks.*'; * is the number."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="A new folder for the result.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of initialisation, batches, dropout and drawn rows.")]
ProtocolName = Annotated[
    Literal["default", "small", "large", "published"],
    typer.Option(
        "--protocol",
        help="Hyper-parameters: by default small under 2,000 training rows, else large; or the paper's.",
        rich_help_panel=_TRAINING,
    ),
]
Epochs = Annotated[int | None, typer.Option(help="At most so many epochs.", rich_help_panel=_TRAINING)]
Steps = Annotated[int | None, typer.Option(help="At most so many steps, instead of epochs.", rich_help_panel=_TRAINING)]
EvaluateEvery = Annotated[
    int | None, typer.Option(help="Steps between evaluations; else an epoch.", rich_help_panel=_TRAINING)
]
Patience = Annotated[
    int | None,
    typer.Option(help="Stop after so many evaluations without a better dev score.", rich_help_panel=_TRAINING),
]
BatchSize = Annotated[int | None, typer.Option(help="Rows per step.", rich_help_panel=_TRAINING)]
TokensPerBatch = Annotated[
    int | None,
    typer.Option(help="At most so many tokens per step, padding included, instead of rows.", rich_help_panel=_TRAINING),
]
Rate = Annotated[
    float | None, typer.Option("--learning-rate", help="Of adapter, omega or backbone.", rich_help_panel=_TRAINING)
]
MaskRate = Annotated[
    float | None, typer.Option("--mask-learning-rate", help="Of ProPETL's mask scores.", rich_help_panel=_TRAINING)
]
HeadRate = Annotated[float | None, typer.Option("--head-learning-rate", help="Of the head.", rich_help_panel=_TRAINING)]
PrecisionName = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option("--precision", help="Number format; auto: the fastest on the device.", rich_help_panel=_COMPUTATION),
]
AttentionName = Annotated[
    Literal["auto", "lean", "eager", "sdpa", "flash_attention_2"],
    typer.Option(
        "--attention", help="Attention kernel; auto: the fastest on the device.", rich_help_panel=_COMPUTATION
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one.", rich_help_panel=_COMPUTATION)]
ReportTo = Annotated[
    str, typer.Option(help="Also log to a tracker: trackio (local), tensorboard, wandb, ...", rich_help_panel=_TRAINING)
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder if it exists.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget an unfinished run of the same folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
ShelfName = Annotated[
    str,
    typer.Option("--sources", help="A folder of sources, a place on the Hub, or builtin: the shelf that ships."),
]
Only = Annotated[str | None, typer.Option(help="Use only these sources (comma between).")]
Exclude = Annotated[str | None, typer.Option(help="Leave these sources out, for instance the target's own data.")]
Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A folder that train or transfer wrote, or owner/name on the Hub.")
]
MovedSources = Annotated[
    str | None, typer.Option("--sources", help="Where the model's sources are now, if not where they were.")
]
MovedBackbone = Annotated[
    str | None, typer.Option("--backbone", help="Where the model's backbone is now, if not where it was.")
]


def load_target(
    name: str | None,
    data: Path | None,
    *,
    train_file: Path | None,
    dev_file: Path | None = None,
    test_file: Path | None = None,
    text: str | None = None,
    image: str | None = None,
    image_folder: Path | None = None,
    label: str | None = None,
    kind: Literal["classification", "regression", "multi-label"] | None = None,
    choices: str | None = None,
    separator: str | None = None,
    called: str | None = None,
    max_length: int | None = None,
) -> Task:
    """The task that the options describe: one that scalearn knows, or the user's own files."""
    from scalearn.tasks import Task, load_task, task_names

    if (name is None) == (train_file is None):
        raise InputError(f"give either a task ({', '.join(task_names())}) or your own rows with --train-file, not both")
    if train_file is None:
        unused = given(
            **{
                "--dev-file": dev_file,
                "--test-file": test_file,
                "--text": text,
                "--image": image,
                "--image-folder": image_folder,
                "--label": label,
                "--kind": kind,
                "--choices": choices,
                "--separator": separator,
                "--name": called,
            }
        )
        if unused:
            raise InputError(f"{', '.join(unused)} describe your own rows: give --train-file, or leave them out")
        known = load_task(str(name), data=data)
        note_other_rows(known)
        return known if max_length is None else replace(known, max_length=max_length)
    if data is not None:
        raise InputError("--data is for tasks that scalearn knows: leave it out beside --train-file")
    task = Task.from_files(
        train_file,
        text=() if text is None and image is not None else split_names("text" if text is None else text),
        image=image,
        image_folder=image_folder,
        label="label" if label is None else label,
        dev=dev_file,
        test=test_file,
        kind=kind,
        choices=() if choices is None else split_names(choices),
        separator=";" if separator is None else separator,
        name=called,
        max_length=128 if max_length is None else max_length,
    )
    if separator is not None and task.kind != "multi-label":
        raise InputError(
            f"--separator stands between several labels of a row, and {task.name} is {task.kind}: add --kind "
            "multi-label, or leave it out"
        )
    return task


def note_other_rows(task: Task) -> None:
    """Says so when a suite's task has other numbers of rows than were published."""
    from scalearn.tasks import unpublished_rows

    other = [f"{here:,} of {split} for {there:,}" for split, (here, there) in unpublished_rows(task).items()]
    if other:
        print(
            f"note: {task.name} as given is not the published data (rows: {', '.join(other)}): its scores do not "
            "compare with published ones",
            file=sys.stderr,
        )


def note_own_data(task: Task, shelf: Shelf) -> None:
    """Says so when a shelf holds a source that was trained on the target's own data."""
    if task.name in shelf.names:
        print(
            f"note: the shelf has a source named {task.name}, trained on the target's own data; leave it out with "
            f"--exclude {task.name}",
            file=sys.stderr,
        )


def load_shelf(name: str, *, only: str | None = None, exclude: str | None = None) -> Shelf:
    """The shelf that the options describe."""
    from scalearn.shelf import Shelf

    shelf = Shelf(name)
    if only is not None:
        shelf = shelf.only(split_names(only))
    if exclude is not None:
        shelf = shelf.without(split_names(exclude))
    return shelf


def device_named(name: str | None) -> str:
    """The device that computes: cpu or cuda; without a name, cuda where there is one.

    Raises:
        InputError: it is another, or not there.
    """
    import torch

    there = torch.cuda.is_available()
    if name not in (None, "cpu", "cuda") or (name == "cuda" and not there):
        valid = "cpu or cuda" if there else "cpu (PyTorch finds no CUDA device on this machine)"
        raise InputError(f"--device {name}: give {valid}, or leave it out")
    return name or ("cuda" if there else "cpu")


def split_names(names: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(name.strip() for name in names.split(","))


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {key: value for key, value in options.items() if value is not None}


def percent(scores: Mapping[str, float], metrics: Sequence[str]) -> str:
    """Scores for people, in percent, with their bootstrap standard errors where there are any."""

    def shown(metric: str) -> str:
        error = scores.get(f"{metric}_stderr")
        return f"{metric} {100 * scores[metric]:.1f}" + ("" if error is None else f" (se {100 * error:.1f})")

    return "  ".join(shown(metric) for metric in dict.fromkeys(metrics) if metric in scores)
