"""What each source of a transferred model does: how strongly it acts, the score without it, and with it alone.

    term       omega_t * adapter_t(z), what source t adds at a site
    share      mean over sites and layers of  sum_z |term_t(z)| / sum_s sum_z |term_s(z)|,  z the tokens of the rows
    without    the score where omega_t is set to 0
    alone      the score where every other omega is set to 0

Nothing is trained anew, so it takes 2 T + 3 passes over the rows. The other coefficients and the head stay as they were
trained *with* the source: "without" is what this model owes to it, not what a model trained without it would score. A
source *hurts* (negative transfer) if the score rises without it by more than the standard error of that difference, by
a bootstrap of the rows that is the same for both scores. Of many sources a few will by chance: one standard error is a
hint, a new run without the source (``--exclude``) is the test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scalearn.deltas import FixedOmega, Scaled
from scalearn.deltas.scaling import acting
from scalearn.encoding import Features, batches
from scalearn.methods import Method
from scalearn.methods.combine import Transfer
from scalearn.model import TransferModel
from scalearn.precision import Precision, autocast
from scalearn.pruning import scaling, strengths
from scalearn.reading import flattened
from scalearn.tasks import Task
from scalearn.training.evaluate import target_of

Verdict = Literal["helps", "hurts", "unclear", "unused"]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One source; scores are of the main metric."""

    source: str
    """Its name."""
    mean_omega: float
    """Mean |omega| over layers and dimensions."""
    share: float
    """Of the norm of all sources' terms, between 0 and 1."""
    without: float
    """Score without it."""
    alone: float
    """Score with it alone."""
    difference: float
    """Score without it minus that of the whole model: above 0 where it hurts."""
    stderr: float
    """Of the difference, by a paired bootstrap of rows."""
    verdict: Verdict
    """``unused`` where all of its coefficients are 0."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the sources of one model do on some rows."""

    task: str
    method: str
    split: str
    rows: int
    metric: str
    """The task's main metric; every score here is of it."""
    score: float
    """Of the whole model."""
    stderr: float
    """Of that score, by a bootstrap of rows."""
    bare: float
    """Score where all sources are taken away: the backbone with the head as it is."""
    effects: tuple[Effect, ...]
    """Of each source, in order."""
    layers: tuple[str, ...]
    """Names of the sites, first layer first: ``1``, or ``query 1`` where there are several a layer."""
    omega: tuple[tuple[float, ...], ...]
    """Mean omega over dimensions, by site and then by source."""

    @property
    def hurting(self) -> tuple[Effect, ...]:
        """The sources without which the score is better than noise explains."""
        return tuple(effect for effect in self.effects if effect.verdict == "hurts")

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Explanation:
        """What `as_dict` gave, also after JSON.

        Raises:
            TypeError: fields are missing, or others are there.
        """
        effects = tuple(Effect(**effect) for effect in told.get("effects", ()))
        omega = tuple(tuple(row) for row in told.get("omega", ()))
        return cls(**{**told, "effects": effects, "layers": tuple(told.get("layers", ())), "omega": omega})


def can_explain(method: Method) -> bool:
    """Whether models of a method have a coefficient for each source, which can be taken away."""
    return isinstance(method, Transfer) and method.scales_sources


def explain(
    model: TransferModel,
    split: str = "dev",
    *,
    task: Task | None = None,
    batch_size: int = 64,
    precision: Precision = "auto",
) -> Explanation:
    """What each source of a trained model does on a split.

    Args:
        model: of ScaLearn (all variants), probing, lorahub or uniform-average, not folded; it is left as it was.
        split: a split of the task.
        task: where the rows are, if not in the model's own task, for instance because the model was loaded from disk.
        batch_size: rows at a time.
        precision: see `scalearn.precision`.

    Raises:
        InputError: the model is of another kind, or the task has no such split or other labels.
    """
    deltas = scaling(model.placement, model.method, model.sources)
    own, head = target_of(model, split, task=task)
    data, rows = own.splits[split], model.rows_of(own, split)
    whole = torch.ones(len(model.sources), dtype=torch.bool)

    def answered(kept: Tensor) -> NDArray[np.float32]:
        """The logits with some of the sources, (T,) of bool."""
        with _only(deltas, kept):
            return model.logits_of(head, rows, batch_size=batch_size, precision=precision).numpy()

    def scored(logits: NDArray[np.float32]) -> float:
        return own.judge(data, logits)[own.main_metric]

    logits = answered(whole)
    score, drawn = scored(logits), own.drawn(data, logits)
    shares = _shares(model, deltas, rows, batch_size=batch_size, precision=precision)
    effects = []
    for t, strength in enumerate(strengths(deltas, model.sources)):
        alone = torch.zeros_like(whole)
        alone[t] = True
        logits = answered(~alone)
        without, stderr = scored(logits), float(np.std(own.drawn(data, logits) - drawn, ddof=1))
        effects.append(
            Effect(
                source=strength.source,
                mean_omega=strength.mean,
                share=shares[t],
                without=without,
                alone=scored(answered(alone)),
                difference=without - score,
                stderr=stderr,
                verdict=_verdict(without - score, stderr) if strength.largest else "unused",
            )
        )
    several = len(model.placement) > 1
    names = [
        f"{site} {i + 1}" if several else f"{i + 1}" for site, at in model.placement.items() for i in range(len(at))
    ]
    return Explanation(
        task=own.name,
        method=model.method.name,
        split=split,
        rows=len(data),
        metric=own.main_metric,
        score=score,
        stderr=float(np.std(drawn, ddof=1)),
        bare=scored(answered(~whole)),
        effects=tuple(effects),
        layers=tuple(names),
        omega=tuple(tuple(acting(delta.omega).float().mean(dim=1).tolist()) for delta in deltas),
    )


def _verdict(difference: float, stderr: float) -> Verdict:
    if difference > stderr:
        return "hurts"
    return "helps" if -difference > stderr else "unclear"


@contextmanager
def _only(deltas: Sequence[Scaled], kept: Tensor) -> Iterator[None]:
    """In this context the coefficients of the sources that are not kept, (T,) of bool, are 0."""
    before = [delta.omega for delta in deltas]
    try:
        for delta in deltas:
            values, held = acting(delta.omega).detach(), FixedOmega(())
            held.values = values * kept[:, None].to(values.device)
            delta.omega = held
        yield
    finally:
        for delta, omega in zip(deltas, before, strict=True):
            delta.omega = omega


def _shares(
    model: TransferModel, deltas: Sequence[Scaled], rows: Sequence[Features], *, batch_size: int, precision: Precision
) -> list[float]:
    """Of each source, its share of the norm of all terms; padding does not count."""
    norms = torch.zeros(len(deltas), len(model.sources), dtype=torch.float64)
    mask: Tensor | None = None

    def measured(index: int) -> Any:
        def hook(delta: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            for t, term in enumerate(deltas[index].terms(*inputs)):
                lengths = term.float().norm(dim=-1)  # (B, S); (B, 1) where the head reads the first token alone
                real = 1 if mask is None or mask.shape != lengths.shape else mask
                norms[index, t] += float((lengths * real).sum())

        return hook

    hooks = [delta.register_forward_hook(measured(index)) for index, delta in enumerate(deltas)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), autocast(precision, model.device):
            for _, batch in batches(model.need_processor(), rows, batch_size=batch_size):
                given = {key: value.to(model.device) for key, value in batch.items() if key != "labels"}
                mask = flattened(given)[0].get("attention_mask")
                model.answer(model.head, given)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    acted = norms[norms.sum(dim=1) > 0]
    if not len(acted):
        return [0.0] * len(model.sources)
    shares: list[float] = (acted / acted.sum(dim=1, keepdim=True)).mean(dim=0).tolist()
    return shares
