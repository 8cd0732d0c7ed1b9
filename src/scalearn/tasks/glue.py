"""GLUE (Wang et al., 2019), as declarations: the eight tasks of the paper's GLUE experiments.

Metrics are the benchmark's own. WNLI is left out, as is usual: its dev set contradicts its train set on purpose.
"""

from __future__ import annotations

from scalearn.tasks.suites import Declaration, Suite

_ENTAILMENT = ("entailment", "not_entailment")

GLUE = Suite(
    repository="nyu-mll/glue",
    folder="glue",
    tasks=(
        Declaration(
            name="mnli",
            text=("premise", "hypothesis"),
            labels=("entailment", "neutral", "contradiction"),
            tests=(("test", "validation_matched"), ("test_mismatched", "validation_mismatched")),
        ),
        Declaration(
            name="qqp",
            text=("question1", "question2"),
            labels=("not_duplicate", "duplicate"),
            metrics=("accuracy", "f1"),
        ),
        Declaration(name="qnli", text=("question", "sentence"), labels=_ENTAILMENT),
        Declaration(name="sst2", text=("sentence",), labels=("negative", "positive")),
        Declaration(
            name="cola",
            text=("sentence",),
            labels=("unacceptable", "acceptable"),
            metrics=("matthews",),
        ),
        Declaration(name="stsb", text=("sentence1", "sentence2"), kind="regression", metrics=("pearson", "spearman")),
        Declaration(
            name="mrpc",
            text=("sentence1", "sentence2"),
            labels=("not_equivalent", "equivalent"),
            metrics=("accuracy", "f1"),
        ),
        Declaration(name="rte", text=("sentence1", "sentence2"), labels=_ENTAILMENT),
    ),
)
