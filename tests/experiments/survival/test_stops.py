"""Ctrl-C and SIGTERM end a grid at a checkpoint; it goes on from there."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EVERY = 5
"""Steps after which the recipe has its checkpoints."""
STEPS = 21
"""Of a run."""


def checkpoints(partial: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in partial.glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_the_very_step(
    trial: Callable[..., Any],
    adapter: Path,
    unbroken: Any,
    waiting: Callable[..., None],
    number: signal.Signals,
) -> None:
    one = trial(adapter)
    grid = one.begin(step=0.5)
    waiting(lambda: any(step == 7 for _, step in one.told.steps) or grid.ended())
    grid.signal(number)
    assert grid.wait() == 130, grid.output
    assert "stopping at the next checkpoint" in grid.output and "the same command goes on" in grid.output
    assert "Traceback" not in grid.output
    (partial,) = one.out.under_way
    stopped = checkpoints(partial)[-1]
    assert stopped in (7, 8)
    assert json.loads((partial / "progress.json").read_text())["step"] == stopped
    assert [step for _, step in one.told.steps] == list(range(1, stopped + 1))
    again = one.begin()
    assert again.wait() == 0, again.output
    assert [step for _, step in one.told.steps] == list(range(1, STEPS + 1))  # none of them twice
    ((name, essence),) = one.out.essence().items()
    assert essence == unbroken.essence()[name]
    assert one.out.done[name]["outcome"]["attempts"] == 2
    assert one.out.strays() == []


def test_the_second_at_once(
    trial: Callable[..., Any], adapter: Path, unbroken: Any, waiting: Callable[..., None]
) -> None:
    one = trial(adapter)
    grid = one.begin(step=30)
    waiting(lambda: one.told.steps or grid.ended())
    grid.signal(signal.SIGINT)
    waiting(lambda: "stopping" in grid.output)
    time.sleep(0.1)
    assert not grid.ended()
    grid.signal(signal.SIGINT)
    assert grid.wait(20) == 130, grid.output
    assert "Traceback" not in grid.output
    again = one.begin()
    assert again.wait() == 0, again.output
    ((name, essence),) = one.out.essence().items()
    assert essence == unbroken.essence()[name]
    assert one.out.strays() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers(
    trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None], number: signal.Signals
) -> None:
    """The terminal sends it to them too."""
    one = trial(recipe)
    grid = one.begin("--workers", "2", step=0.5)
    waiting(lambda: len({name for name, step in one.told.steps if step in (2, 3)}) == 2 or grid.ended())
    grid.signal(number)
    assert grid.wait() == 130, grid.output
    assert "Traceback" not in grid.output
    partials = one.out.under_way
    assert len(partials) == 2
    last = {path.name: checkpoints(path)[-1] for path in partials}
    assert any(step % EVERY for step in last.values())
    for path in partials:
        steps = [step for name, step in one.told.steps if f".{name}.partial" == path.name]
        assert steps == list(range(1, last[path.name] + 1))
    again = one.begin("--workers", "2")
    assert again.wait(600) == 0, again.output
    assert len(one.told.steps) == len(set(one.told.steps))
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []


@pytest.mark.slow
def test_workers_at_once(trial: Callable[..., Any], recipe: Path, waiting: Callable[..., None]) -> None:
    one = trial(recipe)
    grid = one.begin("--workers", "2", step=60)
    waiting(lambda: len(one.told.steps) == 2 or grid.ended())
    grid.signal(signal.SIGINT)
    waiting(lambda: "stopping" in grid.output)
    grid.signal(signal.SIGINT)
    assert grid.wait(20) == 130, grid.output
    assert "Traceback" not in grid.output


@pytest.mark.slow
def test_ray(trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None]) -> None:
    pytest.importorskip("ray")
    one = trial(recipe)
    grid = one.begin("--ray", "auto", fresh=True)
    waiting(lambda: (one.out.done and one.out.under_way) or grid.ended(), seconds=300)
    grid.signal(signal.SIGINT)
    assert grid.wait() == 130, grid.output
    assert "Traceback" not in grid.output
    again = one.begin()
    assert again.wait(600) == 0, again.output
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []
