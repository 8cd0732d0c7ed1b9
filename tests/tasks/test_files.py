"""The user's own files: what is read, and that whatever can be wrong is refused with the place and the way out."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scalearn.errors import InputError
from scalearn.tasks import Task, read_texts

PAIRS = [("It rains.", "It is wet.", "yes"), ("It snows.", "It is hot.", "no"), ("Sun, sun.", 'A "day".', "yes")] * 4


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    """Rows in the format of the suffix, by pandas, an independent writer."""
    frame = pd.DataFrame(rows)
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            frame.to_json(path, orient="records", lines=True, force_ascii=False)
        case ".parquet":
            frame.to_parquet(path, index=False)
    return path


def csv_file(tmp_path: Path, *rows: str, header: str = "text,label", name: str = "train.csv") -> Path:
    return write(tmp_path / name, "\n".join([header, *rows]) + "\n")


def refusal(*parts: str, path: Path, **arguments: Any) -> str:
    """The message of the refusal, one line that names the file and holds `parts`."""
    with pytest.raises(InputError) as caught:
        Task.from_files(path, **({"text": "text", "label": "label"} | arguments))
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    return message


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_reads_every_format_alike(tmp_path: Path, suffix: str) -> None:
    rows = [{"premise": a, "extra": i, "claim": b, "label": label} for i, (a, b, label) in enumerate(PAIRS)]
    path = write_rows(tmp_path / f"data{suffix}", rows)
    task = Task.from_files(path, text=("claim", "premise"), label="label", dev=path, test=path)
    assert (task.name, task.kind, task.labels, task.outputs) == ("data", "classification", ("no", "yes"), 2)
    assert task.text == ("claim", "premise")
    assert set(task.splits) == {"train", "dev", "test"}
    split = task.splits["train"]
    assert split.column_names == ["text_a", "text_b", "label"]
    assert list(zip(split["text_b"][:], split["text_a"][:], split["label"][:], strict=True)) == [
        (a, b, ["no", "yes"].index(label)) for a, b, label in PAIRS
    ]
    assert read_texts(path, text=("premise", "claim")) == [(a, b) for a, b, _ in PAIRS]


def test_cells_of_csv_are_the_strings_that_stand_there(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "NA,null", "null,007", "1.50,null", '"two\nlines",007', "", "1e3,null")
    task = Task.from_files(path, text="text", label="label", dev=path)
    assert task.splits["train"]["text_a"][:] == ["NA", "null", "1.50", "two\nlines", "1e3"]
    assert task.labels == ("007", "null")


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\r\nx,a\r\ny,b\r\n")
    assert Task.from_files(path, text="text", label="label", dev=path).labels == ("a", "b")
    lines = write(tmp_path / "a.jsonl", '{"text": "a\u2028b"}\r\n\r\n{"text": "c"}\r\n')
    assert read_texts(lines, text="text") == [("a\u2028b",), ("c",)]


@pytest.mark.parametrize(
    ("labels", "kind", "names"),
    [
        (["b", "a", "B"], "classification", ("B", "a", "b")),
        (["10", "9", "-1"], "classification", ("-1", "9", "10")),
        (["1.0", "0.0", "1.0"], "classification", ("0.0", "1.0")),
        ([str(n) for n in range(20)], "classification", tuple(str(n) for n in range(20))),
        ([str(n) for n in range(21)], "regression", ()),
        (["1", "2", "2.5"], "regression", ()),
        (["low", "nan"], "classification", ("low", "nan")),
    ],
)
def test_kind_and_order_of_labels(tmp_path: Path, labels: list[str], kind: str, names: tuple[str, ...]) -> None:
    path = csv_file(tmp_path, *(f"t{i},{label}" for i, label in enumerate(labels)))
    task = Task.from_files(path, text="text", label="label", dev=path)
    assert (task.kind, task.labels) == (kind, names)
    if kind == "regression":
        assert task.splits["train"]["label"][:] == [float(label) for label in labels]
        assert (task.metrics, task.main_metric, task.outputs) == (("pearson", "spearman"), "combined_score", 1)
    else:
        assert (task.metrics, task.main_metric) == (("accuracy", "f1_macro"), "accuracy")


def test_kind_can_be_said(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,1", "b,2", "c,3.5")
    assert Task.from_files(path, text="text", label="label", dev=path, kind="classification").labels == (
        "1",
        "2",
        "3.5",
    )
    whole = csv_file(tmp_path, "a,1", "b,2", "c,3")
    assert Task.from_files(whole, text="text", label="label", kind="regression").kind == "regression"


def test_typed_labels_have_one_spelling(tmp_path: Path) -> None:
    cells: list[list[object]] = [[1, 0, 2], [1.0, 0.0, 2.0], ["1", "0", " 2 "]]
    for suffix in (".jsonl", ".parquet"):
        for column in cells:
            rows: list[dict[str, object]] = [{"text": "x", "label": cell} for cell in column]
            path = write_rows(tmp_path / f"a{suffix}", rows)
            assert Task.from_files(path, text="text", label="label", dev=path).labels == ("0", "1", "2")
    truth = write_rows(tmp_path / "b.parquet", [{"text": "x", "label": True}, {"text": "y", "label": False}])
    assert Task.from_files(truth, text="text", label="label", dev=truth).labels == ("false", "true")


def test_labels_do_not_depend_on_the_process(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, *(f"text {i},{label}" for i, label in enumerate(["delta", "alpha", "charlie", "bravo"] * 5))
    )
    program = (
        "import sys; from scalearn.tasks import Task; "
        "task = Task.from_files(sys.argv[1], text='text', label='label'); print(task.labels, task.fingerprint())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = Task.from_files(path, text="text", label="label")
    assert here.labels == ("alpha", "bravo", "charlie", "delta")
    assert outputs == {f"{here.labels} {here.fingerprint()}\n"}


def test_dev_is_a_stratified_part_of_train(tmp_path: Path) -> None:
    labels = ["a"] * 50 + ["b"] * 10 + ["c"] * 2 + ["d"]
    path = csv_file(tmp_path, *(f"text {i},{label}" for i, label in enumerate(labels)))
    task = Task.from_files(path, text="text", label="label")
    train, dev = task.splits["train"], task.splits["dev"]
    assert sorted(train["text_a"][:] + dev["text_a"][:]) == sorted(f"text {i}" for i in range(len(labels)))
    assert Counter(dev["label"][:]) == {0: 10, 1: 2, 2: 1}
    assert Counter(train["label"][:]) == {0: 40, 1: 8, 2: 1, 3: 1}
    assert Task.from_files(path, text="text", label="label").fingerprint() == task.fingerprint()
    assert Task.from_files(path, text="text", label="label", split_seed=1).fingerprint() != task.fingerprint()
    half = Task.from_files(path, text="text", label="label", dev_fraction=0.5)
    assert Counter(half.splits["dev"]["label"][:]) == {0: 25, 1: 5, 2: 1}


def test_dev_of_a_regression_is_a_plain_part(tmp_path: Path) -> None:
    path = csv_file(tmp_path, *(f"text {i},{i / 7}" for i in range(30)))
    task = Task.from_files(path, text="text", label="label")
    assert (len(task.splits["train"]), len(task.splits["dev"])) == (24, 6)


def test_refuses_files_that_cannot_be_read(tmp_path: Path) -> None:
    refusal("nowhere.csv", "no such file", path=tmp_path / "nowhere.csv")
    refusal("a.xlsx", "'.xlsx'", ".csv, .tsv, .jsonl, .parquet", path=write(tmp_path / "a.xlsx", ""))
    (tmp_path / "folder.csv").mkdir()
    refusal("folder.csv", "cannot be opened", "directory", path=tmp_path / "folder.csv")
    refusal("e.csv", "empty", path=write(tmp_path / "e.csv", ""))
    refusal("e.jsonl", "empty", path=write(tmp_path / "e.jsonl", "\n\n"))
    refusal("h.csv", "no rows", path=csv_file(tmp_path, name="h.csv"))
    columns = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    pq.write_table(columns, tmp_path / "h.parquet")
    refusal("h.parquet", "no rows", path=tmp_path / "h.parquet")


def test_refuses_what_is_not_utf8(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\ncafé,a\n".encode("latin-1"))
    refusal("a.csv", "byte 14 (0xe9)", "re-save the file as UTF-8", path=path)
    marked = write(tmp_path / "b.jsonl", b'\xef\xbb\xbf{"text": "\xff"}')
    refusal("b.jsonl", "byte 13 (0xff)", path=marked)


def test_refuses_malformed_files(tmp_path: Path) -> None:
    refusal("line 3 has 3 cells, the header has 2", "double quotes", path=csv_file(tmp_path, "a,b", "c,d,e"))
    refusal("line 2 has 1 cells", path=csv_file(tmp_path, "a", "c,d"))
    refusal("starts on line 3", "must be closed", path=csv_file(tmp_path, "a,b", '"c,d', "e,f"))
    refusal("starts on line 2", "written twice", path=csv_file(tmp_path, '"a" b,c'))
    refusal("line 2 is not JSON", path=write(tmp_path / "a.jsonl", '{"text": "a", "label": "b"}\n{"text": \n'))
    refusal("line 1 is not a JSON object", path=write(tmp_path / "b.jsonl", '["a", "b"]\n'))
    refusal("p.parquet", "not a readable Parquet file", path=write(tmp_path / "p.parquet", b"PAR1 no PAR1"))


def test_refuses_wrong_columns(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b,c", header="text,labels,other")
    refusal("no column 'label'", "'text', 'labels', 'other'", "did you mean 'labels'?", path=path)
    message = refusal("no column 'text', 'zzz'", path=csv_file(tmp_path, "a", header="y"), label="zzz")
    assert "did you mean" not in message
    refusal("several columns named 'text'", path=csv_file(tmp_path, "a,b,c", header="text,label,text"))
    refusal("several columns named 'text'", path=write(tmp_path / "a.jsonl", '{"text": "a", "text": "b", "label": 1}'))
    twice = pa.Table.from_arrays([pa.array(["a"])] * 3, names=["text", "label", "label"])
    pq.write_table(twice, tmp_path / "a.parquet")
    refusal("several columns named 'label'", path=tmp_path / "a.parquet")


def test_refuses_wrong_arguments(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b", "c,d", "e,d", "f,b")
    refusal("'text' twice", path=path, text=("text", "text"))
    refusal("'label' is named as text and as label", path=path, text=("text", "label"))
    refusal("names 3 columns", path=path, text=("a", "b", "c"))
    refusal("names 0 columns", path=path, text=())
    refusal("kind='ranking'", "classification, regression", path=path, kind="ranking")
    refusal("dev_fraction=1.5", "between 0 and 1", path=path, dev_fraction=1.5)
    refusal("max_length 0", path=path, max_length=0)


def test_refuses_bad_texts(tmp_path: Path) -> None:
    refusal("row 2 (line 4)", "'text' is empty", path=csv_file(tmp_path, '"a\nb",x', " ,y"))
    rows = [{"text": "a", "label": "b"}, {"text": 7, "label": "c"}]
    refusal("row 2 (line 2)", "type int", path=write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    refusal("row 1 (line 1)", "missing", path=write(tmp_path / "b.jsonl", '{"text": null, "label": 1}'))
    refusal("row 2 (line 3)", "missing", path=write(tmp_path / "c.jsonl", '{"text": "a", "label": 1}\n\n{"label": 1}'))
    refusal("row 1 (line 1)", "surrogate", path=write(tmp_path / "d.jsonl", '{"text": "\\ud800", "label": 1}'))
    refusal("row 1:", "type float", path=write_rows(tmp_path / "a.parquet", [{"text": 1.5, "label": "a"}]))


def test_refuses_bad_labels(tmp_path: Path) -> None:
    refusal("row 2 (line 3)", "'label' is missing", path=csv_file(tmp_path, "a,b", "c,"))
    refusal("row 1 (line 1)", "missing", path=write(tmp_path / "a.jsonl", '{"text": "a", "label": null}'))
    refusal("row 1 (line 1)", "a list with 1 in it", path=write(tmp_path / "b.jsonl", '{"text": "a", "label": [1]}'))
    refusal("all 2 rows have the label 'x'", "two different labels", path=csv_file(tmp_path, "a,x", "b,x"))
    refusal("no label has two rows", "development file", path=csv_file(tmp_path, "a,x", "b,y"))
    numbers = csv_file(tmp_path, "a,1.5", "b,inf", "c,2.5", "d,3")
    refusal("row 2 (line 3)", "'inf'", "not a finite number", path=numbers, kind="regression")
    refusal("row 2 (line 3)", "3 of 4", "kind='classification'", path=numbers)
    refusal("row 1 (line 2)", "'high'", path=csv_file(tmp_path, "a,high", "b,2"), kind="regression")


def test_refuses_labels_unseen_in_training(tmp_path: Path) -> None:
    train = csv_file(tmp_path, "a,x", "b,y", "c,x", "d,y")
    other = csv_file(tmp_path, "a,x", "b,z", name="other.csv")
    parts = ("other.csv: row 2 (line 3)", "'z'", "known labels are 'x', 'y'")
    refusal(*parts, path=train, dev=other)
    refusal(*parts, path=train, test=other)
    scale = csv_file(tmp_path, "a,0.5", "b,1.5", "c,2.5")
    refusal("other.csv: row 1 (line 2)", "'x'", "not a finite number", path=scale, test=other)


def test_read_texts_refuses_alike(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 1 \(line 2\).*'text' is empty"):
        read_texts(csv_file(tmp_path, ",x"), text="text")
    with pytest.raises(InputError, match=r"no column 'texts'.*did you mean 'text'"):
        read_texts(csv_file(tmp_path, "a,x"), text=("texts",))
    with pytest.raises(InputError, match="'text' twice"):
        read_texts(csv_file(tmp_path, "a,x"), text=("text", "text"))
