"""From a published row to the rows that a model reads: the published preprocessing of SuperGLUE.

Each function takes one row as the Hub has it and yields rows with the text columns that the task's declaration names. A
cell that is not what it should be raises KeyError, IndexError, TypeError or AttributeError, which the caller reports.
"""

from __future__ import annotations

from collections.abc import Iterator

from scalearn.tasks.declarations import Row
from scalearn.tasks.questions import exact_match, token_f1
from scalearn.tasks.splits import QUESTION, WORTH

_CONNECTIVES = {"cause": " because", "effect": " so"}
_PUNCTUATION = ".,;:!?\"'()"


def copa(row: Row) -> Iterator[Row]:
    """Premise + " because" or " so", the word that its question stands for; to be paired with each choice."""
    yield {**row, "premise": row["premise"] + _CONNECTIVES[row["question"]]}


def wic(row: Row) -> Iterator[Row]:
    """The word, a colon and the sentence, for both sentences."""
    yield {**row, **{column: row["word"] + ": " + row[column] for column in ("sentence1", "sentence2")}}


def wsc(row: Row) -> Iterator[Row]:
    """Stars around the word of span 2 (the pronoun), to be paired with the text of span 1.

    Where the index of the published row points at another word, the nearest word that is the pronoun is marked (one
    validation row; the published code marks the wrong word).
    """
    words = row["text"].split()
    index = row["span2_index"]
    pronoun = row["span2_text"].split()[0].lower()
    places = [place for place, word in enumerate(words) if word.lower().strip(_PUNCTUATION) == pronoun]
    if index not in places and places:
        index = min(places, key=lambda place: abs(place - index))
    if index < 0:
        raise IndexError(f"span2_index {index} is below 0")
    words[index] = f"*{words[index]}*"
    yield {**row, "text": " ".join(words)}


def multirc(row: Row) -> Iterator[Row]:
    """The paragraph, paired with question and answer; all answers of a question carry its number."""
    number = _number(row, "paragraph", "question")
    yield {**row, "question_and_answer": row["question"] + " " + row["answer"], QUESTION: number}


def record(row: Row) -> Iterator[Row]:
    """A row per entity: the passage with "- " for its highlight marks, and the query with the entity filled in.

    What an entity is worth as an answer is known beforehand: F1 and exact match, the best over the query's answers.
    """
    passage = row["passage"].replace("@highlight\n", "- ")
    number = _number(row, "passage", "query")
    for name in ("entities", "answers"):
        if not isinstance(row[name], list):
            raise TypeError(f"{name} is {row[name]!r:.40}, not a list")
    for entity in row["entities"]:
        yield {
            "passage": passage,
            "query": row["query"].replace("@placeholder", entity),
            "label": int(entity in row["answers"]),
            QUESTION: number,
            WORTH: [max(measure(entity, answer) for answer in row["answers"]) for measure in (token_f1, exact_match)],
        }


def _number(row: Row, *parts: str) -> tuple[int, ...]:
    """The parts of a question's number, all there."""
    number = tuple(row["idx"][part] for part in parts)
    if not all(isinstance(part, int) for part in number):
        raise TypeError(f"idx is {row['idx']!r:.60}, not numbers")
    return number
