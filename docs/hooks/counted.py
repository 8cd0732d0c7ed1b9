"""What pages of docs/ count: parameters and rates of methods, costs of recipes. Run it to write them anew.

    .venv/bin/python docs/hooks/counted.py

A page marks a place by ``<!-- counted: NAME ARGUMENT -->``, up to ``<!-- end -->``. tests/docs/test_counted.py fails
where a page is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from scalearn.atomic import write_text
from scalearn.cli.registry import described, rates
from scalearn.experiments.counting import count_all
from scalearn.methods import REGISTRY

DOCS = Path(__file__).parents[1]
RECIPES = DOCS.parent / "recipes"
BACKBONES = ("minilm", "roberta-base")
SOURCES = 8
MARK = re.compile(r"(<!-- counted: (\w+) (\S+) -->\n).*?(^ *<!-- end -->)", re.M | re.S)


def written(text: str) -> str:
    """A page with everything that it counts counted anew."""
    return MARK.sub(lambda mark: f"{mark[1]}{PARTS[mark[2]](mark[3])}{mark[4]}", text)


def method(names: str) -> str:
    """Costs, rates and sources of the methods of one section."""
    first, second = BACKBONES
    lines = [
        f"| method | trained on {first} | on {second} | rate, large | small | published | published in |",
        "|---|---:|---:|---|---|---|---|",
    ]
    for name in names.split(","):
        entry = REGISTRY[name]
        counts = [_counts(backbone)[name] for backbone in BACKBONES]
        recipes = (entry.large, entry.small, entry.published)
        shown = " | ".join("as large" if recipe is None else rates(recipe, counts[0]) for recipe in recipes)
        where = entry.method.reference or "the plain baseline"
        lines.append(f"| {name} | {' | '.join(map(_trained, counts))} | {shown} | {where} |")
    # Markdown wants a blank line between a comment and a table.
    return "\n" + "\n".join(lines) + "\n\n"


def methods(stage: str) -> str:
    """A table of a stage's methods."""
    page = f"methods-{stage}.md"
    lines = ["| method | what it is | trained on minilm | on roberta-base |", "|---|---|---:|---:|"]
    for name, entry in REGISTRY.items():
        if entry.method.stage == stage:
            cells = [_trained(_counts(backbone)[name]) for backbone in BACKBONES]
            section = name.removesuffix("++").removesuffix("-uniform")
            lines.append(f"| [{name}]({page}#{section}) | {described(entry.method)} | {' | '.join(cells)} |")
    return "\n" + "\n".join(lines) + "\n\n"


def recipe(name: str) -> str:
    """What a recipe and its small twin expand to and cost, from the first lines of their files."""
    paths = [path for path in (RECIPES / f"{name}.yaml", RECIPES / f"{name}-mini.yaml") if path.exists()]
    lines = []
    for path in paths:
        # tests/experiments/test_recipe.py has these lines be true.
        command, runs, cost = (line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines()[:3])
        lines.append(f"- [`{command}`](../recipes/{path.name}): {runs}; {cost.partition(' (')[0]}\n")
    return "".join(lines)


PARTS: Mapping[str, Callable[[str], str]] = {"method": method, "methods": methods, "recipe": recipe}


@cache
def _counts(backbone: str) -> Mapping[str, dict[str, int] | None]:
    return count_all(backbone=backbone, sources=SOURCES)


def _trained(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return "does not fit"
    return f"{counts['method']:,}" + (f" + {counts['masks']:,} mask scores" if counts["masks"] else "")


if __name__ == "__main__":
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        if (now := written(text)) != text:
            write_text(page, now)
            print(f"written anew: {page.name}")
