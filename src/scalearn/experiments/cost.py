"""What runs cost at most, computed without weights or data: training steps, floating-point operations, hours.

    operations of a row = N * tokens * (2 forward + 2 backward through a frozen backbone + 2 for its weights' gradients)

N: the backbone's parameters without its embeddings. A head alone needs no backward pass, and one forward pass a row
where the backbone has no dropout, for what it computes is kept. Dev rows are passed forward at each evaluation, dev and
test rows once more at the end; and 2 T + 3 times to say what each of T sources did, where that is asked for.

Bounds from above: no run stops early, and every row is as long as the task allows, so that a budget of tokens holds few
of them. Left out: attention's own products (3 % at 128 tokens and width 768), and what methods and sources compute (8
fused adapters of RoBERTa-base add 8 %), and passes that choose among sources before the training.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from scalearn.experiments.counting import Skeleton, count, skeleton
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.sizes import Size, size_of
from scalearn.methods import JointRecipe, Method, Optimisation, Recipe

GPU_RATE = 60e12
"""Operations a second, an assumption and not measured: 38 % of an A100's dense TF32 peak, 19 % of its bf16 peak."""
CORE_RATE = 7e10
"""Operations a second of a CPU core, float32: MiniLM trained 1,500 tokens a second on a frozen backbone, 64 GFLOP/s."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run or several cost at most."""

    runs: int = 0
    steps: int = 0
    """Of training."""
    operations: float = 0.0
    """Floating-point, of training and evaluation."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            runs=self.runs + other.runs,
            steps=self.steps + other.steps,
            operations=self.operations + other.operations,
        )

    @property
    def gpu_hours(self) -> float:
        """At `GPU_RATE`."""
        return self.operations / GPU_RATE / 3600

    @property
    def core_hours(self) -> float:
        """At `CORE_RATE`."""
        return self.operations / CORE_RATE / 3600


def total(runs: Iterable[RunSpec], *, explain: bool = False) -> Cost:
    """The cost of several runs.

    Args:
        runs: of a plan.
        explain: with what it takes to explain those that can be (`Experiment.explain`).
    """
    costs = [(run, cost_of(run)) for run in runs]
    added = (Cost(operations=_explaining(run)) for run, _ in costs if explain and run.explainable)
    return sum(added, sum((cost for _, cost in costs), Cost()))


def cost_of(run: RunSpec) -> Cost:
    """The cost of one run."""
    sizes = {task: run.draw.counted(size_of(task)) for task in run.tasks}
    parameters = _bones(run.backbone).parameters - _bones(run.backbone).embeddings
    dev = sum(size.dev * size.tokens for size in sizes.values())
    final = dev + sum(size.test * size.tokens for size in sizes.values())
    if isinstance(run.recipe, JointRecipe):
        steps, evaluations = run.recipe.steps, math.ceil(run.recipe.steps / run.recipe.evaluate_every)
        trained = steps * _mean_tokens(sizes, run.recipe)
    else:
        assert isinstance(run.recipe, Recipe)
        (size,) = sizes.values()
        steps, evaluations = _lengths(run.recipe, size)
        trained = steps * min(rows_per_step(run.recipe, size), size.train) * size.tokens
        if _head_only(run) and not run.recipe.backbone_dropout:
            trained, evaluations = size.train * size.tokens, 1
    passes = 2 + (4 if run.method.trains_backbone else 0 if _head_only(run) else 2)
    return Cost(runs=1, steps=steps, operations=parameters * (trained * passes + 2.0 * (evaluations * dev + final)))


def _explaining(run: RunSpec) -> float:
    """Operations."""
    (size,) = (run.draw.counted(size_of(task)) for task in run.tasks)
    parameters = _bones(run.backbone).parameters - _bones(run.backbone).embeddings
    sources = min(len(run.sources), run.top_sources or len(run.sources))
    return parameters * 2.0 * (2 * sources + 3) * size.dev * size.tokens


def _lengths(recipe: Recipe, size: Size) -> tuple[int, int]:
    """Steps, and evaluations of dev."""
    epoch = math.ceil(size.train / rows_per_step(recipe, size))
    steps = recipe.steps or recipe.epochs * epoch
    first = recipe.head_start == "linear"  # looked at before the first step
    return steps, math.ceil(steps / (recipe.evaluate_every or epoch)) + first


def rows_per_step(recipe: Optimisation, size: Size) -> int:
    """Rows of a batch; under a budget of tokens, if all are as long as the task allows."""
    return recipe.batch_size if recipe.tokens_per_batch is None else max(1, int(recipe.tokens_per_batch // size.tokens))


def _mean_tokens(sizes: dict[str, Size], recipe: JointRecipe) -> float:
    """Of a batch in the mix of tasks."""
    weights = [math.pow(recipe.counted(task, size.train), 1 / recipe.temperature) for task, size in sizes.items()]
    tokens = [rows_per_step(recipe, size) * size.tokens for size in sizes.values()]
    return sum(w * t for w, t in zip(weights, tokens, strict=True)) / sum(weights)


def _head_only(run: RunSpec) -> bool:
    return not run.method.trains_backbone and not _trains(type(run.method), run.method.model_dump_json(), run.backbone)


@cache
def _trains(kind: type[Method], options: str, backbone: str) -> bool:
    """Whether a method trains more than a head."""
    counted = count(kind.model_validate_json(options), backbone=_bones(backbone), sources=2)
    return counted["method"] + counted["masks"] > 0


@cache
def _bones(backbone: str) -> Skeleton:
    return skeleton(backbone)
