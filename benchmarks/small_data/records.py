"""What a run of the comparison on small data leaves, as the files of a folder and as one CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scalearn.errors import InputError
from scalearn.kinds import Kind

FORMER = ("scalearn-first-rule",)
"""What is no more: `scalearn` when `init=auto` asked about every source, until commit 4b9bf7e."""
METHODS = (
    *("head", "adapter", "full", "best-source", "uniform-average", "lorahub", "adapterfusion", "adapterfusion-rates"),
    *("scalearn", "scalearn-uniform", "scalearn++", "scalearn-uniform++", "scalearn-rank", "scalearn-sparse", "setfit"),
    *FORMER,
)
"""In the order of tables."""


class Record(BaseModel):
    """One method, trained on one draw of rows of one target."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    target: str
    kind: Kind
    pair: bool
    """Whether a row has two texts."""
    development: bool
    """Whether defaults were chosen by this target; such are in no comparison."""
    k: int = Field(gt=0)
    """Training rows, and as many dev rows."""
    draw: int = Field(ge=0)
    """Which rows: the same for all methods."""
    method: str
    score: float
    """Of the target's main metric on its test rows, points (percent)."""
    dev: float | None = None
    """The same on dev rows, where there was something to choose."""
    parameters: int = Field(ge=0)
    """Trained, without the head."""
    total: int = Field(ge=0)
    """Trained, with the head."""
    seconds: float = Field(ge=0)
    steps: int | None = None
    best_step: int | None = None

    @property
    def cell(self) -> tuple[str, int, int, str]:
        """What there is one record of."""
        return self.target, self.k, self.draw, self.method


def read_runs(folder: Path) -> list[Record]:
    """The records of a folder of JSON files, one each.

    Raises:
        InputError: there is none, one cannot be read, or two are of one run.
    """
    paths = sorted(folder.glob("*.json"))
    return _checked(((str(path), path.read_bytes()) for path in paths), source=folder)


def read_csv(path: Path) -> list[Record]:
    """The records of a CSV file that `csv_text` made.

    Raises:
        InputError: there is none, a line cannot be read, or two are of one run.
    """
    if not path.is_file():
        raise InputError(f"no file {path}: give the results.csv of this comparison, or --runs with a folder")
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [{name: value or None for name, value in row.items()} for row in csv.DictReader(lines)]
    return _checked(((f"{path}, line {line}", row) for line, row in enumerate(rows, start=2)), source=path)


def csv_text(records: Sequence[Record]) -> str:
    """All records, sorted by target, rows, draw and method."""
    out = io.StringIO()
    writer = csv.DictWriter(out, Record.model_fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.model_dump() for record in records)
    return out.getvalue()


def ordered(methods: Iterable[str]) -> list[str]:
    """Methods in the order of tables, those that are not in it last, by name."""
    return sorted(set(methods), key=lambda name: (METHODS.index(name) if name in METHODS else len(METHODS), name))


def _checked(found: Iterable[tuple[str, bytes | dict[str, str | None]]], *, source: Path) -> list[Record]:
    """Records sorted, each once."""
    records: dict[tuple[str, int, int, str], Record] = {}
    for place, content in found:
        try:
            record = (
                Record.model_validate_json(content)
                if isinstance(content, bytes)
                else Record.model_validate({name: value for name, value in content.items() if value is not None})
            )
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'all'}: {one['msg']}" for one in error.errors())
            raise InputError(f"{place} is no record of a run: {wrong}. Run it again, or remove it") from error
        if record.cell in records:
            target, k, draw, method = record.cell
            raise InputError(f"{place}: {method} on {target}, {k} rows, draw {draw} is there twice; remove one")
        records[record.cell] = record
    if not records:
        raise InputError(f"no records in {source}: give a folder with <target>-<k>-<draw>-<method>.json, or --csv")
    return in_order(records.values())


def in_order(records: Iterable[Record]) -> list[Record]:
    """By target, rows, draw, and method as tables have them."""
    found = list(records)
    places = {method: place for place, method in enumerate(ordered(record.method for record in found))}
    return sorted(found, key=lambda one: (one.target, one.k, one.draw, places[one.method]))
