"""The text of a card: what was saved, how good it is, what it depends on, and how to use it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scalearn.cards.escape import block, code, markdown, one_line, table
from scalearn.cards.facts import BUILTIN, CardFacts, TaskFacts, copied, mapping, repository
from scalearn.cards.metadata import front_matter
from scalearn.cards.private import shown_command, shown_place
from scalearn.cards.use import use_as_source, use_of_model

_ERROR = "_stderr"
_Z = 1.96
"""Standard errors on each side of a score that make a 95 % interval."""
_LABELS_SHOWN = 30
_POOLED = {"first": "the first token", "mean": "the mean over tokens", "last": "the last token"}
_HASH = 12
"""Characters of a hash that are shown."""


def model_card(description: Mapping[str, Any], *, size: int, local: bool, reference: str = "", place: str = ".") -> str:
    """The card of a saved model.

    Args:
        description: the content of its `scalearn.json`.
        size: of its weights, in bytes.
        local: whether the backbone's name is a folder of this machine.
        reference: where the method was published.
        place: what the folder is called where the card is read; by default it is the reader's own.
    """
    facts = CardFacts.read(description, size=size, local=local)
    title = f"{facts.method} on {_names(facts)}"
    return "\n".join(
        [
            front_matter(facts, title=title, tags=[task.kind for task in facts.tasks]),
            f"# {markdown(title)}\n",
            _what_a_model_is(facts) + "\n",
            *_section("Use", use_of_model(facts, place=place)),
            *_section("Task" if len(facts.tasks) == 1 else "Tasks", _tasks(facts)),
            *_section("Scores", _scores(facts)),
            *_section("Method", _method(facts, reference=reference)),
            *_section("Sources", _sources(facts)),
            *_section("Training", _provenance(facts)),
        ]
    )


def source_card(description: Mapping[str, Any], *, size: int, local: bool, place: str = ".") -> str:
    """The card of a source that stands alone.

    Args:
        description: the content of its `source.json`.
        size: of its tensors, in bytes.
        local: whether the backbone's name is a folder of this machine.
        place: what the folder is called where the card is read; by default it is the reader's own.
    """
    facts = CardFacts.read(description, size=size, local=local)
    name = one_line(description.get("name", ""))
    what = (
        f"A source adapter for task transfer with scalearn: {markdown(facts.method)} on a frozen "
        f"{markdown(facts.backbone_name)}, trained on {markdown(_names(facts))}. It has no head of its own; a transfer "
        "method learns how strongly it acts for another task."
    )
    return "\n".join(
        [
            front_matter(facts, title=f"source {name}", tags=["source", *(task.kind for task in facts.tasks)]),
            f"# Source {markdown(name)}\n",
            what + "\n",
            *_section("Use", use_as_source(facts, place=place)),
            *_section("Task", _tasks(facts)),
            *_section(
                "Scores", _scores(facts, with_head="It was measured with a head that is no part of the source. ")
            ),
            *_section("Method", _method(facts)),
            *_section("Training", _provenance(facts)),
        ]
    )


def source_section(description: Mapping[str, Any], *, size: int, local: bool, place: str = ".") -> str:
    """What the card of a model says further where its folder holds a source too; arguments as for `source_card`."""
    facts = CardFacts.read(description, size=size, local=local)
    intro = (
        f"Its {markdown(facts.method)}, without the head, is also a source named "
        f"{markdown(description.get('name', ''))} ({_bytes(size)}), which transfer methods can combine with others:\n"
    )
    return "\n".join(["", *_section("As a source", [intro, *use_as_source(facts, place=place)])])


def shelf_card(descriptions: Sequence[Mapping[str, Any]], *, place: str) -> str:
    """The card of a repository that holds a folder per source.

    Args:
        descriptions: the content of each `source.json`, at least one.
        place: what the repository is called.
    """
    sources = [CardFacts.read(description, size=0, local=False) for description in descriptions]
    rows = [
        (
            code(description.get("name", "")),
            f"{markdown(facts.method)}{_options(facts.options)}",
            markdown(_names(facts)),
            code(str(description.get("sha256", ""))[:_HASH]),
        )
        for description, facts in zip(descriptions, sources, strict=True)
    ]
    backbones = list(dict.fromkeys(facts.backbone_name for facts in sources))
    of_one = sources[0] if len(backbones) == 1 else replace(sources[0], backbone={})
    frozen = "a frozen " if len(backbones) == 1 else "frozen backbones: "
    return "\n".join(
        [
            front_matter(replace(of_one, method="", tasks=()), title="", tags=["source"]),
            f"# A shelf of {_count(len(rows), 'source')}\n",
            f"Source adapters for task transfer with scalearn, on {frozen}{', '.join(map(markdown, backbones))}. A "
            "transfer method learns how strongly each acts for another task.\n",
            *_section("Use", use_as_source(sources[0], place=place)),
            *_section("Sources", [table(("source", "method", "trained on", "SHA-256"), rows) + "\n"]),
        ]
    )


def _section(heading: str, paragraphs: list[str]) -> list[str]:
    return [f"## {heading}\n", "\n".join(paragraphs).rstrip("\n") + "\n"] if paragraphs else []


def _names(facts: CardFacts) -> str:
    names = [one_line(task.name) or "an unnamed task" for task in facts.tasks]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _what_a_model_is(facts: CardFacts) -> str:
    backbone = markdown(facts.backbone_name)
    if facts.folded_from:
        how = f"{markdown(facts.folded_from.get('method', ''))} folded into one ordinary {markdown(facts.method)}"
    elif facts.sources:
        how = f"{markdown(facts.method)} over {_count(len(facts.sources), 'source')}"
    else:
        how = markdown(facts.method)
    frozen = "" if facts.method in ("full", "full-m") else "a frozen "
    heads = "a head" if len(facts.tasks) == 1 else "a head for each task"
    return f"A [scalearn](https://arxiv.org/abs/2310.01217) model for {markdown(_names(facts))}: {how} on {frozen}" + (
        f"{backbone}, and {heads}."
    )


# ---- task and scores


def _tasks(facts: CardFacts) -> list[str]:
    lines = []
    for task in facts.tasks:
        if len(facts.tasks) > 1:
            lines += [f"### {markdown(task.name)}\n"]
        lines += [*_task(task), ""]
    return lines


def _task(task: TaskFacts) -> list[str]:
    lines = [f"- Name: {markdown(task.name)}"] if task.name else []
    if (suite := task.suite) is not None and suite.repository is not None:
        lines.append(f"- Defined as in [{suite.repository}](https://huggingface.co/datasets/{suite.repository})")
    if task.kind:
        lines.append(f"- Kind: {markdown(task.kind)}")
    if task.text:
        lines.append(f"- Text columns: {', '.join(map(code, task.text))}")
    if task.image:
        lines.append(f"- Image column: {code(task.image)}")
    if task.label:
        lines.append(f"- Label column: {code(task.label)}")
    if task.choices:
        lines.append(f"- Columns of the choices: {', '.join(map(code, task.choices))}")
    if task.labels and not task.choices:
        rest = len(task.labels) - _LABELS_SHOWN
        more = f" and {rest:,} more" if rest > 0 else ""
        shown = ", ".join(code(label) for label in task.labels[:_LABELS_SHOWN])
        lines.append(f"- Labels ({len(task.labels):,}): {shown}{more}")
    if task.rows:
        lines.append("- Rows: " + ", ".join(f"{count:,} {markdown(split)}" for split, count in task.rows.items()))
    if task.max_length is not None and not task.image:
        lines.append(f"- Texts are cut at {task.max_length:,} tokens a row")
    return lines


def _scores(facts: CardFacts, *, with_head: str = "") -> list[str]:
    rows = []
    intervals = False
    for task in facts.tasks:
        for split, scores in task.scores.items():
            for name, score in scores.items():
                if name.endswith(_ERROR):
                    continue
                error = scores.get(f"{name}{_ERROR}", math.nan)
                intervals |= math.isfinite(error)
                main = f"**{markdown(name)}**" if name == task.main_metric else markdown(name)
                rows.append(
                    (
                        *((markdown(task.name),) if len(facts.tasks) > 1 else ()),
                        markdown(split),
                        f"{task.rows[split]:,}" if split in task.rows else "",
                        main,
                        f"{100 * score:.1f}" if math.isfinite(score) else "not defined",
                        f"± {100 * _Z * error:.1f}" if math.isfinite(error) else "",
                    )
                )
    if not rows:
        return []
    headings = ("split", "rows", "metric", "score, %", "95 % interval")
    meaning = (
        "The interval is 1.96 bootstrap standard errors on each side: how far the score may lie off because the split "
        "has only so many rows. It is not an interval over seeds."
        if intervals
        else "No standard errors were recorded."
    )
    chosen = " The dev split chose the checkpoint." if any("dev" in task.scores for task in facts.tasks) else ""
    return [
        table((*(("task",) if len(facts.tasks) > 1 else ()), *headings), rows) + "\n",
        f"{with_head}In bold the metric to compare by. {meaning}{chosen}",
    ]


# ---- what it is made of


def _method(facts: CardFacts, *, reference: str = "") -> list[str]:
    published = f" ({markdown(reference)})" if reference else ""
    lines = [f"- Method: {code(facts.method)}{published}{_options(facts.options)}"]
    if facts.folded_from:
        before = facts.folded_from
        sources = before.get("sources")
        over = [markdown(mapping(s).get("name", "")) for s in sources] if isinstance(sources, list) else []
        lines.append(
            f"- Folded from {code(before.get('method', ''))}{_options(mapping(before.get('options')))}"
            + (f" over {', '.join(over)}" if over else "")
            + ": folding changes no answer"
        )
    known = facts.backbone
    shape = ", ".join(
        markdown(said.format(known[key]))
        for key, said in (("model_type", "{}"), ("layers", "{} layers"), ("width", "width {}"))
        if key in known
    )
    link = facts.backbone_name if facts.hub_id is None else facts.hub_id
    shown = code(link) if facts.hub_id is None else f"[{markdown(link)}](https://huggingface.co/{link})"
    print_ = f", fingerprint {code(str(known['fingerprint'])[:_HASH])}" if "fingerprint" in known else ""
    lines.append(f"- Backbone: {shown} ({shape}){print_}")
    if facts.pooling:
        lines.append(f"- The head reads {_POOLED.get(facts.pooling, markdown(facts.pooling))}")
    lines += _parameters(facts)
    digest = f", SHA-256 {code(facts.sha256[:_HASH])}" if facts.sha256 else ""
    lines.append(f"- Weights on disk: {_bytes(facts.size)}{digest}")
    return lines


def _options(options: Mapping[str, Any]) -> str:
    given = ", ".join(
        code(f"{name}={json.dumps(value, ensure_ascii=False)}") for name, value in options.items() if value is not None
    )
    return f" with {given}" if given else ""


def _parameters(facts: CardFacts) -> list[str]:
    trained = facts.folded_from.get("trained_parameters") if facts.folded_from else facts.parameters
    counts = {key: count for key, count in mapping(trained).items() if type(count) is int}
    if not {"method", "head", "total"} <= counts.keys():
        return []
    before = " before folding" if facts.folded_from else ""
    return [
        f"- Trained parameters{before}: {counts['method']:,} of the method and {counts['head']:,} of "
        f"{'the head' if len(facts.tasks) == 1 else 'the heads'}, {counts['total']:,} in all"
    ]


def _sources(facts: CardFacts) -> list[str]:
    rows = []
    for source in facts.sources:
        place = str(source.get("location", ""))
        where = code(shown_place(place))
        if place == BUILTIN:
            where = "ships with scalearn"
        elif (on_hub := repository(source)) is not None:
            where = f"[{markdown(on_hub)}](https://huggingface.co/{on_hub})"
        elif copied(source):
            where = f"copied in: {where}"
        rows.append((markdown(source.get("name", "")), where, code(str(source.get("sha256", ""))[:_HASH])))
    return [table(("source", "where", "SHA-256"), rows)] if rows else []


def _provenance(facts: CardFacts) -> list[str]:
    found = facts.provenance
    lines = []
    for key, label in (
        ("imported_from", "Imported from"),
        ("format", "Written by"),
        ("protocol", "Protocol"),
        ("seed", "Seed"),
        ("precision", "Precision"),
        ("best_epoch", "Best epoch"),
        ("best_step", "Best step"),
    ):
        if isinstance(value := found.get(key), str | int | float):
            lines.append(f"- {label}: {markdown(f'{value:g}' if isinstance(value, float) else value)}")
    if recipe := mapping(found.get("recipe")):
        lines.append(f"- Hyper-parameters: {_options(recipe).removeprefix(' with ')}")
    versions = dict(mapping(found.get("versions")))
    if not versions and facts.version:
        versions = {"scalearn": facts.version}
    if versions:
        lines.append("- Versions: " + ", ".join(f"{markdown(name)} {markdown(v)}" for name, v in versions.items()))
    if (command := shown_command(found.get("command"))) is not None:
        lines += ["- Command, with folders cut to their last component:\n", block("sh", [command])]
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _bytes(size: int) -> str:
    if size < 1024:
        return f"{size} bytes"
    return f"{size / 1024:.1f} KB" if size < 1024**2 else f"{size / 1024**2:.1f} MB"
