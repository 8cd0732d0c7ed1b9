"""Task transfer by learned scaling: frozen source adapters, a handful of coefficients per new task.

The public names are imported on first use, so that `import scalearn` and `scalearn --help` are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalearn.errors import InputError
    from scalearn.explanation import Explanation, explain
    from scalearn.interop.onnx import export_onnx
    from scalearn.interop.onnx_predictor import OnnxPredictor
    from scalearn.joint import JointModel
    from scalearn.methods import (
        IA3,
        Adapter,
        AdapterFusion,
        AdapterJoint,
        AdapterSoup,
        BestSource,
        CompacterPlusPlus,
        FullFineTuning,
        FullFineTuningJoint,
        HeadOnly,
        HyperFormer,
        JointRecipe,
        LoRA,
        LoraHub,
        Probing,
        ProPETL,
        ProPETLJoint,
        Recipe,
        ScaLearn,
        UniformAverage,
    )
    from scalearn.model import TransferModel
    from scalearn.prediction import Prediction
    from scalearn.ranking import Ranking, rank_sources
    from scalearn.serving import MultiTaskPredictor
    from scalearn.shelf import Shelf
    from scalearn.sources import Source
    from scalearn.tasks import Task, few_shot, load_task
    from scalearn.training.evaluate import evaluate
    from scalearn.training.joint import JointResult, train_joint
    from scalearn.training.train import TrainResult, train

_ROOMS = {
    "errors": ("InputError",),
    "explanation": ("Explanation", "explain"),
    "interop.onnx": ("export_onnx",),
    "interop.onnx_predictor": ("OnnxPredictor",),
    "joint": ("JointModel",),
    "methods": (
        "IA3",
        "Adapter",
        "AdapterFusion",
        "AdapterJoint",
        "AdapterSoup",
        "BestSource",
        "CompacterPlusPlus",
        "FullFineTuning",
        "FullFineTuningJoint",
        "HeadOnly",
        "HyperFormer",
        "JointRecipe",
        "LoRA",
        "LoraHub",
        "ProPETL",
        "ProPETLJoint",
        "Probing",
        "Recipe",
        "ScaLearn",
        "UniformAverage",
    ),
    "model": ("TransferModel",),
    "prediction": ("Prediction",),
    "ranking": ("Ranking", "rank_sources"),
    "serving": ("MultiTaskPredictor",),
    "shelf": ("Shelf",),
    "sources": ("Source",),
    "tasks": ("Task", "few_shot", "load_task"),
    "training": ("JointResult", "TrainResult", "evaluate", "train", "train_joint"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "IA3",
    "Adapter",
    "AdapterFusion",
    "AdapterJoint",
    "AdapterSoup",
    "BestSource",
    "CompacterPlusPlus",
    "Explanation",
    "FullFineTuning",
    "FullFineTuningJoint",
    "HeadOnly",
    "HyperFormer",
    "InputError",
    "JointModel",
    "JointRecipe",
    "JointResult",
    "LoRA",
    "LoraHub",
    "MultiTaskPredictor",
    "OnnxPredictor",
    "Prediction",
    "ProPETL",
    "ProPETLJoint",
    "Probing",
    "Ranking",
    "Recipe",
    "ScaLearn",
    "Shelf",
    "Source",
    "Task",
    "TrainResult",
    "TransferModel",
    "UniformAverage",
    "evaluate",
    "explain",
    "export_onnx",
    "few_shot",
    "load_task",
    "rank_sources",
    "train",
    "train_joint",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'scalearn' has no attribute {name!r}")
    return getattr(import_module(f"scalearn.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
