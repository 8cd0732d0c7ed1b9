"""Targets of every kind over the tiny backbone, trained only as far as numbers of their own go."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from scalearn import MultiTaskPredictor
from scalearn.backbones import Backbone, load_backbone
from scalearn.methods import Method, method_from_name
from scalearn.model import TransferModel
from scalearn.serving.app import Service
from scalearn.serving.server import listen
from scalearn.serving.server import server as server_of
from scalearn.shelf import Shelf
from scalearn.tasks import Task

Build = Callable[..., TransferModel]


def described(name: str, kind: str = "classification", **fields: Any) -> Task:
    """A task without rows."""
    metric = {"regression": "pearson", "multi-label": "f1_macro"}.get(kind, "accuracy")
    return Task(name=name, kind=kind, label="label", metrics=(metric,), main_metric=metric, **fields)


TASKS = (
    described("reviews", text=("text",), labels=("bad", "good")),
    described("pairs", text=("premise", "claim"), labels=("no", "perhaps", "yes")),
    described("scale", "regression", text=("text",)),
    described("topics", "multi-label", text=("text",), labels=("a", "b", "c", "d")),
    described("choice", "multiple-choice", text=("text",), labels=("one", "two", "three"), choices=("x", "y", "z")),
    described("short", text=("premise", "claim"), labels=("no", "yes"), max_length=9, truncation="only_first"),
)


@pytest.fixture(scope="session")
def tasks() -> dict[str, Task]:
    """Tasks of every kind, by name."""
    return {task.name: task for task in TASKS}


@pytest.fixture(scope="session")
def texts() -> dict[str, list[Any]]:
    """Some rows for each of `tasks`."""
    return {
        "reviews": ["the good film", "a bad film and very long a b c a b c", ""],
        "pairs": [("the film was good", "bad"), ("a", "very very long and short b c")],
        "scale": ["good good bad", "short"],
        "topics": ["a b c", "the film was long and bad and short and good a b c a b c"],
        "choice": [("the film", "good", "very bad and long", "c"), ("a", "b", "c", "the")],
        "short": [("the film was very long and good", "bad film"), ("a", "the film was very long and good a b c")],
    }


@pytest.fixture(scope="session")
def build(tiny_backbone: str) -> Build:
    """Builds a model and gives omega, adapters and head numbers that matter."""

    def build(
        method: str | Method, task: Task, shelf: Shelf | None = None, *, seed: int = 0, backbone: Backbone | None = None
    ) -> TransferModel:
        method = method_from_name(method) if isinstance(method, str) else method
        own = tiny_backbone if backbone is None else backbone
        sources = shelf if method.stage == "transfer" else None
        model = TransferModel.from_backbone(own, task=task, method=method, sources=sources, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in model.trained_state().values():
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator).to(tensor))
        return model.eval()

    return build


@pytest.fixture(scope="session")
def shared_shelf(tmp_path_factory: pytest.TempPathFactory, tiny_backbone: str, make_source: Any) -> Shelf:
    """Three sources of unequal bottlenecks, saved."""
    folder = tmp_path_factory.mktemp("serving") / "shelf"
    backbone = load_backbone(tiny_backbone)
    for name, bottleneck in {"cola": 3, "mrpc": 4, "rte": 4}.items():
        make_source(name, backbone, bottleneck=bottleneck).save(folder / name)
    return Shelf(folder)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, build: Build, shared_shelf: Shelf, tasks: dict[str, Task]) -> Path:
    """A folder of three saved models: reviews, pairs and choice."""
    folder = tmp_path_factory.mktemp("serving") / "runs"
    methods = {"reviews": "scalearn-uniform", "pairs": "scalearn", "choice": "scalearn++"}
    for seed, (name, method) in enumerate(methods.items()):
        build(method, tasks[name], shared_shelf, seed=seed).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="session")
def predictor(runs: Path) -> MultiTaskPredictor:
    """The targets of `runs`; tests that add and remove make their own."""
    return MultiTaskPredictor.from_folders([runs])


Serve = Callable[..., str]


@pytest.fixture
def serve(predictor: MultiTaskPredictor) -> Iterator[Serve]:
    """Starts a service on a port of its own, in this process, and gives its address."""
    running: list[tuple[Any, threading.Thread]] = []

    def serve(of: MultiTaskPredictor | None = None, **options: Any) -> str:
        service = Service(of or predictor, **options)
        listener = listen("127.0.0.1", 0)
        server = server_of(service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
