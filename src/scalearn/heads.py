"""Heads: from hidden states to logits, and from logits to a loss.

    head(h) = W2 dropout(tanh(W1 dropout(pool(h)) + b1)) + b2

The published head (ScaLearn's code; the same as RoBERTa's classification head) reads the first token; sentence encoders
read the mean over tokens, decoders the last token. Loss: cross-entropy over classes or choices, mean squared error for
regression, binary cross-entropy for multi-label. A multiple choice is scored choice by choice, one output each.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalearn.kinds import Kind

Pooling = Literal["first", "mean", "last"]


def pool(hidden: Tensor, attention_mask: Tensor | None, pooling: Pooling) -> Tensor:
    """One vector per text.

    Args:
        hidden: (B, S, d).
        attention_mask: (B, S), 1 for tokens and 0 for padding on either side; None where nothing is padded.
        pooling: the first token, the mean over tokens, or the last token.

    Returns:
        (B, d).
    """
    if attention_mask is None:
        attention_mask = hidden.new_ones(hidden.shape[:2], dtype=torch.long)
    if pooling == "mean":
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    positions = torch.arange(hidden.shape[1], device=hidden.device)
    if pooling == "first":
        chosen = torch.where(attention_mask.bool(), positions, hidden.shape[1]).argmin(dim=1)
    else:
        chosen = torch.where(attention_mask.bool(), positions, -1).argmax(dim=1)
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), chosen]


def balanced_weights(labels: Tensor) -> Tensor:
    """How much rows without and with each label count, so that both do alike: N / (2 rows); 1 where there is one kind.

    Args:
        labels: (N, labels) of 0 and 1.

    Returns:
        (2, labels), `Head.label_weights`.
    """
    having = labels.double().sum(dim=0)
    rows = torch.stack([len(labels) - having, having])
    return torch.where(rows.amin(dim=0) > 0, len(labels) / (2 * rows.clamp(min=1)), 1.0)


class Head(nn.Module):
    """Dropout, dense, tanh, dropout, linear over the pooled hidden state.

    Args:
        width: d, the width of the backbone.
        outputs: number of labels; 1 for regression and multiple choice.
        kind: which loss.
        pooling: which tokens are read.
        dropout: probability, as published 0.1.
    """

    def __init__(
        self, *, width: int, outputs: int, kind: Kind, pooling: Pooling = "first", dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.kind = kind
        self.pooling = pooling
        self.fresh = True
        """Whether its weights are random still."""
        self.label_weights: Tensor | None = None
        """(2, outputs): how much a row without, and one with a label counts in a multi-label loss; None is 1."""
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)
        for linear in (self.dense, self.out):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Maps hidden states (B, S, d) to logits (B, outputs)."""
        return self.score(pool(hidden, attention_mask, self.pooling))

    def score(self, pooled: Tensor) -> Tensor:
        """Maps pooled hidden states (..., d) to logits (..., outputs)."""
        logits: Tensor = self.out(self.dropout(torch.tanh(self.dense(self.dropout(pooled)))))
        return logits

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss; a scalar in at least float32.

        Args:
            logits: (B, outputs); (B, C) for multiple choice, one score per choice.
            labels: (B,); (B, outputs) of 0 and 1 for multi-label.
        """
        logits = logits if logits.dtype == torch.float64 else logits.float()
        if self.kind == "regression":
            return F.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        if self.kind == "multi-label":
            weights = None
            if self.label_weights is not None:
                without, having = self.label_weights.to(logits)
                weights = torch.where(labels.bool(), having, without)
            return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), weights)
        return F.cross_entropy(logits, labels)
