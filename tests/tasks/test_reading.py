"""What comes from the Hub, what is refused of it, and how it is written for a machine without network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from datasets.exceptions import DatasetGenerationError
from huggingface_hub.utils import httpx

from scalearn.errors import InputError
from scalearn.tasks import declared, export_task, load_task, reading
from scalearn.tasks.glue import GLUE
from scalearn.tasks.humset import HUMSET
from scalearn.tasks.superglue import SUPERGLUE

Hub = Callable[..., Any]
TEXT, NUMBER = Value("string"), Value("int32")


def rte(count: int, seed: int) -> Dataset:
    columns = {
        "sentence1": [f"one {i} of {seed}" for i in range(count)],
        "sentence2": [f"two {i} of {seed}" for i in range(count)],
        "label": [int(i % 3 > 0) for i in range(count)],
        "idx": list(range(count)),
    }
    names = ClassLabel(names=["entailment", "not_entailment"])
    return Dataset.from_dict(
        columns, features=Features({"sentence1": TEXT, "sentence2": TEXT, "label": names, "idx": NUMBER})
    )


def superglue_rte(count: int, seed: int) -> Dataset:
    return rte(count, seed).rename_columns({"sentence1": "premise", "sentence2": "hypothesis"})


def stsb(count: int, seed: int) -> Dataset:
    columns = {
        "sentence1": [f"one {i} of {seed}" for i in range(count)],
        "sentence2": [f"two {i} of {seed}" for i in range(count)],
        "label": [i % 16 / 3 for i in range(count)],
    }
    return Dataset.from_dict(
        columns, features=Features({"sentence1": TEXT, "sentence2": TEXT, "label": Value("float32")})
    )


def copa(count: int, seed: int) -> Dataset:
    columns = {
        **{name: [f"{name} {i} of {seed}" for i in range(count)] for name in ("premise", "choice1", "choice2")},
        "question": [("cause", "effect")[i % 2] for i in range(count)],
        "label": [int(i % 3 > 0) for i in range(count)],
    }
    features = {name: TEXT for name in columns} | {"label": ClassLabel(names=["choice1", "choice2"])}
    return Dataset.from_dict(columns, features=Features(features))


def record(count: int, seed: int) -> Dataset:
    columns = {
        "passage": [f"passage {i} of {seed}" for i in range(count)],
        "query": ["@placeholder was there"] * count,
        "entities": [["Ann", "Bob"]] * count,
        "answers": [["Ann"]] * count,
        "idx": [{"passage": i, "query": i} for i in range(count)],
    }
    features = {"passage": TEXT, "query": TEXT, "entities": List(TEXT), "answers": List(TEXT)}
    return Dataset.from_dict(columns, features=Features({**features, "idx": {"passage": NUMBER, "query": NUMBER}}))


def humset(count: int, seed: int) -> Dataset:
    names = [[], ["WASH"], ["WASH", "Health"], [f"of {seed}"]]
    columns = ("sectors", "pillars_1d", "subpillars_1d", "pillars_2d", "subpillars_2d")
    lists = {column: [names[(i + shift) % 4] for i in range(count)] for shift, column in enumerate(columns)}
    return Dataset.from_dict({"excerpt": [f"excerpt {i} of {seed}" for i in range(count)], **lists})


MAKE = {
    "rte": rte,
    "superglue-rte": superglue_rte,
    "stsb": stsb,
    "copa": copa,
    "record": record,
    "humset-sectors": humset,
    "humset-pillars_2d": humset,
}
FOLDERS = {
    "rte": "glue/rte",
    "superglue-rte": "super_glue/rte",
    "stsb": "glue/stsb",
    "copa": "super_glue/copa",
    "record": "super_glue/record",
    "humset-sectors": "humset",
    "humset-pillars_2d": "humset",
}


def splits(name: str, train: int = 40) -> dict[str, Dataset]:
    """All that the Hub has of a task, a split more than is read."""
    make = MAKE[name]
    return {
        split: make(count, seed)
        for seed, (split, count) in enumerate((("train", train), ("validation", 8), ("test", 6)))
    }


def left_in(folder: Path) -> list[str]:
    """The files anywhere in a folder, and its hidden folders."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.name.startswith(".")
    )


# ---- export


@pytest.mark.parametrize("name", MAKE)
def test_an_export_is_the_same_task(tmp_path: Path, fake_hub: Hub, name: str) -> None:
    fake_hub(name, splits(name))
    online = load_task(name)
    written = export_task(name, tmp_path / "data")
    assert written == tmp_path / "data" / FOLDERS[name]
    read = ["test", "train", "validation"] if name.startswith("humset") else ["train", "validation"]
    files = ["data.json", *(f"{split}-00000-of-00001.parquet" for split in read)]
    assert left_in(tmp_path) == [f"data/{FOLDERS[name]}/{file}" for file in files]

    def no_hub(*_: object, **__: object) -> DatasetDict:
        raise AssertionError("the Hub is not to be asked")

    with pytest.MonkeyPatch.context() as offline:
        offline.setattr("datasets.load_dataset", no_hub)
        assert load_task(name, data=tmp_path / "data").fingerprint() == online.fingerprint()


def test_an_export_goes_by_its_full_name_too(tmp_path: Path, fake_hub: Hub) -> None:
    fake_hub("superglue-rte", splits("superglue-rte"))
    assert export_task("super_glue/rte", tmp_path) == tmp_path / "super_glue" / "rte"
    assert load_task("superglue-rte", data=tmp_path) == load_task("super_glue/rte", data=tmp_path)


def test_all_tasks_of_humset_are_exported_as_one_table(tmp_path: Path, fake_hub: Hub) -> None:
    fake_hub("humset-sectors", splits("humset-sectors"))
    assert export_task("humset-sectors", tmp_path) == tmp_path / "humset"
    for declaration in HUMSET.tasks:
        online = load_task(declaration.name)
        assert load_task(declaration.name, data=tmp_path).fingerprint() == online.fingerprint()
    assert len(left_in(tmp_path)) == 4


def test_an_existing_folder_is_refused(tmp_path: Path, fake_hub: Hub) -> None:
    fake_hub("rte", splits("rte"))
    export_task("rte", tmp_path)
    before = load_task("rte", data=tmp_path).fingerprint()
    asked = fake_hub("rte", splits("rte", train=80))
    with pytest.raises(InputError, match=r"glue/rte exists already: .*--overwrite"):
        export_task("rte", tmp_path)
    assert asked == [], "a download would be for nothing"
    assert load_task("rte", data=tmp_path).fingerprint() == before
    assert len(left_in(tmp_path)) == 3


def test_an_export_is_replaced_on_demand(tmp_path: Path, fake_hub: Hub) -> None:
    fake_hub("rte", splits("rte"))
    export_task("rte", tmp_path)
    fake_hub("rte", splits("rte", train=80))
    export_task("rte", tmp_path, overwrite=True)
    assert len(load_task("rte", data=tmp_path).splits["train"]) == 72


def test_a_folder_of_other_things_is_never_replaced(tmp_path: Path, fake_hub: Hub) -> None:
    fake_hub("rte", splits("rte"))
    mine = tmp_path / "glue" / "rte" / "thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(InputError, match="is not replaced"):
        export_task("rte", tmp_path, overwrite=True)
    assert mine.read_text() == "years of work"


@pytest.mark.parametrize("moment", ["reading", "counting", "writing"])
def test_nothing_is_left_of_half_an_export(
    tmp_path: Path, fake_hub: Hub, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    fake_hub("rte", splits("rte"))
    if moment == "reading":

        def fail(*_: object, **__: object) -> DatasetDict:
            raise httpx.ConnectError("gone")

        monkeypatch.setattr("datasets.load_dataset", fail)
    elif moment == "counting":
        monkeypatch.setitem(declared("rte").rows, "validation", 9)
    else:
        to_parquet = Dataset.to_parquet

        def write(self: Dataset, path: Path, **arguments: Any) -> int:
            if path.name.startswith("validation"):
                assert (path.parent / "train-00000-of-00001.parquet").exists(), "half of it is there"
                raise OSError("the disk is full")
            return int(to_parquet(self, path, **arguments))

        monkeypatch.setattr(Dataset, "to_parquet", write)
    with pytest.raises((InputError, OSError)):
        export_task("rte", tmp_path)
    assert left_in(tmp_path) == []
    assert not (tmp_path / "glue" / "rte").exists()
    assert moment == "writing" or not list(tmp_path.iterdir()), "nor folders"


def test_what_is_not_on_the_hub_has_no_export(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="disaster-sectors is not on the Hub: give a folder with --data DIR"):
        export_task("disaster-sectors", tmp_path)
    assert left_in(tmp_path) == []
    with pytest.raises(InputError, match=r"there is no task 'copper'; .*did you mean 'copa'"):
        export_task("copper", tmp_path)


def test_the_built_in_task_needs_no_export(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        export_task("policy-claims", tmp_path)
    assert "there is no task" not in str(caught.value)


# ---- the Hub


@pytest.mark.parametrize("name", ["rte", "copa", "superglue-rte"])
def test_a_commit_is_asked_for(fake_hub: Hub, name: str) -> None:
    asked = fake_hub(name, splits(name))
    load_task(name)
    suite = GLUE if name == "rte" else SUPERGLUE
    assert suite.revision is not None and len(suite.revision) == 40
    assert asked == [((suite.repository, name.removeprefix("superglue-")), {"revision": suite.revision})]


@pytest.mark.parametrize(("revision", "at"), [(None, ""), ("0123abc", "@0123abc")])
def test_a_commit_is_part_of_the_path_of_files(fake_hub: Hub, revision: str | None, at: str) -> None:
    asked = fake_hub("humset-sectors", splits("humset-sectors"))
    suite = replace(HUMSET, revision=revision)
    reading.read_published(suite, declared("humset-sectors"), data=None)
    files = {
        split: f"hf://datasets/nlp-thedeep/humset{at}/data/{split}.jsonl" for split in ("train", "validation", "test")
    }
    assert asked == [(("json",), {"data_files": files})]


@pytest.mark.parametrize(("split", "published"), [("train", 41), ("validation", 7)])
def test_another_number_of_rows_is_refused(
    fake_hub: Hub, monkeypatch: pytest.MonkeyPatch, split: str, published: int
) -> None:
    data = splits("rte")
    fake_hub("rte", data)
    load_task("rte")
    monkeypatch.setitem(declared("rte").rows, split, published)
    with pytest.raises(InputError) as caught:
        load_task("rte")
    parts = "rte: nyu-mll/glue gave", f"{len(data[split])} rows of {split}", f"{published} were published", "cache"
    assert all(part in str(caught.value) for part in parts)


def test_rows_of_a_folder_are_not_counted(tmp_path: Path, fake_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub("rte", splits("rte"))
    export_task("rte", tmp_path)
    monkeypatch.setitem(declared("rte").rows, "train", 2490)
    assert len(load_task("rte", data=tmp_path).splits["train"]) == 36


def test_a_split_that_the_hub_has_not_is_refused(fake_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    data = splits("rte")
    fake_hub("rte", data)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: DatasetDict(train=data["train"]))
    with pytest.raises(InputError, match="rte: cannot read nyu-mll/glue from the Hub: 'validation'"):
        load_task("rte")


@pytest.mark.parametrize("error", [OSError, ValueError, DatasetGenerationError, httpx.ConnectError, ConnectionError])
def test_without_network_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def hub(*_: object, **__: object) -> DatasetDict:
        raise error("no\n  route")

    monkeypatch.setattr("datasets.load_dataset", hub)
    with pytest.raises(InputError) as caught:
        load_task("superglue-rte")
    message = str(caught.value)
    for part in (
        "superglue-rte: cannot read aps/super_glue from the Hub: no route;",
        "--data DIR (data=DIR)",
        "DIR/super_glue/rte/ (or DIR/superglue-rte/)",
        "with train-00000-of-00001.parquet, validation-00000-of-00001.parquet",
        "`scalearn data export superglue-rte --out DIR`",
    ):
        assert part in message
    assert "\n" not in message


def test_a_folder_without_the_task_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_task("humset-sectors", data=tmp_path)
    for part in (
        f"{tmp_path}: holds no data of humset-sectors",
        "DIR/humset/ with train-00000-of-00001.parquet, validation-00000-of-00001.parquet, test-00000-of-00001.parquet",
        f"`scalearn data export humset-sectors --out {tmp_path}`",
    ):
        assert part in str(caught.value)


def test_messages_about_rows_name_the_repository(fake_hub: Hub) -> None:
    data = splits("copa")
    odd = Dataset.from_dict({**data["train"][:], "question": ["cause", "why", *data["train"]["question"][2:]]})
    fake_hub("copa", {**data, "train": odd})
    with pytest.raises(
        InputError, match=r"aps/super_glue \(copa\), split train: row 2 cannot be read as a row of copa"
    ):
        load_task("copa")
