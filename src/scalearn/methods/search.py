"""Coefficients that are chosen by a linear model on frozen features, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from scalearn.deltas import FixedOmega
from scalearn.errors import InputError
from scalearn.methods.base import Evidence, Setting
from scalearn.methods.combine import Transfer, scaled
from scalearn.sites import Placement


class BestSource(Transfer):
    """The one source whose frozen features suit the target's training rows best: the other trivial baseline."""

    reference: ClassVar[str] = "baseline"

    chosen: int | None = Field(None, ge=0)
    """Its place on the shelf; None tries all."""

    @property
    def name(self) -> str:
        """``best-source``."""
        return "best-source"

    def prepare(self, evidence: Evidence) -> BestSource:
        """Tries one source at a time and keeps the one of lowest error."""
        if self.chosen is not None:
            return self
        errors = [evidence.error(alone) for alone in np.eye(evidence.count)]
        return BestSource(chosen=int(np.argmin(errors)))

    def build(self, setting: Setting) -> Placement:
        """That source alone."""
        if self.chosen is None or self.chosen >= len(setting.sources):
            raise InputError(
                f"best-source has chosen {self.chosen} of {len(setting.sources)} sources: give a task with training "
                "rows, so that it can choose, or chosen=..."
            )
        return scaled([setting.sources[self.chosen]], lambda _: FixedOmega([1.0]))


class LoraHub(Transfer):
    """One coefficient per source, found without gradients (COBYQA), then a head is trained.

    The search minimises the error of a linear model on the frozen features plus `regularisation` times the mean
    absolute coefficient, over coefficients in [-bound, bound], starting from 0, as LoraHub does with its own language
    model loss.
    """

    reference: ClassVar[str] = "after Huang et al., COLM 2024"
    scales_sources: ClassVar[bool] = True

    omega: tuple[float, ...] = ()
    """The coefficients; empty until they are searched."""
    evaluations: int = Field(40, gt=0)
    """How many settings of the coefficients may be tried."""
    bound: float = Field(1.5, ge=1e-3, le=100)
    """Largest absolute coefficient."""
    regularisation: float = Field(0.05, ge=0)
    """Weight of the mean absolute coefficient in what is minimised."""

    @property
    def name(self) -> str:
        """``lorahub``."""
        return "lorahub"

    def prepare(self, evidence: Evidence) -> LoraHub:
        """Searches the coefficients."""
        from scipy.optimize import minimize

        if self.omega:
            return self
        count = evidence.count
        tried: list[tuple[float, tuple[float, ...]]] = []

        def objective(omega: np.ndarray) -> float:
            value = evidence.error(omega) + self.regularisation * float(np.abs(omega).mean())
            tried.append((value, tuple(round(float(c), 6) for c in omega)))
            return value

        minimize(
            objective,
            np.zeros(count),
            method="COBYQA",
            bounds=[(-self.bound, self.bound)] * count,
            options={"maxfev": self.evaluations, "initial_tr_radius": self.bound / 3},
        )
        return self.model_copy(update={"omega": min(tried)[1]})

    def build(self, setting: Setting) -> Placement:
        """The fused sources, scaled by what was found."""
        if len(self.omega) != len(setting.sources):
            raise InputError(
                f"lorahub has {len(self.omega)} coefficients for {len(setting.sources)} sources: give a task with "
                "training rows, so that it can search them, or omega=..."
            )
        return scaled(setting.sources, lambda _: FixedOmega(self.omega))

    def narrowed(self, kept: Sequence[int]) -> LoraHub:
        """The coefficients of these sources."""
        return self.model_copy(update={"omega": tuple(self.omega[t] for t in kept)})
