"""A disk that is full, and a folder that cannot be written: one line, no broken result, and on it goes later."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of two megabytes."""
    folder = tmp_path / "out"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def refused(launch: Any, message: str) -> None:
    """It said so in one line."""
    assert launch.wait() == 2, launch.output
    errors = [line for line in launch.output.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "cannot be written" in errors[0] and message in errors[0], launch.output
    assert "Traceback" not in launch.output


def ends_well(one: Any, unbroken: Any) -> None:
    """As if nothing had been."""
    again = one.begin()
    assert again.wait() == 0, again.output
    assert one.out.essence() == {name: unbroken.essence()[name] for name in one.out.done}
    assert one.out.done and one.out.strays() == []


@pytest.mark.parametrize("kilobytes", [0, 24, 80])
def test_a_full_disk(trial: Callable[..., Any], adapter: Path, unbroken: Any, disk: Path, kilobytes: int) -> None:
    filler = disk / "filler"
    with filler.open("wb") as file:
        file.write(bytes((2 << 20) - 4096 * (kilobytes // 4)))
    one = trial(adapter)
    refused(one.begin(), "No space left on device")
    assert one.out.done == {}
    filler.unlink()
    ends_well(one, unbroken)


def test_files_that_may_not_grow(trial: Callable[..., Any], adapter: Path, unbroken: Any) -> None:
    one = trial(adapter)
    refused(one.begin(file_size=3_000), "File too large")
    assert one.out.done == {}
    ends_well(one, unbroken)


def test_a_folder_that_can_only_be_read(
    trial: Callable[..., Any], adapter: Path, unbroken: Any, disk: Path, waiting: Callable[..., None]
) -> None:
    def remount(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

    one = trial(adapter)
    remount("ro")
    refused(one.begin(), "Read-only file system")
    assert list(disk.iterdir()) == []
    remount("rw")
    begun = one.begin(step=0.2)
    waiting(lambda: any(step == 7 for _, step in one.told.steps) or begun.ended())
    begun.kill()
    remount("ro")
    refused(one.begin(), "Read-only file system")
    remount("rw")
    ends_well(one, unbroken)


def test_a_file_where_a_folder_should_be(trial: Callable[..., Any], adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(trial(adapter, "file/out").begin(log=tmp_path / "log"), "Not a directory")
