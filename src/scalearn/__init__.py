"""Task transfer by learned scaling: frozen source adapters, a handful of coefficients per new task."""

from scalearn.errors import InputError
from scalearn.methods import Adapter, FullFineTuning, HeadOnly, Probing, Recipe, ScaLearn
from scalearn.model import Prediction, TransferModel
from scalearn.sources import Shelf, Source
from scalearn.tasks import Task, load_task
from scalearn.training import TrainResult, evaluate, train

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
