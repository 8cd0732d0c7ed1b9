"""The head of the page: what was asked, how far it is, what to beware of, and where it was run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scalearn.experiments.report_page.rounding import shown
from scalearn.experiments.results import Results


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The head of the page."""

    name: str
    settings: Mapping[str, str]
    done: int
    failed: int
    left: int
    warnings: tuple[str, ...]
    origin: Mapping[str, str]
    """Version, machine, commit: one of each if all is well."""


def overview_of(found: Results) -> Overview:
    """The head of an experiment's page."""
    return Overview(
        name=found.plan.asked.name,
        settings={name: value for name, value in _settings(found).items() if value},
        done=len(found.found),
        failed=sum(run.id in found.failures and run.id not in found.found for run in found.plan.runs),
        left=len(found.open),
        warnings=(*_warnings(found), *found.damaged),
        origin={name: value for name, value in _origin(found).items() if value},
    )


def _settings(found: Results) -> dict[str, str]:
    asked = found.plan.asked
    sources = asked.sources
    caps = {name: cap for name, cap in asked.rows.model_dump().items() if name != "train_fraction" and cap}
    seeds = asked.seeds if len(asked.seeds) > 1 else asked.seeds["default"]
    return {
        "backbones": shown(asked.backbones),
        "targets": shown(asked.tasks),
        "sources": "" if sources is None else shown(sources.tasks) if sources.tasks else f"shelf {sources.shelf}",
        "protocol": asked.protocol,
        "changes": shown(dict(asked.changes)) if asked.changes else "",
        "joint changes": shown(dict(asked.joint_changes)) if asked.joint_changes else "",
        "few-shot protocol": asked.few_shot.protocol if asked.few_shot else "",
        "at most rows": shown(caps) if caps else "",
        "seeds": shown(dict(seeds) if isinstance(seeds, Mapping) else seeds),
    }


def _warnings(found: Results) -> Iterator[str]:
    yield from (f"{sentence[0].upper()}{sentence[1:]}: do not compare them." for sentence in found.mixed)
    differences: dict[str, str] = {}
    for outcome in found.outcomes.values():
        for task, own in outcome.unpublished.items():
            if own:
                differences[task] = ", ".join(
                    f"{here:,} of {split} for {there:,}" for split, (here, there) in own.items()
                )
    for task, told in differences.items():
        yield f"{task} is not the published data ({told} rows): its scores compare with no published ones."
    if found.plan.asked.rows.test:
        yield "Test rows are capped: scores compare with no others."


def _origin(found: Results) -> dict[str, str]:
    results = list(found.found.values())
    machines = [_machine(result.outcome.machine) for result in results]
    return {
        "scalearn": _distinct(result.key.get("version") for result in results),
        "machine": _distinct(machines),
        "commit": _distinct(result.outcome.commit for result in results),
        "finished": max((result.outcome.finished[:16].replace("T", " ") for result in results), default=""),
    }


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [machine.get("processor") or machine.get("platform"), machine.get("gpu")]
    parts += [f"{machine['cores']} cores"] if machine.get("cores") else []
    parts += [f"{machine['memory']:.0f} GB"] if isinstance(machine.get("memory"), int | float) else []
    return ", ".join(str(part) for part in parts if part)


def _distinct(values: Any) -> str:
    return "; ".join(dict.fromkeys(str(value) for value in values if value))
