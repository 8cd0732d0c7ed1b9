"""Training: on one task (`train`) or several at once (`train_joint`), with transformers' Trainer."""

from scalearn.training.evaluate import evaluate
from scalearn.training.joint import JointResult, train_joint
from scalearn.training.train import TrainResult, train
from scalearn.training.trainer import optimizer_for

__all__ = ["JointResult", "TrainResult", "evaluate", "optimizer_for", "train", "train_joint"]
