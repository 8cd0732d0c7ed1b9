"""`JointModel`: one backbone, the deltas of a joint method, and a head for each of several tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack, cast

from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from scalearn.adapted import AdaptedModel, seeded
from scalearn.atomic import new_folder
from scalearn.backbones import MINILM, Backbone, chosen_backbone
from scalearn.deltas import TaskSwitch, safe_key
from scalearn.encoding import Features
from scalearn.errors import InputError
from scalearn.families import Family
from scalearn.heads import Head, Pooling
from scalearn.methods import Method, Setting, method_from_name
from scalearn.precision import Precision
from scalearn.prediction import Prediction, columns_of, predictions
from scalearn.pushing import Pushed, Pushing
from scalearn.saved import SavedModel, folder_of
from scalearn.sites import Shape
from scalearn.tasks import Task


class JointModel(AdaptedModel):
    """Backbone, deltas that all tasks train, and a head per task. Build it with `from_backbone` or `from_pretrained`.

    Args:
        backbone: loaded, without deltas; it is taken over, not copied.
        tasks: at least two, with distinct names; their kinds may differ.
        method: of stage ``joint``.
        seed: of the initialisation of deltas and heads.

    Raises:
        InputError: the method is of another stage, or the tasks are too few or share a name.
    """

    def __init__(self, backbone: Backbone, *, tasks: Sequence[Task], method: Method, seed: int = 0) -> None:
        if method.stage != "joint":
            raise InputError(f"method {method.name!r} learns one task: use TransferModel (scalearn train, transfer)")
        names = [task.name for task in tasks]
        if len(tasks) < 2 or len(set(names)) < len(names):
            raise InputError(
                f"joint training of {', '.join(names) or 'no tasks'}: give at least two tasks, each with a name of its "
                "own (dataclasses.replace(task, name=...))"
            )
        switch = TaskSwitch(names)
        with seeded(seed):
            super().__init__(backbone, method=method, setting=Setting(shape=Shape.of(backbone.model), switch=switch))
            self.switch = switch
            self.tasks = {task.name: task for task in tasks}
            self.heads = nn.ModuleDict(
                {
                    safe_key(task.name): Head(
                        width=backbone.width, outputs=task.outputs, kind=task.kind, pooling=backbone.pooling
                    )
                    for task in tasks
                }
            )

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Backbone = MINILM,
        *,
        tasks: Sequence[Task],
        method: Method | str = "hyperformer++",
        pooling: Pooling | None = None,
        sites: str | Family | None = None,
        seed: int = 0,
    ) -> JointModel:
        """A model ready to be trained with `scalearn.training.train_joint`.

        Args:
            backbone: ``minilm``, a folder, a Hub id, or one loaded with `scalearn.backbones.load_backbone`.
            tasks: at least two, with distinct names.
            method: one of stage ``joint``, or its name.
            pooling: which tokens the heads read; by default what suits the backbone.
            sites: where the backbone's layers are, if scalearn does not know its type (`scalearn.sites.declare`).
            seed: of the initialisation.

        Raises:
            InputError: backbone, method and tasks do not go together.
        """
        method = method_from_name(method) if isinstance(method, str) else method
        backbone = chosen_backbone(backbone, pooling=pooling, sites=sites)
        return cls(backbone, tasks=tasks, method=method, seed=seed)

    def head(self, task: str) -> Head:
        """The head of a task.

        Raises:
            InputError: there is no such task.
        """
        self.task(task)
        return cast(Head, self.heads[safe_key(task)])

    def task(self, name: str) -> Task:
        """One of its tasks.

        Raises:
            InputError: there is no such task.
        """
        if name not in self.tasks:
            raise InputError(f"the model has no task {name!r}; it has {', '.join(self.tasks)}")
        return self.tasks[name]

    def heads_by_task(self) -> Mapping[str, Head]:
        """Every head, by the name of its task."""
        return {name: self.head(name) for name in self.tasks}

    def select(self, task: Task | None) -> tuple[Task, Head]:
        """One of its tasks, and its head.

        Raises:
            InputError: there is no such task, or none is named.
        """
        if task is None:
            raise InputError(f"the model learned {', '.join(self.tasks)}: say which task")
        own, head = self.task(task.name), self.head(task.name)
        self.switch.select(task.name)
        return own, head

    # ---- computation

    def forward(
        self,
        task: str,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        pixel_values: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """Logits, and the loss where there are labels, of a batch of one task; arguments as for `TransferModel`.

        Raises:
            InputError: there is no such task.
        """
        _, head = self.select(self.task(task))
        batch = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "pixel_values": pixel_values,
        }
        return self.computed(head, batch, labels, output_hidden_states=output_hidden_states)

    def encode(self, columns: Mapping[str, Sequence[Any]], labels: Any = None, *, task: str) -> Sequence[Features]:
        """Encodes the columns of a task, texts or images."""
        return self.encode_for(self.task(task), columns, labels)

    def logits(
        self, rows: Sequence[Features], *, task: str, batch_size: int = 64, precision: Precision = "auto"
    ) -> Tensor:
        """Logits in float32 of tokenised rows of a task, in their order: (N, outputs), or (N, C)."""
        _, head = self.select(self.task(task))
        return self.logits_of(head, rows, batch_size=batch_size, precision=precision)

    def predict(
        self,
        rows: Sequence[Any],
        *,
        task: str,
        batch_size: int = 64,
        precision: Precision = "auto",
    ) -> list[Prediction]:
        """Answers rows of texts or images of a task; see `TransferModel.predict`."""
        encoded = self.encode(columns_of(rows, self.task(task)), task=task)
        return predictions(self.logits(encoded, task=task, batch_size=batch_size, precision=precision), self.task(task))

    # ---- disk

    def save_pretrained(
        self, folder: str | Path, *, overwrite: bool = False, extra: Mapping[str, Any] | None = None
    ) -> None:
        """Writes the model as a new folder.

        Args:
            folder: must not exist, unless `overwrite`.
            overwrite: replace a folder that exists.
            extra: further facts to keep in `scalearn.json`, for instance scores.
        """
        with new_folder(Path(folder), overwrite=overwrite) as aside:
            self.write_into(aside, extra=extra)

    def write_into(self, aside: Path, *, extra: Mapping[str, Any] | None = None) -> None:
        """Writes the files into a folder that the caller is putting together."""
        self._saved(extra).write(aside)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        backbone: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **how: Unpack[Pushing],
    ) -> Pushed:
        """Uploads the model as a model repository; see `TransferModel.push_to_hub`."""
        return self._saved(extra).push_to_hub(repo_id, backbone=backbone, **how)

    def _saved(self, extra: Mapping[str, Any] | None) -> SavedModel:
        return SavedModel(
            backbone=self.reference,
            pooling=self.pooling,
            tasks=list(self.tasks.values()),
            method=self.method,
            sources=[],
            state=self.trained_state(),
            facts={**self.facts, "trained_parameters": self.parameter_counts(), **(extra or {})},
        )

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        backbone: str | Backbone | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> JointModel:
        """Loads a saved model, checking backbone and weights.

        Args:
            folder: what `save_pretrained` wrote, or a place on the Hub: see `scalearn.hub`.
            backbone: where its backbone is now, if not where it was.
            revision: on the Hub, a branch, a tag or a commit.
            token: for the Hub; by default ``HF_TOKEN`` or that of ``hf auth login``.

        Raises:
            InputError: something is missing or differs; the message says what.
        """
        folder = folder_of(folder, revision=revision, token=token)
        saved = SavedModel.read(folder)
        if saved.method.stage != "joint":
            raise InputError(
                f"{folder} is a model of one task ({saved.task.name}): load it with TransferModel, or leave out --task"
            )
        model = cls(saved.load_backbone(backbone, folder=folder), tasks=saved.tasks, method=saved.method)
        model.load_trained_state(saved.state)
        model.facts = saved.facts
        return model.eval()
