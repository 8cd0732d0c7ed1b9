"""Ray as an executor. Kills and stops on it are in `survival`."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments import cluster
from scalearn.experiments.cluster import Cluster
from scalearn.experiments.runner import Report, Settings


class FakeRay(ModuleType):
    """What of Ray is asked, of a cluster with so many CPUs and GPUs at some address."""

    def __init__(self, *, at: str | None = None, cpus: float = 4, gpus: float = 0) -> None:
        super().__init__("ray")
        self.at, self.resources = at, {"CPU": cpus, "GPU": gpus}
        self.options: list[dict[str, Any]] = []
        self.begun: list[str] = []
        self.tasks: list[tuple[Any, ...]] = []
        self.result: Callable[[], Report] = Report
        self.exceptions = SimpleNamespace(RayError=KeyError)

    def init(self, *, address: str, **_: Any) -> None:
        self.begun.append(address)
        if address not in ("local", self.at):
            raise ConnectionError(f"nothing at {address}")

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def shutdown(self) -> None:
        self.begun.append("shutdown")

    def remote(self, what: Any) -> Any:
        def options(**options: Any) -> Any:
            self.options.append(options)
            return SimpleNamespace(remote=lambda *words: self._called(what, words))

        return SimpleNamespace(options=options)

    def _called(self, what: Any, words: tuple[Any, ...]) -> Any:
        self.tasks.append((what, *words))
        future: Future[Report] = Future()
        try:
            future.set_result(self.result())
        except Exception as error:
            future.set_exception(error)
        return SimpleNamespace(future=lambda: future, stop=SimpleNamespace(remote=lambda: self.begun.append("stop")))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRay]:
    def made(**what: Any) -> FakeRay:
        fake = FakeRay(**what)
        monkeypatch.setitem(sys.modules, "ray", fake)
        return fake

    return made


SETTINGS = Settings(runs=Path("runs"))


def test_without_ray_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'scalearn\[ray\]'"):
        Cluster(SETTINGS, "auto")


@pytest.mark.parametrize(
    ("at", "address", "asked"),
    [
        (None, "auto", ["auto", "local"]),
        ("auto", "auto", ["auto"]),
        ("10.0.0.1:6379", "10.0.0.1:6379", ["10.0.0.1:6379"]),
    ],
)
def test_auto_makes_a_cluster_where_there_is_none(
    ray: Callable[..., FakeRay], at: str | None, address: str, asked: list[str]
) -> None:
    fake = ray(at=at)
    with Cluster(SETTINGS, address):
        assert fake.begun == asked
    assert fake.begun == [*asked, "shutdown"]


def test_an_address_where_nobody_answers(ray: Callable[..., FakeRay]) -> None:
    fake = ray()
    with pytest.raises(InputError, match=r"no Ray cluster answers at 10\.0\.0\.1:6379"):
        Cluster(SETTINGS, "10.0.0.1:6379")
    assert "local" not in fake.begun


@pytest.mark.parametrize(
    ("device", "cpus", "gpus", "parallel"),
    [("cpu", 1, 1.0, 8), ("cpu", 3, 1.0, 2), ("cuda", 1, 0.5, 4), ("cuda", 4, 0.25, 2)],
)
def test_as_many_as_there_is_room_for(
    ray: Callable[..., FakeRay], device: str, cpus: int, gpus: float, parallel: int
) -> None:
    fake = ray(cpus=8, gpus=2)
    one = Cluster(Settings(runs=Path("runs"), device=device), "auto", cpus=cpus, gpus=gpus)
    assert one.parallel == parallel and one.slots > parallel
    flag, task = fake.options
    assert flag["num_cpus"] == 0
    assert (task["num_cpus"], task["num_gpus"]) == (cpus, gpus if device == "cuda" else 0)
    assert task["max_retries"] > 0


def test_no_room(ray: Callable[..., FakeRay]) -> None:
    ray(cpus=4)
    with pytest.raises(InputError, match=r"has 4 CPUs and 0 GPUs, a run asks for 5 and 0; .*--cpus"):
        Cluster(SETTINGS, "auto", cpus=5)
    with pytest.raises(InputError, match="a run asks for 1 and 1"):
        Cluster(Settings(runs=Path("runs"), device="cuda"), "auto")


def test_a_task_knows_folders_as_they_are_called_here(
    ray: Callable[..., FakeRay], made_up: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fake = ray()
    fake.result = lambda: Report(stopped=True)
    (run, _) = made_up.plan(tasks=["rte"]).runs
    one = Cluster(Settings(runs=Path("runs"), data=Path("data")), "auto", cpus=2)
    assert one.submit(run).result() == Report(stopped=True)
    what, settings, given, threads, _, where = fake.tasks[-1]
    assert (what, given, threads, where) == (cluster._attempt, run, 2, str(tmp_path))
    assert (settings.runs, settings.data) == (tmp_path / "runs", tmp_path / "data")
    one.stop()
    assert fake.begun[-1] == "stop"


class RayTaskError(Exception):
    """As Ray wraps what a task raised."""

    def __init__(self, cause: Exception | None) -> None:
        super().__init__("ray::_attempt() (pid=1, ip=10.0.0.1)\nTraceback ...")
        self.cause = cause


def test_an_error_is_the_one_that_was_raised(ray: Callable[..., FakeRay], made_up: Any) -> None:
    fake = ray()
    (run, _) = made_up.plan(tasks=["rte"]).runs
    one = Cluster(SETTINGS, "auto")
    for raised, expected in (
        (RayTaskError(InputError("disk is full")), "^disk is full$"),
        (RayTaskError(None), "^ray::_attempt"),
        (OSError("node is gone"), "^node is gone$"),
    ):

        def fails(raised: Exception = raised) -> Report:
            raise raised

        fake.result = fails
        with pytest.raises(Exception, match=expected):
            one.submit(run).result()


@pytest.fixture
def _here() -> Iterator[None]:
    import torch

    before, threads = os.getcwd(), torch.get_num_threads()
    yield
    os.chdir(before)
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_here")
def test_in_a_task(ray: Callable[..., FakeRay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works where the recipe was given, asks at most once a second whether to stop, and survives no answer."""
    fake = ray()
    answers: list[Any] = [False, KeyError("restarting"), True]
    clock = [10.0]
    told: list[tuple[float, bool]] = []

    def get(_: object, timeout: float) -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    def attempt(run: str, stop: Callable[[], bool]) -> Report:
        assert (run, os.getcwd()) == ("run", str(tmp_path))
        for _ in range(5):
            told.append((clock[0], stop()))
            clock[0] += 0.5
        return Report(stopped=True)

    fake.get = get  # type: ignore[attr-defined]
    monkeypatch.setattr(cluster.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(cluster, "_runner", lambda settings: SimpleNamespace(attempt=attempt))
    flag = SimpleNamespace(asked=SimpleNamespace(remote=lambda: None))
    assert cluster._attempt(SETTINGS, "run", 1, flag, str(tmp_path)) == Report(stopped=True)  # type: ignore[arg-type]
    assert [when for when, stop in told if stop] == [12.0]
    assert answers == []
