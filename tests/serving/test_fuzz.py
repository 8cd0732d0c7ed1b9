"""Schemathesis makes requests from the service's own description, valid and not: no 5xx, and answers as described."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from scalearn import MultiTaskPredictor
from scalearn.serving.app import Service
from scalearn.serving.server import listen, server

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
OPERATIONS = {
    "POST /predict",
    "POST /predict/mixed",
    "GET /tasks",
    "POST /tasks",
    "DELETE /tasks/{name}",
    "GET /healthz",
    "GET /metrics",
}
EXPECTED: tuple[set[int], ...] = ({200, 404, 422}, {200, 400, 422})
"""Statuses that valid and invalid requests are sure to meet."""


@pytest.fixture(scope="module")
def address(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    service = Service(MultiTaskPredictor.from_folders([runs]), root=tmp_path_factory.mktemp("root"))
    listener = listen("127.0.0.1", 0)
    own = server(service)
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    own.should_exit = True
    thread.join(20)


def fuzz(address: str, *, examples: int, mode: GenerationMode) -> set[int]:
    """Sends so many requests to every operation that can go wrong, the same ones each time; the statuses it met."""
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    statuses: set[int] = set()
    met = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        met.add(operation.label)
        any_name = operation.path_parameters and mode.is_negative  # there is no name that could not be one
        if any_name or not (operation.body or operation.query or operation.path_parameters):
            case = operation.Case(path_parameters={"name": "nothing"})
            statuses.add(case.call_and_validate(checks=CHECKS).status_code)
            continue

        @hypothesis.seed(0)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(
            case=operation.as_strategy(generation_mode=mode),
            known=strategies.sampled_from(["reviews", "pairs", "choice", None]),
        )
        def send(case: Any, known: str | None) -> None:
            if known is not None and mode.is_positive:  # else hardly any request would be for a task that there is
                for one in [case.body, *case.body.get("inputs", ())] if isinstance(case.body, dict) else []:
                    if "task" in one:
                        one["task"] = known
            statuses.add(case.call_and_validate(checks=CHECKS).status_code)

        send()
    assert met == OPERATIONS
    return statuses


@pytest.mark.parametrize(("mode", "expected"), list(zip(GenerationMode, EXPECTED, strict=True)))
def test_a_few_requests_of_each_kind(address: str, mode: GenerationMode, expected: set[int]) -> None:
    assert expected <= fuzz(address, examples=12, mode=mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_many_requests_of_each_kind(address: str, mode: GenerationMode) -> None:
    fuzz(address, examples=200, mode=mode)
