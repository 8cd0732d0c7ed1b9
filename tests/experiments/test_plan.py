"""What a recipe expands to, and what it costs: counts that are known by hand."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments.cost import cost_of, total
from scalearn.experiments.counting import skeleton
from scalearn.experiments.draw import Draw
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.plan import Plan, RunSpec, ShelfSource
from scalearn.experiments.recipe_file import experiment_from
from scalearn.experiments.sizes import Size, size_of
from scalearn.methods import JointRecipe, Probing, Recipe
from scalearn.tasks import Task

BASE = {"name": "test", "backbones": "roberta-base", "tasks": ["rte", "cola"], "protocol": "published"}
THREE = {"tasks": ["mnli", "rte", "cola"]}
PUBLISHED = {**THREE, "seed": 0}
"""All targets share sources of one seed, as in the paper."""


def plan(**fields: Any) -> Plan:
    return plan_of(experiment_from({**BASE, **fields}, where="test"))


def names(runs: Any) -> list[str]:
    return [f"{run.method.name} {' '.join(run.tasks)} {run.seed}" for run in runs]


def test_runs_are_seed_major_with_the_sources_first() -> None:
    found = plan(methods=["head", "scalearn"], sources=THREE, seeds={"default": 2, "cola": 1})
    assert names(found.runs) == [
        *("adapter mnli 0", "adapter cola 0", "adapter rte 0"),
        *("head rte 0", "scalearn rte 0", "head cola 0", "scalearn cola 0"),
        *("adapter mnli 1", "adapter cola 1", "adapter rte 1"),
        *("head rte 1", "scalearn rte 1"),
    ]
    assert len(found.only_sources) == 6 == len(found.cells)


def test_sources_of_one_seed_are_shared_by_all_seeds() -> None:
    found = plan(methods=["head", "scalearn"], sources=PUBLISHED, seeds={"default": 2, "cola": 1})
    assert names(found.runs) == [
        *("adapter mnli 0", "adapter cola 0", "adapter rte 0"),
        *("head rte 0", "scalearn rte 0", "head cola 0", "scalearn cola 0"),
        *("head rte 1", "scalearn rte 1"),
    ]
    assert names(found.only_sources) == ["adapter mnli 0", "adapter cola 0", "adapter rte 0"]
    assert len(found.cells) == 6


def test_no_run_comes_before_what_it_needs() -> None:
    for sources in (THREE, PUBLISHED):
        found = plan(methods=["scalearn", "adapter", "full-m"], sources=sources, seeds=3)
        places = {run.id: place for place, run in enumerate(found.runs)}
        needs = [(need.id, run.id) for run in found.runs for need in run.needs]
        assert needs and all(places[need] < places[run] for need, run in needs)


def test_a_source_is_of_the_seed_of_its_target_or_of_seed_0() -> None:
    for sources, expected in ((THREE, {(0, 0), (1, 1)}), (PUBLISHED, {(0, 0), (1, 0)})):
        found = plan(methods=["scalearn"], sources=sources, seeds=2)
        assert {(run.seed, need.seed) for run in found.runs for need in run.needs} == expected
    assert plan(methods=["scalearn"], sources={**THREE, "seed": "same"}, seeds=2).runs[0].id == found.runs[0].id


def test_every_seed_may_have_the_same_sources_and_its_own_last() -> None:
    found = plan(methods=["scalearn"], sources=PUBLISHED, seeds=2)
    by_task = {(run.tasks[0], run.seed): run for run in found.runs if run.method.name == "scalearn"}
    assert by_task["rte", 0].source_names == by_task["rte", 1].source_names == ("mnli", "cola", "rte")
    assert by_task["cola", 0].source_names == ("mnli", "rte", "cola")
    assert [run.id for run in by_task["rte", 0].needs] == [run.id for run in by_task["rte", 1].needs]


def test_own_may_be_left_out() -> None:
    found = plan(methods=["scalearn"], sources={**THREE, "own": False})
    assert [run.source_names for run in found.runs[-2:]] == [("mnli", "cola"), ("mnli", "rte")]
    with pytest.raises(InputError, match="no source but its own"):
        plan(methods=["scalearn"], sources={"tasks": ["rte"], "own": False})


def test_a_source_that_is_asked_for_as_a_method_is_one_run() -> None:
    found = plan(methods=["adapter", "scalearn"], sources={"tasks": ["rte", "cola"]}, seeds=2)
    assert names(found.runs).count("adapter rte 0") == 1
    assert len(found.runs) == 2 * 2 * 2
    assert not found.only_sources


def test_the_best_sources_alone_make_another_run_of_the_same_sources() -> None:
    best = {"name": "scalearn", "top_sources": 2}
    found = plan(methods=["scalearn", best], sources=THREE, tasks=["rte"])
    (whole, top), before = [cell.run for cell in found.cells], plan(methods=["scalearn"], sources=THREE, tasks=["rte"])
    assert whole.id == before.cells[0].run.id != top.id and "top_sources" not in whole.describe()
    assert [need.id for need in top.needs] == [need.id for need in whole.needs], "all are ranked"
    assert [cell.label for cell in found.cells] == ["scalearn", "scalearn, top_sources 2"]
    assert str(top) == "scalearn top_sources=2 on rte (roberta-base) seed 0"


def test_explaining_costs_passes_over_the_dev_rows_and_makes_no_other_run() -> None:
    best = {"name": "scalearn", "top_sources": 2}
    fields = {"methods": ["scalearn", best, "adapterfusion"], "sources": THREE, "tasks": ["rte"]}
    plain, explained = plan(**fields), plan(**fields, explain=True)
    assert [run.id for run in plain.runs] == [run.id for run in explained.runs]
    added = total(explained.runs, explain=True).operations - total(plain.runs).operations
    passes = 2 * 3 + 3 + 2 * 2 + 3  # of three sources, and of the best two; AdapterFusion has no coefficients
    assert added == pytest.approx(passes * 2 * PARAMETERS * size_of("rte").dev * size_of("rte").tokens)


def test_sources_may_be_trained_otherwise() -> None:
    found = plan(methods=["adapter", "scalearn"], sources={**THREE, "changes": {"epochs": 7}}, changes={"epochs": 2})
    epochs = {(run.method.name, run.recipe.epochs) for run in found.runs if isinstance(run.recipe, Recipe)}
    assert epochs == {("adapter", 7), ("adapter", 2), ("scalearn", 2)}


def test_where_rows_are_drawn_by_seed_the_own_source_sees_the_same_rows() -> None:
    found = plan(methods=["scalearn"], sources=PUBLISHED, seeds=2, rows={"train": 50})
    (of_seed_1,) = [run for run in found.runs if run.tasks == ("rte",) and run.seed == 1 and run.sources]
    assert [(run.tasks[0], run.seed) for run in of_seed_1.needs] == [("mnli", 0), ("cola", 0), ("rte", 1)]
    assert {run.draw for run in found.runs} == {Draw(train=50)}


@pytest.mark.parametrize(("protocol", "own_seed"), [("paper", 0), ("true", 1)])
def test_few_shot(protocol: str, own_seed: int) -> None:
    few = {"k": [4, 16], "protocol": protocol}
    sources = {**PUBLISHED, "changes": {"epochs": 7}}  # not of the own one, which is a few-shot run
    found = plan(methods=["adapter", "scalearn"], sources=sources, seeds=2, few_shot=few)
    run = next(run for run in found.runs if run.sources and run.seed == 1 and run.draw.k == 16)
    mnli, cola, own = run.needs
    assert (mnli.draw.k, cola.draw.k, own.draw.k, own.seed) == (None, None, 16, own_seed)
    assert isinstance(run.recipe, Recipe) and isinstance(mnli.recipe, Recipe)
    assert (run.recipe.steps, run.recipe.select, mnli.recipe.steps) == (1000, "metric", None)
    assert own.id in {cell.run.id for cell in found.cells if cell.label == "adapter"}
    assert {cell.point for cell in found.cells} == {("k", 4), ("k", 16)}
    assert len(found.cells) == 2 * 2 * 2 * 2


def test_fractions_leave_the_sources_whole() -> None:
    found = plan(methods=["scalearn"], sources=THREE, rows={"train_fraction": [1.0, 0.1]})
    shares = {run.draw.train_fraction for run in found.runs if run.sources}
    assert shares == {None, 0.1}
    run = next(run for run in found.runs if run.draw.train_fraction and run.sources)
    assert [need.draw.train_fraction for need in run.needs] == [None, None, 0.1]


def test_numbers_of_sources() -> None:
    found = plan(methods=["scalearn"], tasks=["rte"], sources={"tasks": ["mnli", "qqp", "rte"], "counts": [2, 3]})
    assert [run.source_names for run in found.runs if run.sources] == [("mnli", "rte"), ("mnli", "qqp", "rte")]
    alone = plan(methods=["scalearn"], tasks=["rte"], sources={"tasks": ["mnli", "qqp"], "own": False, "counts": [1]})
    assert [run.source_names for run in alone.runs if run.sources] == [("mnli",)]
    with pytest.raises(InputError, match="has 4, but rte has 3 sources"):
        plan(methods=["scalearn"], tasks=["rte"], sources={"tasks": ["mnli", "qqp"], "counts": [4]})


def test_a_shelf_instead_of_training() -> None:
    found = plan(methods=["scalearn"], tasks=["rte"], sources={"shelf": "builtin", "own": False}, backbones="minilm")
    (run,) = found.runs
    assert len(run.sources) == 7
    assert ShelfSource(shelf="builtin", name="rte") not in run.sources
    some = plan(methods=["scalearn"], tasks=["rte"], sources={"shelf": "builtin", "tasks": ["sst2", "rte", "mnli"]})
    assert some.runs[-1].source_names == ("sst2", "mnli", "rte")
    assert names(some.only_sources) == ["adapter rte 0"]


def test_a_joint_run_is_one_for_all_tasks() -> None:
    found = plan(methods=["full-m", "head"], seeds={"default": 3, "rte": 1}, joint_changes={"steps": 9})
    joint = [run for run in found.runs if isinstance(run.recipe, JointRecipe)]
    assert [(run.tasks, run.seed) for run in joint] == [(("rte", "cola"), seed) for seed in range(3)]
    assert {run.recipe.steps for run in joint if isinstance(run.recipe, JointRecipe)} == {9}
    assert names(run for run in found.runs if run not in joint) == ["head rte 0", *(f"head cola {s}" for s in range(3))]


def test_probing() -> None:
    found = plan(tasks=["rte"], sources=THREE, probe={"together": [1, 2], "grid": [1, 0]}, seeds=2)
    probes = [run for run in found.runs if isinstance(run.method, Probing)]
    assert len(probes) == 2 * (3 * 2 + 3 * 4)
    assert {run.source_names for run in probes if len(run.sources) == 2} == {
        *(("mnli", "rte"), ("mnli", "cola"), ("rte", "cola"))
    }
    assert {run.method.omega for run in probes if isinstance(run.method, Probing) and len(run.sources) == 1} == {
        (0.0,),
        (1.0,),
    }


def test_probing_without_the_own_source() -> None:
    found = plan(tasks=["rte"], sources={**THREE, "own": False}, probe={"grid": [1]})
    assert [run.source_names for run in found.runs if run.sources] == [("mnli",), ("cola",)]


def test_backbones_share_nothing() -> None:
    found = plan(methods=["scalearn"], sources=THREE, backbones=["roberta-base", "roberta-large"])
    assert len(found.runs) == 2 * (3 + 2)
    assert all(need.backbone == run.backbone for run in found.runs for need in run.needs)


def test_ids_tell_runs_apart() -> None:
    found = plan(methods=["head", "adapter"], seeds=2)
    assert len({run.id for run in found.runs}) == len(found.runs) == 8
    assert [run.id for run in plan(methods=["head", "adapter"], seeds=2).runs] == [run.id for run in found.runs]


# ---- cost

PARAMETERS = 12 * 7_087_872 + 2 * 768
"""Of RoBERTa-base without embeddings and pooler: its layers, and the embeddings' LayerNorm, which is no table."""
BACKBONES = ("minilm", "roberta-base", "roberta-large")


def only(found: Plan) -> RunSpec:
    (run,) = found.runs
    return run


def test_steps_by_hand() -> None:
    assert size_of("rte").train == 2490 - 249
    assert cost_of(only(plan(tasks=["rte"], methods=["adapter"]))).steps == 30 * 71
    assert cost_of(only(plan(tasks=["rte"], methods=["adapter"], rows={"train": 100}))).steps == 30 * 4
    assert cost_of(only(plan(tasks=["rte"], methods=["adapter"], few_shot={"k": [4]}))).steps == 1000
    assert cost_of(only(plan(methods=["full-m"]))).steps == 375_000


@pytest.mark.parametrize(("method", "passes"), [("full", 6), ("adapter", 4), ("head", 2)])
def test_operations_by_hand(method: str, passes: int) -> None:
    run = only(plan(tasks=["rte"], methods=[method], changes={"epochs": 3}))
    bones = skeleton("roberta-base")
    parameters = bones.parameters - bones.embeddings
    assert parameters == PARAMETERS
    trained = 3 * 71 * 32 * 128
    evaluated = (3 * 249 + 249 + 277) * 128
    assert cost_of(run).operations == pytest.approx(parameters * (passes * trained + 2 * evaluated))


def test_a_budget_of_tokens_holds_rows_as_long_as_the_task_allows() -> None:
    run = only(plan(tasks=["rte"], methods=["adapter"], changes={"epochs": 3, "tokens_per_batch": 2048}))
    steps = 3 * 141  # 2,241 rows, 16 of 128 tokens a batch
    assert cost_of(run).steps == steps
    evaluated = (3 * 249 + 249 + 277) * 128
    assert cost_of(run).operations == pytest.approx(PARAMETERS * (4 * steps * 2048 + 2 * evaluated))
    short = only(plan(tasks=["rte"], methods=["adapter"], changes={"epochs": 3, "tokens_per_batch": 64}))
    assert cost_of(short).steps == 3 * 2241  # a row is the least


def test_a_few_shot_step_has_no_more_rows_than_there_are() -> None:
    few = {"k": [4], "protocol": "true"}
    run = only(plan(tasks=["rte"], methods=["adapter"], few_shot=few))
    evaluated = (1000 * 4 + 4 + 277) * 128
    assert cost_of(run).operations == pytest.approx(PARAMETERS * (4 * 1000 * 4 * 128 + 2 * evaluated))


def test_a_head_without_backbone_dropout_sees_each_row_once() -> None:
    fields = {"tasks": ["rte"], "methods": ["head"], "protocol": "default"}
    few, many = (cost_of(only(plan(**fields, changes={"epochs": epochs}))) for epochs in (1, 30))
    assert few.operations == many.operations
    assert many.steps == 30 * few.steps


def test_all_published_backbones_are_counted_offline() -> None:
    costs = [cost_of(only(plan(tasks=["rte"], methods=["full"], backbones=name))).operations for name in BACKBONES]
    assert all(small < large for small, large in pairwise(costs))


def test_a_few_shot_row_of_record_is_a_query() -> None:
    size = size_of("record")
    for protocol, dev in (("true", 4 * size.rows_an_example), ("paper", 5_000)):
        counted = Draw(k=4, protocol=protocol).counted(size)
        assert (counted.train, counted.dev) == (4 * size.rows_an_example, dev)
    assert size.rows_an_example > 1 == size_of("rte").rows_an_example


def test_a_sum() -> None:
    found = plan(methods=["head"], seeds=2)
    assert total(found.runs).steps == sum(cost_of(run).steps for run in found.runs) == 2 * 30 * (71 + 241)
    assert total(found.runs).runs == 4


@pytest.mark.parametrize(
    "draw",
    [
        Draw(train=12, dev=3, test=2),
        Draw(train_fraction=0.5),
        Draw(k=4, protocol="true"),
        Draw(k=4, protocol="paper"),
        Draw(),
    ],
)
def test_a_draw_counts_as_it_draws(task: Task, draw: Draw) -> None:
    whole = replace(task, splits={**task.splits, "test": task.splits["dev"]})
    counts = {split: len(rows) for split, rows in whole.splits.items()}
    size = draw.counted(Size(kind=task.kind, tokens=128, **counts))
    drawn = draw.of(whole, seed=1)
    assert (size.train, size.dev, size.test) == tuple(len(drawn.splits[split]) for split in ("train", "dev", "test"))
