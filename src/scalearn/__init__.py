"""Task transfer by learned scaling: frozen source adapters, a handful of coefficients per new task.

The public names are imported on first use, so that `import scalearn` and `scalearn --help` are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalearn.errors import InputError
    from scalearn.methods import Adapter, FullFineTuning, HeadOnly, Probing, Recipe, ScaLearn
    from scalearn.model import TransferModel
    from scalearn.prediction import Prediction
    from scalearn.sources import Shelf, Source
    from scalearn.tasks import Task, load_task
    from scalearn.training.evaluate import evaluate
    from scalearn.training.train import TrainResult, train

_ROOMS = {
    "errors": ("InputError",),
    "methods": ("Adapter", "FullFineTuning", "HeadOnly", "Probing", "Recipe", "ScaLearn"),
    "model": ("TransferModel",),
    "prediction": ("Prediction",),
    "sources": ("Shelf", "Source"),
    "tasks": ("Task", "load_task"),
    "training": ("TrainResult", "evaluate", "train"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "Adapter",
    "FullFineTuning",
    "HeadOnly",
    "InputError",
    "Prediction",
    "Probing",
    "Recipe",
    "ScaLearn",
    "Shelf",
    "Source",
    "Task",
    "TrainResult",
    "TransferModel",
    "evaluate",
    "load_task",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'scalearn' has no attribute {name!r}")
    return getattr(import_module(f"scalearn.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
