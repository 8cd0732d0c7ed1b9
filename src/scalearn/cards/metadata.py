"""The YAML before a card's text, which the Hub reads.

https://huggingface.co/docs/hub/model-cards: library, base model, data sets and scores. A field that could only be
guessed is left out.
"""

from __future__ import annotations

import math
from typing import Any

import yaml

from scalearn.cards.escape import one_line
from scalearn.cards.facts import CardFacts, TaskFacts

_ERROR = "_stderr"
_HUB_METRICS = {
    "accuracy": "accuracy",
    "exact_match": "exact_match",
    "f1": "f1",
    "f1_macro": "f1",
    "f1_micro": "f1",
    "matthews": "matthews_correlation",
    "pearson": "pearsonr",
    "precision_macro": "precision",
    "precision_micro": "precision",
    "recall_macro": "recall",
    "recall_micro": "recall",
    "spearman": "spearmanr",
}
"""Our metrics that the Hub has a page for."""


def front_matter(facts: CardFacts, *, title: str, tags: list[str]) -> str:
    """The block of YAML, with its fences.

    Args:
        facts: of the model or source.
        title: what it is called among the scores.
        tags: beside those that all cards have.
    """
    measured = [name for task in facts.tasks for scores in task.scores.values() for name in scores]
    repositories = [suite.repository for task in facts.tasks if (suite := task.suite) and suite.repository]
    results = [result for task in facts.tasks for split in task.scores if (result := _result(task, split))]
    kinds = {task.kind for task in facts.tasks}
    fields: dict[str, Any] = {
        "library_name": "scalearn",
        "pipeline_tag": None if not kinds or kinds & {"", "multiple-choice"} else _classification(facts.tasks[0]),
        "base_model": facts.hub_id,
        "base_model_relation": None if facts.hub_id is None else "finetune" if facts.method == "full" else "adapter",
        "datasets": list(dict.fromkeys(repositories)),
        "metrics": list(dict.fromkeys(_HUB_METRICS[name] for name in measured if name in _HUB_METRICS)),
        "tags": list(dict.fromkeys(one_line(tag) for tag in ("adapter", "task-transfer", facts.method, *tags) if tag)),
        "model-index": [{"name": one_line(title), "results": results}] if results else None,
    }
    given = {key: value for key, value in fields.items() if value}
    return f"---\n{yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def _classification(task: TaskFacts) -> str:
    """What the Hub calls labelling the rows of a task."""
    return "image-classification" if task.image else "text-classification"


def _result(task: TaskFacts, split: str) -> dict[str, Any] | None:
    """The scores of a split as the Hub has them, as fractions; None if there are none."""
    metrics = [
        {"type": _HUB_METRICS.get(name, one_line(name)), "value": score, "name": one_line(f"{split} {name}")}
        for name, score in task.scores[split].items()
        if not name.endswith(_ERROR) and math.isfinite(score)
    ]
    suite = task.suite
    named = one_line(task.name) or "unnamed"
    data = {"type": (suite and suite.repository) or "unknown", "name": named, "split": one_line(split) or "unnamed"}
    kind = "multiple-choice" if task.kind == "multiple-choice" else _classification(task)
    return {"task": {"type": kind, "name": named}, "dataset": data, "metrics": metrics} if metrics else None
