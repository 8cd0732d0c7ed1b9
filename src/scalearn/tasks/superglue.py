"""SuperGLUE (Wang et al., 2019), as declarations: its eight tasks, prepared as in `scalearn.tasks.preprocess`.

Metrics are the benchmark's own; MultiRC's main one is F1 over all answers, as in the paper. The paper reuses its GLUE
runs for RTE, whose rows are the same but for order and spacing; `superglue-rte` reads SuperGLUE's own copy. ReCoRD
takes 256 tokens and MultiRC 324, as published.
"""

from __future__ import annotations

from scalearn.tasks import preprocess
from scalearn.tasks.declarations import Declaration, Suite

_TRUTH = ("False", "True")

SUPERGLUE = Suite(
    repository="aps/super_glue",
    revision="3de24cf8022e94f4ee4b9d55a6f539891524d646",
    folder="super_glue",
    tasks=(
        Declaration(
            name="boolq",
            text=("question", "passage"),
            labels=_TRUTH,
            rows={"train": 9427, "validation": 3270},
        ),
        Declaration(
            name="cb",
            text=("premise", "hypothesis"),
            labels=("entailment", "contradiction", "neutral"),
            metrics=("accuracy", "f1_macro"),
            stratified=False,
            rows={"train": 250, "validation": 56},
        ),
        Declaration(
            name="copa",
            kind="multiple-choice",
            text=("premise",),
            choices=("choice1", "choice2"),
            labels=("choice1", "choice2"),
            prepare=preprocess.copa,
            reads=("premise", "choice1", "choice2", "question", "label"),
            rows={"train": 400, "validation": 100},
            version=2,  # 1 drew dev without regard to the right choice
        ),
        Declaration(
            name="multirc",
            unit="question",
            text=("paragraph", "question_and_answer"),
            labels=_TRUTH,
            metrics=("f1", "exact_match"),
            main="f1",
            max_length=324,
            prepare=preprocess.multirc,
            reads=("paragraph", "question", "answer", "idx", "label"),
            rows={"train": 27243, "validation": 4848},
        ),
        Declaration(
            name="record",
            unit="pick",
            text=("passage", "query"),
            labels=_TRUTH,
            metrics=("f1", "exact_match"),
            max_length=256,
            truncation="only_first",
            prepare=preprocess.record,
            reads=("passage", "query", "entities", "answers", "idx"),
            rows={"train": 100730, "validation": 10000},
        ),
        Declaration(
            name="superglue-rte",
            config="rte",
            text=("premise", "hypothesis"),
            labels=("entailment", "not_entailment"),
            rows={"train": 2490, "validation": 277},
        ),
        Declaration(
            name="wic",
            text=("sentence1", "sentence2"),
            labels=_TRUTH,
            prepare=preprocess.wic,
            reads=("word", "sentence1", "sentence2", "label"),
            rows={"train": 5428, "validation": 638},
        ),
        Declaration(
            name="wsc",
            text=("text", "span1_text"),
            labels=_TRUTH,
            prepare=preprocess.wsc,
            reads=("text", "span1_text", "span2_text", "span2_index", "label"),
            rows={"train": 554, "validation": 104},
        ),
    ),
)
