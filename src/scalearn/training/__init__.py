"""Training: one Trainer subclass, batches by length, and the recipe that every method is trained with."""

from scalearn.training.evaluate import evaluate
from scalearn.training.train import TrainResult, train

__all__ = ["TrainResult", "evaluate", "train"]
