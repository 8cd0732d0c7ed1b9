"""HumSet (Fekih et al., Findings of EMNLP 2022): five multi-label tasks over one column of excerpts.

The same five columns exist in a data set of crisis messages, `DISASTER`, which is not HumSet: same names of columns,
other labels. Both have three splits of their own. On the Hub, HumSet's version 1.0.0, the one of the paper, is a file
a split beside a loading script that `datasets` no longer runs. No commit of it is pinned, since none could be looked
up; the numbers of rows are checked.
"""

from __future__ import annotations

from collections.abc import Mapping

from scalearn.tasks.declarations import Declaration, Suite

_COLUMNS = ("sectors", "pillars_1d", "subpillars_1d", "pillars_2d", "subpillars_2d")
_AVERAGED = ("f1", "precision", "recall")


def _tasks(prefix: str, rows: Mapping[str, int]) -> tuple[Declaration, ...]:
    return tuple(
        Declaration(
            name=f"{prefix}-{column}",
            config=column,
            kind="multi-label",
            text=("excerpt",),
            label=column,
            metrics=(
                *(f"{metric}_macro" for metric in _AVERAGED),
                *(f"{metric}_micro" for metric in _AVERAGED),
                "subset_accuracy",
            ),
            main="f1_macro",
            dev="validation",
            tests=(("test", "test"),),
            rows=rows,
            version=2,  # 1 had no micro averages
        )
        for column in _COLUMNS
    )


HUMSET = Suite(
    repository="nlp-thedeep/humset",
    files="data/{split}.jsonl",
    one_table=True,
    folder="humset",
    tasks=_tasks("humset", {"train": 117435, "validation": 16039, "test": 15147}),
)
DISASTER = Suite(
    repository=None,
    one_table=True,
    folder="disaster_response",
    tasks=_tasks("disaster", {"train": 3299, "validation": 707, "test": 708}),
)
