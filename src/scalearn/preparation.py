"""What a model of one task is built of, from what was asked for: checked, with the options of a protocol, and with the
sources and the start that the training rows speak for."""

from __future__ import annotations

from dataclasses import dataclass

from scalearn.adapted import check_inputs
from scalearn.backbones import Backbone, chosen_backbone
from scalearn.errors import InputError
from scalearn.families import Family
from scalearn.heads import Pooling
from scalearn.methods import Method, Protocol, method_from_name, resolved, suited
from scalearn.ranking import DECIDING, TaskEvidence, ranked
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `TransferModel` is built of, beside task and seed."""

    backbone: Backbone
    """Loaded, without deltas."""
    method: Method
    """With all that it asks the training rows (`Method.prepare`) answered."""
    sources: tuple[Source, ...] = ()
    """In order."""
    protocol: str | None = None
    """Whose options the method has, if they are others than it is published with."""


def check_stage(method: Method, *, sources: Shelf | None, top_sources: int | None) -> None:
    """Raises `InputError` where a method of one task and what it combines do not go together."""
    if method.stage == "joint":
        raise InputError(f"method {method.name!r} learns several tasks at once: use JointModel (scalearn joint)")
    if method.stage == "transfer" and sources is None:
        raise InputError(f"method {method.name!r} combines sources: give a shelf (sources=Shelf(...), --sources DIR)")
    if method.stage == "single" and sources is not None:
        raise InputError(f"method {method.name!r} uses no sources: leave them out, or choose a transfer method")
    if top_sources is not None and sources is None:
        raise InputError(f"top_sources={top_sources} is of a shelf: give one (sources=Shelf(...)), or leave it out")


def prepared(
    backbone: str | Backbone,
    *,
    task: Task,
    method: Method | str,
    sources: Shelf | None,
    top_sources: int | None = None,
    pooling: Pooling | None = None,
    sites: str | Family | None = None,
    protocol: Protocol = "default",
    seed: int = 0,
) -> Prepared:
    """What is built of the arguments of `TransferModel.from_backbone`, which see.

    Raises:
        InputError: backbone, task, method and sources do not go together.
    """
    given = method_from_name(method) if isinstance(method, str) else method
    check_stage(given, sources=sources, top_sources=top_sources)  # before anything that takes time
    backbone = chosen_backbone(backbone, pooling=pooling, sites=sites)
    check_inputs(backbone.model, task, name=backbone.name)
    chosen, rows = given, len(task.splits.get("train", ()))
    if isinstance(method, str) and backbone.processor is not None:  # without, there are no rows to look at
        chosen = suited(given, protocol, rows=rows)
    own = None if chosen == given else resolved(protocol, rows)
    if sources is None:
        return Prepared(backbone=backbone, method=chosen, protocol=own)
    sources.check_fits(backbone)
    evidence = TaskEvidence(backbone, task=task, sources=tuple(sources), seed=seed)
    if top_sources is not None:
        evidence = evidence.only(ranked(evidence.for_ranking, by=DECIDING).best(top_sources))
    return Prepared(backbone=backbone, method=chosen.prepare(evidence), sources=tuple(evidence.sources), protocol=own)
