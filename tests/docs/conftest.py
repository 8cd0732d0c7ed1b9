"""The pages of the documentation, their code blocks, and a reader who runs them as a newcomer would.

Pages are README.md and docs/**/*.md. A fenced block in ``python``, in ``sh`` or without a language is run: those of one
page in order, in one folder that looks like a clone, with the names and variables of the blocks before. Whatever else
there is (equations, output, YAML) has another language: ``text``, ``yaml``, ``json``. Where a block is not run so, a
comment just before it says:

    <!-- slow: REASON -->                  run by `make test-all` only, which runs its page as a whole
    <!-- not run: REASON -->               never; `test_code.NOT_RUN` counts them by page
    <!-- tested in: tests/a/test_b.py -->  that file runs it in its own way, and names the page
    <!-- background: URL -->               a server: what follows is run once URL answers; it ends with the page

In that folder ``DIR`` is data laid out like the Hub's GLUE: a few invented rows of rte and cola.

Commands of scalearn run in this process, which has its imports done. A block with anything else in it (pipes, curl,
make) is given to ``sh -e``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import string
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.cli import main
from scalearn.tasks import declared

REPOSITORY = Path(__file__).parents[2]
PATHS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")])
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
_REMARK = re.compile(r"<!-- (?P<kind>slow|not run|tested in|background): (?P<said>[^\n]+?) -->\s*\Z")
_SHELL = {"", "sh"}
_NEEDS_SHELL = re.compile(r"[|&;<>()`*?~]")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    body: str
    remark: str | None
    """``slow``, ``not run``, ``tested in`` or ``background``."""
    said: str
    """What stands after the remark's colon."""

    @property
    def is_code(self) -> bool:
        return self.language in {*_SHELL, "python"}

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, continued ones joined, without comments."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        remark = _REMARK.search(text[: match.start()])
        body = "".join(line.removeprefix(match["indent"]) for line in match["body"].splitlines(keepends=True))
        found.append(
            Block(
                page=path.relative_to(REPOSITORY).as_posix(),
                line=text[: match.start()].count("\n") + 1,
                language=match["language"],
                body=body,
                remark=remark["kind"] if remark else None,
                said=remark["said"] if remark else "",
            )
        )
    return found


PAGES = {path.relative_to(REPOSITORY).as_posix(): blocks_of(path) for path in PATHS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``page`` is every page; ``quick_page`` one that has quick blocks, ``slow_page`` one that has slow ones."""
    run = {page: [b for b in blocks if b.is_code and b.remark in (None, "slow")] for page, blocks in PAGES.items()}
    chosen = {
        "page": list(PAGES),
        "quick_page": [page for page, blocks in run.items() if any(b.remark is None for b in blocks)],
        "slow_page": [page for page, blocks in run.items() if any(b.remark == "slow" for b in blocks)],
    }
    for name, values in chosen.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


@contextlib.contextmanager
def _where(block: Block) -> Iterator[None]:
    """Faults name the block."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in the block of {block.page}, line {block.line}")
        raise


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def pages() -> Mapping[str, Sequence[Block]]:
    """Path in the repository to the blocks of every page."""
    return PAGES


@dataclass
class Reader:
    """Runs blocks as they stand, one after the other, in a folder."""

    place: Path
    environment: dict[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    variables: dict[str, str] = field(default_factory=dict)
    began: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def read(self, blocks: Sequence[Block]) -> str:
        """What the blocks printed."""
        printed = io.StringIO()
        for block in blocks:
            with contextlib.redirect_stdout(printed), _where(block):
                if block.language == "python":
                    # Lines of the traceback are those of the page.
                    exec(compile("\n" * block.line + block.body, block.page, "exec"), self.names)
                elif block.remark == "background":
                    self._begin(block)
                elif any(self._needs_shell(command) for command in block.commands):
                    print(self._sh(block))
                else:
                    for command in block.commands:
                        self._here(command)
        return printed.getvalue()

    def here(self, command: str) -> str:
        """What one command printed."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self._here(command)
        return printed.getvalue()

    def _needs_shell(self, command: str) -> bool:
        """Whether a line is more than one command of scalearn, a variable or an alias."""
        unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", "", command.partition(" #")[0])
        known = re.match(r"scalearn |alias |\w+=\S*\s*(#|$)", command)
        return known is None or _NEEDS_SHELL.search(unquoted) is not None

    def _here(self, command: str) -> None:
        """One line, in this process."""
        expanded = string.Template(command).safe_substitute(self.variables)
        words = shlex.split(expanded, comments=True)
        if words[0] == "alias":
            return
        if words[0] != "scalearn":
            name, _, value = words[0].partition("=")
            self.variables[name] = value
            return
        told = io.StringIO()
        arguments, sys.argv = sys.argv, words
        try:
            with contextlib.redirect_stderr(told):
                main()
        except SystemExit as stop:
            assert not stop.code, f"{command}\n{told.getvalue()}"
        finally:
            sys.argv = arguments

    def _sh(self, block: Block) -> str:
        """A block in a shell; what it leaves in the background ends with the page."""
        path = self.place / f".block-{block.line}"
        with path.open("wb") as file:
            shell = self._start(block, file)
            code = shell.wait(timeout=600)
        output = path.read_text(encoding="utf-8", errors="replace")
        assert code == 0, f"exit code {code}\n{output}"
        return output

    def _begin(self, block: Block) -> None:
        with (self.place / f".block-{block.line}").open("wb") as file:
            server = self._start(block, file)
        until = time.monotonic() + 120
        while time.monotonic() < until and server.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(block.said, timeout=5):
                return
            time.sleep(0.2)
        output = (self.place / f".block-{block.line}").read_text(encoding="utf-8", errors="replace")
        raise AssertionError(f"{block.said} does not answer\n{output}")

    def _start(self, block: Block, output: Any) -> subprocess.Popen[bytes]:
        set_before = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        shell = subprocess.Popen(
            ["sh", "-ec", "\n".join([*set_before, block.body])],
            cwd=self.place,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.began.append(shell)
        return shell

    def close(self) -> None:
        for shell in self.began:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()


@pytest.fixture(scope="session")
def glue_like(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `scalearn data export rte cola` would write, with other rows."""
    folder = tmp_path_factory.mktemp("DIR")
    for name in ("rte", "cola"):
        declaration = declared(name)
        schema = Features({column: Value("string") for column in declaration.text})
        schema["label"] = ClassLabel(names=list(declaration.labels))
        for split, count in (("train", 40), ("validation", 16)):
            texts = [f"The {'good' if row % 2 else 'bad'} film was {row} minutes long." for row in range(count)]
            columns = {column: texts for column in declaration.text}
            path = folder / "glue" / name / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = {**columns, "label": [row % 2 for row in range(count)]}
            Dataset.from_dict(rows, features=schema).to_parquet(path)
    return folder


@pytest.fixture
def reader(tmp_path: Path, glue_like: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in a folder that looks like a clone whose environment is made."""
    for name in ("src", "docs", "notebooks", "Makefile", "README.md"):
        if (REPOSITORY / name).exists():
            (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "DIR").symlink_to(glue_like)
    (tmp_path / "recipes").mkdir()
    for path in (REPOSITORY / "recipes").iterdir():
        (tmp_path / "recipes" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SCALEARN_PRECISION")  # as users have it
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    one = Reader(place=tmp_path, environment=dict(os.environ))
    yield one
    one.close()
