"""The first lines of a recipe: its command, what it expands to, and what that costs at most.

# scalearn run recipes/glue-transfer.yaml
# 8 sources + 8 targets x 6 methods x 3 or 10 seeds on 2 backbones = 640 runs
# at most 1,234 training steps, 12 PFLOP, 3.4 GPU hours (scalearn plan recipes/glue-transfer.yaml)
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from scalearn.atomic import write_text
from scalearn.experiments.cost import Cost, total
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.plan import Plan
from scalearn.experiments.recipe import Experiment
from scalearn.experiments.recipe_file import read_recipe
from scalearn.methods import Probing
from scalearn.tasks import only_in_folders

_OURS = re.compile(r"# (scalearn run |.* = [\d,]+ runs$|at most .*\(scalearn plan .*\)$)")
_SMALL = 0.5
"""GPU hours below which minutes of a CPU core say more."""


def head_of(plan: Plan, path: Path) -> str:
    """The lines for a recipe in a file, each with its line end."""
    name = f"{path.resolve().parent.name}/{path.name}"
    cost = total(plan.runs, explain=plan.asked.explain)
    data = " --data DIR" if any(only_in_folders(task) for task in plan.asked.tasks) else ""
    lines = (
        f"scalearn run {name}{data}",
        f"{expansion(plan)} = {cost.runs:,} runs",
        f"at most {cost.steps:,} training steps, {amount(cost)} (scalearn plan {name})",
    )
    return "".join(f"# {line}\n" for line in lines)


def has_current_head(path: Path) -> bool:
    """Whether a recipe's file begins with the lines that are true of it."""
    return path.read_text(encoding="utf-8").startswith(head_of(plan_of(read_recipe(path)), path))


def update_head(path: Path) -> None:
    """Writes the lines anew, in place of those that were written before; other comments stay.

    Raises:
        InputError: the recipe cannot be used, or its file cannot be written.
    """
    head = head_of(plan_of(read_recipe(path)), path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rest = itertools.dropwhile(_OURS.match, lines)
    write_text(path, head + "".join(rest))


def expansion(plan: Plan) -> str:
    """What the number of runs consists of."""
    asked = plan.asked
    stages = [choice.method.stage for choice in asked.methods]
    parts = []
    if sources := plan.only_sources:
        shared = len({(run.backbone, run.tasks) for run in sources if run.seed == 0}) // len(asked.backbones)
        parts.append(f"{shared} sources")
    if alone := len(stages) - stages.count("joint"):
        parts.append(f"{_targets(asked)} x {_methods(alone)}{_axis(asked)} x {_seeds(asked, asked.tasks)}")
    if joint := stages.count("joint"):
        parts.append(f"{_methods(joint)} of {len(asked.tasks)} tasks together x {_seeds(asked, ())}")
    if asked.probe is not None:
        points = len({(c.run.source_names, c.run.method) for c in plan.cells if isinstance(c.run.method, Probing)})
        parts.append(f"{_targets(asked)} x {points} points x {_seeds(asked, asked.tasks)}")
    backbones = len(asked.backbones)
    return " + ".join(parts) + (f" on {backbones} backbones" if backbones > 1 else "")


def amount(cost: Cost) -> str:
    """Operations and time for people."""
    if cost.gpu_hours >= _SMALL:
        time = f"{rounded(cost.gpu_hours)} GPU hours"
    else:
        time = f"{rounded(60 * cost.core_hours)} minutes of a CPU core"
    return f"{rounded(cost.operations / 1e15)} PFLOP, {time}"


def rounded(value: float) -> str:
    """With as many decimals as its size asks for."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.3f}"


def _targets(asked: Experiment) -> str:
    return f"{len(asked.tasks)} target{'s' if len(asked.tasks) > 1 else ''}"


def _methods(count: int) -> str:
    return f"{count} method{'s' if count > 1 else ''}"


def _axis(asked: Experiment) -> str:
    if asked.few_shot is not None:
        return f" x {len(asked.few_shot.k)} k"
    if asked.rows.train_fraction:
        return f" x {len(asked.rows.train_fraction)} fractions"
    if asked.sources is not None and asked.sources.counts:
        return f" x {len(asked.sources.counts)} numbers of sources"
    return ""


def _seeds(asked: Experiment, tasks: tuple[str, ...]) -> str:
    counts = sorted({len(asked.seeds_of(task)) for task in tasks or (None,)})
    return f"{' or '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"
