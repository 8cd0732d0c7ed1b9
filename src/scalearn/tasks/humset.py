"""HumSet (Fekih et al., Findings of EMNLP 2022): five multi-label tasks over one column of excerpts.

The same five columns exist in a data set of crisis messages, `DISASTER`, which is not HumSet: same names of columns,
other labels. Both have three splits of their own. On the Hub, HumSet's version 1.0.0, the one of the paper, is a file a
split beside a loading script that `datasets` no longer runs.
"""

from __future__ import annotations

from scalearn.tasks.suites import Declaration, Suite

_COLUMNS = ("sectors", "pillars_1d", "subpillars_1d", "pillars_2d", "subpillars_2d")


def _tasks(prefix: str) -> tuple[Declaration, ...]:
    return tuple(
        Declaration(
            name=f"{prefix}-{column}",
            kind="multi-label",
            text=("excerpt",),
            label=column,
            metrics=("f1_macro", "precision_macro", "recall_macro", "subset_accuracy"),
            dev="validation",
            tests=(("test", "test"),),
        )
        for column in _COLUMNS
    )


HUMSET = Suite(
    repository="nlp-thedeep/humset",
    files="data/{split}.jsonl",
    one_table=True,
    folder="humset",
    tasks=_tasks("humset"),
)
DISASTER = Suite(repository=None, one_table=True, folder="disaster_response", tasks=_tasks("disaster"))
