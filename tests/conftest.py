"""A backbone, sources and tasks small enough to train in a second, without network."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
# Tests compare to more digits than bf16 has: "auto" is float32 on every machine, in processes that tests begin too.
os.environ["SCALEARN_PRECISION"] = "fp32"

import datasets
from transformers import BertConfig, BertModel, BertTokenizerFast

from scalearn.backbones import Backbone, BackboneReference, load_backbone
from scalearn.deltas import Bottleneck
from scalearn.shelf import Shelf
from scalearn.sources import Source
from scalearn.tasks import Task

torch.set_num_threads(1)  # models this small only lose by more

FILLER = ["the", "film", "was", "very", "and", "long", "short", "a", "b", "c"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", *FILLER]
SOURCES = {"cola": 3, "mrpc": 4, "rte": 4}
"""Name to bottleneck of the sources on the test shelf, in its order."""


@pytest.fixture(autouse=True)
def _one_seed() -> Iterator[None]:
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tokens that tests keep do not end up in the user's cache."""
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random BERT (2 layers, width 16) and its tokenizer."""
    folder = tmp_path_factory.mktemp("backbones") / "tiny"
    tokenizer = BertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)}, model_max_length=48)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        initializer_range=0.3,  # the usual 0.02 would make all texts look alike
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def backbone(tiny_backbone: str) -> Backbone:
    """The tiny backbone, loaded for this test alone."""
    return load_backbone(tiny_backbone)


@pytest.fixture(scope="session")
def make_source() -> Callable[..., Source]:
    """Makes a random source for a backbone."""

    def make(name: str, backbone: Backbone, *, bottleneck: int = 4, seed: int | None = None) -> Source:
        generator = torch.Generator().manual_seed(sum(name.encode()) if seed is None else seed)
        tensors = {
            f"layers.{layer}.{key}": 0.3 * torch.randn(value.shape, generator=generator)
            for layer in range(backbone.layers)
            for key, value in Bottleneck(width=backbone.width, bottleneck=bottleneck).state_dict().items()
        }
        return Source(
            name=name,
            backbone=BackboneReference.of(backbone),
            task={"name": name},
            method="adapter",
            options={"bottleneck": bottleneck},
            metrics={"dev": {"accuracy": 0.75}},
            provenance={"seed": seed},
            tensors=tensors,
        )

    return make


@pytest.fixture
def shelf_folder(tmp_path: Path, backbone: Backbone, make_source: Callable[..., Source]) -> Path:
    """A folder of three sources of unequal bottlenecks."""
    for name, bottleneck in SOURCES.items():
        make_source(name, backbone, bottleneck=bottleneck).save(tmp_path / "shelf" / name)
    return tmp_path / "shelf"


@pytest.fixture
def shelf(shelf_folder: Path) -> Shelf:
    """The sources of `shelf_folder`."""
    return Shelf(shelf_folder)


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Forty rows: does the text hold more "good" than "bad"?"""
    chance = random.Random(0)
    rows = ["text,label"]
    for index in range(40):
        word = ("good", "bad")[index % 2]
        filler = [chance.choice(FILLER) for _ in range(chance.randint(2, 12))]
        filler.insert(chance.randint(0, len(filler)), word)
        rows.append(f"{' '.join(filler)},{word}")
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    path.write_text("\n".join(rows) + "\n")
    return Task.from_files(path, text="text", label="label")


@pytest.fixture(scope="session")
def pair_task() -> Task:
    """A task of two texts and three classes, without rows."""
    return Task(
        name="pairs",
        kind="classification",
        text=("premise", "claim"),
        label="label",
        labels=("no", "perhaps", "yes"),
        metrics=("accuracy",),
        main_metric="accuracy",
    )


@pytest.fixture(scope="session")
def scale_task() -> Task:
    """A regression task, without rows."""
    return Task(name="scale", kind="regression", text=("text",), label="y", metrics=("pearson",), main_metric="pearson")
