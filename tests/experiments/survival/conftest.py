"""Commands to kill, a grid that is worth it, and what must be the same in the end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import ClassLabel, Dataset, Features, Value

from scalearn.tasks import declared

LAUNCHES = Path(__file__).with_name("launches.py")
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "COLUMNS": "300"}
RECIPE: Mapping[str, Any] = {
    "name": "survival",
    "tasks": ["rte", "cola"],
    "methods": ["head", "adapter", "scalearn", "scalearn++", "adapterfusion", "full", "hyperformer++"],
    "sources": {"tasks": ["rte", "cola"]},
    "changes": {"epochs": 3, "batch_size": 8, "evaluate_every": 5, "backbone_dropout": True, "patience": 10},
    "joint_changes": {"steps": 22, "batch_size": 8, "evaluate_every": 6, "backbone_dropout": True, "patience": 10},
    "rows": {"train": 56, "test": 13},
}
RUNS = 13
"""Of that recipe: two tasks by six methods, two of them also sources, and a joint run."""


@dataclass
class Launch:
    """A command under way."""

    number: int
    """Of its process, which leads a group of its own."""
    told: Path
    """What it prints."""
    poll: Callable[[], int | None]
    """Its exit code, once it has one; that of a signal is negative."""
    code: int | None = None

    def ended(self) -> bool:
        """Whether it has."""
        if self.code is None:
            self.code = self.poll()
        return self.code is not None

    def wait(self, seconds: float = 300) -> int:
        """Its exit code."""
        until(self.ended, seconds=seconds, why=lambda: f"it goes on:\n{self.output}")
        assert self.code is not None
        return self.code

    def signal(self, number: signal.Signals) -> None:
        """To all its processes, as a terminal sends it."""
        if not self.ended():
            os.killpg(self.number, number)

    def kill(self) -> None:
        """All its processes, at once."""
        self.signal(signal.SIGKILL)
        self.wait()

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self.told.read_text(encoding="utf-8", errors="replace")


def until(holds: Callable[[], object], *, seconds: float = 300, why: Callable[[], str] = lambda: "") -> None:
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds:g} s: {why()}")
        time.sleep(0.01)


@dataclass
class Launcher:
    """Begins commands; quickly, from a process that has everything imported."""

    folder: Path
    server: "subprocess.Popen[str]"
    count: int = 0
    begun: list[Launch] = field(default_factory=list)

    def __call__(self, *words: object, fresh: bool = False, **environment: object) -> Launch:
        """Begins a command.

        Args:
            words: of the command line, without ``scalearn``.
            fresh: in a new interpreter.
            environment: see `launches`; without its ``SURVIVAL_``, in lower case.
        """
        self.count += 1
        told = self.folder / f"told-{self.count}.txt"
        given = {f"SURVIVAL_{name.upper()}": str(value) for name, value in environment.items()}
        if fresh:
            with told.open("w") as file:
                process = subprocess.Popen(
                    [sys.executable, str(LAUNCHES), *map(str, words)],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    env={**os.environ, **QUIET, **given},
                    start_new_session=True,
                )
            launch = Launch(process.pid, told, process.poll)
        else:
            number = self._ask(start=list(map(str, words)), told=str(told), environment=given)
            launch = Launch(number, told, lambda: self._ask(poll=number))
        self.begun.append(launch)
        return launch

    def _ask(self, **asked: Any) -> Any:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())


@pytest.fixture(scope="session")
def _server() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(LAUNCHES)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **QUIET}
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.fixture
def launch(_server: "subprocess.Popen[str]", tmp_path: Path) -> Iterator[Launcher]:
    """Begins commands, of which none outlives the test."""
    launcher = Launcher(tmp_path, _server)
    yield launcher
    for begun in launcher.begun:
        begun.kill()


@dataclass(frozen=True)
class Folder:
    """Of an experiment."""

    path: Path

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def done(self) -> dict[str, dict[str, Any]]:
        """The results of finished runs, by their folders' names."""
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(self.runs.glob("*/result.json"))}

    @property
    def under_way(self) -> list[Path]:
        """The folders of runs that are not done."""
        return list(self.runs.glob(".*.partial"))

    def essence(self) -> dict[str, Any]:
        """What must not depend on whether a run was interrupted, by run."""
        return {
            name: {
                **{what: result["outcome"][what] for what in ("metrics", "best_step", "steps", "rows", "parameters")},
                "key": result["key"],
                "files": {
                    path.relative_to(self.runs).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in sorted((self.runs / name).rglob("*"))
                    if path.suffix in (".safetensors", ".parquet")
                },
            }
            for name, result in self.done.items()
        }

    def strays(self) -> list[str]:
        """What ought not to be there when all is done."""
        hidden = [path for path in self.path.rglob("*") if path.name.startswith(".")]
        failed = [path for path in self.runs.glob("failed/*")]
        return [str(path.relative_to(self.path)) for path in (*hidden, *failed)]


@dataclass(frozen=True)
class Told:
    """What launches told (`SURVIVAL_LOG`)."""

    path: Path

    def lines(self, word: str) -> list[list[str]]:
        text = self.path.read_text() if self.path.exists() else ""
        return [line.split()[1:] for line in text.splitlines() if line.startswith(word)]

    @property
    def count(self) -> int:
        """Lines."""
        return self.path.read_text().count("\n") if self.path.exists() else 0

    @property
    def done(self) -> Counter[str]:
        """How often each run got to its end."""
        return Counter(name for (name,) in self.lines("done"))

    @property
    def steps(self) -> list[tuple[str, int]]:
        """Runs and their training steps."""
        return [(name, int(step)) for name, step in self.lines("step")]


def write_task(folder: Path, name: str, rows: int) -> None:
    """Rows of words that the tiny backbone knows."""
    declaration = declared(name)
    (folder / "glue" / name).mkdir(parents=True, exist_ok=True)
    features = {column: Value("string") for column in declaration.text}
    schema = Features({**features, "label": ClassLabel(names=list(declaration.labels))})
    for split, count in (("train", rows), ("validation", rows // 3)):
        labels = [(row * row) % 3 % 2 for row in range(count)]
        texts = [
            f"the {name[:1]} film was {'good' if label else 'bad'} {'very ' * (row % 5)} and {'a ' * (row % 3)}"
            for row, label in enumerate(labels)
        ]
        columns = {column: texts for column in declaration.text} | {"label": labels}
        path = folder / "glue" / name / f"{split}-00000-of-00001.parquet"
        Dataset.from_dict(columns, features=schema).to_parquet(path)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two tasks."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("rte", "cola"):
        write_task(folder, name, rows=90)
    return folder


@pytest.fixture(scope="session")
def write_recipe(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str) -> Callable[..., Path]:
    """Writes the recipe, with some fields replaced."""

    def write(**fields: Any) -> Path:
        path = tmp_path_factory.mktemp("recipe") / "survival.yaml"
        given = {name: value for name, value in {**RECIPE, **fields}.items() if value is not None}
        path.write_text(yaml.safe_dump({**given, "backbones": tiny_backbone}))
        return path

    return write


@pytest.fixture(scope="session")
def recipe(write_recipe: Callable[..., Path]) -> Path:
    """Of thirteen runs."""
    return write_recipe()


@pytest.fixture(scope="session")
def unbroken(
    _server: "subprocess.Popen[str]", recipe: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Folder:
    """The grid without any interruption."""
    place = tmp_path_factory.mktemp("unbroken")
    launch = Launcher(place, _server)("run", recipe, "--data", data, "--out", place / "out", "--quiet")
    assert launch.wait() == 0, launch.output
    folder = Folder(place / "out")
    assert len(folder.done) == RUNS and folder.strays() == []
    return folder


@dataclass(frozen=True)
class Trial:
    """A folder for an experiment, its data and what its launches tell."""

    out: Folder
    told: Told
    begin: Callable[..., Launch]
    """``scalearn run`` on it: more words of the command, and as `Launcher` has them."""


@pytest.fixture
def trial(launch: Launcher, data: Path, tmp_path: Path) -> Callable[..., Trial]:
    """Makes one for a recipe."""

    def made(recipe: Path, name: str = "out") -> Trial:
        out, log = tmp_path / name, tmp_path / f"{name}.log"

        def begin(*words: object, **environment: Any) -> Launch:
            given = {"log": log, **environment}
            return launch("run", recipe, "--data", data, "--out", out, "--quiet", *words, **given)

        return Trial(Folder(out), Told(log), begin)

    return made


@pytest.fixture
def adapter(write_recipe: Callable[..., Path]) -> Path:
    """One of the recipe's runs alone."""
    return write_recipe(tasks=["rte"], methods=["adapter"], sources=None, joint_changes=None)


@pytest.fixture
def waiting() -> Callable[..., None]:
    """`until`."""
    return until
