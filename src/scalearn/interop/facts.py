"""What is said beside a model that was written for another library, for people; nothing reads it.

A folder with such a file is known as ours (`scalearn.atomic.OURS`), so that ``--overwrite`` may replace it.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

from scalearn.atomic import write_text
from scalearn.backbones import MINILM, MINILM_HUB_ID
from scalearn.cards import without_places
from scalearn.model import TransferModel


def public_name(model: TransferModel) -> str | None:
    """The backbone's id on the Hub; a folder of this machine is nobody else's business."""
    name = MINILM_HUB_ID if model.reference.name == MINILM else model.reference.name
    return None if os.path.exists(name) else name


def write_facts(path: Path, model: TransferModel, *, head: str) -> None:
    """Writes backbone, task, pooling, method and sources of a model as JSON.

    Args:
        path: of the new file.
        model: that was written.
        head: where its head is.
    """
    facts = {
        "written_by": f"scalearn {metadata.version('scalearn')}",
        "backbone": {**model.reference.model_dump(), "name": public_name(model)},
        "task": model.task.describe(),
        "pooling": model.head.pooling,
        "head": head,
        "method": {"name": model.method.name, "options": model.method.model_dump()},
        "sources": [{"name": source.name, "sha256": source.digest()} for source in model.sources],
    }
    write_text(path, json.dumps(without_places(facts), indent=2, ensure_ascii=False) + "\n")
