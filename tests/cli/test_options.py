"""What the shared options stand for: the target that they describe."""

from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn.cli.options import device_named, load_target
from scalearn.errors import InputError
from scalearn.tasks import Task, load_task


def own(path: Path, rows: str, **options: Any) -> Task:
    path.write_text(rows)
    return load_target(None, None, **({"train_file": path, "text": "text", "label": "label"} | options))


def known(name: str, **options: Any) -> Task:
    return load_target(name, None, train_file=None, **options)


def test_choices_have_a_comma_between(tmp_path: Path) -> None:
    rows = "text,yes,no,label\n" + "q,a,b,yes\nq,c,d,1\n" * 2
    task = own(tmp_path / "a.csv", rows, choices="no, yes")
    assert (task.kind, task.choices) == ("multiple-choice", ("no", "yes"))
    assert set(task.splits["train"]["label"][:]) == {1}, "yes and 1 are the same choice"


def test_the_separator_is_a_semicolon_or_what_is_given(tmp_path: Path) -> None:
    for between, options in ((";", {}), ("|", {"separator": "|"})):
        rows = f"text,label\na,food{between}water\nb,\nc,water\n"
        task = own(tmp_path / "a.csv", rows, kind="multi-label", **options)
        assert task.labels == ("food", "water")
    with pytest.raises(InputError, match="the separator is empty"):
        own(tmp_path / "a.csv", rows, kind="multi-label", separator="")


def test_a_separator_without_several_labels_is_refused(tmp_path: Path) -> None:
    rows = "text,label\n" + "a,food|water\nb,water\n" * 5
    with pytest.raises(InputError, match=r"--separator .* a is classification: add --kind multi-label"):
        own(tmp_path / "a.csv", rows, separator="|")


@pytest.mark.parametrize("option", ["choices", "separator"])
def test_options_of_own_rows_do_not_go_with_a_known_task(option: str) -> None:
    with pytest.raises(InputError, match=f"--{option} describe your own rows"):
        known("policy-claims", **{option: "a,b"})


def test_max_length_holds_for_own_rows_and_for_known_tasks(tmp_path: Path) -> None:
    rows = "text,label\n" + "a,food\nb,water\n" * 5
    assert own(tmp_path / "a.csv", rows).max_length == 128
    assert own(tmp_path / "a.csv", rows, max_length=7).max_length == 7
    task = load_task("policy-claims")
    assert known("policy-claims") == task
    cut = known("policy-claims", max_length=7)
    assert cut.max_length == 7 and cut != task and cut.splits.keys() == task.splits.keys()


def test_options_of_own_rows_are_refused_beside_a_known_task() -> None:
    with pytest.raises(InputError, match=r"--text, --separator describe your own rows"):
        load_target("policy-claims", None, train_file=None, text="premise", separator=";")


@pytest.mark.parametrize(
    ("there", "name", "device"),
    [(False, None, "cpu"), (False, "cpu", "cpu"), (True, None, "cuda"), (True, "cpu", "cpu"), (True, "cuda", "cuda")],
)
def test_the_device_is_cuda_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, name: str | None, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_named(name) == device


@pytest.mark.parametrize(
    ("there", "name", "valid"),
    [(False, "cuda", r"cpu \(PyTorch finds no CUDA device"), (False, "mps", "cpu "), (True, "mps", "cpu or cuda")],
)
def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, there: bool, name: str, valid: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    with pytest.raises(InputError, match=rf"--device {name}: give {valid}.*, or leave it out"):
        device_named(name)
