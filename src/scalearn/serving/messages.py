"""What goes over the wire: the bodies of requests and answers, and of errors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from scalearn.prediction import Prediction
from scalearn.serving.computation import Question
from scalearn.tasks import Task

_FIELDS = 8
"""More than any of what is given here has."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Row = Annotated[
    str | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=64)],
    Field(description="A text; a pair of texts; or a text and its choices, as the task has them."),
]


class _Given(BaseModel):
    """Of a client: nothing is converted, nothing unknown is passed over.

    A body of a megabyte can be wrong in half a million places, and to list them takes seconds in which nobody else is
    answered: checks end at the first.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, given: Any) -> Any:
        if isinstance(given, dict) and len(given) > _FIELDS:
            known = ", ".join(cls.model_fields)
            raise PydanticCustomError("fields", "{count} fields: give {known}", {"count": len(given), "known": known})
        return given


class Rows(_Given):
    """Rows of one task."""

    task: Name
    rows: list[Row] = Field(fail_fast=True, min_length=1)


class Input(_Given):
    """A row and its task."""

    task: Name
    row: Row


class Inputs(_Given):
    """Rows of any tasks."""

    inputs: list[Input] = Field(fail_fast=True, min_length=1)


class Added(_Given):
    """A saved model to take up."""

    folder: str = Field(min_length=1, max_length=4096, description="In the directory that the service may read.")
    name: Name | None = None
    overwrite: bool = False


class Answer(BaseModel):
    """The answer for one row, as `scalearn.Prediction`."""

    task: str
    label: str | float | list[str]
    probabilities: dict[str, float]

    @classmethod
    def of(cls, question: Question, prediction: Prediction) -> Answer:
        """What was predicted for a question."""
        label = list(prediction.label) if isinstance(prediction.label, tuple) else prediction.label
        return cls(task=question.name, label=label, probabilities=dict(prediction.probabilities))


class Answers(BaseModel):
    """One answer per row, in their order."""

    answers: list[Answer]


class TaskInfo(BaseModel):
    """What a row of a task has, and what its answers may be."""

    name: str
    kind: str
    texts: list[str]
    labels: list[str]
    choices: list[str]
    max_length: int = Field(description="Tokens that are read of a row.")

    @classmethod
    def of(cls, name: str, task: Task) -> TaskInfo:
        """A task by the name it is asked by."""
        return cls(
            name=name,
            kind=task.kind,
            texts=list(task.text),
            labels=list(task.labels),
            choices=list(task.choices),
            max_length=task.max_length,
        )


class Tasks(BaseModel):
    """A part of the list of tasks."""

    count: int = Field(description="Of all that fit the search.")
    tasks: list[TaskInfo]


class Named(BaseModel):
    """A task that was added."""

    name: str


class Health(BaseModel):
    """Whether the service takes requests."""

    status: str = Field(description="ready, or draining while it stops.")


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
