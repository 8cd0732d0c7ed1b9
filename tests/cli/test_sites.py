"""A backbone of a type that scalearn does not know, from the command line: --sites says where its layers are."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, GPTNeoConfig, GPTNeoModel

from scalearn.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns its exit code and what it printed."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def common(tiny_backbone: str, tmp_path: Path) -> tuple[object, ...]:
    """A tiny GPT-Neo, and rows to train on."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.save_pretrained(tmp_path / "neo")
    GPTNeoModel(
        GPTNeoConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_layers=2,
            num_heads=2,
            max_position_embeddings=48,
            attention_types=[[["global", "local"], 1]],
            bos_token_id=2,
            eos_token_id=3,
        )
    ).save_pretrained(tmp_path / "neo")
    rows = tmp_path / "reviews.csv"
    rows.write_text("text,label\n" + "\n".join(f"the film was {word},{word}" for word in ("good", "bad") * 8) + "\n")
    return "--train-file", rows, "--backbone", tmp_path / "neo", "--epochs", 2, "--quiet"


def test_without_sites_the_modules_are_shown(scalearn: Run, common: tuple[object, ...], tmp_path: Path) -> None:
    code, _, error = scalearn("train", *common, "--out", tmp_path / "shelf/reviews")
    assert code == 2
    first, *tree = error.splitlines()
    assert first.startswith("error: GPTNeoModel is of type 'gpt_neo', whose sites are not known: say where its layers ")
    assert "sites='h.*' (--sites 'h.*'): 2 of class GPTNeoBlock; or choose a backbone of type bert, " in first
    assert [line.split() for line in tree[:2]] == [
        ["wte", "Embedding", "17", "x", "16"],
        ["wpe", "Embedding", "48", "x", "16"],
    ]
    assert "  h.0..1" in error
    assert not (tmp_path / "shelf").exists()


def test_with_sites_it_is_trained_transferred_to_and_loaded(
    scalearn: Run, common: tuple[object, ...], tmp_path: Path
) -> None:
    where = "--sites", "h.*"
    code, _, error = scalearn("train", *common, *where, "--out", tmp_path / "shelf/reviews")
    assert code == 0, error
    transfer = ("transfer", *common, "--name", "again", "--sources", tmp_path / "shelf", "--out", tmp_path / "model")
    code, _, error = scalearn(*transfer)
    assert code == 2
    assert "source 'reviews' was trained with deltas at sites 'h.*'" in error
    code, _, error = scalearn(*transfer, *where)
    assert code == 0, error
    code, answers, error = scalearn("predict", tmp_path / "model", "the film was good")
    assert code == 0 and answers, error


@pytest.mark.parametrize("method", ["head", "full"])
def test_what_needs_no_sites_does_without(
    scalearn: Run, common: tuple[object, ...], tmp_path: Path, method: str
) -> None:
    code, _, error = scalearn("train", *common, "--method", method, "--out", tmp_path / "model")
    assert code == 0, error
