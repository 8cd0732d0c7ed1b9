"""Finished runs as JSON files, one each, so that an experiment stopped at any moment goes on where it stood."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalearn.atomic import write_text


def place_of(folder: Path, key: Mapping[str, Any]) -> Path:
    """Where a run stands: a file named by the hash of everything that makes it this run."""
    return folder / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]}.json"


def read_run(path: Path) -> dict[str, Any] | None:
    """The run that was kept here; None if there is none, or it was cut short."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return run if isinstance(run, dict) else None


def keep_run(path: Path, key: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Writes a run, with what makes it this run, as a whole."""
    write_text(path, json.dumps({"key": key, "run": run}, indent=2) + "\n")
