"""Recipes: what is refused, and that those which ship are whole and say what they cost."""

from pathlib import Path
from typing import Any

import pytest

from scalearn.errors import InputError
from scalearn.experiments.expansion import plan_of
from scalearn.experiments.recipe import Experiment
from scalearn.experiments.recipe_comment import has_current_head, head_of, update_head
from scalearn.experiments.recipe_file import experiment_from, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
SMALL = {"name": "small", "backbones": "minilm", "tasks": ["rte", "cola"], "methods": ["adapter"]}
TRANSFER = {**SMALL, "methods": ["scalearn"], "sources": {"tasks": ["mnli"]}}
TABLES = {
    *(
        f"{suite}-{stage}"
        for suite in ("glue", "superglue", "humset", "glue-superglue")
        for stage in ("single", "joint")
    ),
    *(f"{suite}-transfer" for suite in ("glue", "superglue", "humset", "glue-superglue")),
    *(f"ablation-{what}" for what in ("constraint", "dropout", "init", "regulariser")),
    "few-shot",
    "probing",
    "number-of-sources",
}


def asked(**changes: Any) -> Experiment:
    return experiment_from({**SMALL, **changes}, where="test")


def test_all_faults_at_once() -> None:
    with pytest.raises(InputError) as caught:
        asked(
            taks=["rte"],
            tasks=["rte", "colla"],
            methods=["scalern", {"name": "scalearn", "options": {"dropot": 0.1}}],
            sources={"task": ["rte"], "counts": [0], "method": "propetl"},
            changes={"epoch": 3},
            few_shot={"k": [4], "protocol": "papers"},
        )
    for fault in (
        "taks is not known; did you mean 'tasks'? (valid are name, backbones,",
        "there is no task 'colla'",
        "did you mean 'scalearn'?",
        "dropot",
        "sources.task is not known; did you mean 'tasks'? (valid are tasks, shelf,",
        "sources.counts.0: Input should be greater than 0, given 0",
        "propetl gives no source; valid are adapter, compacter++, ia3, lora",
        "changes: recipe: epoch",
        "few_shot.protocol: Input should be 'paper' or 'true', given 'papers'",
    ):
        assert fault in str(caught.value), fault


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"methods": []}, "there is nothing to run"),
        ({"methods": ["scalearn"]}, "need sources"),
        ({"sources": {"tasks": ["rte"]}}, "nothing here combines sources"),
        ({"methods": ["probing"]}, "give the section 'probe'"),
        ({"methods": ["full-m"], "tasks": ["rte"]}, "at least two tasks"),
        ({"methods": ["full-m"], "few_shot": {"k": [4]}}, "joint methods have no few_shot"),
        ({"joint_changes": {"steps": 3}}, "of which there is none"),
        ({"methods": ["full-m"], "changes": {"epochs": 3}}, "joint_changes for joint ones"),
        ({"few_shot": {"k": [4]}, "rows": {"train": 3}}, "has its own rows"),
        ({"probe": {}, "sources": {"tasks": ["rte"], "counts": [1]}}, "probing has no axis"),
        ({"seeds": {"default": 1, "mrpc": 2}}, "seeds name mrpc"),
        ({"seeds": {"rte": 1}}, "seeds by task need a default"),
        ({"tasks": ["rte", "glue/rte"]}, "tasks: rte given twice"),
        ({"tasks": "rte"}, r"tasks: give a list, \[rte\]"),
        ({"rows": {"train_fraction": [0.5, 0.5]}}, "rows.train_fraction: 0.5 given twice"),
        ({"probe": {"together": [1, 1]}, "sources": {"tasks": ["rte"]}}, "probe.together: 1 given twice"),
        ({"methods": [{"name": "adapter", "options": {"stage": "single"}}]}, "stage is no option"),
        ({"methods": ["scalearn"], "sources": {"tasks": ["my-own"]}}, "there is no task 'my-own'"),
        ({"methods": ["adapter", "adapter"]}, "methods: adapter given twice"),
        ({"methods": ["scalearn"], "sources": {"own": False}}, "neither tasks nor a shelf"),
        (
            {"methods": [{"name": "adapter", "top_sources": 2}]},
            "top_sources is for transfer methods, .* adapter does not",
        ),
        (
            {"methods": ["adapterfusion"], "sources": {"tasks": ["mnli"]}, "explain": True},
            "explain is for methods with a",
        ),
        (
            {
                "methods": ["scalearn"],
                "sources": {"tasks": ["mnli"], "counts": [1]},
                "rows": {"train_fraction": 0.5},
            },
            "one axis",
        ),
    ],
)
def test_contradictions(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        asked(**changes)


def test_short_forms_mean_the_long_ones() -> None:
    short = asked(methods=["adapter"], seeds=3, rows={"train_fraction": 0.5}, tasks=["glue/rte"])
    assert (short.backbones, short.tasks, short.rows.train_fraction) == (("minilm",), ("rte",), (0.5,))
    assert list(short.seeds_of("rte")) == list(short.seeds_of(None)) == [0, 1, 2]
    assert short.methods[0].shown == "adapter"
    labelled = asked(methods=[{"name": "adapter", "options": {"reduction_factor": 8}}])
    assert labelled.methods[0].shown == "adapter, reduction_factor 8"
    best = asked(
        methods=[{"name": "scalearn", "options": {"init": "rank"}, "top_sources": 3}], sources={"tasks": ["mnli"]}
    )
    assert best.methods[0].shown == "scalearn, init rank, top_sources 3"


def test_sources_of_a_shelf_have_names_of_their_own() -> None:
    sources = asked(methods=["scalearn"], sources={"shelf": "shelf", "tasks": ["my-own", "glue/rte"]}).sources
    assert sources is not None and sources.tasks == ("my-own", "glue/rte")
    sources = asked(methods=["scalearn"], sources={"tasks": ["glue/cola"]}).sources
    assert sources is not None and sources.tasks == ("cola",)


def test_seeds_by_task() -> None:
    by_task = asked(seeds={"default": 4, "glue/rte": 2})
    assert (list(by_task.seeds_of("rte")), len(by_task.seeds_of("cola")), len(by_task.seeds_of(None))) == ([0, 1], 4, 4)


def test_what_yaml_makes_of_true(tmp_path: Path) -> None:
    path = tmp_path / "few.yaml"
    path.write_text("name: few\nbackbones: minilm\ntasks: [rte]\nmethods: [head]\nfew_shot: {k: [4], protocol: true}\n")
    few = read_recipe(path).few_shot
    assert few is not None
    assert few.protocol == "true"


@pytest.mark.parametrize(
    ("text", "fault"), [("name: [", "is not YAML"), ("- a", "holds list"), (None, "cannot be read"), ("", "NoneType")]
)
def test_files_that_are_no_recipes(tmp_path: Path, text: str | None, fault: str) -> None:
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError, match=fault):
        read_recipe(tmp_path / "x.yaml")


def test_no_python_objects(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("name: !!python/object/apply:os.getcwd []")
    with pytest.raises(InputError, match="is not YAML"):
        read_recipe(tmp_path / "x.yaml")


def test_a_dump_reads_back() -> None:
    one = experiment_from({**TRANSFER, "seeds": {"default": 2, "rte": 1}, "rows": {"train": 5}}, where="test")
    assert experiment_from(one.model_dump(mode="json"), where="test") == one


def test_every_table_has_a_recipe_and_a_mini() -> None:
    assert {path.stem for path in RECIPES} >= TABLES | {f"{name}-mini" for name in TABLES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_say_what_they_cost(path: Path) -> None:
    assert read_recipe(path).name == path.stem
    assert has_current_head(path), f"scalearn plan --update recipes/{path.name}"


def test_a_head_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "x" / "small.yaml"
    path.parent.mkdir()
    path.write_text("# A word on it.\nname: small\nbackbones: minilm\ntasks: [rte]\nmethods: [head]\n")
    update_head(path)
    head = head_of(plan_of(read_recipe(path)), path)
    assert head.splitlines()[:2] == ["# scalearn run x/small.yaml", "# 1 target x 1 method x 1 seed = 1 runs"]
    assert path.read_text() == f"{head}# A word on it.\nname: small\nbackbones: minilm\ntasks: [rte]\nmethods: [head]\n"
    path.write_text(path.read_text().replace("methods: [head]", "methods: [head, adapter]"))
    assert not has_current_head(path)
    update_head(path)
    assert has_current_head(path)
    assert path.read_text().count("# scalearn run") == 1
    path.write_text(
        "# scalearn run x/small.yaml --data DATA\nname: small\nbackbones: minilm\ntasks: [rte]\nmethods: [head]\n"
    )
    update_head(path)
    assert path.read_text() == f"{head}name: small\nbackbones: minilm\ntasks: [rte]\nmethods: [head]\n"
