"""Runs on disk: whole, damaged, locked, swept."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalearn.experiments.outcome import Failure, Outcome
from scalearn.experiments.sealed import DamagedError
from scalearn.experiments.store import (
    HISTORY,
    PREDICTIONS,
    RESULT,
    Place,
    forget_failure,
    keep_failure,
    places,
    read_failure,
    under_way,
)

KEY = {"seed": 1, "method": ["head", {}]}
OUTCOME = Outcome(
    rows={}, metrics={"rte": {"test": {"accuracy": 0.5}}}, main={}, parameters={}, steps=3, seconds=1.0, model=""
)
HOLDER = """
import sys, time
from pathlib import Path
from scalearn.experiments.store import Place
with Place(Path(sys.argv[1]), sys.argv[2]).lock() as ours:
    print(ours, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(tmp_path / "runs", KEY)


def finish(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / HISTORY).write_text(json.dumps([{"step": 1, "loss": 0.5}]))
    (place.folder / "logs").mkdir()
    (place.folder / "logs" / "events").write_text("of a tracker")
    pd.DataFrame({"row": [0]}).to_parquet(place.folder / PREDICTIONS)
    place.write_result(place.folder, OUTCOME, key=KEY)


def hidden(place: Place) -> list[str]:
    return sorted(path.name for path in place.runs.glob(".*"))


def test_a_place_is_its_key(tmp_path: Path) -> None:
    places = [Place.of(tmp_path, key) for key in (KEY, dict(reversed(KEY.items())), {**KEY, "seed": 2})]
    assert places[0] == places[1] != places[2]


def test_what_was_written_is_read(place: Place) -> None:
    assert place.read() is None
    finish(place)
    found = place.read()
    assert found is not None
    assert (found.outcome, found.key) == (OUTCOME, KEY)
    assert set(found.files) == {HISTORY, PREDICTIONS}
    found.check()
    assert found.history() == [{"step": 1, "loss": 0.5}]
    assert found.predictions()["row"].tolist() == [0]
    (place.folder / "logs" / "events").write_text("may be edited")
    found.check()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(path: Path) -> None:
    path.write_text(path.read_text().replace("0.5", "0.9"))


def drop(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [cut, edit, drop])
def test_a_damaged_result_is_named(place: Place, change: Any) -> None:
    finish(place)
    change(place.folder / RESULT)
    with pytest.raises(DamagedError, match=rf"{place.name}/result\.json .*scalearn runs .* --remove {place.name}"):
        place.read()


@pytest.mark.parametrize("change", [cut, edit, drop])
def test_a_damaged_file_is_named(place: Place, change: Any) -> None:
    finish(place)
    found = place.read()
    assert found is not None
    change(place.folder / HISTORY)
    for look in (found.check, found.history):
        with pytest.raises(DamagedError, match=rf"{place.name}/history\.json "):
            look()
    found.predictions()


def test_a_lock_is_of_one(place: Place) -> None:
    assert not place.busy()
    with place.lock() as ours:
        assert ours and place.busy()
        with Place(place.runs, place.name).lock() as too:
            assert not too
        with Place(place.runs, "0" * 16).lock() as other:
            assert other
        assert place.busy()
    assert not place.busy()
    with place.lock() as ours:
        assert ours


def test_a_lock_goes_with_the_end(place: Place) -> None:
    with place.lock():
        pass
    assert hidden(place) == [f".{place.name}.lock"]
    with place.lock():
        finish(place)
    assert hidden(place) == []


def test_a_lock_is_given_back_when_something_fails(place: Place) -> None:
    with pytest.raises(ValueError, match="in the block"), place.lock():
        raise ValueError("in the block")
    assert not place.busy()


def test_a_lock_that_was_removed_meanwhile_is_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two opened one file; the first is done, removes it and lets go: what the second then holds guards nothing."""
    import fcntl

    lock, original = place.runs / f".{place.name}.lock", fcntl.flock

    def flock(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", original)
        lock.unlink()
        original(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with place.lock() as ours:
        assert not ours
    with place.lock() as ours:
        assert ours and lock.exists()


def test_what_a_killed_holder_left(place: Place) -> None:
    """Its lock is free; with the finished folder there, lock and partial folder go."""
    command = [sys.executable, "-c", HOLDER, place.runs, place.name]
    with ExitStack() as stack:
        holder = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        stack.callback(holder.kill)
        assert holder.stdout is not None and holder.stdout.readline() == "True\n"
        (place.partial / "checkpoints").mkdir(parents=True)
        assert place.busy() and under_way(place.runs) == [place]
        place.sweep()
        with place.lock() as ours:
            assert not ours
        finish(place)
        place.sweep()  # it may be just about to do so itself
        assert hidden(place) == [f".{place.name}.lock", f".{place.name}.partial"]
    assert not place.busy()
    (place.partial / "checkpoints").mkdir(parents=True, exist_ok=True)
    place.sweep()
    assert hidden(place) == [] and places(place.runs) == [place]


def test_a_run_that_is_not_done_is_not_swept(place: Place) -> None:
    place.partial.mkdir(parents=True)
    with place.lock():
        pass
    place.sweep()
    assert len(hidden(place)) == 2


def test_a_look_leaves_nothing(place: Place) -> None:
    finish(place)
    place.sweep()
    assert not place.busy() and hidden(place) == []
    shutil.rmtree(place.runs)
    assert (places(place.runs), under_way(place.runs), place.busy()) == ([], [], False)
    assert not place.runs.exists()


def test_failures_are_kept_and_forgotten(tmp_path: Path, made_up: Any) -> None:
    one, other = made_up.plan(tasks=["rte"]).runs
    failure = Failure(error="no memory", traceback="Traceback ...")
    assert read_failure(tmp_path, one) is None
    keep_failure(tmp_path, one, failure)
    assert read_failure(tmp_path, one) == failure and read_failure(tmp_path, other) is None
    (path,) = (tmp_path / "failed").iterdir()
    path.write_text(path.read_text()[:30])
    assert read_failure(tmp_path, one) is None  # it is tried again anyway
    forget_failure(tmp_path, one)
    forget_failure(tmp_path, one)
    assert list((tmp_path / "failed").iterdir()) == []
