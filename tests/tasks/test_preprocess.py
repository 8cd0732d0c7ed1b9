"""SuperGLUE's preprocessing: a row worked out by hand for each function, and whole tasks from a folder of rows."""

from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from scalearn.errors import InputError
from scalearn.tasks import Task, load_task, preprocess

TEXT, NUMBER, TRUTH = Value("string"), Value("int32"), ClassLabel(names=["False", "True"])


# ---- row by row


def test_copa_ends_the_premise_with_the_word_its_question_stands_for() -> None:
    row = {"premise": "The man slipped.", "choice1": "The floor was wet.", "choice2": "He ate.", "label": 0}
    assert list(preprocess.copa({**row, "question": "cause"})) == [
        {**row, "question": "cause", "premise": "The man slipped. because"}
    ]
    assert list(preprocess.copa({**row, "question": "effect"})) == [
        {**row, "question": "effect", "premise": "The man slipped. so"}
    ]


def test_wic_puts_the_word_before_both_sentences() -> None:
    row = {"word": "bank", "sentence1": "A river bank.", "sentence2": "A bank account.", "label": 0}
    assert list(preprocess.wic(row)) == [
        {**row, "sentence1": "bank: A river bank.", "sentence2": "bank: A bank account."}
    ]


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "starred"),
    [
        ("Tom told Bob that he lost", "he", 4, "Tom told Bob that *he* lost"),
        ("He saw Bob", "He", 0, "*He* saw Bob"),
        ("He saw Bob", "he", 0, "*He* saw Bob"),  # as a few rows write it
        ("Tom saw him.", "him", 2, "Tom saw *him.*"),
        ('Tom said "(he)" left', "he", 2, 'Tom said *"(he)"* left'),
        ('he told Bob that "(he)" lost', "he", 4, 'he told Bob that *"(he)"* lost'),
        ("Tom  saw\nhim today", "him", 2, "Tom saw *him* today"),
        ("Bob met his old friend", "his old friend", 2, "Bob met *his* old friend"),  # the first word of a longer span
        ("he said he was late, he thinks", "he", 2, "he said *he* was late, he thinks"),  # not the first that fits
        ("he said he was late, he thinks", "he", 3, "he said *he* was late, he thinks"),  # the index is one too far
        ("he said he was late, he thinks", "he", 4, "he said he was late, *he* thinks"),
        ("he said he was late", "he", 1, "*he* said he was late"),  # as near on both sides: the first
        ("he said he was late", "he", 40, "he said *he* was late"),
        ("Tom saw Bob's", "Bob", 2, "Tom saw *Bob's*"),  # nowhere as a word: where the row says
    ],
)
def test_wsc_stars_the_pronoun(text: str, pronoun: str, index: int, starred: str) -> None:
    row = {"text": text, "span1_text": "Tom", "span2_text": pronoun, "span2_index": index, "label": 1}
    assert list(preprocess.wsc(row)) == [{**row, "text": starred}]


def test_multirc_joins_question_and_answer_and_numbers_the_question() -> None:
    row = {
        "paragraph": "It rained.",
        "question": "What fell?",
        "answer": "Rain",
        "idx": {"paragraph": 3, "question": 7, "answer": 2},
        "label": 1,
    }
    assert list(preprocess.multirc(row)) == [{**row, "question_and_answer": "What fell? Rain", "question": (3, 7)}]


def query(**changes: Any) -> dict[str, Any]:
    return {
        "passage": "Ann went to Rome.\n@highlight\nAnn travels\n@highlight\nRome is old",
        "query": "@placeholder is a city, says Ann",
        "entities": ["Ann", "Rome", "Old Rome"],
        "answers": ["Rome"],
        "idx": {"passage": 4, "query": 9},
    } | changes


def test_record_has_a_row_for_each_entity() -> None:
    passage = "Ann went to Rome.\n- Ann travels\n- Rome is old"
    wanted = [
        ("Ann is a city, says Ann", 0, [0.0, 0.0]),
        ("Rome is a city, says Ann", 1, [1.0, 1.0]),
        ("Old Rome is a city, says Ann", 0, [2 / 3, 0.0]),
    ]
    assert list(preprocess.record(query())) == [
        {"passage": passage, "query": text, "label": label, "question": (4, 9), "worth": pytest.approx(worth)}
        for text, label, worth in wanted
    ]


@pytest.mark.parametrize(
    ("entity", "answers", "label", "worth"),
    [
        ("Rome", ["Rome", "Paris"], 1, [1.0, 1.0]),
        ("Paris", ["Rome", "Paris"], 1, [1.0, 1.0]),
        ("The Rome", ["Rome"], 0, [1.0, 1.0]),  # articles count for nothing, but the label is by the letter
        ("an apple", ["A apple"], 0, [1.0, 1.0]),
        ("U.S.", ["US"], 0, [1.0, 1.0]),  # nor does punctuation
        ("ROME", ["rome"], 0, [1.0, 1.0]),  # nor case
        ("Theo", ["o"], 0, [0.0, 0.0]),  # "the" is taken out as a word only
        ("Barack Obama", ["Obama"], 0, [2 / 3, 0.0]),  # precision 1/2, recall 1
        ("Obama", ["President Barack Obama"], 0, [1 / 2, 0.0]),  # precision 1, recall 1/3
        ("Obama", ["President Barack Obama", "Barack Obama"], 0, [2 / 3, 0.0]),  # the best of both
        ("New New York", ["New York York"], 0, [2 / 3, 0.0]),  # "new" is in common once, as "york" is
        ("Lima", ["Rome", "Paris"], 0, [0.0, 0.0]),
    ],
)
def test_worth_is_the_best_over_the_answers(entity: str, answers: list[str], label: int, worth: list[float]) -> None:
    (row,) = preprocess.record(query(entities=[entity], answers=answers))
    assert (row["label"], row["worth"]) == (label, pytest.approx(worth))


# ---- whole tasks


def boolq(count: int, seed: int) -> Dataset:
    return Dataset.from_dict(
        {
            "question": [f"is it {i} of {seed}" for i in range(count)],
            "passage": [f"it is {i} of {seed}" for i in range(count)],
            "idx": list(range(count)),
            "label": [int(i % 3 > 0) for i in range(count)],
        },
        features=Features({"question": TEXT, "passage": TEXT, "idx": NUMBER, "label": TRUTH}),
    )


def rte(count: int, seed: int) -> Dataset:
    return Dataset.from_dict(
        {
            "premise": [f"premise {i} of {seed}" for i in range(count)],
            "hypothesis": [f"hypothesis {i} of {seed}" for i in range(count)],
            "idx": list(range(count)),
            "label": [int(i % 3 > 0) for i in range(count)],
        },
        features=Features(
            {
                "premise": TEXT,
                "hypothesis": TEXT,
                "idx": NUMBER,
                "label": ClassLabel(names=["entailment", "not_entailment"]),
            }
        ),
    )


def wic(count: int, seed: int) -> Dataset:
    return Dataset.from_dict(
        {
            "word": [f"w{i}" for i in range(count)],
            "sentence1": [f"one {i} of {seed}" for i in range(count)],
            "sentence2": [f"two {i} of {seed}" for i in range(count)],
            "idx": list(range(count)),
            "label": [int(i % 3 > 0) for i in range(count)],
        },
        features=Features({"word": TEXT, "sentence1": TEXT, "sentence2": TEXT, "idx": NUMBER, "label": TRUTH}),
    )


def wsc(count: int, seed: int) -> Dataset:
    return Dataset.from_dict(
        {
            "text": [f"T{i} told {seed} that he lost" for i in range(count)],
            "span1_index": [0] * count,
            "span2_index": [4] * count,
            "span1_text": [f"T{i}" for i in range(count)],
            "span2_text": ["he"] * count,
            "idx": list(range(count)),
            "label": [int(i % 3 > 0) for i in range(count)],
        },
        features=Features(
            {
                "text": TEXT,
                "span1_index": NUMBER,
                "span2_index": NUMBER,
                "span1_text": TEXT,
                "span2_text": TEXT,
                "idx": NUMBER,
                "label": TRUTH,
            }
        ),
    )


def multirc(count: int, seed: int) -> Dataset:
    """Two questions a paragraph, three answers a question; questions are numbered anew in each paragraph."""
    places = [{"paragraph": i // 6, "question": i // 3 % 2, "answer": i % 3} for i in range(count)]
    return Dataset.from_dict(
        {
            "paragraph": [f"paragraph {i // 6} of {seed}" for i in range(count)],
            "question": [f"question {i // 3}?" for i in range(count)],
            "answer": [f"answer {i}" for i in range(count)],
            "idx": places,
            "label": [int(i % 3 == 0) for i in range(count)],
        },
        features=Features(
            {
                "paragraph": TEXT,
                "question": TEXT,
                "answer": TEXT,
                "idx": {"paragraph": NUMBER, "question": NUMBER, "answer": NUMBER},
                "label": TRUTH,
            }
        ),
    )


def record(count: int, seed: int) -> Dataset:
    """Query i has i % 3 + 1 entities, the first of them the answer; two queries a passage, numbered anew in each."""
    return Dataset.from_dict(
        {
            "passage": [f"passage {i // 2}\n@highlight\nof {seed}" for i in range(count)],
            "query": [f"query {i} is of @placeholder" for i in range(count)],
            "entities": [[f"E{i}-{j}" for j in range(i % 3 + 1)] for i in range(count)],
            "answers": [[f"E{i}-0"] for i in range(count)],
            "idx": [{"passage": i // 2, "query": i % 2} for i in range(count)],
        },
        features=Features(
            {
                "passage": TEXT,
                "query": TEXT,
                "entities": List(TEXT),
                "answers": List(TEXT),
                "idx": {"passage": NUMBER, "query": NUMBER},
            }
        ),
    )


MAKE = {"boolq": boolq, "multirc": multirc, "record": record, "superglue-rte": rte, "wic": wic, "wsc": wsc}


def write(folder: Path, name: str, split: str, rows: Dataset) -> None:
    own = folder / "super_glue" / name.removeprefix("superglue-")
    own.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(own / f"{split}-00000-of-00001.parquet")


def loaded(folder: Path, name: str, rows: int = 60) -> Task:
    write(folder, name, "train", MAKE[name](rows, 0))
    write(folder, name, "validation", MAKE[name](6, 1))
    return load_task(name, data=folder)


def columns(task: Task, split: str) -> dict[str, Any]:
    return dict(task.splits[split][:])


@pytest.mark.parametrize(
    ("name", "text_a", "text_b"),
    [
        ("boolq", "is it {i} of 1", "it is {i} of 1"),
        ("superglue-rte", "premise {i} of 1", "hypothesis {i} of 1"),
        ("wic", "w{i}: one {i} of 1", "w{i}: two {i} of 1"),
        ("wsc", "T{i} told 1 that *he* lost", "T{i}"),
    ],
)
def test_rows_of_a_pair_task(tmp_path: Path, name: str, text_a: str, text_b: str) -> None:
    task = loaded(tmp_path, name)
    assert (task.name, task.kind, task.unit) == (name, "classification", "row")
    assert (task.metrics, task.main_metric, task.outputs) == (("accuracy",), "accuracy", 2)
    assert (task.max_length, task.truncation) == (128, "longest_first")
    assert task.labels == (("entailment", "not_entailment") if name == "superglue-rte" else ("False", "True"))
    assert columns(task, "test") == {
        "text_a": [text_a.format(i=i) for i in range(6)],
        "text_b": [text_b.format(i=i) for i in range(6)],
        "label": [0, 1, 1, 0, 1, 1],
    }
    assert task.splits["test"].features["label"].names == list(task.labels)


@pytest.mark.parametrize("name", ["boolq", "superglue-rte", "wic", "wsc", "multirc"])
def test_dev_is_the_stratified_tenth_of_datasets(tmp_path: Path, name: str) -> None:
    task = loaded(tmp_path, name)
    raw = MAKE[name](60, 0)
    parts = raw.add_column("row", list(range(60))).train_test_split(test_size=0.1, seed=42, stratify_by_column="label")
    write(tmp_path, name, "validation", raw)  # every row once more, as the split that keeps the order
    everything = load_task(name, data=tmp_path).splits["test"]
    for ours, theirs in (("train", "train"), ("dev", "test")):
        expected = everything.select(parts[theirs]["row"][:])
        assert columns(task, ours) == expected[:]
    assert sorted(task.splits["dev"]["label"][:]) == ([0] * 4 + [1] * 2 if name == "multirc" else [0] * 2 + [1] * 4)


def test_multirc(tmp_path: Path) -> None:
    task = loaded(tmp_path, "multirc")
    assert (task.name, task.kind, task.unit, task.labels) == (
        "multirc",
        "classification",
        "question",
        ("False", "True"),
    )
    assert (task.metrics, task.main_metric) == (("f1", "exact_match"), "f1")
    assert (task.max_length, task.truncation) == (324, "longest_first")
    assert task.text == ("paragraph", "question_and_answer")
    assert columns(task, "test") == {
        "text_a": ["paragraph 0 of 1"] * 6,
        "text_b": [f"question {i // 3}? answer {i}" for i in range(6)],
        "question": [0, 0, 0, 1, 1, 1],
        "label": [1, 0, 0, 1, 0, 0],
    }
    for split, count in (("train", 54), ("dev", 6)):
        rows = task.splits[split]
        assert len(rows) == count
        # question i // 3 of the file, whatever its number in its paragraph
        assert rows["question"][:] == [int(text.split()[1].rstrip("?")) for text in rows["text_b"][:]]


def test_record(tmp_path: Path) -> None:
    task = loaded(tmp_path, "record")
    assert (task.name, task.kind, task.unit, task.labels) == ("record", "classification", "pick", ("False", "True"))
    assert (task.metrics, task.main_metric) == (("f1", "exact_match"), "combined_score")
    assert (task.max_length, task.truncation) == (256, "only_first")
    entities = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    assert dict(task.splits["test"].select(range(6))[:]) == {
        "text_a": [f"passage {i // 2}\n- of 1" for i, _ in entities],
        "text_b": [f"query {i} is of E{i}-{j}" for i, j in entities],
        "question": [i for i, _ in entities],
        "worth": [[1.0, 1.0] if j == 0 else [0.0, 0.0] for _, j in entities],
        "label": [int(j == 0) for _, j in entities],
    }
    assert len(task.splits["test"]) == 12


def test_dev_of_record_is_a_tenth_of_its_queries(tmp_path: Path) -> None:
    task = loaded(tmp_path, "record")
    drawn = Dataset.from_dict({"query": list(range(60))}).train_test_split(test_size=0.1, seed=42)
    for ours, theirs in (("train", "train"), ("dev", "test")):
        wanted = [(i, j) for i in drawn[theirs]["query"][:] for j in range(i % 3 + 1)]
        assert task.splits[ours]["text_b"][:] == [f"query {i} is of E{i}-{j}" for i, j in wanted]
        assert task.splits[ours]["question"][:] == [i for i, _ in wanted]
    train, dev = (set(task.splits[split]["question"][:]) for split in ("train", "dev"))
    assert (len(train), len(dev)) == (54, 6)
    assert not train & dev


def test_one_query_has_no_dev(tmp_path: Path) -> None:
    write(tmp_path, "record", "train", record(3, 0).select([2]))  # three rows, but one query
    write(tmp_path, "record", "validation", record(3, 1))
    with pytest.raises(InputError, match="record, split train: no tenth of its 3 rows can be set aside"):
        load_task("record", data=tmp_path)


# ---- rows that cannot be read

UNREADABLE = [
    ("multirc", "idx", {"paragraph": 0}, "'question'"),
    ("multirc", "idx", None, "NoneType"),
    ("record", "idx", {"passage": 0}, "'query'"),
    ("record", "passage", None, "NoneType"),
    ("record", "query", None, "NoneType"),
    ("record", "entities", None, "entities is None, not a list"),
    ("record", "entities", 3, "entities is 3, not a list"),
    ("record", "entities", ["E", None], "None"),
    ("record", "answers", None, "answers is None, not a list"),
    ("record", "answers", [], "empty"),
    ("wsc", "text", None, "NoneType"),
    ("wsc", "text", "", "index out of range"),
    ("wsc", "span2_text", None, "NoneType"),
    ("wsc", "span2_text", "", "index out of range"),
    ("wsc", "span2_index", None, "NoneType"),
]


def with_cell(rows: Dataset, column: str, cell: Any) -> Dataset:
    """The same rows, typed as they come, with `cell` in the third; a struct or number of another kind is in all."""
    cells = rows[column][:]
    other = isinstance(cell, (dict, int)) and not isinstance(cells[0], int)
    cells = [cells[0], cells[1], cell, *cells[3:]] if not other else [cell] * len(cells)
    return Dataset.from_dict({**rows[:], column: cells})


@pytest.mark.parametrize(("name", "column", "cell", "reason"), UNREADABLE)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_row_that_cannot_be_read_is_named(
    tmp_path: Path, split: str, name: str, column: str, cell: Any, reason: str
) -> None:
    loaded(tmp_path, name)
    write(tmp_path, name, split, with_cell(MAKE[name](60, 0), column, cell))
    with pytest.raises(InputError) as caught:
        load_task(name, data=tmp_path)
    message = str(caught.value)
    row = 1 if isinstance(cell, (dict, int)) else 3
    for part in (f"{name}, split {split}: row {row} cannot be read as a row of {name}", reason, column, "columns"):
        assert part in message
    assert "\n" not in message


def test_a_pronoun_that_is_nowhere_needs_an_index_in_the_text(tmp_path: Path) -> None:
    loaded(tmp_path, "wsc")
    rows = with_cell(wsc(6, 1), "span2_text", "she")
    write(tmp_path, "wsc", "validation", rows)
    assert load_task("wsc", data=tmp_path).splits["test"]["text_a"][2] == "T2 told 1 that *he* lost"
    write(tmp_path, "wsc", "validation", with_cell(rows, "span2_index", 6))
    with pytest.raises(
        InputError, match=r"wsc, split validation: row 3 cannot be read.*span2_text, span2_index, label"
    ):
        load_task("wsc", data=tmp_path)


def test_an_unknown_connective_is_refused(tmp_path: Path) -> None:
    rows = Dataset.from_dict(
        {
            "premise": ["It rained."] * 20,
            "choice1": ["a"] * 20,
            "choice2": ["b"] * 20,
            "question": ["cause", "effect"] * 10,
            "label": [0, 1] * 10,
        }
    )
    write(tmp_path, "copa", "train", rows)
    write(tmp_path, "copa", "validation", with_cell(rows, "question", "reason"))
    with pytest.raises(InputError) as caught:
        load_task("copa", data=tmp_path)
    parts = "copa, split validation: row 3 cannot be read", "'reason'", "premise, choice1, choice2, question, label"
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize(
    ("name", "column"),
    [("boolq", "passage"), ("superglue-rte", "hypothesis"), ("multirc", "paragraph"), ("wsc", "span1_text")],
)
def test_a_text_that_is_missing_is_refused(tmp_path: Path, name: str, column: str) -> None:
    loaded(tmp_path, name)
    write(tmp_path, name, "validation", with_cell(MAKE[name](6, 1), column, None))
    with pytest.raises(InputError, match=f", split validation: column '{column}' holds cells that are not text"):
        load_task(name, data=tmp_path)


@pytest.mark.parametrize(
    ("name", "column"),
    [("wic", "word"), ("wic", "sentence1"), ("wic", "sentence2"), ("multirc", "question"), ("multirc", "answer")],
)
def test_a_missing_part_of_a_text_is_refused(tmp_path: Path, name: str, column: str) -> None:
    loaded(tmp_path, name)
    write(tmp_path, name, "validation", with_cell(MAKE[name](6, 1), column, None))
    with pytest.raises(InputError, match=f"split validation: row 3 .*{column}"):
        load_task(name, data=tmp_path)


@pytest.mark.parametrize("column", ["entities", "answers"])
def test_entities_and_answers_are_lists(tmp_path: Path, column: str) -> None:
    loaded(tmp_path, "record")
    write(tmp_path, "record", "validation", Dataset.from_dict({**record(6, 1)[:], column: ["E"] * 6}))
    with pytest.raises(InputError, match=f"record, split validation: row 1 .*{column}"):
        load_task("record", data=tmp_path)


def test_an_index_below_zero_is_refused(tmp_path: Path) -> None:
    loaded(tmp_path, "wsc")
    rows = with_cell(wsc(6, 1), "span2_text", "she")
    write(tmp_path, "wsc", "validation", with_cell(rows, "span2_index", -1))
    with pytest.raises(InputError, match=r"wsc, split validation: row 3 cannot be read"):
        load_task("wsc", data=tmp_path)


@pytest.mark.parametrize("name", ["multirc", "record"])
def test_a_question_without_a_number_is_refused(tmp_path: Path, name: str) -> None:
    loaded(tmp_path, name)
    rows = MAKE[name](6, 1)
    nameless = [dict.fromkeys(place) for place in rows["idx"][:]]
    write(tmp_path, name, "validation", Dataset.from_dict({**rows[:], "idx": nameless}, features=rows.features))
    with pytest.raises(InputError, match=f"{name}, split validation: row 1 .*idx"):
        load_task(name, data=tmp_path)


@pytest.mark.parametrize("name", ["multirc", "record"])
def test_a_split_without_rows_is_refused(tmp_path: Path, name: str) -> None:
    loaded(tmp_path, name)
    write(tmp_path, name, "validation", MAKE[name](6, 1).select([]))
    with pytest.raises(InputError, match="split validation"):
        load_task(name, data=tmp_path)


@pytest.mark.parametrize("name", sorted(MAKE.keys() - {"record"}))  # whose rows have no label column
def test_classes_of_another_order_are_refused(tmp_path: Path, name: str) -> None:
    task = loaded(tmp_path, name)
    swapped = MAKE[name](6, 1).cast_column("label", ClassLabel(names=list(reversed(task.labels))))
    write(tmp_path, name, "validation", swapped)
    with pytest.raises(InputError, match=f"the classes are {', '.join(reversed(task.labels))}, not"):
        load_task(name, data=tmp_path)


@pytest.mark.parametrize("name", sorted(MAKE))
def test_a_missing_column_is_refused(tmp_path: Path, name: str) -> None:
    loaded(tmp_path, name)
    rows = MAKE[name](6, 1)
    read = [column for column in rows.column_names if column != "idx" or name in ("multirc", "record")]
    for column in set(read) - {"span1_index"}:
        write(tmp_path, name, "validation", rows.remove_columns(column))
        with pytest.raises(InputError, match=f"split validation: there is no column '{column}'"):
            load_task(name, data=tmp_path)
