"""The cache of tokens: the same rows as `encode` gives, tokenised once, whatever happens to the files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from rich.console import Console
from transformers import BertTokenizerFast, PreTrainedTokenizerBase

from scalearn import tokens
from scalearn.backbones import Backbone
from scalearn.encoding import Features, encode, row_length
from scalearn.tokens import Tokens, tokens_of

ROWS = 11
BATCH = 4  # so three record batches, of which the last is not full
WORDS = [" ".join(["film"] * (1 + 5 * i % 7)) for i in range(ROWS)]
TEXTS: dict[str, dict[str, list[Any]]] = {
    "single": {"text_a": WORDS},
    "pair": {"text_a": WORDS, "text_b": [f"good {words}" for words in WORDS[::-1]]},
    "choices": {"text_a": WORDS, "choices": [[words, "bad", f"very {words}"] for words in WORDS[::-1]]},
}
LABELS = list(range(ROWS))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own, where also few rows are kept."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(tokens, "KEPT_FROM", ROWS)
    monkeypatch.setattr(tokens, "BATCH", BATCH)
    return tmp_path / "cache" / "scalearn-tokens"


@pytest.fixture
def tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    assert backbone.tokenizer is not None
    return backbone.tokenizer


def split_of(texts: dict[str, list[Any]]) -> datasets.Dataset:
    return datasets.Dataset.from_dict(texts)


def rows_of(
    tokenizer: PreTrainedTokenizerBase, texts: dict[str, list[Any]] | None = None, **other: Any
) -> Sequence[Features]:
    return tokens_of(tokenizer, split_of(texts or TEXTS["single"]), **({"max_length": 8, "labels": LABELS} | other))


def refuse_to_tokenise(patch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("tokenised again")

    patch.setattr(PreTrainedTokenizerBase, "__call__", refuse)


# ---- the rows


@pytest.mark.parametrize("labels", [LABELS, [i / 2 for i in LABELS], [[i % 2, 1] for i in LABELS]])
@pytest.mark.parametrize("kind", TEXTS)
def test_the_rows_are_those_of_encode(tokenizer: PreTrainedTokenizerBase, kind: str, labels: list[Any]) -> None:
    expected = encode(tokenizer, TEXTS[kind], max_length=8, labels=labels)
    assert {row_length(row) for row in expected} != {8}
    for _ in range(2):  # computed, and then read
        rows = rows_of(tokenizer, TEXTS[kind], labels=labels)
        assert isinstance(rows, Tokens)
        assert len(rows) == ROWS
        assert list(rows) == expected
        assert [rows[-i] for i in (1, ROWS)] == [expected[-i] for i in (1, ROWS)]
        assert (rows[3:6], rows[::-5]) == (expected[3:6], expected[::-5])
        assert rows.lengths.tolist() == [row_length(row) for row in expected]
        assert all(
            type(token) is int for token in (rows[0]["input_ids"] if kind != "choices" else rows[0]["input_ids"][0])
        )
        with pytest.raises(IndexError):
            rows[ROWS]


def test_only_the_first_text_is_cut_where_it_is_asked_for(tokenizer: PreTrainedTokenizerBase) -> None:
    for kind in ("pair", "choices"):
        expected = encode(tokenizer, TEXTS[kind], max_length=8, truncation="only_first", labels=LABELS)
        assert list(rows_of(tokenizer, TEXTS[kind], truncation="only_first")) == expected


def test_a_vocabulary_of_more_than_two_bytes() -> None:
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])}
    vocab |= {f"w{i}": i for i in range(len(vocab), 70_000)}
    tokenizer = BertTokenizerFast(vocab=vocab, model_max_length=48)
    texts = {"text_a": ["w69999"] * ROWS}
    assert rows_of(tokenizer, texts)[0]["input_ids"][1] == 69_999
    assert list(rows_of(tokenizer, texts)) == encode(tokenizer, texts, max_length=8, labels=LABELS)


def test_the_tokens_stay_in_the_file(tokenizer: PreTrainedTokenizerBase) -> None:
    texts = {"text_a": WORDS * 500}
    rows_of(tokenizer, texts, labels=LABELS * 500)
    before = pa.total_allocated_bytes()
    rows = rows_of(tokenizer, texts, labels=LABELS * 500)
    assert pa.total_allocated_bytes() == before
    assert isinstance(rows, Tokens) and len(rows.parts) > 1000


# ---- once


def test_a_second_call_does_not_tokenise(
    tokenizer: PreTrainedTokenizerBase, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(rows_of(tokenizer))
    assert [[path.name for path in entry.iterdir()] for entry in cache.iterdir()] == [["tokens.arrow"]]
    refuse_to_tokenise(monkeypatch)
    assert list(rows_of(tokenizer)) == first
    with pytest.raises(AssertionError, match="tokenised again"):
        rows_of(tokenizer, max_length=7)


def test_labels_and_other_columns_are_not_part_of_an_entry(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(rows_of(tokenizer))
    refuse_to_tokenise(monkeypatch)
    texts = {"question": LABELS, "label": LABELS, "worth": [[0.5, 1.0]] * ROWS, **TEXTS["single"]}
    assert list(rows_of(tokenizer, texts, labels=LABELS[::-1])) == [
        row | {"labels": label} for row, label in zip(first, LABELS[::-1], strict=True)
    ]


def test_the_content_counts_not_where_it_comes_from(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(rows_of(tokenizer))
    refuse_to_tokenise(monkeypatch)
    data = split_of({"text_a": [*WORDS[::-1], "else"]}).select(range(ROWS - 1, -1, -1))
    assert list(tokens_of(tokenizer, data, max_length=8, labels=LABELS)) == first


def test_what_the_tokenizer_did_before_does_not_count(
    tokenizer: PreTrainedTokenizerBase, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend keeps the length of its last call: it is not what the tokens of the next one depend on."""
    rows_of(tokenizer)
    tokenizer(["film"], truncation=True, max_length=5, padding="max_length")
    refuse_to_tokenise(monkeypatch)
    rows_of(tokenizer)
    assert len(list(cache.iterdir())) == 1


def other_tokenizer(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    names = [word for word, _ in words]
    names[5:] = names[:4:-1]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(names)}, model_max_length=48)


OTHERS: dict[str, Callable[[PreTrainedTokenizerBase], Sequence[Features]]] = {
    "length": lambda it: rows_of(it, TEXTS["pair"], max_length=7),
    "truncation": lambda it: rows_of(it, TEXTS["pair"], truncation="only_first"),
    "tokenizer": lambda it: rows_of(other_tokenizer(it), TEXTS["pair"]),
    "a text": lambda it: rows_of(it, {**TEXTS["pair"], "text_a": ["a", *WORDS[1:]]}),
    "the order": lambda it: rows_of(it, {key: column[::-1] for key, column in TEXTS["pair"].items()}),
    "no second text": lambda it: rows_of(it, {"text_a": TEXTS["pair"]["text_a"]}),
    "where a text ends": lambda it: rows_of(
        it, {**TEXTS["pair"], "text_a": [WORDS[0][:-1], WORDS[0][-1] + WORDS[1], *WORDS[2:]]}
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_entry(tokenizer: PreTrainedTokenizerBase, cache: Path, what: str) -> None:
    first = list(rows_of(tokenizer, TEXTS["pair"]))
    assert list(OTHERS[what](tokenizer)) != first
    assert len(list(cache.iterdir())) == 2
    assert list(rows_of(tokenizer, TEXTS["pair"])) == first


def test_how_choices_belong_to_rows_is_part_of_the_content(tokenizer: PreTrainedTokenizerBase) -> None:
    one, other = ([["a", "b"], ["c", "film", "bad"]], [["a", "b", "c"], ["film", "bad"]])
    for choices in (one, other):
        texts = {"text_a": ["good"] * ROWS, "choices": choices + [["a", "b"]] * (ROWS - 2)}
        assert list(rows_of(tokenizer, texts)) == encode(tokenizer, texts, max_length=8, labels=LABELS)


# ---- whatever happens


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_fewer_rows(file: Path) -> None:
    table = pa.ipc.open_file(file.read_bytes()).read_all()
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table.slice(0, ROWS - 1))


def of_wild_offsets(file: Path) -> None:
    content = file.read_bytes()
    table = pa.ipc.open_file(content).read_all()
    offsets = table.to_batches()[0].column("input_ids").offsets.to_numpy().tobytes()
    assert offsets in content
    file.write_bytes(content.replace(offsets, b"\x7f" * len(offsets)))


BROKEN: dict[str, Callable[[Path], object]] = {
    "truncated": truncated,
    "empty": lambda file: file.write_bytes(b""),
    "something else": lambda file: file.write_text("no arrow " * 100),
    "no file": Path.unlink,
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "fewer rows": of_fewer_rows,
    "wild offsets": of_wild_offsets,
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_entry_is_computed_again(
    tokenizer: PreTrainedTokenizerBase, cache: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(rows_of(tokenizer))
    (entry,) = cache.iterdir()
    BROKEN[how](entry / "tokens.arrow")
    assert list(rows_of(tokenizer)) == first
    refuse_to_tokenise(monkeypatch)
    assert list(rows_of(tokenizer)) == first, "and kept again"
    assert list(cache.iterdir()) == [entry]


def test_a_cache_that_cannot_be_made_is_done_without(tokenizer: PreTrainedTokenizerBase, cache: Path) -> None:
    expected = encode(tokenizer, TEXTS["choices"], max_length=8, labels=LABELS)
    cache.parent.write_text("a file where the folder should be")
    rows = rows_of(tokenizer, TEXTS["choices"])
    assert list(rows) == expected
    assert isinstance(rows, Tokens) and rows.lengths.tolist() == [row_length(row) for row in expected]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_is_done_without(
    tokenizer: PreTrainedTokenizerBase, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "FILE", "/dev/full")
    assert list(rows_of(tokenizer)) == encode(tokenizer, TEXTS["single"], max_length=8, labels=LABELS)
    assert list(cache.iterdir()) == []


def test_an_error_of_the_tokenizer_is_one(
    tokenizer: PreTrainedTokenizerBase, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_to_tokenise(monkeypatch)
    with pytest.raises(AssertionError, match="tokenised again"):
        rows_of(tokenizer)
    assert not cache.exists() or list(cache.iterdir()) == []


# ---- sizes


def test_small_splits_are_not_kept(
    tokenizer: PreTrainedTokenizerBase, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache.parent)
    rows = rows_of(tokenizer, {"text_a": ["film"] * 1999}, labels=[0] * 1999)
    assert isinstance(rows, list) and len(rows) == 1999 and not cache.exists()
    assert isinstance(rows_of(tokenizer, {"text_a": ["film"] * 2000}, labels=[0] * 2000), Tokens)
    assert len(list(cache.iterdir())) == 1


def test_no_rows(tokenizer: PreTrainedTokenizerBase) -> None:
    assert rows_of(tokenizer, {"text_a": []}, labels=[]) == []


@pytest.mark.parametrize(
    ("asked", "large", "terminal"), [(True, True, True), (False, True, True), (True, False, True), (True, True, False)]
)
def test_a_bar_is_shown_if_it_is_asked_for_and_worth_it(
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: bool,
    large: bool,
    terminal: bool,
) -> None:
    monkeypatch.setattr(tokens, "SHOWN_FROM", ROWS if large else ROWS + 1)
    monkeypatch.setattr(tokens, "Console", lambda stderr: Console(stderr=stderr, force_terminal=terminal))
    rows_of(tokenizer, progress=asked)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("tokenising" in shown.err) == (asked and large and terminal)
