"""One file of the user's as columns of cells: CSV, TSV, JSONL or Parquet, chosen by the suffix.

Nothing is guessed: a cell of a CSV or TSV file is the string that stands there ("NA" and "null" are text, "007" keeps
its zeros); a cell of a JSONL or Parquet file has the type the file gives it. Whatever cannot be read with certainty is
refused with the line that is at fault.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalearn.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Table:
    """The wanted columns of one file."""

    path: Path
    """Where the cells come from, for messages."""
    cells: Mapping[str, Sequence[object]]
    """The rows of each column; all columns are equally long."""
    lines: Sequence[int] = ()
    """The line each row starts on, counted from 1; empty for a binary file."""

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    def place(self, row: int) -> str:
        """`row`, counted from 0, in the words of a message: the file, the row from 1 and the line of the file."""
        line = f" (line {self.lines[row]})" if self.lines else ""
        return f"{self.path}: row {row + 1}{line}"


def read_table(path: str | Path, columns: Sequence[str]) -> Table:
    """Reads `columns` of a file.

    Raises:
        InputError: the file is missing, of an unknown suffix, not UTF-8, malformed, without rows, without one of
            `columns`, or with two columns of one name.
    """
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise InputError(f"{path}: cannot read files of type {path.suffix!r}; valid are {', '.join(_READERS)}")
    if not path.exists():
        raise InputError(f"{path}: there is no such file; check the path (relative paths start at {Path.cwd()})")
    try:
        table = _READERS[path.suffix.lower()](path, columns)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened: {error.strerror or one_line(error)}") from error
    if not len(table):
        raise InputError(f"{path}: the file has no rows of data; give a file with at least one")
    return table


def one_line(error: Exception) -> str:
    """The message of another library's exception, on one line and no longer than a line should be."""
    return " ".join(str(error).split())[:200]


def check_columns(path: Path, existing: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises `InputError` if two columns share a name, or a wanted one is missing (with the closest that exists)."""
    twice = sorted({name for name in existing if existing.count(name) > 1})
    if twice:
        raise InputError(f"{path}: there are several columns named {', '.join(map(repr, twice))}; rename all but one")
    missing = [name for name in wanted if name not in existing]
    if missing:
        close = [match for name in missing for match in difflib.get_close_matches(name, existing, n=1)]
        hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
        raise InputError(
            f"{path}: there is no column {', '.join(map(repr, missing))}; "
            f"the columns are {', '.join(map(repr, existing))}{hint}"
        )


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
    try:
        text = data[mark:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = mark + error.start
        raise InputError(
            f"{path}: not UTF-8 at byte {offset} (0x{data[offset]:02x}); re-save the file as UTF-8"
        ) from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty; give a file with at least one row of data")
    return text


def _read_delimited(path: Path, columns: Sequence[str], *, delimiter: str) -> Table:
    rows = _delimited_rows(path, _read_text(path), delimiter)
    _, header = next(rows)
    check_columns(path, header, columns)
    kept = {name: header.index(name) for name in columns}
    cells: dict[str, list[object]] = {name: [] for name in columns}
    lines = []
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}: line {line} has {len(row)} cells, the header has {len(header)}; "
                f"a cell that contains the separator {delimiter!r} must stand in double quotes"
            )
        for name, index in kept.items():
            cells[name].append(row[index])
        lines.append(line)
    return Table(path=path, cells=cells, lines=lines)


def _delimited_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line it starts on."""
    # strict: a stray quote is an error, where the default would swallow the rows up to the next one
    csv.field_size_limit(sys.maxsize)  # a text may be a book
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: malformed in the row that starts on line {line}: {error}; "
            'a quoted cell must be closed, and a double quote inside it written twice ("")'
        ) from error


def _read_jsonl(path: Path, columns: Sequence[str]) -> Table:
    records: list[dict[str, object]] = []
    lines = []
    # not splitlines(): a text may hold U+2028, which is no line end in JSON
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: line {number} is not JSON: {one_line(error)}; write one object a line"
            ) from error
        if not isinstance(record, _Pairs):
            raise InputError(f"{path}: line {number} is not a JSON object; write one object a line: {{...}}")
        if len(dict(record)) < len(record):
            check_columns(path, [name for name, _ in record], ())
        records.append({name: dict(cell) if isinstance(cell, _Pairs) else cell for name, cell in record})
        lines.append(number)
    existing = list(dict.fromkeys(name for record in records for name in record))
    check_columns(path, existing, columns)
    return Table(path=path, cells={name: [record.get(name) for record in records] for name in columns}, lines=lines)


class _Pairs(list[tuple[str, object]]):
    """A JSON object as read: unlike a dict, it keeps a name that occurs twice."""


def _read_parquet(path: Path, columns: Sequence[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        check_columns(path, list(file.schema_arrow.names), columns)
        read = file.read(columns=list(columns))
    except pa.ArrowException as error:
        raise InputError(f"{path}: not a readable Parquet file: {one_line(error)}; write it again") from error
    return Table(path=path, cells={name: read.column(name).to_pylist() for name in columns})


def _read_csv(path: Path, columns: Sequence[str]) -> Table:
    return _read_delimited(path, columns, delimiter=",")


def _read_tsv(path: Path, columns: Sequence[str]) -> Table:
    return _read_delimited(path, columns, delimiter="\t")


_READERS: dict[str, Callable[[Path, Sequence[str]], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
