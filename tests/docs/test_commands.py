"""Every command and option of scalearn that a page names exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from scalearn.cli import app

ROOT = typer.main.get_command(app)
OTHERS = {"--host", "--constraint", "--logdir", "--project", "--run", "--strict"}
"""Options of other programs that pages name on their own."""
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def every(command: Any) -> Iterator[str]:
    """All options of a command and what is below it."""
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
    for below in getattr(command, "commands", {}).values():
        yield from every(below)


OPTIONS = {"--help", *every(ROOT)}


def faults(line: str) -> list[str]:
    """What a command line names that is not there."""
    words = shlex.split(re.sub(r"[\[\]|]", " ", line.partition(" #")[0]))[1:]
    command: Any = ROOT
    while words and hasattr(command, "commands"):
        name = words[0] if words[0] in command.commands else getattr(command, "default", words[0])
        if name not in command.commands:
            return [name]
        words = words[name == words[0] :]
        command = command.commands[name]
    known = {"--help", *every(command)}
    options = [word.partition("=")[0] for word in words if re.match(r"--\w", word)]
    return [option for option in options if option not in known]


def command_lines(text: str) -> Iterator[str]:
    """Lines of code, and spans of it, that begin with scalearn."""
    joined = text.replace("\\\n", " ")
    yield from re.findall(r"^\s*(?:\$ )?(scalearn [a-z][^\n]*)", joined, flags=re.M)
    yield from (span for span in _SPAN.findall(text) if re.match(r"scalearn [a-z]", span))


def test_commands_and_their_options_exist(page: str, repository: Path) -> None:
    text = (repository / page).read_text(encoding="utf-8")
    assert {line: found for line in command_lines(text) if (found := faults(line))} == {}


def test_options_on_their_own_exist(page: str, repository: Path) -> None:
    spans = _SPAN.findall((repository / page).read_text(encoding="utf-8"))
    named = {span.split()[0].partition("=")[0] for span in spans if re.match(r"--\w", span)}
    assert named - OPTIONS - OTHERS == set()


def test_the_readmes_table_has_every_command(pages: Mapping[str, Sequence[Any]], repository: Path) -> None:
    rows = re.findall(r"^\| (`scalearn [^|]*) \|", (repository / "README.md").read_text(encoding="utf-8"), flags=re.M)
    named = {word for row in rows for span in _SPAN.findall(row) for word in span.removeprefix("scalearn ").split()[:1]}
    assert named == set(ROOT.commands)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("scalearn trian rte", ["trian"]),
        ("scalearn data exprt rte", ["exprt"]),
        ("scalearn train rte --epohcs 3 --out x", ["--epohcs"]),
        ("scalearn run R [--workers 2 | --ray auto]", []),
        ("scalearn sources shelf/ --backbone x", []),
        ("scalearn sources shelf/ --by probe", ["--by"]),
        ("scalearn sources rank --by probe", []),
    ],
)
def test_faults_are_found(line: str, fault: list[str]) -> None:
    assert faults(line) == fault
