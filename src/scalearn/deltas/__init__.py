"""Deltas: what is added at a site. Mathematics on plain torch; no transformers import in this room."""

from scalearn.deltas.bottleneck import Bottleneck
from scalearn.deltas.scaling import Constraint, FixedOmega, Omega, ScaledSources

__all__ = ["Bottleneck", "Constraint", "FixedOmega", "Omega", "ScaledSources"]
