"""Runs the notebooks and keeps what they show: `.venv/bin/python notebooks/run.py [NAME ...]`.

Each runs in a folder of its own that vanishes, offline, with one thread. Kept are printed lines and pictures, not what
libraries say on stderr. The picture on docs/notebooks.md is the first one of first-transfer.
"""

from __future__ import annotations

import base64
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
PICTURE = FOLDER.parent / "docs" / "figures" / "first-transfer.png"
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


def executed(path: Path, place: Path) -> NotebookNode:
    """The notebook with the outputs of a run in the folder `place`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}})
    client.execute(env={**os.environ, **QUIET})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def pictures(notebook: NotebookNode) -> list[bytes]:
    """PNGs that a notebook shows."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [base64.b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


if __name__ == "__main__":
    for path in [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as place:
            notebook = executed(path, Path(place))
        nbformat.write(notebook, path)
        if path.stem == PICTURE.stem:
            PICTURE.write_bytes(pictures(notebook)[0])
