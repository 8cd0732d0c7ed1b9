"""How alike the texts of two data sets are: the mean cosine similarity of their sentence embeddings.

    similarity(A, B) = mean over rows a of A and b of B of cos(e(a), e(b)) = mean_a e(a) . mean_b e(b),   |e| = 1

so a data set is described by one vector, the mean of its unit embeddings, and rows need not be kept. The encoder is
always all-MiniLM-L6-v2, whatever the backbone, so that all sources can be compared.

Source: Chronopoulou et al., AdapterSoup (Findings of EACL 2023), section 3.2; ScaLearn's code embeds 3 to 5 sentences
of the target, here it is thousands of rows.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from scalearn.backbones import MINILM, MINILM_PACKAGE, Backbone, load_backbone
from scalearn.encoding import encode
from scalearn.errors import InputError
from scalearn.tasks import Task
from scalearn.tokens import TEXT_COLUMNS

ROWS = 2000
"""At most so many rows of a data set are embedded, drawn with seed 0."""


def can_embed() -> bool:
    """Whether the encoder is installed, so that embedding needs no network."""
    return importlib.util.find_spec(MINILM_PACKAGE) is not None


def embed_task(task: Task, *, rows: int = ROWS) -> list[float]:
    """The mean unit embedding of a task's training rows, the texts of a row joined by a blank.

    Args:
        task: with a ``train`` split.
        rows: embed at most so many.

    Raises:
        InputError: the task has no training rows or no texts, or the encoder cannot be loaded.
    """
    if task.image is not None:
        raise InputError(f"task {task.name!r} has images, and similarity is of texts: leave it out")
    drawn = task.take(train_rows=rows, seed=0).splits["train"]
    columns = [drawn[column][:] for column in TEXT_COLUMNS if column in drawn.column_names]
    rows_of_parts = zip(*columns, strict=True)
    joined = [" ".join(part if isinstance(part, str) else " ".join(part) for part in row) for row in rows_of_parts]
    return [round(float(value), 6) for value in mean_embedding(joined)]


def mean_embedding(texts: Sequence[str]) -> NDArray[np.float64]:
    """The mean of the unit embeddings of some texts, (384,)."""
    encoder = _encoder()
    assert encoder.tokenizer is not None
    states = encoder.pooled(encode(encoder.tokenizer, {"text_a": list(texts)}, max_length=128)).double()
    return np.asarray(torch.nn.functional.normalize(states, dim=-1).mean(dim=0).numpy())


def similarity(first: Sequence[float], second: Sequence[float]) -> float:
    """The mean cosine similarity of two data sets, given their mean unit embeddings."""
    return float(np.dot(first, second))


@lru_cache(maxsize=1)
def _encoder() -> Backbone:
    return load_backbone(MINILM)
