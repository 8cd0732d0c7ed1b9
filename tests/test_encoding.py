"""Texts to padded batches, with the tiny tokenizer: one word, one token."""

from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, DataCollatorWithPadding, PreTrainedTokenizerFast

from scalearn.backbones import Backbone
from scalearn.encoding import (
    Features,
    Reordered,
    batches,
    collator,
    encode,
    lengths_of,
    padded_lengths_of,
    row_length,
)
from scalearn.errors import InputError

PAD, CLS, SEP = 0, 2, 3


@pytest.fixture
def rows(backbone: Backbone) -> list[Features]:
    lengths = [3, 9, 1, 12, 5, 5, 20]
    return encode(backbone.tokenizer, {"text_a": [" ".join(["film"] * n) for n in lengths]}, max_length=48)


def ids(backbone: Backbone, text: str) -> list[int]:
    return [backbone.tokenizer.convert_tokens_to_ids(word) for word in text.split()]


def test_one_text(backbone: Backbone) -> None:
    (row,) = encode(backbone.tokenizer, {"text_a": ["good film"]}, max_length=48)
    assert row["input_ids"] == [CLS, *ids(backbone, "good film"), SEP]
    assert row["attention_mask"] == [1, 1, 1, 1]
    assert "labels" not in row


def test_a_pair(backbone: Backbone) -> None:
    texts = {"text_a": ["good film", "the"], "text_b": ["bad", "film was"]}
    first, second = encode(backbone.tokenizer, texts, max_length=48)
    assert first["input_ids"] == [CLS, *ids(backbone, "good film"), SEP, *ids(backbone, "bad"), SEP]
    assert first["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert second["input_ids"] == [CLS, *ids(backbone, "the"), SEP, *ids(backbone, "film was"), SEP]


def byte_tokenizer(pair: str | None) -> PreTrainedTokenizerFast:
    """A token for each byte, as GPT-2 falls back to, and no token between texts but where `pair` says so."""
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE(vocab={"<s>": 0} | {byte: i for i, byte in enumerate(alphabet, 1)}, merges=[]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    if pair:
        tokenizer.post_processor = TemplateProcessing(single="<s> $A", pair=pair, special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", model_max_length=48)


@pytest.mark.parametrize(
    ("pair", "expected"), [(None, "abĊcd"), ("<s> $A $B", "<s>abĊcd"), ("<s> $A <s> $B", "<s>ab<s>cd")]
)
def test_a_line_ends_between_texts_that_no_token_separates(pair: str | None, expected: str) -> None:
    tokenizer = byte_tokenizer(pair)

    def tokens(rows: list[Features]) -> list[str]:
        return ["".join(tokenizer.convert_ids_to_tokens(row["input_ids"])) for row in rows]

    pairs = {"text_a": ["ab", "ab"], "text_b": ["cd", "cd"]}
    assert tokens(encode(tokenizer, pairs, max_length=48)) == [expected] * 2
    assert tokens(encode(tokenizer, pairs, max_length=48, truncation="only_first")) == [expected] * 2
    (row,) = encode(tokenizer, {"text_a": ["ab"], "choices": [["cd", "ef"]]}, max_length=48)
    assert tokens([{"input_ids": ids} for ids in row["input_ids"]]) == [expected, expected.replace("cd", "ef")]
    assert tokens(encode(tokenizer, {"text_a": ["ab"]}, max_length=48)) == ["<s>ab" if pair else "ab"]


def test_the_longer_text_is_cut_first(backbone: Backbone) -> None:
    texts = {"text_a": ["a b c a b c a b"], "text_b": ["good film"]}
    (row,) = encode(backbone.tokenizer, texts, max_length=9)
    assert row["input_ids"] == [CLS, *ids(backbone, "a b c a"), SEP, *ids(backbone, "good film"), SEP]


def test_only_the_first_text_is_cut(backbone: Backbone) -> None:
    texts = {"text_a": ["a b", "a b c a b"], "text_b": ["good film was long", "bad"]}
    first, second = encode(backbone.tokenizer, texts, max_length=8, truncation="only_first")
    assert first["input_ids"] == [CLS, *ids(backbone, "a"), SEP, *ids(backbone, "good film was long"), SEP]
    assert second["input_ids"] == [CLS, *ids(backbone, "a b c a"), SEP, *ids(backbone, "bad"), SEP]
    (alone,) = encode(backbone.tokenizer, {"text_a": ["a b c"]}, max_length=4, truncation="only_first")
    assert alone["input_ids"] == [CLS, *ids(backbone, "a b"), SEP]
    choices = {"text_a": ["a b"], "choices": [["good film was long", "bad"]]}
    (chosen,) = encode(backbone.tokenizer, choices, max_length=8, truncation="only_first")
    assert chosen["input_ids"][0] == first["input_ids"]


@pytest.mark.parametrize("max_length", [2, 3, 8, 1000])
def test_where_the_second_text_leaves_no_room_the_longer_one_is_cut(backbone: Backbone, max_length: int) -> None:
    """Five tokens fit beside three special ones; of the first text at least one token must stay."""
    second = [" ".join(["film"] * length) for length in (1, 6, 4, 5, 60, 0)]
    texts = {"text_a": ["a b c"] * len(second), "text_b": second}
    rows = encode(backbone.tokenizer, texts, max_length=max_length, truncation="only_first")
    longest = encode(backbone.tokenizer, texts, max_length=max_length)
    room = min(max_length, 48) - 3
    for row, other, words in zip(rows, longest, second, strict=True):
        kept = ids(backbone, words)
        if len(kept) >= room:
            assert row == other
        else:
            first = ids(backbone, "a b c")[: room - len(kept)]
            assert row["input_ids"] == [CLS, *first, SEP, *kept, SEP]


@pytest.mark.parametrize(("max_length", "kept"), [(10, 10), (48, 48), (1000, 48)])
def test_length_is_limited_by_task_and_backbone(backbone: Backbone, max_length: int, kept: int) -> None:
    (row,) = encode(backbone.tokenizer, {"text_a": ["film " * 100]}, max_length=max_length)
    assert len(row["input_ids"]) == kept


@pytest.mark.parametrize("labels", [[1, 0], [0.5, 2.5]])
def test_labels_stay_with_their_rows(backbone: Backbone, labels: list[float]) -> None:
    rows = encode(backbone.tokenizer, {"text_a": ["good", "bad"]}, max_length=48, labels=labels)
    assert [row["labels"] for row in rows] == labels


def test_too_few_labels_are_an_error(backbone: Backbone) -> None:
    with pytest.raises(ValueError):
        encode(backbone.tokenizer, {"text_a": ["good", "bad"]}, max_length=48, labels=[1])


def test_no_rows(backbone: Backbone) -> None:
    assert encode(backbone.tokenizer, {"text_a": []}, max_length=48) == []
    assert list(batches(backbone.tokenizer, [], batch_size=4)) == []


@pytest.mark.parametrize(("words", "padded"), [(3, 8), (6, 8), (7, 16)])
def test_padding_to_a_multiple_of_eight(backbone: Backbone, words: int, padded: int) -> None:
    rows = encode(backbone.tokenizer, {"text_a": ["film " * words, "film"]}, max_length=48)
    batch = collator(backbone.tokenizer)(rows)
    assert batch["input_ids"].shape == (2, padded)
    assert batch["attention_mask"].sum(dim=1).tolist() == [words + 2, 3]
    assert (batch["input_ids"][batch["attention_mask"] == 0] == PAD).all()


def random_text(chance: np.random.Generator) -> Features:
    """Tokens of up to 40, with types and a mask that say which token is whose."""
    length = int(chance.integers(1, 40))
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: chance.integers(100, size=length).tolist() for name in names}


def test_padding_ends_where_the_backbone_has_no_more_positions(backbone: Backbone) -> None:
    assert backbone.tokenizer is not None
    backbone.tokenizer.model_max_length = 20
    rows = encode(backbone.tokenizer, {"text_a": ["good " * 30]}, max_length=128)
    assert collator(backbone.tokenizer)(rows)["input_ids"].shape == (1, 20)


@pytest.mark.parametrize("choices", [1, 2, 3])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_that_of_transformers(
    backbone: Backbone, side: str, choices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either side, with ids that are not 0, one row or many, and choices as if each were a row."""
    tokenizer = backbone.tokenizer
    tokenizer.padding_side, tokenizer.pad_token = side, "[MASK]"
    monkeypatch.setattr(type(tokenizer), "pad_token_type_id", 7)
    pad, reference = collator(tokenizer), DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    chance = np.random.default_rng(0)
    for rows in (1, 2, 5, 33):
        texts = [[random_text(chance) for _ in range(choices)] for _ in range(rows)]
        features = [
            {name: [text[name] for text in own] for name in own[0]} if choices > 1 else dict(own[0]) for own in texts
        ]
        batch = pad([row | {"labels": i} for i, row in enumerate(features)])
        expected = reference([text for own in texts for text in own])
        assert batch.pop("labels").tolist() == list(range(rows))
        assert batch.keys() == expected.keys()
        for name, value in batch.items():
            shape = (rows, choices, -1) if choices > 1 else (rows, -1)
            assert value.dtype == torch.int64 and torch.equal(value, expected[name].view(shape)), name


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_batches_cover_each_row_once(backbone: Backbone, rows: list[Features], batch_size: int) -> None:
    seen = []
    for positions, batch in batches(backbone.tokenizer, rows, batch_size=batch_size):
        assert 1 <= len(positions) <= batch_size
        for position, tokens, mask in zip(positions, batch["input_ids"], batch["attention_mask"], strict=True):
            assert tokens[mask.bool()].tolist() == rows[position]["input_ids"]
        seen += positions
    assert sorted(seen) == list(range(len(rows)))


def test_batches_go_from_long_to_short(backbone: Backbone, rows: list[Features]) -> None:
    lengths = [
        len(rows[position]["input_ids"])
        for positions, _ in batches(backbone.tokenizer, rows, batch_size=2)
        for position in positions
    ]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]


def test_rows_in_another_order_are_not_copied(rows: list[Features]) -> None:
    order = np.array([3, 0, 5])
    view = Reordered(rows, order)
    assert len(view) == 3 and all(row is rows[i] for row, i in zip(view, order, strict=True))
    assert view[-1] is rows[5] and list(view[1:]) == [rows[0], rows[5]]
    assert view.lengths.tolist() == lengths_of(view).tolist() == [14, 5, 7]


def test_rows_that_know_their_lengths_are_read_once(backbone: Backbone, rows: list[Features]) -> None:
    read = []

    class Known(Reordered):
        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            return super().__getitem__(index)

    known = Known(rows, np.arange(len(rows)))
    found = [positions for positions, _ in batches(backbone.tokenizer, known, batch_size=2)]
    assert found == [positions for positions, _ in batches(backbone.tokenizer, rows, batch_size=2)]
    assert found == [[6, 3], [1, 4], [5, 0], [2]], "equals in the order of the rows"
    assert sorted(read) == list(range(len(rows)))


def test_batches_are_tensors(backbone: Backbone, rows: list[Features]) -> None:
    for _, batch in batches(backbone.tokenizer, rows, batch_size=3):
        assert all(isinstance(value, torch.Tensor) for value in batch.values())


# ---- several labels


def test_several_labels_are_a_row_of_the_batch(backbone: Backbone) -> None:
    labels = [[1, 0, 1], [0, 0, 0]]
    rows = encode(backbone.tokenizer, {"text_a": ["good", "bad film"]}, max_length=48, labels=labels)
    assert [row["labels"] for row in rows] == labels
    batch = collator(backbone.tokenizer)(rows)
    assert batch["labels"].tolist() == labels and batch["input_ids"].shape == (2, 8)
    assert batch["labels"].dtype == torch.float32
    pooled = [{"pooled": torch.zeros(4), "length": 3, "labels": row} for row in labels]
    assert collator(backbone.tokenizer)(pooled)["labels"].dtype == torch.float32


# ---- choices

CHOICES = {
    "text_a": ["the film", "a"],
    "choices": [["was good", "was very bad and long", "b"], ["film", "good good", "short"]],
}


@pytest.fixture
def chosen(backbone: Backbone) -> list[Features]:
    return encode(backbone.tokenizer, CHOICES, max_length=48, labels=[2, 0])


def test_each_choice_makes_a_pair_with_the_text(backbone: Backbone, chosen: list[Features]) -> None:
    assert len(chosen) == 2
    for row, text, choices in zip(chosen, *CHOICES.values(), strict=True):
        pairs = encode(backbone.tokenizer, {"text_a": [text] * 3, "text_b": choices}, max_length=48)
        for key in ("input_ids", "attention_mask", "token_type_ids"):
            assert row[key] == [pair[key] for pair in pairs]
    assert chosen[0]["input_ids"][0] == [CLS, *ids(backbone, "the film"), SEP, *ids(backbone, "was good"), SEP]
    assert [row["labels"] for row in chosen] == [2, 0]


def test_a_choice_is_cut_like_a_pair(backbone: Backbone) -> None:
    texts = {"text_a": ["a b c a b c a b"], "choices": [["good film", "a b c a b c a b c a b c"]]}
    (row,) = encode(backbone.tokenizer, texts, max_length=9)
    assert row["input_ids"][0] == [CLS, *ids(backbone, "a b c a"), SEP, *ids(backbone, "good film"), SEP]
    assert [len(choice) for choice in row["input_ids"]] == [9, 9]


def test_choices_are_padded_together(backbone: Backbone, chosen: list[Features]) -> None:
    batch = collator(backbone.tokenizer)(chosen)
    longest = max(len(choice) for row in chosen for choice in row["input_ids"])
    assert longest == 10
    assert {key: tuple(value.shape) for key, value in batch.items()} == {
        **dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), (2, 3, 16)),
        "labels": (2,),
    }
    for row, tokens, masks in zip(chosen, batch["input_ids"], batch["attention_mask"], strict=True):
        for choice, own, mask in zip(row["input_ids"], tokens, masks, strict=True):
            assert own[mask.bool()].tolist() == choice
            assert (own[~mask.bool()] == PAD).all()
    assert batch["labels"].tolist() == [2, 0]


def test_a_row_of_choices_costs_its_longest_choice_times_their_number(chosen: list[Features]) -> None:
    assert [row_length(row) for row in chosen] == [3 * 10, 3 * 6]


def test_what_rows_take_up_is_what_they_are_padded_to(
    backbone: Backbone, rows: list[Features], chosen: list[Features]
) -> None:
    """Each choice is padded by itself: three of 6 tokens take up 24, not 18 rounded up."""
    pad = collator(backbone.tokenizer)
    for own, expected in ((rows, [8, 16, 8, 16, 8, 8, 24]), (chosen, [3 * 16, 3 * 8])):
        assert padded_lengths_of(own).tolist() == expected == [pad([row])["input_ids"].numel() for row in own]


def test_batches_of_choices(backbone: Backbone) -> None:
    texts = {
        "text_a": ["a"] * 5,
        "choices": [[" ".join(["film"] * n), "good"] for n in (2, 9, 1, 14, 5)],
    }
    rows = encode(backbone.tokenizer, texts, max_length=48)
    found = list(batches(backbone.tokenizer, rows, batch_size=2))
    assert [positions for positions, _ in found] == [[3, 1], [4, 0], [2]]
    assert [tuple(batch["input_ids"].shape) for _, batch in found] == [(2, 2, 24), (2, 2, 16), (1, 2, 8)]
    assert all("labels" not in batch for _, batch in found)


def test_no_rows_of_choices(backbone: Backbone) -> None:
    assert encode(backbone.tokenizer, {"text_a": [], "choices": []}, max_length=48) == []


def test_a_tokenizer_without_padding_is_refused(tiny_backbone: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    tokenizer.pad_token = None
    with pytest.raises(InputError, match="no padding token: set one"):
        collator(tokenizer)


def test_an_empty_text_is_read_as_one_token_where_nothing_is_put_around_it() -> None:
    """As by GPT-2's tokenizer, which would leave nothing to read."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")
    rows = encode(tokenizer, {"text_a": ["", "good good", " "]}, max_length=8)
    assert [row["input_ids"] for row in rows] == [[0], [2, 2], [0]]
    assert [row["attention_mask"] for row in rows] == [[1], [1, 1], [1]]
    pairs = encode(tokenizer, {"text_a": ["", "good"], "text_b": ["", ""]}, max_length=8)
    assert [row["input_ids"] for row in pairs] == [[0], [2]]
    assert collator(tokenizer)(rows)["attention_mask"].sum(-1).tolist() == [1, 2, 1]
