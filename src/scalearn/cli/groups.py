"""Options that belong together, declared once as a dataclass and used by several commands.

A command takes a group as one parameter; `grouped` shows Typer an option per field instead and puts the group together:

    @grouped
    def train(out: o.Out, target: Target, training: Training) -> None: ...
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from scalearn.cli import options as o
from scalearn.errors import InputError

if TYPE_CHECKING:
    from scalearn.experiments.draw import Draw
    from scalearn.shelf import Shelf
    from scalearn.tasks import Task

MethodOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="An option of the method, NAME=VALUE; repeatable. `scalearn methods` lists methods."),
]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be learned: a task that scalearn knows, or the user's own rows."""

    task: o.TaskName = None
    data: o.Data = None
    train_file: o.TrainFile = None
    dev_file: o.DevFile = None
    test_file: o.TestFile = None
    text: o.TextColumns = None
    image: o.ImageColumn = None
    image_folder: o.ImageFolder = None
    label: o.LabelColumn = None
    kind: o.TaskKind = None
    choices: o.Choices = None
    separator: o.Separator = None
    name: o.Name = None
    max_length: o.MaxLength = None
    train_rows: o.TrainRows = None
    dev_rows: o.DevRows = None
    train_fraction: o.TrainFraction = None
    few_shot: o.FewShot = None
    few_shot_protocol: o.FewShotProtocol = None

    def whole(self) -> Task:
        """The task with all its rows."""
        return o.load_target(
            self.task,
            self.data,
            train_file=self.train_file,
            dev_file=self.dev_file,
            test_file=self.test_file,
            text=self.text,
            image=self.image,
            image_folder=self.image_folder,
            label=self.label,
            kind=self.kind,
            choices=self.choices,
            separator=self.separator,
            called=self.name,
            max_length=self.max_length,
        )

    def draw(self) -> Draw:
        """Which rows were asked for.

        Raises:
            InputError: few-shot beside another number of rows, its protocol without it, or a number out of range.
        """
        from scalearn.experiments.draw import Draw
        from scalearn.methods.base import validated

        if self.few_shot is None and self.few_shot_protocol is not None:
            raise InputError(f"--few-shot-protocol {self.few_shot_protocol} is of --few-shot K: give it too")
        rows = o.given(train=self.train_rows, dev=self.dev_rows, train_fraction=self.train_fraction)
        if self.few_shot is not None and rows:
            options = ", ".join(f"--{name}-rows" if name in ("train", "dev") else "--train-fraction" for name in rows)
            raise InputError(f"--few-shot {self.few_shot} decides about train and dev rows: leave out {options}")
        few = o.given(k=self.few_shot, protocol=self.few_shot_protocol)
        return validated(Draw, {**rows, **few}, what="rows to draw")

    def drawn(self, seed: int) -> Task:
        """The task with as many rows as were asked for."""
        return self.draw().of(self.whole(), seed=seed)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The shelf to combine."""

    sources: o.ShelfName = "builtin"
    only: o.Only = None
    exclude: o.Exclude = None

    def shelf(self, target: Task) -> Shelf:
        """The shelf; says so if it holds a source that was trained on the target's own data."""
        shelf = o.load_shelf(self.sources, only=self.only, exclude=self.exclude)
        o.note_own_data(target, shelf)
        return shelf


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which labelled rows are asked for: a split of a known task, or a file."""

    split: Annotated[
        str | None, typer.Option(help="dev or test, of a task that scalearn knows; else test, or dev to explain.")
    ] = None
    data: o.Data = None
    file: Annotated[Path | None, typer.Option(help="Labelled rows of your own, with the columns of training.")] = None
    separator: o.Separator = None
    image_folder: o.ImageFolder = None

    @property
    def asked(self) -> bool:
        """Whether any were."""
        return any(given is not None for given in (self.split, self.data, self.file))

    def check(self) -> None:
        """Raises `InputError` if the options contradict one another; before anything is loaded."""
        if self.file is not None and (self.split is not None or self.data is not None):
            raise InputError("--file stands for the rows to score: leave out --split and --data")
        if self.file is None and self.image_folder is not None:
            raise InputError("--image-folder is where the images of --file lie: give it too")

    def of(self, own: Task, *, model: Path, usual: str) -> tuple[Task, str]:
        """The task with these rows, and their split.

        Args:
            own: the task of a model, without rows.
            model: its folder, for messages.
            usual: the split of a known task where none was asked for.
        """
        from scalearn.tasks import load_task, task_names

        if self.file is not None:
            marks = ";" if self.separator is None else self.separator
            return own.with_file(self.file, separator=marks, image_folder=self.image_folder), "test"
        known = load_task(own.name, data=self.data) if own.name in task_names() else None
        if known is None or _rows_of(known) != _rows_of(own):
            raise InputError(f"{model} was trained on rows of your own ({own.name}): give labelled rows with --file")
        return replace(known, max_length=own.max_length), self.split or usual


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train one model, and what to do with the folder of the result."""

    option: MethodOptions = None
    backbone: o.BackboneName = "minilm"
    pooling: o.PoolingName = None
    sites: o.SitesPath = None
    seed: o.Seed = 0
    protocol: o.ProtocolName = "default"
    epochs: o.Epochs = None
    steps: o.Steps = None
    evaluate_every: o.EvaluateEvery = None
    patience: o.Patience = None
    batch_size: o.BatchSize = None
    learning_rate: o.Rate = None
    head_learning_rate: o.HeadRate = None
    mask_learning_rate: o.MaskRate = None
    precision: o.PrecisionName = "auto"
    report_to: o.ReportTo = "none"
    overwrite: o.Overwrite = False
    restart: o.Restart = False
    quiet: o.Quiet = False

    def changes(self) -> dict[str, Any]:
        """The hyper-parameters that were given."""
        return o.given(
            epochs=self.epochs,
            steps=self.steps,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            head_learning_rate=self.head_learning_rate,
            mask_learning_rate=self.mask_learning_rate,
        )

    def how(self) -> dict[str, Any]:
        """The rest of what `scalearn.train` takes."""
        return {
            "precision": self.precision,
            "report_to": self.report_to,
            "overwrite": self.overwrite,
            "restart": self.restart,
            "progress": not self.quiet,
        }


def method_options(given: Sequence[str] | None) -> dict[str, Any]:
    """NAME=VALUE pairs as a method's options; values are read as JSON where they are JSON, else as they stand.

    Raises:
        InputError: one has no ``=``.
    """
    options = {}
    for pair in given or ():
        name, separator, value = pair.partition("=")
        if not separator:
            raise InputError(f"--option {pair!r}: write it as NAME=VALUE, for instance dropout=0.1")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value
    return options


def _rows_of(task: Task) -> tuple[object, ...]:
    """What two tasks must agree in to be one, whatever else was changed or measured since."""
    return task.kind, task.text, task.image, task.label, task.labels, task.choices


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each parameter that is a dataclass replaced by one parameter per field."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, list[str]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if not is_dataclass(hint):
            parameters.append(parameter.replace(annotation=hint))
            continue
        types = get_type_hints(hint, include_extras=True)
        groups[parameter.name] = [field.name for field in fields(hint)]
        parameters += [
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
            )
            for field in fields(hint)
        ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, members in groups.items():
            values[name] = hints[name](**{member: values.pop(member) for member in members})
        command(**values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
