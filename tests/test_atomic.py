"""Folders and files are whole or absent."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scalearn.atomic import new_folder, replace_folder, sweep, write_text
from scalearn.errors import InputError


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "out") as aside:
        (aside / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "out").exists()
    assert listing(tmp_path) == ["deep", "deep/out", "deep/out/a.txt"]
    assert (tmp_path / "deep" / "out").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, before: bool, failure: type[BaseException]) -> None:
    if before:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "scalearn.json").write_text("old")
    expected = listing(tmp_path)
    with pytest.raises(failure), new_folder(tmp_path / "out", overwrite=True) as aside:
        (aside / "a.txt").write_text("a")
        raise failure
    assert listing(tmp_path) == expected


def test_an_existing_folder_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"out exists already: .*--overwrite"), new_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert listing(tmp_path) == ["out"]


def test_what_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"out exists already"), new_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "scalearn.json").write_text("of another process")
    assert listing(tmp_path) == ["out", "out/scalearn.json"]


def test_overwriting_replaces_the_whole_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "scalearn.json").write_text("old")
    (tmp_path / "out" / "old.txt").write_text("old")
    with new_folder(tmp_path / "out", overwrite=True) as aside:
        (aside / "new.txt").write_text("new")
    assert listing(tmp_path) == ["out", "out/new.txt"]


def test_what_this_library_did_not_write_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other things"), new_folder(tmp_path / "out", overwrite=True):
        pytest.fail("the block must not run")
    with pytest.raises(InputError, match="no name for a result"), new_folder(Path(), overwrite=True):
        pytest.fail("the block must not run")
    assert listing(tmp_path) == ["out", "out/thesis.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out cannot be written"), new_folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")


def test_replacing_keeps_the_old_folder_until_the_new_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("new", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name.txt").write_text(name)
    rename = os.rename

    def fails_on_new(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise OSError("disk")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_on_new)
    with pytest.raises(OSError, match="disk"):
        replace_folder(tmp_path / "new", tmp_path / "out")
    kept = [path.read_text() for path in tmp_path.rglob("name.txt")]
    assert sorted(kept) == ["new", "out"]


def test_a_text_file_appears_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.json", "Ä")
    assert (tmp_path / "deep" / "a.json").read_bytes() == "Ä".encode()
    assert listing(tmp_path) == ["deep", "deep/a.json"]
    assert (tmp_path / "deep" / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_text_file_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.json", "old")

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(InputError, match=r"a.json cannot be written \(No space left on device\)"):
        write_text(tmp_path / "a.json", "new")
    assert listing(tmp_path) == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


KILLED = """
import os, signal, sys
from pathlib import Path
from scalearn.atomic import write_text
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_text(Path(sys.argv[1]), "new")
"""


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a[1].json"
    path.write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, path])
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old" and len(listing(tmp_path)) == 2
    write_text(tmp_path / "b.json", "another file")
    assert len(listing(tmp_path)) == 3
    write_text(path, "newer")
    assert listing(tmp_path) == ["a[1].json", "b.json"] and path.read_text() == "newer"


def test_only_what_the_dead_left_is_swept(tmp_path: Path) -> None:
    alive, other = os.getpid(), "elsewhere"
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    names = {
        f".a.json.{platform.node()}-{process.pid}.x1": False,
        f".a.json.{platform.node()}-{alive}.x2": True,
        f".a.json.{other}-{process.pid}.x3": True,  # its number means nothing here
        f".a.json.{platform.node()}-.x4": True,
        f".b.json.{platform.node()}-{process.pid}.x5": True,
        "a.json": True,
    }
    for name in names:
        (tmp_path / name).write_text("")
    sweep(tmp_path / "a.json")
    assert set(listing(tmp_path)) == {name for name, stays in names.items() if stays}


KILLED_IN_FOLDER = """
import os, signal, sys
from pathlib import Path
from scalearn.atomic import new_folder
with new_folder(Path(sys.argv[1])) as aside:
    (aside / "a.txt").write_text("a")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_of_a_folder_left_goes_with_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_FOLDER, tmp_path / "out"])
    assert killed.returncode == -signal.SIGKILL
    assert len(listing(tmp_path)) == 2
    with new_folder(tmp_path / "out") as aside:
        (aside / "b.txt").write_text("b")
        assert len(listing(tmp_path)) == 2  # its own
    assert listing(tmp_path) == ["out", "out/b.txt"]
