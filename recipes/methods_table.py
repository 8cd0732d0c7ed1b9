"""The runs of recipes/methods.sh as one Markdown table: a row per method, a column per target.

python recipes/methods_table.py runs/methods
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

from scalearn.experiments.kept import read_run
from scalearn.experiments.tables import markdown_table
from scalearn.methods import REGISTRY

METRICS = {"cola": "matthews", "stsb": "combined_score", "mrpc": "combined_score", "cb": "combined_score"}
"""Main metrics that are not accuracy or, for the crisis messages, macro F1."""


def main(folder: Path) -> None:
    """Prints the table."""
    targets = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.name)
    runs: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for target in targets:
        for path in target.glob("*.json"):
            if (run := read_run(path)) is not None:
                runs[run["method"]][target.name].append(run)
    names = [target.name for target in targets if any(target.name in found for found in runs.values())]
    rows = []
    for method in (name for name in REGISTRY if name in runs):
        found = runs[method]
        everything = [run for own in found.values() for run in own]
        trained = max(run["parameters"]["method"] for run in everything)
        minutes = statistics.median(run["seconds"] for run in everything) / 60
        cells = [_cell(found.get(name, []), name) for name in names]
        rows.append((method, f"{trained:,}", f"{minutes:.1f}", *cells))
    print(markdown_table(("method", "trained", "minutes a run", *names), rows), end="")


def _cell(runs: list[dict], target: str) -> str:
    """Mean ± standard deviation of the test score over seeds, with the number of seeds where it is not three."""
    if not runs:
        return ""
    metric = METRICS.get(target, "f1_macro" if target.startswith("disaster") else "accuracy")
    scores = [100 * run["metrics"]["test"][metric] for run in runs]
    spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"{statistics.fmean(scores):.1f}{spread}" + ("" if len(scores) == 3 else f" ({len(scores)})")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
