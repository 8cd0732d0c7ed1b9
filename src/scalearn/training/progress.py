"""A progress bar with loss, dev score and remaining time."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class ProgressBar(TrainerCallback):
    """Shows a run on the terminal while it trains.

    Args:
        title: what stands before the bar, for instance ``scalearn on rte``.
        metric: the main dev metric, as `Task.main_metric` names it.
    """

    def __init__(self, title: str, *, metric: str) -> None:
        self.title = title
        self.metric = metric
        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}:", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.facts: dict[str, str] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Opens the bar."""
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, facts="")
        self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Moves the bar."""
        self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Writes loss and dev score beside the bar."""
        logs = logs or {}
        for key, label in (("loss", "loss"), ("eval_loss", "dev loss"), (f"eval_{self.metric}", f"dev {self.metric}")):
            if key in logs:
                self.facts[label] = f"{label} {logs[key]:.3f}"
        self.bar.update(self.task, facts="  ".join(self.facts.values()))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Gives the terminal back; safe to call twice."""
        self.bar.stop()
