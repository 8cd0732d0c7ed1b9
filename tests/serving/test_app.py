"""The service over real sockets: answers, refusals, clients that misbehave, and many at once."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from scalearn import MultiTaskPredictor
from scalearn.model import TransferModel
from scalearn.serving import limits
from scalearn.serving.app import Service
from scalearn.serving.limits import Limits
from scalearn.serving.messages import Inputs, Rows
from scalearn.shelf import Shelf
from scalearn.tasks import Task

Serve = Callable[..., str]
Build = Callable[..., TransferModel]
JSON = {"content-type": "application/json"}
HTTP = httpx.Client(verify=False, timeout=60)  # one for all: to make one takes longer than to answer


def test_rows_of_one_task(serve: Serve, predictor: MultiTaskPredictor) -> None:
    answer = HTTP.post(f"{serve()}/predict", json={"task": "reviews", "rows": ["the good film", "bad"]})
    assert answer.status_code == 200
    expected = predictor.predict([("reviews", "the good film"), ("reviews", "bad")])
    for one, other in zip(answer.json()["answers"], expected, strict=True):
        assert one == {
            "task": "reviews",
            "label": other.label,
            "probabilities": pytest.approx(dict(other.probabilities), abs=1e-6),
        }


def test_rows_of_several_tasks(serve: Serve) -> None:
    rows = [("pairs", ["the film", "bad"]), ("choice", ["the", "good", "bad", "film"]), ("reviews", "a")]
    inputs = [{"task": task, "row": row} for task, row in rows]
    answer = HTTP.post(f"{serve()}/predict/mixed", json={"inputs": inputs})
    assert answer.status_code == 200
    assert [one["task"] for one in answer.json()["answers"]] == ["pairs", "choice", "reviews"]
    assert list(answer.json()["answers"][1]["probabilities"]) == ["one", "two", "three"]


def test_numbers_and_several_labels(
    serve: Serve, tiny_backbone: str, build: Build, tasks: dict[str, Task], shared_shelf: Shelf
) -> None:
    many = MultiTaskPredictor(tiny_backbone, sources=shared_shelf)
    for name in ("scale", "topics"):
        many.add(build("scalearn-uniform", tasks[name], shared_shelf))
    inputs = [{"task": name, "row": "the good film"} for name in ("scale", "topics")]
    number, several = HTTP.post(f"{serve(many)}/predict/mixed", json={"inputs": inputs}).json()["answers"]
    assert isinstance(number["label"], float) and number["probabilities"] == {}
    assert several["label"] == [name for name, chance in several["probabilities"].items() if chance > 0.5]


def test_tasks_are_listed_in_parts(serve: Serve) -> None:
    url = f"{serve()}/tasks"
    every = HTTP.get(url).json()
    assert every["count"] == 3
    assert [task["name"] for task in every["tasks"]] == ["choice", "pairs", "reviews"]
    assert every["tasks"][0] == {
        "name": "choice",
        "kind": "multiple-choice",
        "texts": ["text"],
        "labels": ["one", "two", "three"],
        "choices": ["x", "y", "z"],
        "max_length": 128,
    }
    assert [t["name"] for t in HTTP.get(url, params={"offset": 1, "limit": 1}).json()["tasks"]] == ["pairs"]
    assert HTTP.get(url, params={"search": "IEW"}).json()["count"] == 1
    assert HTTP.get(url, params={"limit": 0}).status_code == 422


_ROW = "row 1 has"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{bad", 400, "the body is not JSON: Expecting property name"),
        (b"", 422, "body: Field required"),
        (b'{"task": "\xff"}', 400, "can't decode byte 0xff"),
        (b"[" * 100_000, 400, "maximum recursion depth"),
        (b'{"task": ' + b"9" * 5000 + b"}", 400, "Exceeds the limit"),
        (b"[]", 422, "body: Input should be a valid dictionary"),
        (b"null", 422, "body: "),
        (b"NaN", 422, "body: "),
        (b'{"task": "reviews", "rows": [NaN]}', 422, "rows.0.str: Input should be a valid string"),
        (b'{"task": "reviews", "rows": "text"}', 422, "rows: Input should be a valid list"),
        (b'{"task": "reviews", "rows": []}', 422, "rows: List should have at least 1 item"),
        (b'{"task": "reviews", "rows": [[]]}', 422, "rows.0"),
        (b'{"task": "reviews", "rows": [["a", ["b"]]]}', 422, "rows.0"),
        (b'{"task": 3, "rows": ["a"]}', 422, "task: Input should be a valid string"),
        (b'{"task": "reviews", "rows": ["a"], "more": 1}', 422, "more: Extra inputs are not permitted"),
        (b'{"task": "reviews", "rows": [["a", "b"]]}', 422, f"{_ROW} 2 text(s), 'reviews' takes 1 (text)"),
        (b'{"task": "reviews", "rows": ["\\ud800"]}', 422, f"{_ROW} half of a surrogate pair"),
        (b'{"task": "review", "rows": ["a"]}', 404, "there is no task 'review'; there are reviews"),
        (b'{"task": "<script>", "rows": ["a"]}', 404, "there is no task '<script>'"),
        (b'{"task": "reviews", "rows": [' + b'"a",' * 256 + b'"a"]}', 422, "257 rows: give at most 256"),
        (b'{"task": "reviews", "rows": ["' + b"a" * 20_001 + b'"]}', 422, "a text of 20,001 characters"),
        (b'{"task": "reviews", "rows": ["' + b"a" * 2**20 + b'"]}', 413, "send at most 1,048,576 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_used_is_refused_in_one_line(shared: str, body: bytes, status: int, reason: str) -> None:
    answer = HTTP.post(f"{shared}/predict", content=body, headers=JSON)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_other_refusals(shared: str) -> None:
    undeclared = HTTP.post(f"{shared}/predict", content=b'{"task": "reviews", "rows": ["a"]}')
    assert undeclared.status_code == 415 and "Content-Type: application/json" in undeclared.json()["error"]
    assert HTTP.get(f"{shared}/predict").status_code == 405
    assert HTTP.get(f"{shared}/nothing").json() == {"error": "Not Found"}
    assert HTTP.post(f"{shared}/tasks", json={"folder": "x"}).status_code == 405  # no --allow-admin
    assert HTTP.delete(f"{shared}/tasks/reviews").status_code == 404
    assert HTTP.post(f"{shared}/predict", json={"task": "reviews", "rows": ["", "a\0b", "漢字 🎉"]}).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused_before_it_was_sent(shared: str, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LINGER", 0.2)
    with socket.create_connection(("127.0.0.1", int(shared.rpartition(":")[2]))) as connection:
        connection.settimeout(5)
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        if chunked:
            connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            connection.sendall((b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 17)  # a little more than 1 MiB; no end
        else:
            connection.sendall(head + b"Content-Length: 1000000000000\r\n\r\n" + b"x" * 1000)
        answer = _until_end(connection)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"connection: close" in answer
    assert b"the body is too large" in answer


def test_slow_clients_are_let_go(serve: Serve) -> None:
    url = serve(limits=Limits(seconds=0.4))
    port = int(url.rpartition(":")[2])
    bodies = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    heads = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for one in bodies:
        one.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
    for one in heads:
        one.sendall(b"POST /predict HTTP/1.1\r\nHo")
    start = time.monotonic()
    for number in range(10):  # others are answered meanwhile
        assert HTTP.post(f"{url}/predict", json={"task": "reviews", "rows": [str(number)]}).status_code == 200
    for one in bodies:
        one.settimeout(5)
        answer = _until_end(one)
        assert answer.startswith(b"HTTP/1.1 408 ") and b"did not arrive within 0.4 seconds" in answer
    for one in (*heads, *silent):
        one.settimeout(5)
        assert _until_end(one) == b""
    assert time.monotonic() - start < 10
    for one in (*bodies, *heads, *silent):
        one.close()


def test_a_kept_connection_is_not_cut_by_the_deadline_of_its_first_head(serve: Serve) -> None:
    with httpx.Client(base_url=serve(limits=Limits(seconds=0.3)), verify=False) as client:
        for _ in range(3):
            assert client.get("/healthz").status_code == 200
            time.sleep(0.2)


def _until_end(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part


def test_fifty_clients_at_once_lose_nothing(serve: Serve, predictor: MultiTaskPredictor) -> None:
    url = serve()
    rows: dict[str, Any] = {"reviews": "the good film", "pairs": ("a", "b"), "choice": ("a", "b", "c", "the")}
    expected = {name: predictor.predict([(name, row)])[0].probabilities for name, row in rows.items()}
    statuses: list[int] = []
    faults: list[Any] = []

    def ask(number: int) -> None:
        with httpx.Client(timeout=60, verify=False) as client:
            for turn in range(6):
                name = list(rows)[(number + turn) % 3]
                if (number + turn) % 7 == 0:  # some misbehave
                    answer = client.post(f"{url}/predict", content=b"{" * number, headers=JSON)
                else:
                    answer = client.post(f"{url}/predict", json={"task": name, "rows": [rows[name]] * 3})
                    for one in answer.json()["answers"]:
                        if one["probabilities"] != pytest.approx(dict(expected[name]), abs=1e-5):
                            faults.append((name, one))
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(statuses) == 300
    assert set(statuses) <= {200, 400, 422} and statuses.count(200) > 250
    assert faults == []
    found = HTTP.get(f"{url}/metrics").text
    good = statuses.count(200)
    assert f'scalearn_requests_total{{method="POST",path="/predict",status="200"}} {float(good)}' in found
    assert f"scalearn_rows_total {3.0 * good}" in found
    batches = float(re.findall(r"scalearn_batch_rows_count (\S+)", found)[0])
    assert batches < good / 2  # they were joined


def test_a_full_queue_is_429_and_says_when_to_come_again(serve: Serve, predictor: MultiTaskPredictor) -> None:
    url = serve(room=2, most=2)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(HTTP.post(f"{url}/predict", json={"task": "reviews", "rows": ["a", "b"]}))

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert "too many rows wait" in answer.json()["error"]


def test_health_and_metrics(shared: str) -> None:
    assert HTTP.get(f"{shared}/healthz").json() == {"status": "ready"}
    HTTP.get(f"{shared}/nothing/of/the/kind")
    text = HTTP.get(f"{shared}/metrics")
    assert text.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "scalearn_tasks 3.0" in text.text and "scalearn_queued_rows 0.0" in text.text
    assert 'path="other",status="404"' in text.text  # what clients write is not kept
    assert "of/the/kind" not in text.text
    for line in text.text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"scalearn_\w+(\{.*\})? \S+", line), line


def test_every_answer_says_that_browsers_should_be_careful(shared: str) -> None:
    for path, content in {"/": "text/html", "/docs": "text/html", "/tasks": "application/json"}.items():
        answer = HTTP.get(shared + path)
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(content)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
    policy = HTTP.get(shared).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert re.search(r"https?://", HTTP.get(shared).text) is None  # nothing from elsewhere


def test_openapi_tells_all_routes_and_one_form_of_error(shared: str) -> None:
    told = HTTP.get(f"{shared}/openapi.json").json()
    assert set(told["paths"]) == {"/predict", "/predict/mixed", "/tasks", "/healthz", "/metrics"}
    predict = told["paths"]["/predict"]["post"]["responses"]
    assert set(predict) == {"200", "400", "404", "408", "413", "415", "422", "429"}
    assert predict["422"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert "HTTPValidationError" not in json.dumps(told)
    assert "at most 256 rows" in told["info"]["description"]


# ---- adding and removing


@pytest.fixture
def root(tmp_path: Path, runs: Path, build: Build, tasks: dict[str, Task], shared_shelf: Shelf) -> Path:
    """A directory with a model, and links that lead out of it."""
    root = tmp_path / "root"
    build("scalearn", tasks["scale"], shared_shelf).save_pretrained(root / "scale")
    (root / "out").symlink_to(runs / "reviews")
    (root / "halfway").mkdir()
    (root / "halfway" / "scalearn.json").write_bytes((runs / "reviews" / "scalearn.json").read_bytes())
    (root / "halfway" / "model.safetensors").symlink_to(runs / "reviews" / "model.safetensors")
    (root / "within").symlink_to(root / "scale")
    return root


def test_tasks_are_added_and_removed(serve: Serve, runs: Path, root: Path) -> None:
    url = serve(MultiTaskPredictor.from_folders([runs]), root=root)
    added = HTTP.post(f"{url}/tasks", json={"folder": "scale"})
    assert (added.status_code, added.json()) == (201, {"name": "scale"})
    assert HTTP.post(f"{url}/predict", json={"task": "scale", "rows": ["a"]}).status_code == 200
    again = HTTP.post(f"{url}/tasks", json={"folder": "scale"})
    assert again.status_code == 422 and "another target is" in again.json()["error"]
    assert HTTP.post(f"{url}/tasks", json={"folder": str(root / "scale"), "overwrite": True}).status_code == 201
    assert HTTP.post(f"{url}/tasks", json={"folder": "within", "name": "a/b"}).json() == {"name": "a/b"}
    assert HTTP.delete(f"{url}/tasks/a/b").status_code == 204
    assert HTTP.delete(f"{url}/tasks/scale").status_code == 204
    assert HTTP.delete(f"{url}/tasks/scale").status_code == 404
    assert HTTP.post(f"{url}/predict", json={"task": "scale", "rows": ["a"]}).status_code == 404


@pytest.mark.parametrize("folder", ["../runs/reviews", "out", "halfway", "nothing", ".", "/etc", "a\0b", "x" * 4096])
def test_no_path_leads_out_of_the_directory(serve: Serve, runs: Path, root: Path, folder: str) -> None:
    url = serve(MultiTaskPredictor.from_folders([runs]), root=root)
    for given in (folder, str(runs / "reviews")):
        answer = HTTP.post(f"{url}/tasks", json={"folder": given, "name": "new"})
        assert answer.status_code == 422
        assert answer.json() == {"error": "folder: give a saved model in the directory that the service may read"}
    assert HTTP.get(f"{url}/tasks").json()["count"] == 3


def test_names_given_to_this_address_by_others_change_nothing(serve: Serve, runs: Path, root: Path) -> None:
    url = serve(MultiTaskPredictor.from_folders([runs]), root=root)
    for host, status in {"evil.example": 403, "[": 403, "localhost:8000": 204, "[::1]:8000": 404}.items():
        assert HTTP.delete(f"{url}/tasks/reviews", headers={"host": host}).status_code == status
    simple = HTTP.post(f"{url}/tasks", content=b'{"folder": "scale"}', headers={"content-type": "text/plain"})
    assert simple.status_code == 415  # what any page may send without asking first


@pytest.fixture(scope="module")
def shared(runs: Path) -> Any:
    """The address of a service that all of these tests may ask."""
    from scalearn.serving.server import listen, server

    service = Service(MultiTaskPredictor.from_folders([runs]))
    listener = listen("127.0.0.1", 0)
    own = server(service)
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    own.should_exit = True
    thread.join(20)


def test_a_directory_is_called_as_clients_know_it(serve: Serve, runs: Path, root: Path) -> None:
    (root / "scale" / "model.safetensors").write_bytes(b"altered")
    url = serve(MultiTaskPredictor.from_folders([runs]), root=root)
    answer = HTTP.post(f"{url}/tasks", json={"folder": "scale"})
    assert answer.status_code == 422 and "scale/model.safetensors" in answer.json()["error"]
    assert str(root) not in answer.text


@pytest.mark.parametrize(
    ("form", "given"),
    [
        (Rows, {"task": "a", "rows": [1] * 1000}),
        (Rows, {"task": "a", "rows": [["a", 1, 1]] * 1000}),
        (Rows, {"task": "a", "rows": ["a"], **{str(number): 1 for number in range(1000)}}),
        (Inputs, {"inputs": [{}] * 1000}),
    ],
)
def test_not_every_fault_of_a_large_body_is_looked_for(form: Any, given: Any) -> None:
    """A megabyte of them held up everybody for 15 seconds."""
    with pytest.raises(ValidationError) as error:
        form.model_validate(given)
    assert error.value.error_count() <= 2


def test_what_is_given_up_is_counted(predictor: MultiTaskPredictor) -> None:
    service = Service(predictor)
    asked = asyncio.Event()

    async def never(*_: Any) -> Any:
        asked.set()
        await asyncio.sleep(60)

    async def give_up() -> None:
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        task = asyncio.create_task(service.asgi(scope, never, never))
        await asked.wait()
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(give_up())
    service.close()
    assert service.asgi.given_up == 1
