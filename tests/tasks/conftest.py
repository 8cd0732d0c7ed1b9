"""A Hub of the tests' own, in place of the real one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from scalearn.tasks import declared

Asked = list[tuple[tuple[Any, ...], dict[str, Any]]]
"""Arguments, in place and by name, of each reading."""


@pytest.fixture
def fake_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asked]:
    """Makes the Hub give `splits`, and the declaration of `name` expect as many rows; returns what it is asked."""

    def make(name: str, splits: Mapping[str, Dataset]) -> Asked:
        asked: Asked = []

        def load(*arguments: Any, **named: Any) -> DatasetDict:
            asked.append((arguments, named))
            return DatasetDict(splits)

        monkeypatch.setattr("datasets.load_dataset", load)
        for split in declared(name).rows:
            monkeypatch.setitem(declared(name).rows, split, len(splits[split]))
        return asked

    return make
