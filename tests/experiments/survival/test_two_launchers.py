"""Two launches at once on one folder share its runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_each_run_is_done_once(trial: Callable[..., Any], recipe: Path, unbroken: Any) -> None:
    one = trial(recipe)
    first, second = one.begin(step=0.02), one.begin(step=0.02)
    assert (first.wait(600), second.wait(600)) == (0, 0), first.output + second.output
    assert one.out.essence() == unbroken.essence()
    assert one.out.strays() == []
    assert set(one.told.done.values()) == {1}
    assert len(one.told.steps) == len(set(one.told.steps))
    done = [launch.output.count("\n") - launch.output.count("done before") for launch in (first, second)]
    assert min(done) > 2  # both did some of them
