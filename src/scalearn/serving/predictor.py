"""`MultiTaskPredictor`: thousands of targets over one backbone and one set of sources, mixed in one batch.

The answers are those of the separate models (`scalearn.serving.mixture` has the equation); the backbone is held, and
run, once. Targets come and go while others are answered: the registry is an immutable mapping that each change
replaces, and a call keeps to the one it found.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from scalearn import sites
from scalearn.allocation import give_back_freed_memory
from scalearn.backbones import MINILM, Backbone, load_backbone
from scalearn.deltas import FixedOmega, ScaledLoras, ScaledRescalings, ScaledSources
from scalearn.errors import InputError
from scalearn.hub import own_name
from scalearn.methods.combine import scaled
from scalearn.model import TransferModel
from scalearn.precision import Precision, attention_for
from scalearn.prediction import Prediction, predictions
from scalearn.saved import DESCRIPTION, SavedModel, SourceReference, folder_of
from scalearn.serving.computation import Computation, Question
from scalearn.serving.mixture import MixedLayer, MixedLinear
from scalearn.serving.storage import HeadStorage, Usage
from scalearn.serving.target import Room, Target, places_of
from scalearn.shelf import Shelf
from scalearn.sites import LAYER
from scalearn.sources import Source
from scalearn.tasks import Task

HEAD_MEMORY = 256 * 2**20
"""Bytes: some 430 float32 heads of width 384. More of them lie in a private file."""

Row = str | Sequence[str]
"""A text; a pair; or a text and its choices."""

_HALF = re.compile("[\ud800-\udfff]")
_TIDY_EVERY = 64
"""Targets that are added between two times at which freed memory is given back."""
_SHOWN = 5
_SEARCHED = 200
"""Names, and letters of a name, that are compared with a wrong one: a client must not be able to make this slow."""


class UnknownTask(InputError):
    """No target has that name."""


class MultiTaskPredictor:
    """Answers rows of many tasks at once.

    Args:
        backbone: ``minilm``, a folder, a Hub id, or one loaded, without deltas: it is taken over, not copied.
        sources: all that targets may combine; a target that combines fewer of them has 0 for the others.
        head_memory: bytes of heads to keep in memory; the rest lies in a temporary file. ``float("inf")`` keeps all.
        head_dtype: heads are kept in it, for instance `torch.bfloat16` for half the room and no longer the same answers
            to more than two or three digits; by default what the backbone computes in.
        precision: see `scalearn.precision`.

    Raises:
        InputError: a source was trained on another backbone, or two have one name; or the backbone does not keep the
            rows of a batch apart where the sources act.

    Example:
        >>> many = MultiTaskPredictor("minilm", sources=Shelf("builtin"))
        >>> many.add("runs/reviews")
        'reviews'
        >>> many.predict([("reviews", "Never again.")])
    """

    def __init__(
        self,
        backbone: str | Backbone = MINILM,
        *,
        sources: Shelf | Iterable[Source] | None = None,
        head_memory: float = HEAD_MEMORY,
        head_dtype: torch.dtype | None = None,
        precision: Precision = "auto",
    ) -> None:
        backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        shelf = sources if isinstance(sources, Shelf) else Shelf(sources or ())
        if len(shelf):
            shelf.check_fits(backbone)
        model = backbone.model
        dtype = cast(torch.dtype, model.dtype)
        fused = {site: [delta.to(model.device, dtype) for delta in own] for site, own in _fused(tuple(shelf)).items()}
        mixed: dict[str, list[nn.Module]] = {
            site: [
                (MixedLayer if site == LAYER else MixedLinear)(delta, site=site, layer=layer)
                for layer, delta in enumerate(deltas)
            ]
            for site, deltas in fused.items()
        }
        if LAYER not in mixed:  # for targets that bring adapters of their own
            mixed[LAYER] = [MixedLayer(None, site=LAYER, layer=layer) for layer in range(backbone.layers)]
        sites.attach(model, mixed)
        model.eval()
        attention = attention_for(
            training=False, precision=precision, device=model.device, fused=bool(model._supports_sdpa)
        )
        model.set_attn_implementation(attention)
        self._computation = Computation(backbone, precision=precision)
        self._heads = HeadStorage(budget=head_memory, stored=head_dtype or dtype, computed=dtype)
        self._room = Room(
            backbone=backbone,
            sources=tuple(shelf),
            places=places_of(backbone, list(mixed)),
            outputs={site: deltas[0].up_weight.shape[-1] for site, deltas in fused.items()},
            heads=self._heads,
        )
        self._targets: Mapping[str, Target] = MappingProxyType({})
        self._added = 0
        self._changing = Lock()

    @classmethod
    def from_folders(
        cls,
        folders: Iterable[str | Path],
        *,
        backbone: str | Backbone | None = None,
        sources: Shelf | None = None,
        head_memory: float = HEAD_MEMORY,
        head_dtype: torch.dtype | None = None,
        precision: Precision = "auto",
    ) -> MultiTaskPredictor:
        """A predictor of these saved models, each called by its folder's name.

        Args:
            folders: of models, here or on the Hub; a folder of such folders stands for all of them.
            backbone: where their backbone is now, if not where it was.
            sources: all sources; by default those that the models name, from where they were.
            head_memory: as above.
            head_dtype: as above.
            precision: as above.

        Raises:
            InputError: there are no models, or some cannot be served together; all such models are named.
        """
        found = [model for folder in folders for model in models_in(folder_of(folder))]
        if not found:
            raise InputError("there are no models to serve: give folders that scalearn transfer wrote")
        named = _sources_of(found) if sources is None else sources
        many = cls(
            SavedModel.read(found[0]).load_backbone(backbone, folder=found[0]),
            sources=named,
            head_memory=head_memory,
            head_dtype=head_dtype,
            precision=precision,
        )
        faults = []
        for folder in found:
            try:
                many.add(folder)
            except InputError as error:
                faults.append(str(error))
        if faults:
            left = f" (and {len(faults) - _SHOWN} more)" if len(faults) > _SHOWN else ""
            raise InputError("; ".join(faults[:_SHOWN]) + left)
        return many

    # ---- the targets

    @property
    def names(self) -> tuple[str, ...]:
        """What can be asked, in the order it was added."""
        return tuple(self._targets)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Name to the task's description."""
        return {name: target.task for name, target in self._targets.items()}

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, in order."""
        return tuple(self._room.sources)

    @property
    def usage(self) -> Usage:
        """Bytes that heads take up in memory and in the file."""
        return self._heads.usage

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, name: str) -> bool:
        return name in self._targets

    def add(self, target: str | Path | TransferModel, name: str | None = None, *, overwrite: bool = False) -> str:
        """Takes up one more target, also while others are answered. What it needs is copied.

        Args:
            target: the folder of a saved model, or a model.
            name: to call it; by default the folder's name, or that of the model's task.
            overwrite: take the place of the one that has this name.

        Returns:
            The name.

        Raises:
            InputError: the name is taken; or the model is of another backbone or other sources, or of a method that
                cannot be served among others.
        """
        if isinstance(target, TransferModel):
            saved, called, own = _as_saved(target), f"the model of {target.task.name!r}", target.task.name
        else:
            folder = folder_of(target)
            saved, called, own = SavedModel.read(folder), str(folder), own_name(folder)
        name = own if name is None else name
        if not name:
            raise InputError(f"{called} needs a name: give one (name=...)")
        self._check_free(name, called, overwrite=overwrite)
        received = self._room.receive(saved, called=called)
        with self._changing:
            self._check_free(name, called, overwrite=overwrite)
            self._targets = MappingProxyType({**self._targets, name: received})
            self._added += 1
            if self._added % _TIDY_EVERY == 0:
                give_back_freed_memory()
        return name

    def remove(self, name: str) -> None:
        """Forgets a target; calls under way still answer for it.

        Raises:
            UnknownTask: there is none of this name.
        """
        with self._changing:
            _find(self._targets, name)
            self._targets = MappingProxyType({own: target for own, target in self._targets.items() if own != name})

    def _check_free(self, name: str, called: str, *, overwrite: bool) -> None:
        if name in self._targets and not overwrite:
            raise InputError(
                f"{called} cannot be called {name!r}, as another target is: give another name, or overwrite=True"
            )

    # ---- answers

    def predict(self, rows: Sequence[tuple[str, Row]], *, batch_size: int = 64) -> list[Prediction]:
        """Answers rows of any targets, in order. Several threads may call it at once.

        Args:
            rows: pairs of a target's name and a row: a text, a pair, or a text and its choices, as its task has them.
            batch_size: texts at a time; texts of like length go together.

        Raises:
            UnknownTask: a name is not known.
            InputError: a row has another number of texts than its task. All such rows are named.
        """
        return self.answer(self.resolve(rows), batch_size=batch_size)

    def logits(self, rows: Sequence[tuple[str, Row]], *, batch_size: int = 64) -> list[Tensor]:
        """As `predict`: of each row (outputs,), or (C,) for multiple choice, in what the backbone computes in."""
        return self._computation.logits(self.resolve(rows), batch_size=batch_size)

    def resolve(self, rows: Sequence[tuple[str, Row]]) -> list[Question]:
        """Finds the rows' targets and checks their texts, without computing; what is removed later is still answered.

        Raises:
            UnknownTask: a name is not known.
            InputError: a row has another number of texts than its task. All such rows are named.
        """
        targets = self._targets
        questions, faults = [], []
        for number, (name, row) in enumerate(rows, start=1):
            target = _find(targets, name)
            texts = (row,) if isinstance(row, str) else tuple(row)
            wanted = (*target.task.text, *target.task.choices)
            if len(texts) != len(wanted) or not all(isinstance(text, str) for text in texts):
                faults.append(f"row {number} has {_counted(texts)}, {name!r} takes {len(wanted)} ({', '.join(wanted)})")
            elif any(_HALF.search(text) for text in texts if not text.isascii()):
                faults.append(f"row {number} has half of a surrogate pair, which is no character")
            questions.append(Question(name=name, target=target, texts=texts))
        if faults:
            left = f"; and {len(faults) - _SHOWN} rows more" if len(faults) > _SHOWN else ""
            raise InputError("; ".join(faults[:_SHOWN]) + left)
        return questions

    def answer(self, questions: Sequence[Question], *, batch_size: int = 64) -> list[Prediction]:
        """Answers what `resolve` gave, in order.

        Raises:
            InputError: a target gives numbers that are not finite. All such targets are named.
        """
        scores = self._computation.logits(questions, batch_size=batch_size)
        broken = [q.name for q, own in zip(questions, scores, strict=True) if not bool(own.isfinite().all())]
        if broken:
            raise InputError(
                f"{', '.join(map(repr, dict.fromkeys(broken)))} gives numbers that are not finite: train it anew, or "
                "compute in float32 (precision)"
            )
        return [
            predictions(one.float().cpu().unsqueeze(0), question.target.task)[0]
            for one, question in zip(scores, questions, strict=True)
        ]


def models_in(folder: Path) -> list[Path]:
    """The folder of a model itself, or those of the models in a folder of them, by name.

    Raises:
        InputError: there are none.
    """
    if (folder / DESCRIPTION).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{DESCRIPTION}") if not path.parent.name.startswith("."))
    if not found:
        raise InputError(
            f"{folder} holds no models ({DESCRIPTION}, */{DESCRIPTION}): give folders that scalearn transfer wrote"
        )
    return found


def _sources_of(folders: Iterable[Path]) -> list[Source]:
    """The sources that models combine, once each, in the order they are named."""
    known: dict[str, Source] = {}
    for folder in folders:
        saved = SavedModel.read(folder)
        missing = [reference for reference in saved.sources if reference.sha256 not in known]
        known |= {source.digest(): source for source in replace(saved, sources=missing).find_sources(folder) or ()}
    return list(known.values())


def _fused(sources: Sequence[Source]) -> Mapping[str, Sequence[ScaledSources | ScaledLoras]]:
    """Site to the sources of each layer as one module, whose own omega is never read."""
    if not sources:
        return {}
    fused = scaled(sources, lambda _: FixedOmega([0.0] * len(sources)))
    if any(isinstance(delta, ScaledRescalings) for layers in fused.values() for delta in layers):
        raise InputError("IA3 sources cannot be served among others: load such a model alone, with TransferModel")
    return cast(Mapping[str, Sequence[ScaledSources | ScaledLoras]], fused)


def _as_saved(model: TransferModel) -> SavedModel:
    """A model in memory as its folder would hold it, with the present digests of its sources."""
    return SavedModel(
        backbone=model.reference,
        pooling=model.head.pooling,
        tasks=[replace(model.task, splits={})],
        method=model.method,
        sources=[
            SourceReference(name=source.name, location=source.location, sha256=source.digest())
            for source in model.sources
        ],
        state=model.trained_state(),
    )


def _find(targets: Mapping[str, Target], name: str) -> Target:
    if name not in targets:
        searched = list(targets)[:_SEARCHED]
        near = difflib.get_close_matches(name[:_SEARCHED], searched, n=_SHOWN) or searched[:_SHOWN]
        more = f", and {len(targets) - len(near)} more" if len(targets) > len(near) else ""
        raise UnknownTask(f"there is no task {name[:_SEARCHED]!r}; there are {', '.join(near) or 'none'}{more}")
    return targets[name]


def _counted(texts: tuple[object, ...]) -> str:
    """What a row has, in words."""
    if all(isinstance(text, str) for text in texts):
        return f"{len(texts)} text(s)"
    return f"{sorted({type(text).__name__ for text in texts})}, not texts"
