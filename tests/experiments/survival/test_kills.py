"""A grid that is killed again and again ends as one that was left alone."""

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

SLOW = pytest.mark.slow


LINES = 270
"""That launches of the whole grid tell of at least, `Told.count`."""


def killed_and_ended(
    trial: Any, *words: str, kills: int, early: float, seed: int, waiting: Callable[..., None], **how: Any
) -> None:
    """Begins a grid so often, kills it each time with all its processes, and lets it end.

    Args:
        trial: of the grid.
        words: more of the command.
        kills: how many; a fifth of them early, the others after a random part of the work.
        early: seconds that a launch may need before it trains.
        seed: of the moments.
        waiting: for the work.
        how: to begin it.
    """
    chance = random.Random(seed)
    for number in range(kills):
        before, told = trial.out.done, trial.told.count
        begun = trial.begin(*words, **how)
        if number % 5 == 1:
            end = time.monotonic() + chance.uniform(0, early)
            waiting(lambda told=told, end=end: trial.told.count > told or time.monotonic() > end)
        else:
            more = told + chance.randint(1, LINES // kills)
            waiting(lambda begun=begun, more=more: trial.told.count >= more or begun.ended())
            time.sleep(chance.uniform(0, 0.2))
        assert not begun.ended(), begun.output
        begun.kill()
        assert {name: trial.out.done[name] for name in before} == before  # what was done is not done again
    assert 0 < len(trial.out.done) < 13
    last = trial.begin(*words, **how)
    assert last.wait(900) == 0, last.output
    assert set(trial.told.done.values()) == {1}


@pytest.mark.parametrize(("kills", "seed"), [(5, 0), *(pytest.param(20, seed, marks=SLOW) for seed in (1, 2))])
def test_at_random_moments(
    trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None], kills: int, seed: int
) -> None:
    one = trial(recipe)
    killed_and_ended(one, kills=kills, early=1, seed=seed, waiting=waiting)
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []


@SLOW
@pytest.mark.parametrize(("words", "early"), [((), 12), (("--workers", "2"), 25)])
def test_from_the_imports_on(
    trial: Callable[..., Any],
    recipe: Path,
    unbroken: Any,
    waiting: Callable[..., None],
    words: tuple[str, ...],
    early: float,
) -> None:
    """New interpreters, killed while they import, begin workers, load, train, evaluate and write."""
    one = trial(recipe)
    killed_and_ended(one, *words, kills=20, early=early, seed=3, waiting=waiting, fresh=True)
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []


def test_at_changes_of_the_file_system(
    trial: Callable[..., Any], adapter: Path, unbroken: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Before a file is opened or renamed, a folder made or removed: each of them is the last moment of some launch."""
    whole = trial(adapter, "whole")
    assert whole.begin(die_in=whole.out.path, changes=tmp_path / "changes").wait() == 0
    changes = int((tmp_path / "changes").read_text())
    assert changes > 50
    ((name, essence),) = whole.out.essence().items()
    assert essence == unbroken.essence()[name]
    chance = random.Random(0)
    count = changes if request.config.getoption("markexpr") != "not slow" else 6
    for index in range(count):  # one of each part
        number = 1 + int((index + chance.random()) * changes / count)
        one = trial(adapter, f"out-{number}")
        assert one.begin(die_in=one.out.path, die_at=number).wait() == -signal.SIGKILL, number
        last = one.begin()
        assert last.wait() == 0, last.output
        assert one.out.essence() == whole.out.essence(), number
        assert (one.out.strays(), dict(one.told.done)) == ([], {name: 1}), number


@SLOW
def test_at_one_change_after_the_other(trial: Callable[..., Any], recipe: Path, unbroken: Any) -> None:
    """A grid that dies again and again, each time a little later."""
    one = trial(recipe)
    chance = random.Random(4)
    deaths = 0
    while (code := one.begin(die_in=one.out.path, die_at=chance.randint(20, 400)).wait()) != 0:
        assert code == -signal.SIGKILL
        deaths += 1
    assert deaths > 10
    assert one.out.essence() == unbroken.essence()
    assert (one.out.strays(), set(one.told.done.values())) == ([], {1})


def children(launch: Any, what: str) -> list[psutil.Process]:
    """The processes of a launch with this in their command."""
    found = []
    for process in psutil.Process(launch.number).children(recursive=True):
        try:
            if what in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@SLOW
def test_a_worker_takes_nothing_with_it(
    trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None]
) -> None:
    one = trial(recipe)
    grid = one.begin("--workers", "2", step=0.05)
    waiting(lambda: (one.out.done and len(one.out.under_way) == 2) or grid.ended())
    first, second = children(grid, "spawn_main")
    first.kill()
    assert grid.wait(600) == 0, grid.output
    assert not second.is_running()
    assert one.out.essence() == unbroken.essence()
    assert (one.out.strays(), set(one.told.done.values())) == ([], {1})


@SLOW
def test_a_run_whose_worker_always_dies_is_given_up(trial: Callable[..., Any], adapter: Path) -> None:
    one = trial(adapter)
    grid = one.begin("--workers", "1", die_in=one.out.path, die_at=12, worker=1)
    assert grid.wait(600) == 1
    assert "its process died 3 times" in grid.output
    assert one.out.done == {} and len(one.out.strays()) > 0
    again = one.begin()
    assert again.wait() == 0, again.output
    assert (len(one.out.done), one.out.strays()) == (1, [])


@SLOW
def test_workers_end_with_the_one_that_began_them(
    trial: Callable[..., Any], recipe: Path, waiting: Callable[..., None]
) -> None:
    one = trial(recipe)
    grid = one.begin("--workers", "2", step=0.5)
    waiting(lambda: len(one.out.under_way) == 2 or grid.ended())
    workers = children(grid, "spawn_main")
    assert len(workers) == 2
    psutil.Process(grid.number).kill()
    waiting(lambda: not any(worker.is_running() for worker in workers), seconds=10)


@SLOW
def test_a_ray_worker(trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None]) -> None:
    pytest.importorskip("ray")
    one = trial(recipe)
    grid = one.begin("--ray", "auto", fresh=True)
    for done in (1, 3):
        waiting(lambda done=done: (len(one.out.done) >= done and one.out.under_way) or grid.ended(), seconds=400)
        for worker in children(grid, "ray::_attempt"):
            worker.kill()
            break
        else:
            pytest.fail(grid.output)
    assert grid.wait(900) == 0, grid.output
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []


@SLOW
def test_a_grid_on_ray(trial: Callable[..., Any], recipe: Path, unbroken: Any, waiting: Callable[..., None]) -> None:
    pytest.importorskip("ray")
    one = trial(recipe)
    chance = random.Random(5)
    for _ in range(3):
        begun = one.begin("--ray", "auto", fresh=True)
        done = one.out.done
        waiting(lambda done=done, begun=begun: len(one.out.done) > len(done) or begun.ended())
        time.sleep(chance.uniform(0, 2))
        begun.kill()
        assert {name: one.out.done[name] for name in done} == done
    assert 3 <= len(one.out.done) < len(unbroken.done)
    last = one.begin("--ray", "auto", fresh=True)
    assert last.wait(600) == 0, last.output
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []
