"""GLUE (Wang et al., 2019), as declarations: the eight tasks of the paper's GLUE experiments, and WNLI.

Metrics are the benchmark's own. The paper leaves WNLI out, as is usual: its dev set contradicts its train set on
purpose.
"""

from __future__ import annotations

from scalearn.tasks.declarations import Declaration, Suite

_ENTAILMENT = ("entailment", "not_entailment")

GLUE = Suite(
    repository="nyu-mll/glue",
    revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    folder="glue",
    tasks=(
        Declaration(
            name="mnli",
            text=("premise", "hypothesis"),
            labels=("entailment", "neutral", "contradiction"),
            tests=(("test", "validation_matched"), ("test_mismatched", "validation_mismatched")),
            rows={"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832},
        ),
        Declaration(
            name="qqp",
            text=("question1", "question2"),
            labels=("not_duplicate", "duplicate"),
            metrics=("accuracy", "f1"),
            rows={"train": 363846, "validation": 40430},
        ),
        Declaration(
            name="qnli",
            text=("question", "sentence"),
            labels=_ENTAILMENT,
            rows={"train": 104743, "validation": 5463},
        ),
        Declaration(
            name="sst2",
            text=("sentence",),
            labels=("negative", "positive"),
            rows={"train": 67349, "validation": 872},
        ),
        Declaration(
            name="cola",
            text=("sentence",),
            labels=("unacceptable", "acceptable"),
            metrics=("matthews",),
            rows={"train": 8551, "validation": 1043},
        ),
        Declaration(
            name="stsb",
            text=("sentence1", "sentence2"),
            kind="regression",
            metrics=("pearson", "spearman"),
            rows={"train": 5749, "validation": 1500},
        ),
        Declaration(
            name="mrpc",
            text=("sentence1", "sentence2"),
            labels=("not_equivalent", "equivalent"),
            metrics=("accuracy", "f1"),
            rows={"train": 3668, "validation": 408},
        ),
        Declaration(
            name="rte",
            text=("sentence1", "sentence2"),
            labels=_ENTAILMENT,
            rows={"train": 2490, "validation": 277},
        ),
        Declaration(
            name="wnli",
            text=("sentence1", "sentence2"),
            labels=("not_entailment", "entailment"),
            rows={"train": 635, "validation": 71},
        ),
    ),
)
