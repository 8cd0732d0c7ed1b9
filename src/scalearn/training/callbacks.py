"""What looks over a training run's shoulder: its progress on disk, a stop at a checkpoint, omega at each evaluation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from scalearn.atomic import write_text
from scalearn.model import TransferModel


class Stopped(Exception):
    """A training run was asked to stop; its last checkpoint is of the step where it did."""


class StopAtCheckpoint(TrainerCallback):
    """Ends a run at the next step, with a checkpoint, when it is asked to.

    Where epochs are evaluated, the last step of one is followed by its evaluation first: a run that goes on from a
    checkpoint there begins the next epoch, and would never make up for it.

    Args:
        asked: whether to stop; called after every step.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked
        self.stopping = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Asks for a checkpoint."""
        if not self.stopping and state.global_step < state.max_steps and self.asked():
            self.stopping = True
            if args.eval_strategy != "epoch" or not float(state.epoch or 0).is_integer():
                control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stops once the checkpoint is written.

        Raises:
            Stopped: always, if it was asked for.
        """
        if self.stopping:
            raise Stopped(f"at step {state.global_step} of {state.max_steps}")


class Meter(TrainerCallback):
    """Keeps how far a run is, and how long it took, in a file for others to read.

    Args:
        path: of the file, ``{"step", "steps", "seconds", "attempts"}``; what an earlier attempt left there counts on.
        facts: more for the file.
    """

    def __init__(self, path: Path, *, facts: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.path = path
        self.facts = facts
        self.started = time.perf_counter()
        self.attempts, self.earlier = 1, 0.0
        """Attempts with this one, and the seconds of those before it."""
        self.step_seconds = 0.0
        """Spent in training steps, in this attempt."""
        self.tokens = 0
        """Without padding, in those steps."""
        self._step_began = self._written = 0.0
        self._tokens_before: int | None = None
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            self.attempts, self.earlier = int(told["attempts"]) + 1, float(told["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # the first attempt

    @property
    def seconds(self) -> float:
        """Of all attempts."""
        return self.earlier + time.perf_counter() - self.started

    @property
    def tokens_per_second(self) -> float | None:
        """In training steps; None where no tokens were counted."""
        return self.tokens / self.step_seconds if self.tokens and self.step_seconds else None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Says that the run is under way."""
        self._write(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the watch."""
        self._step_began = time.perf_counter()
        if self._tokens_before is None:
            self._tokens_before = state.num_input_tokens_seen

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stops the watch, and writes at most once a second."""
        now = time.perf_counter()
        self.step_seconds += now - self._step_began
        self.tokens = state.num_input_tokens_seen - (self._tokens_before or 0)
        if now - self._written > 1:
            self._write(state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Writes, so that the next attempt counts on from here."""
        self._write(state)

    def _write(self, state: TrainerState) -> None:
        told = {
            **self.facts,
            "step": state.global_step,
            "steps": state.max_steps,
            "seconds": round(self.seconds, 2),
            "attempts": self.attempts,
        }
        write_text(self.path, json.dumps(told) + "\n")
        self._written = time.perf_counter()


class OmegaHistory(TrainerCallback):
    """Puts omega, (L, T) means over dimensions, beside the dev scores of each evaluation in Trainer's log.

    Args:
        model: that is trained; of a method with omega.
    """

    def __init__(self, model: TransferModel) -> None:
        self.model = model

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Logs where omega begins."""
        if state.global_step == 0:
            state.log_history.append({"step": 0, "epoch": 0.0, "omega": self._omega()})

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds omega to the evaluation that was logged last."""
        state.log_history[-1]["omega"] = self._omega()

    def _omega(self) -> list[list[float]]:
        means: list[list[float]] = self.model.omega().float().mean(dim=-1).tolist()
        return [[round(value, 5) for value in layer] for layer in means]
