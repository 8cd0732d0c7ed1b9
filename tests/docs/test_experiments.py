"""docs/experiments.md: its recipe is one, its folders and files are those that are written, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from scalearn.cli import app
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.recipe_file import experiment_from, read_recipe
from scalearn.experiments.store import HISTORY, PREDICTIONS, RESULT

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")


def test_the_recipe_is_one() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    plan = plan_of(experiment_from(yaml.safe_load(block), where="docs/experiments.md"))
    sources = {run.id for run in plan.runs if run.method.name == "adapter"}
    assert len(sources) == 3 * 3  # three tasks, three seeds; the targets' own are in the table too
    assert len(plan.runs) == len(sources) + 2 * 2 * 3


def test_files_and_links_are_there() -> None:
    for name in (RESULT, HISTORY, PREDICTIONS, "scalearn.json", "report.tex", "scores.csv"):
        assert name in PAGE
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if not link.startswith("https:")]
    assert len(links) >= 2 and all((ROOT / "docs" / link).exists() for link in links)


def test_commands_and_recipes_exist() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands = re.findall(r"scalearn (\w+) (\S+)", "\n".join(re.findall(r"^```\n(.*?)^```", PAGE, re.M | re.S)))
    assert len(commands) == 4 and {name for name, _ in commands} <= names
    for _, path in commands[:2]:
        assert read_recipe(ROOT / path).name == "small-targets"


def test_the_report_that_is_linked_is_of_the_recipe_as_it_stands() -> None:
    plan = plan_of(read_recipe(ROOT / "recipes" / "small-targets.yaml"))
    lines = (ROOT / "docs" / "report" / "runs.csv").read_text(encoding="utf-8").splitlines()
    assert {line.partition(",")[0] for line in lines[1:]} == {run.id for run in plan.runs}
    assert sum(path.stat().st_size for path in (ROOT / "docs" / "report").iterdir()) < 2 * 2**20
