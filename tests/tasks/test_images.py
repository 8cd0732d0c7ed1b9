"""Tasks of images: from which files, what is refused, and what a description and a fingerprint say of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features
from PIL import Image

from scalearn.errors import InputError
from scalearn.tasks import Task, few_shot

COLOURS = ("blue", "red")
ROWS = 10


def image_of(row: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (20 * row, 0, 200) if row % 2 else (200, 20 * row, 0))


def bytes_of(row: int) -> bytes:
    stream = io.BytesIO()
    image_of(row).save(stream, "PNG")
    return stream.getvalue()


def labels() -> list[str]:
    return [COLOURS[row % 2] for row in range(ROWS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``train.csv``, whose images lie in ``pictures``."""
    (tmp_path / "data/pictures").mkdir(parents=True)
    for row in range(ROWS):
        image_of(row).save(tmp_path / f"data/pictures/{row}.png")
    return write(tmp_path / "data", [f"pictures/{row}.png" for row in range(ROWS)]).parent


def write(folder: Path, paths: list[str], name: str = "train.csv") -> Path:
    path = folder / name
    rows = zip(paths, labels(), strict=True)
    path.write_text("image,label\n" + "".join(f"{place},{label}\n" for place, label in rows))
    return path


def read(path: Path, **other: Any) -> Task:
    return Task.from_files(path, **{"image": "image", "label": "label", "dev": path, **other})


# ---- files


def as_jsonl(folder: Path) -> Path:
    rows = [{"image": f"pictures/{row}.png", "label": label} for row, label in enumerate(labels())]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "train.jsonl"


def as_parquet_of_bytes(folder: Path) -> Path:
    pd.DataFrame({"image": map(bytes_of, range(ROWS)), "label": labels()}).to_parquet(folder / "train.parquet")
    return folder / "train.parquet"


def as_parquet_of_datasets(folder: Path) -> Path:
    columns = {"image": [str(folder / f"pictures/{row}.png") for row in range(ROWS)], "label": labels()}
    rows = Dataset.from_dict(columns).cast_column("image", datasets.Image())
    rows.to_parquet(folder / "train.parquet")  # embeds the files
    return folder / "train.parquet"


@pytest.mark.parametrize("make", [as_jsonl, as_parquet_of_bytes, as_parquet_of_datasets])
def test_every_format_gives_the_same_images(make: Callable[[Path], Path], folder: Path) -> None:
    expected, task = read(folder / "train.csv"), read(make(folder))
    assert task.kind == "classification" and task.labels == COLOURS and task.text == ()
    assert task.splits["train"].column_names == ["image", "label"]
    assert task.fingerprint() == expected.fingerprint()


def test_bytes_count_whatever_the_path_beside_them(folder: Path) -> None:
    (folder / "0.png").write_bytes(bytes_of(1))
    cells = [{"bytes": bytes_of(row), "path": str(folder / "0.png")} for row in range(ROWS)]
    pd.DataFrame({"image": cells, "label": labels()}).to_parquet(folder / "train.parquet")
    assert read(folder / "train.parquet").fingerprint() == read(folder / "train.csv").fingerprint()


def test_a_dev_part_is_stratified(folder: Path) -> None:
    task = read(folder / "train.csv", dev=None)
    assert sorted(task.splits["dev"]["label"]) == [0, 1] and len(task.splits["train"]) == 8


def test_paths_start_at_the_file_or_at_the_folder_given(folder: Path) -> None:
    moved = (folder / "train.csv").rename(folder.parent / "train.csv")
    with pytest.raises(InputError, match=r"10 of 10 images .*row 1 \(line 2\) \(.*pictures/0.png\): there is no"):
        read(moved)
    assert len(read(moved, image_folder=folder).splits["train"]) == ROWS
    assert len(read(moved, image_folder=folder).with_file(moved, image_folder=folder).splits["test"]) == ROWS


def test_no_path_leads_out_of_the_folder(folder: Path) -> None:
    inside = [str(folder / "pictures/0.png"), "pictures/../pictures/1.png", "./pictures/2.png"]
    outside = ["../data/../secret.png", "/etc/hostname", "pictures/../../secret.png"]
    image_of(0).save(folder.parent / "secret.png")
    paths = [*inside, *outside, *[f"pictures/{row}.png" for row in range(6, ROWS)]]
    path = write(folder, paths)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith("3 of 10 images cannot be used") and "--image-folder" in message
    assert all(place in message for place in outside) and not any(place in message for place in inside)


def test_a_wider_folder_allows_more(folder: Path) -> None:
    paths = [f"data/pictures/{row}.png" for row in range(ROWS)]
    assert len(read(write(folder, paths), image_folder=folder.parent).splits["train"]) == ROWS


def test_a_link_is_the_users_own(folder: Path, tmp_path: Path) -> None:
    (folder / "pictures").rename(tmp_path / "elsewhere")
    (folder / "pictures").symlink_to(tmp_path / "elsewhere")
    assert len(read(folder / "train.csv").splits["train"]) == ROWS


def test_rows_without_labels(folder: Path) -> None:
    task = read(folder / "train.csv")
    (folder / "new.csv").write_text("image\npictures/3.png\n")
    assert task.read_rows(folder / "new.csv") == [{"path": str(folder / "pictures/3.png"), "bytes": None}]


# ---- what is refused


def test_bad_images_are_named_together(folder: Path) -> None:
    (folder / "pictures/2.png").write_bytes(b"no image")
    (folder / "pictures/5.png").write_bytes(bytes_of(5)[:-30])
    (folder / "pictures/7.png").unlink()
    with pytest.raises(InputError) as caught:
        read(folder / "train.csv")
    message = str(caught.value)
    assert message.startswith("3 of 10 images cannot be used: ") and "\n" not in message
    for row, fault in ((2, "no image of the formats"), (5, "it cannot be decoded"), (7, "there is no such file")):
        assert f"train.csv: row {row + 1} (line {row + 2}) ({folder}/pictures/{row}.png): {fault}" in message


@pytest.mark.parametrize("cell", [None, 3, {"path": None, "bytes": None}, "", {"other": 1}])
def test_cells_that_are_no_image(cell: object, folder: Path) -> None:
    rows = [{"image": "pictures/0.png", "label": "a"}, {"image": cell, "label": "b"}]
    path = folder / "bad.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"1 of 2 images cannot be used: .*bad.jsonl: row 2 \(line 2\): the image in"):
        read(path)


def test_refuses_wrong_columns(folder: Path) -> None:
    for wrong, message in (
        ({"text": "text"}, "stands alone: leave out text and choices"),
        ({"choices": ("a", "b")}, "stands alone"),
        ({"label": "image"}, "'image' is named as image and as label"),
        ({"image": "picture"}, "there is no column 'picture'"),
        ({"image": None}, "text names 0 columns"),
        ({"image": None, "text": "image", "image_folder": folder}, "image_folder=.* is for images"),
        ({"kind": "multiple-choice"}, "needs the columns of the choices"),
    ):
        with pytest.raises(InputError, match=message):
            read(folder / "train.csv", **wrong)


def test_a_task_is_of_texts_or_of_images() -> None:
    fields = {"name": "t", "kind": "classification", "label": "y", "labels": ("a", "b")}
    metrics = {"metrics": ("accuracy",), "main_metric": "accuracy"}
    with pytest.raises(InputError, match="image 'i' stands beside text"):
        Task(**fields, **metrics, image="i", text=("t",))
    with pytest.raises(InputError, match="text names 0 columns"):
        Task(**fields, **metrics)
    choose = {**fields, "kind": "multiple-choice", "choices": ("a", "b")}
    with pytest.raises(InputError, match="and one text"):
        Task(**choose, **metrics, image="i")


# ---- what is known of a task


def test_a_description_names_the_column_of_images(folder: Path, task: Task) -> None:
    own = read(folder / "train.csv")
    described = json.loads(json.dumps(own.describe()))
    assert described["image"] == "image" and described["text"] == []
    assert Task.from_description(described) == own
    assert "image" not in task.describe()  # what was written before stays as it is


def test_the_content_of_images_is_the_data(folder: Path, tmp_path: Path) -> None:
    task = read(folder / "train.csv")
    before = task.fingerprint()
    moved = folder.rename(tmp_path / "moved")
    assert read(moved / "train.csv").fingerprint() == before
    image_of(9).save(moved / "pictures/0.png")
    assert read(moved / "train.csv").fingerprint() != before
    with pytest.raises(InputError, match=r"0.png: cannot be opened any more"):
        task.fingerprint()


def test_draws_keep_images_and_labels_together(folder: Path) -> None:
    task = read(folder / "train.csv")
    train = task.splits["train"]
    whole = {cell["path"]: label for cell, label in zip(train["image"], train["label"], strict=True)}
    drawn = task.take(train_rows=4, seed=1).splits["train"]
    few = few_shot(task, k=2, seed=0).splits["train"]
    for rows in (drawn, few):
        assert all(whole[cell["path"]] == label for cell, label in zip(rows["image"], rows["label"], strict=True))
    assert len(drawn) == 4 and sorted(drawn["label"]) == [0, 0, 1, 1]


def test_a_dataset_of_decoded_images_is_a_split_too(folder: Path) -> None:
    own = read(folder / "train.csv")
    columns = {"image": [image_of(row) for row in range(ROWS)], "label": [row % 2 for row in range(ROWS)]}
    features = Features({"image": datasets.Image(), "label": ClassLabel(names=list(COLOURS))})
    rows = Dataset.from_dict(columns, features=features)
    made = replace(own, splits={"train": rows, "dev": rows})
    assert made.fingerprint() == own.fingerprint()  # both are PNG
