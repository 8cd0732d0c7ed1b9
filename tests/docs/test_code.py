"""What README.md and docs/ tell a newcomer to run, run as it stands: `conftest` says how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

NOT_RUN: Mapping[str, int] = dict.fromkeys(
    ("README.md", "docs/experiments.md", "docs/small-data.md", "docs/tracking.md"), 1
)
"""Page to how many of its blocks no test runs. Each gives its reason in the page."""


def test_the_quick_blocks(quick_page: str, pages: Mapping[str, Sequence[Any]], reader: Any) -> None:
    reader.read([b for b in pages[quick_page] if b.is_code and b.remark in (None, "background")])


@pytest.mark.slow
def test_the_whole_page(slow_page: str, pages: Mapping[str, Sequence[Any]], reader: Any) -> None:
    reader.read([b for b in pages[slow_page] if b.is_code and b.remark in (None, "background", "slow")])


def test_what_is_not_run_is_counted(pages: Mapping[str, Sequence[Any]]) -> None:
    blocks = [b for page in pages.values() for b in page if b.is_code]
    assert Counter(b.page for b in blocks if b.remark == "not run") == NOT_RUN


def test_what_is_tested_elsewhere_is(page: str, pages: Mapping[str, Sequence[Any]], repository: Path) -> None:
    for block in pages[page]:
        if block.remark == "tested in":
            assert block.page in (repository / block.said).read_text(encoding="utf-8"), block
