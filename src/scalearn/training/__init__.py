"""Training: on one task (`train`) or several at once (`train_joint`), with transformers' Trainer."""

from scalearn.training.evaluate import evaluate
from scalearn.training.joint import JointResult, train_joint
from scalearn.training.train import TrainResult, train

__all__ = ["JointResult", "TrainResult", "evaluate", "train", "train_joint"]
