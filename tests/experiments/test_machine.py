"""What is told of machine, versions and memory is so."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from scalearn.experiments import machine


def test_versions_are_those_installed() -> None:
    found = machine.versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == metadata.version("torch") and found["scalearn"] == metadata.version("scalearn")


def test_the_machine() -> None:
    found = machine.machine()
    assert (found["cores"], found["threads"]) == (os.cpu_count(), torch.get_num_threads())
    assert float(found["memory"]) == pytest.approx(psutil.virtual_memory().total / 2**30, abs=0.1)


def git(folder: Path, *words: str) -> str:
    names = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", "-C", folder, *names, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "src" / "scalearn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    machine.commit.cache_clear()
    return tmp_path


@pytest.fixture(autouse=True)
def _forget() -> object:
    yield
    machine.commit.cache_clear()


def test_the_commit_of_a_clone(clone: Path) -> None:
    head = git(clone, "rev-parse", "HEAD").strip()
    assert machine.commit() == head
    (clone / "note.txt").write_text("not followed by git")
    machine.commit.cache_clear()
    assert machine.commit() == head
    (clone / "src/scalearn/__init__.py").write_text("changed = True")
    machine.commit.cache_clear()
    assert machine.commit() == head + "+"


def test_a_package_in_somebody_elses_project_has_no_commit(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = clone / ".venv/lib/scalearn"
    installed.mkdir(parents=True)
    spec = type("Spec", (), {"origin": str(installed / "__init__.py")})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    assert machine.commit() is None


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux forgets a peak")
def test_peak_memory_is_of_what_was_measured() -> None:
    machine.start_measuring()
    before = machine.peak_memory()
    assert before == pytest.approx(psutil.Process().memory_info().rss / 2**30, rel=0.2)
    block = np.ones(40 * 2**20)  # 320 MB
    del block
    assert machine.peak_memory() - before == pytest.approx(320 / 1024, abs=0.1)
    machine.start_measuring()
    assert machine.peak_memory() - before < 0.1
