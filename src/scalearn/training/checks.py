"""What is checked before a run, so that it does not fail after hours, and after it, so that nothing wrong is saved."""

from __future__ import annotations

from collections import Counter

from transformers.integrations import get_available_reporting_integrations

from scalearn.adapted import AdaptedModel
from scalearn.attention import LEAN, supports_lean
from scalearn.errors import InputError
from scalearn.tasks import Task


class DivergedError(InputError):
    """Training ended in weights that are not finite: going on from its checkpoint would only end so again."""


def check_finite(model: AdaptedModel) -> None:
    """Raises `DivergedError` if training diverged, before anything of it is saved."""
    wrong = [name for name, tensor in model.trained_state().items() if not tensor.isfinite().all()]
    if wrong:
        raise DivergedError(
            f"training diverged: {len(wrong)} trained tensors are not finite ({wrong[0]}, ...): lower the learning "
            "rates (--learning-rate, --head-learning-rate)"
        )


def check_seed(seed: int) -> None:
    """Raises `InputError` unless the seed is one that all generators take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed}: give a number from 0 to {2**32 - 1}")


def check_attention(model: AdaptedModel) -> None:
    """Raises `InputError` if the attention chosen for a model is not installed, or not made for its backbone."""
    if model.attention == "auto":
        return
    kind = model.backbone.config.model_type
    if model.attention == LEAN and model.device.type != "cpu":
        raise InputError(f"attention {LEAN} is for CPUs, not for {model.device.type}: give auto, eager or sdpa")
    if model.attention == LEAN and not supports_lean(model.backbone):
        raise InputError(f"attention {LEAN} does not compute what that of {kind} does: give auto, eager or sdpa")
    try:
        model.backbone.set_attn_implementation(model.attention)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"attention {model.attention} does not work for {kind} here ({error}): install what it needs, or give "
            "auto, eager or sdpa"
        ) from error


def check_rows(task: Task) -> None:
    """Raises `InputError` unless the task can be trained on: rows to train and choose by, of the same known labels."""
    for split in ("train", "dev"):
        if split not in task.splits or not len(task.splits[split]):
            raise InputError(f"task {task.name!r} has no {split} rows: load it with its data to train on it")
    for name, rows in task.splits.items():
        declared = tuple(getattr(rows.features["label"], "names", task.labels))
        if declared != task.labels:
            raise InputError(
                f"task {task.name!r}: split {name!r} has the labels {', '.join(declared)}, not "
                f"{', '.join(task.labels)}: give splits with one set of labels in one order"
            )
    if task.kind == "classification" and len(set(task.splits["train"]["label"])) < 2:
        raise InputError(f"task {task.name!r} has one class only among its training rows: draw or give more rows")


def check_classes(task: Task) -> None:
    """Raises `InputError` if dev rows, which choose the checkpoint, are of a class that nothing teaches.

    Asked of joint runs only: the few rows drawn of one small target may well miss a rare class.
    """
    if task.kind != "classification":
        return
    labels = {split: Counter(task.splits[split]["label"]) for split in ("train", "dev")}
    unseen = {
        task.labels[label]: count for label, count in sorted(labels["dev"].items()) if label not in labels["train"]
    }
    if unseen:
        raise InputError(
            f"task {task.name!r}: no training row is of the class {', '.join(map(repr, unseen))}, but "
            f"{sum(unseen.values())} of {labels['dev'].total()} dev rows are: draw or give more training rows "
            "(--train-rows)"
        )


def check_tracker(report_to: str) -> None:
    """Raises `InputError` unless it is a tracker that is installed."""
    known = ("none", "all", *get_available_reporting_integrations())
    if report_to not in known:
        raise InputError(
            f"report_to {report_to!r} is unknown or not installed: give {', '.join(known)}, or install one (trackio: "
            "pip install trackio)"
        )
