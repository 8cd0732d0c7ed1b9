"""`scalearn serve` in a process of its own: it starts, says where, and stops when told to, with nothing lost."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from scalearn import InputError, MultiTaskPredictor
from scalearn.cli import app
from scalearn.serving.app import Service
from scalearn.serving.server import listen, server

_CODE = "from scalearn.cli import main; main()"


@pytest.fixture
def served(runs: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and its address."""
    words = ["serve", str(runs), "--port", "0", "--max-batch-rows", "4", "--client-seconds", "5"]
    process = subprocess.Popen(
        [sys.executable, "-c", _CODE, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("3 task(s) at http://127.0.0.1:"), process.stderr.read() if process.stderr else ""
    yield process, first.split()[3]
    process.kill()
    process.wait()


def test_what_was_asked_before_the_signal_is_answered(served: tuple[subprocess.Popen[str], str]) -> None:
    process, url = served
    statuses: list[Any] = []
    body = {"task": "pairs", "rows": [["the good film was long and bad " * 5, "a b c"]] * 64}
    sent = threading.Semaphore(0)

    def telling() -> Iterator[bytes]:
        yield httpx.Request("POST", url, json=body).content
        sent.release()

    def ask() -> None:
        try:
            headers = {"content-type": "application/json"}
            answer = httpx.post(f"{url}/predict", content=telling(), headers=headers, timeout=60, verify=False)
            statuses.append((answer.status_code, len(answer.json()["answers"])))
        except httpx.HTTPError as error:
            statuses.append(error)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for _ in threads:
        sent.acquire()
    time.sleep(0.05)
    before = len(statuses)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    for thread in threads:
        thread.join(10)
    assert before < 20, "all were answered before the signal: ask for more"
    assert statuses == [(200, 64)] * 20
    assert process.returncode == 0
    assert output.strip() == "stopped; all that was asked is answered" and errors == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", verify=False)


def test_options_that_cannot_be_used(tmp_path: Path, runs: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127.0.0.1 port {port} cannot be listened on \(.*\): give another"):
            listen("127.0.0.1", port)
    with pytest.raises(InputError, match=r"nowhere.invalid port 1 cannot be listened on"):
        listen("nowhere.invalid", 1)

    def refused(*words: str) -> str:
        return str(CliRunner().invoke(app, ["serve", *words, "--port", "0"]).exception)

    assert "is not a directory" in refused(str(runs), "--allow-admin", str(tmp_path / "none"))
    assert "holds no models" in refused(str(tmp_path))
    (tmp_path / "shelf").mkdir()
    assert "holds zero sources" in refused(str(runs), "--sources", str(tmp_path / "shelf"))


def test_without_fastapi_it_says_what_to_install(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("scalearn.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    error = CliRunner().invoke(app, ["serve", str(runs)]).exception
    assert isinstance(error, InputError) and "pip install 'scalearn[serve]'" in str(error)


def test_health_says_so_while_it_stops(predictor: MultiTaskPredictor) -> None:
    service = Service(predictor)

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(service.asgi)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/healthz")

    assert asyncio.run(asked()).status_code == 200
    server(service).handle_exit(signal.SIGTERM, None)
    stopping = asyncio.run(asked())
    assert (stopping.status_code, stopping.json()) == (503, {"status": "draining"})
    service.close()
