"""A folder's description, `scalearn.json` or `source.json`, read without trusting that anything is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalearn.backbones import MINILM, MINILM_HUB_ID
from scalearn.cards.private import last_part
from scalearn.hub import PREFIX, is_repo_id
from scalearn.tasks.catalogue import SUITES
from scalearn.tasks.declarations import Suite

BUILTIN = "builtin"
"""The place of the sources that ship; `scalearn.sources`, which has cards made, calls it so too."""
_BARE_HUB_IDS = {
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "gpt2": "openai-community/gpt2",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
}
"""Where the Hub moved models that had no owner in their name."""


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What is known of one task."""

    name: str
    kind: str
    """Empty if it is not known, as all that is not known here."""
    text: tuple[str, ...]
    image: str
    """The column of images; empty for texts."""
    choices: tuple[str, ...]
    label: str
    labels: tuple[str, ...]
    max_length: int | None
    """Tokens of a row."""
    main_metric: str
    rows: Mapping[str, int]
    """By split, those the run saw."""
    scores: Mapping[str, Mapping[str, float]]
    """By split; the main metric stands first, standard errors have their suffix."""

    @classmethod
    def read(cls, description: Any, *, rows: Any, scores: Any) -> TaskFacts:
        """The facts of a task's description, and of its part of a run's."""
        task = mapping(description)
        main = str(task.get("main_metric", ""))
        length = task.get("max_length")
        return cls(
            name=str(task.get("name", "")),
            kind=str(task.get("kind", "")),
            text=_texts(task.get("text")),
            image=str(task.get("image", "")),
            choices=_texts(task.get("choices")),
            label=str(task.get("label", "")),
            labels=_texts(task.get("labels")),
            max_length=length if isinstance(length, int) else None,
            main_metric=main,
            rows={split: count for split, count in mapping(rows).items() if type(count) is int},
            scores={split: _scores(values, first=main) for split, values in mapping(scores).items()},
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """What a row to predict holds, in order."""
        return (*self.text, *self.choices, *([self.image] if self.image else []))

    @property
    def suite(self) -> Suite | None:
        """The published suite whose task this is, by its name, texts and labels; None for the user's own."""
        for suite in SUITES:
            for one in suite.tasks:
                declared = (one.name, one.kind, one.text, one.choices)
                if declared == (self.name, self.kind, self.text, self.choices) and one.labels in ((), self.labels):
                    return suite
        return None


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known of a saved model or source."""

    method: str
    options: Mapping[str, Any]
    backbone: Mapping[str, Any]
    """As `scalearn.backbones.BackboneReference` has it."""
    local: bool
    """Whether the backbone's name is a folder of this machine."""
    pooling: str
    tasks: tuple[TaskFacts, ...]
    joint: bool
    """Whether a prediction has to say of which task it is."""
    sources: tuple[Mapping[str, Any], ...]
    parameters: Mapping[str, Any]
    """Counts: ``method``, ``head``, ``total``."""
    folded_from: Mapping[str, Any]
    """Of a folded model: the method, options, sources and parameters that were trained."""
    provenance: Mapping[str, Any]
    version: str
    """Of scalearn, that wrote the folder."""
    sha256: str
    size: int
    """Bytes of the weights on disk."""

    @classmethod
    def read(cls, description: Mapping[str, Any], *, size: int, local: bool) -> CardFacts:
        """The facts of a model's or a source's description."""
        method = description.get("method")
        method, options = (
            (str(method), description.get("options"))
            if isinstance(method, str)
            else (str(mapping(method).get("name", "")), mapping(method).get("options"))
        )
        provenance = mapping(description.get("provenance"))
        rows, scores = provenance.get("rows"), description.get("metrics")
        several = description.get("tasks")
        if isinstance(several, list):
            names = [str(mapping(task).get("name", "")) for task in several]
            tasks = tuple(
                TaskFacts.read(task, rows=mapping(rows).get(name), scores=mapping(scores).get(name))
                for name, task in zip(names, several, strict=True)
            )
        else:
            tasks = (TaskFacts.read(description.get("task"), rows=rows, scores=scores),)
        sources = description.get("sources")
        return cls(
            method=method,
            options=mapping(options),
            backbone=mapping(description.get("backbone")),
            local=local,
            pooling=str(description.get("pooling", "")),
            tasks=tasks,
            joint=isinstance(several, list),
            sources=tuple(mapping(source) for source in sources) if isinstance(sources, list) else (),
            parameters=mapping(description.get("trained_parameters")),
            folded_from=mapping(description.get("folded_from")),
            provenance=provenance,
            version=str(description.get("scalearn") or mapping(provenance.get("versions")).get("scalearn", "")),
            sha256=str(description.get("sha256", "")),
            size=size,
        )

    @property
    def hub_id(self) -> str | None:
        """The backbone on the Hub; None for a folder and for one that was wrapped under a name of its own."""
        name = str(self.backbone.get("name", ""))
        if name == MINILM:
            return MINILM_HUB_ID
        if self.local:
            return None
        return name if is_repo_id(name) else _BARE_HUB_IDS.get(name)

    @property
    def backbone_name(self) -> str:
        """What the backbone is called in the card: of a folder, only the last component."""
        name = str(self.backbone.get("name", ""))
        return name if self.hub_id is not None else last_part(name) or name


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def copied(source: Mapping[str, Any]) -> bool:
    """Whether a source of a model lies in the model's folder."""
    return str(source.get("location", "")).startswith("sources/")


def repository(source: Mapping[str, Any]) -> str | None:
    """The repository on the Hub that a source of a model lies in; None if it lies elsewhere."""
    place = str(source.get("location", ""))
    repo_id = "/".join(place.removeprefix(PREFIX).partition("@")[0].split("/")[:2])
    return repo_id if place.startswith(PREFIX) and is_repo_id(repo_id) else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()


def _scores(values: Any, *, first: str) -> dict[str, float]:
    found = {
        name: float(score)
        for name, score in mapping(values).items()
        if name != "loss" and isinstance(score, int | float) and not isinstance(score, bool)
    }
    return {name: found[name] for name in sorted(found, key=lambda name: name != first)}
