"""Similarity of data sets: the definition over all pairs, and what is embedded."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalearn.backbones import load_backbone
from scalearn.errors import InputError
from scalearn.similarity import can_embed, embed_task, mean_embedding, similarity
from scalearn.tasks import Task
from scalearn.tasks.splits import Unit, make_split

COOKING = ["Chop the onions.", "Bake the bread for an hour, then let it cool down on a rack.", "Season the soup."]
SPACE = ["The rocket left the pad.", "A probe reached Jupiter."]


@torch.no_grad()
def embedded(text: str) -> torch.Tensor:
    """One sentence by the encoder, as its model card says: the mean over tokens, normalised."""
    encoder = load_backbone("minilm")
    batch = encoder.tokenizer(text, return_tensors="pt")
    mean = encoder.model.eval()(**batch).last_hidden_state[0].mean(dim=0)
    return mean / mean.norm()


def test_the_encoder_is_installed() -> None:
    assert can_embed()


@pytest.mark.parametrize(("first", "second"), [(COOKING, SPACE), (COOKING, COOKING), (SPACE[:1], SPACE[:1])])
def test_it_is_the_mean_over_all_pairs(first: list[str], second: list[str]) -> None:
    pairs = [float(embedded(a) @ embedded(b)) for a in first for b in second]
    found = similarity(list(mean_embedding(first)), list(mean_embedding(second)))
    assert found == pytest.approx(np.mean(pairs), abs=1e-5)


def test_of_one_text_with_itself_it_is_one_and_of_several_it_is_less() -> None:
    one, several = mean_embedding(SPACE[:1]), mean_embedding(COOKING)
    assert similarity(list(one), list(one)) == pytest.approx(1, abs=1e-6)
    assert 0.1 < similarity(list(several), list(several)) < 0.9


def test_the_order_and_the_batches_do_not_matter() -> None:
    texts = [f"{text} {i}" for i, text in enumerate((COOKING + SPACE) * 14)]  # more than a batch, of unequal lengths
    np.testing.assert_allclose(mean_embedding(texts), mean_embedding(texts[::-1]), atol=1e-6)
    halves = (mean_embedding(texts[:35]) + mean_embedding(texts[35:])) / 2
    np.testing.assert_allclose(mean_embedding(texts), halves, atol=1e-6)


# ---- of a task


def made(path: Path, columns: dict[str, list[str]], **others: object) -> Task:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return Task.from_files(path, dev=path, label="label", **others)


def test_a_task_is_embedded_by_its_training_rows(tmp_path: Path) -> None:
    task = made(tmp_path / "a.csv", {"text": SPACE, "label": ["x", "y"]}, text="text")
    assert embed_task(task) == pytest.approx(mean_embedding(SPACE), abs=1e-6)
    without_dev = replace(task, splits={"train": task.splits["train"]})
    assert embed_task(without_dev) == embed_task(task)


def test_the_texts_of_a_row_are_joined(tmp_path: Path) -> None:
    columns = {"a": COOKING[:2], "b": SPACE, "label": ["x", "y"]}
    task = made(tmp_path / "pairs.csv", columns, text=("a", "b"))
    joined = [f"{a} {b}" for a, b in zip(columns["a"], columns["b"], strict=True)]
    assert embed_task(task) == pytest.approx(mean_embedding(joined), abs=1e-6)


def test_the_choices_of_a_row_are_joined(tmp_path: Path) -> None:
    columns = {"text": SPACE, "one": ["It flew.", "It sent data."], "two": ["It fell.", "It burned."], "label": [0, 1]}
    task = made(tmp_path / "choice.csv", columns, text="text", choices=("one", "two"))
    assert task.kind == "multiple-choice"
    joined = [" ".join(parts) for parts in zip(columns["text"], columns["one"], columns["two"], strict=True)]
    assert embed_task(task) == pytest.approx(mean_embedding(joined), abs=1e-6)


def test_at_most_so_many_rows_are_embedded_always_the_same_ones(task: Task) -> None:
    assert embed_task(task, rows=10) == embed_task(task, rows=10) != embed_task(task, rows=12)
    assert embed_task(task, rows=32) == embed_task(task)
    assert all(value == round(value, 6) for value in embed_task(task, rows=10))


def test_a_task_without_rows_is_refused(pair_task: Task) -> None:
    with pytest.raises(InputError, match="no train split"):
        embed_task(pair_task)


@pytest.mark.parametrize("unit", ["question", "pick"])
def test_numbers_of_questions_are_no_texts(unit: Unit) -> None:
    worths = [[1.0, 0.0], [0.0, 0.0]] if unit == "pick" else None
    rows = make_split([SPACE, ["a", "b"]], [0, 1], labels=("no", "yes"), questions=[0, 0], worths=worths)
    task = Task(
        name="asked",
        kind="classification",
        unit=unit,
        text=("passage", "question"),
        label="label",
        labels=("no", "yes"),
        metrics=("exact_match",),
        main_metric="exact_match",
        splits={"train": rows},
    )
    joined = [f"{SPACE[0]} a", f"{SPACE[1]} b"]
    assert embed_task(task) == pytest.approx(mean_embedding(joined).tolist(), abs=1e-5)
