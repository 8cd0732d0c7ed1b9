"""Methods: their options, what they build on a backbone, their hyper-parameters, and the registry of them all.

A new method is one delta file, and one class and entry in the file of its stage: see docs/adding-a-method.md.
"""

from scalearn.methods.base import (
    Entry,
    Evidence,
    JointRecipe,
    Method,
    Optimisation,
    Recipe,
    Setting,
    Stage,
    changed,
)
from scalearn.methods.joint import AdapterJoint, FullFineTuningJoint, HyperFormer, ProPETLJoint
from scalearn.methods.registry import (
    REGISTRY,
    Protocol,
    joint_recipe_for,
    method_from_name,
    recipe_for,
    resolved,
    suited,
)
from scalearn.methods.scaling import Probing, ScaLearn, UniformAverage
from scalearn.methods.search import BestSource, LoraHub
from scalearn.methods.single import IA3, Adapter, CompacterPlusPlus, FullFineTuning, HeadOnly, LoRA, ProPETL
from scalearn.methods.transfer import AdapterFusion, AdapterSoup

__all__ = [
    "IA3",
    "REGISTRY",
    "Adapter",
    "AdapterFusion",
    "AdapterJoint",
    "AdapterSoup",
    "BestSource",
    "CompacterPlusPlus",
    "Entry",
    "Evidence",
    "FullFineTuning",
    "FullFineTuningJoint",
    "HeadOnly",
    "HyperFormer",
    "JointRecipe",
    "LoRA",
    "LoraHub",
    "Method",
    "Optimisation",
    "ProPETL",
    "ProPETLJoint",
    "Probing",
    "Protocol",
    "Recipe",
    "ScaLearn",
    "Setting",
    "Stage",
    "UniformAverage",
    "changed",
    "joint_recipe_for",
    "method_from_name",
    "recipe_for",
    "resolved",
    "suited",
]
