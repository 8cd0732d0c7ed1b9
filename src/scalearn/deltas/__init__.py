"""Deltas: what acts at a site. Mathematics on plain torch; no transformers import in this room.

At a layer a delta maps z (..., d) to what is added. At a linear map it maps the map's input x and output y to the new
output. A *parameter* is the method's own and is saved with the model, even where it is not trained; a *buffer* derives
from the sources and is not.
"""

from scalearn.deltas.bottleneck import Activation, Bottleneck
from scalearn.deltas.compacter import Compacter, new_rule
from scalearn.deltas.conditioning import PerTask, TaskSwitch, safe_key
from scalearn.deltas.fusion import AdapterFusion
from scalearn.deltas.hyperformer import GeneratedBottleneck, HyperNetworks, TaskEncoder
from scalearn.deltas.ia3 import Rescaling, ScaledRescalings
from scalearn.deltas.lora import Lora, ScaledLoras
from scalearn.deltas.propetl import JointMaskedBottleneck, MaskedBottleneck, MaskScores
from scalearn.deltas.scaling import Constraint, FixedOmega, Omega, ScaledSources
from scalearn.deltas.soup import average
from scalearn.deltas.sparsity import TopSources, shrink

Scaled = ScaledSources | ScaledLoras | ScaledRescalings
"""Sources of one site, combined by an ``omega``; each can ``fold`` into one ordinary delta."""

__all__ = [
    "Activation",
    "AdapterFusion",
    "Bottleneck",
    "Compacter",
    "Constraint",
    "FixedOmega",
    "GeneratedBottleneck",
    "HyperNetworks",
    "JointMaskedBottleneck",
    "Lora",
    "MaskScores",
    "MaskedBottleneck",
    "Omega",
    "PerTask",
    "Rescaling",
    "Scaled",
    "ScaledLoras",
    "ScaledRescalings",
    "ScaledSources",
    "TaskEncoder",
    "TaskSwitch",
    "TopSources",
    "average",
    "new_rule",
    "safe_key",
    "shrink",
]
