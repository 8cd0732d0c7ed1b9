"""The service: what can be asked over HTTP, and what is answered.

`POST /predict` takes rows of one task, `POST /predict/mixed` rows that each name theirs. Errors are
``{"error": "one line"}`` with a 4xx status. Where a directory is given for it, `POST /tasks` and `DELETE /tasks/NAME`
add and remove targets while others are answered.
"""

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as AnyHTTPException

from scalearn.errors import InputError
from scalearn.saved import DESCRIPTION, WEIGHTS
from scalearn.serving.batching import Batcher, QueueFullError
from scalearn.serving.computation import Question
from scalearn.serving.limits import Guard, Limits
from scalearn.serving.messages import (
    Added,
    Answer,
    Answers,
    Health,
    Inputs,
    Named,
    Problem,
    Rows,
    TaskInfo,
    Tasks,
)
from scalearn.serving.metrics import Metrics
from scalearn.serving.pages import Page
from scalearn.serving.predictor import MultiTaskPredictor, UnknownTask

_SHOWN = 5
_WORDS = {400: "Not JSON.", 404: "No such task.", 408: "The body came too slowly.", 413: "The body is too large."}
_WORDS |= {403: "Not from here.", 415: "Not declared as JSON.", 422: "Something in the body cannot be used."}
_WORDS |= {429: "Too many rows wait: try again after the seconds of Retry-After."}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problem, "description": _WORDS[status]} for status in sorted(statuses)}


_BODY = (400, 408, 413, 415, 422)


class Service:
    """A predictor behind HTTP.

    Args:
        predictor: that answers.
        limits: of a request.
        most: rows to compute at once.
        wait: seconds for which the first request of a batch waits for others.
        room: rows that may wait.
        root: where models may be added from; None leaves adding and removing out.
    """

    def __init__(
        self,
        predictor: MultiTaskPredictor,
        *,
        limits: Limits | None = None,
        most: int = 64,
        wait: float = 0.002,
        room: int = 4096,
        root: Path | None = None,
    ) -> None:
        self.predictor = predictor
        self.limits = limits or Limits()
        self.root = None if root is None else root.resolve(strict=True)
        self.draining = False
        self.metrics = Metrics(queued=lambda: self.batcher.rows, tasks=lambda: len(predictor))

        def compute(questions: Sequence[Question]) -> list[Any]:
            return predictor.answer(questions, batch_size=most)

        self.batcher = Batcher(compute, most=most, wait=wait, room=room, report=self.metrics.batch)
        self.api = self._api()
        self.asgi = Guard(self.api, limits=self.limits, report=self.metrics.request)

    def close(self) -> None:
        """Answers what waits, and ends the thread that computes."""
        self.draining = True
        self.batcher.close()

    # ---- routes

    def _api(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            await asyncio.to_thread(self.close)

        api = FastAPI(
            title="scalearn",
            description="Many tasks over one backbone. "
            f"A request has at most {self.limits.rows} rows, a text {self.limits.characters:,} characters, a body "
            f"{self.limits.body_bytes:,} bytes.",
            version="1",
            docs_url=None,
            redoc_url=None,
            lifespan=lifespan,
        )
        api.add_exception_handler(AnyHTTPException, _answer_http)
        api.add_exception_handler(RequestValidationError, _answer_invalid)
        api.add_exception_handler(InputError, _answer_input)
        api.add_exception_handler(QueueFullError, _answer_full)
        api.add_exception_handler(Exception, _answer_fault)
        api.include_router(self._asking())
        if self.root is not None:
            api.include_router(self._changing(), dependencies=[Depends(_check_host)])
        api.include_router(self._watching())
        return api

    def _asking(self) -> APIRouter:
        router = APIRouter()

        @router.post("/predict", responses=_problems(404, 429, *_BODY))
        async def predict(given: Rows) -> Answers:
            """Answers rows of one task."""
            return await self._answers([(given.task, row) for row in given.rows])

        @router.post("/predict/mixed", responses=_problems(404, 429, *_BODY))
        async def predict_mixed(given: Inputs) -> Answers:
            """Answers rows that each name their task."""
            return await self._answers([(one.task, one.row) for one in given.inputs])

        @router.get("/tasks", responses=_problems(422))
        async def tasks(
            search: Annotated[str, Query(max_length=200, description="Part of the names.")] = "",
            offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
            limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        ) -> Tasks:
            """What can be asked."""
            known = self.predictor.tasks
            names = [name for name in known if search.lower() in name.lower()]
            part = names[offset : offset + limit]
            return Tasks(count=len(names), tasks=[TaskInfo.of(name, known[name]) for name in part])

        return router

    def _changing(self) -> APIRouter:
        router = APIRouter()

        @router.post("/tasks", status_code=201, responses=_problems(403, *_BODY))
        async def add(given: Added) -> Named:
            """Takes up a saved model of the directory that the service may read."""
            folder = self._inside(given.folder)
            add = self.predictor.add
            try:
                return Named(name=await run_in_threadpool(add, folder, given.name, overwrite=given.overwrite))
            except InputError as error:  # where the directory is, is not for clients to know
                raise InputError(str(error).replace(f"{self.root}{os.sep}", "")) from error

        @router.delete("/tasks/{name:path}", status_code=204, responses=_problems(403, 404))
        async def remove(name: str) -> Response:
            """Forgets a task."""
            self.predictor.remove(name)
            return Response(status_code=204)

        return router

    def _watching(self) -> APIRouter:
        router = APIRouter()
        home, reference = Page("page.html"), Page("api.html")

        @router.get("/healthz", responses={503: {"model": Health, "description": "The service stops."}})
        async def healthz(response: Response) -> Health:
            """Whether requests are taken."""
            response.status_code = 503 if self.draining else 200
            return Health(status="draining" if self.draining else "ready")

        @router.get("/metrics", response_class=PlainTextResponse)
        async def metrics() -> Response:
            """Counters, in Prometheus' text format."""
            return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

        @router.get("/", include_in_schema=False)
        async def page() -> HTMLResponse:
            return HTMLResponse(home.text, headers=home.headers)

        @router.get("/docs", include_in_schema=False)
        async def docs() -> HTMLResponse:
            return HTMLResponse(reference.text, headers=reference.headers)

        return router

    # ---- what they do

    async def _answers(self, rows: Sequence[tuple[str, str | list[str]]]) -> Answers:
        self._check(rows)
        questions = self.predictor.resolve(rows)
        predictions = await asyncio.wrap_future(self.batcher.submit(questions))
        return Answers(answers=[Answer.of(q, p) for q, p in zip(questions, predictions, strict=True)])

    def _check(self, rows: Sequence[tuple[str, str | list[str]]]) -> None:
        if len(rows) > self.limits.rows:
            raise InputError(f"{len(rows)} rows: give at most {self.limits.rows} in one request")
        for number, (_, row) in enumerate(rows, start=1):
            longest = max(map(len, [row] if isinstance(row, str) else row))
            if longest > self.limits.characters:
                raise InputError(
                    f"row {number} has a text of {longest:,} characters: give at most {self.limits.characters:,}"
                )

    def _inside(self, given: str) -> Path:
        """A model's folder under the root, whatever links there are on the way to it and to its files."""
        assert self.root is not None
        try:
            folder = (self.root / given).resolve(strict=True)
            files = [(folder / name).resolve(strict=True) for name in (DESCRIPTION, WEIGHTS)]
        except (OSError, ValueError, RuntimeError):
            folder, files = Path(), []
        if not files or not all(path.is_relative_to(self.root) for path in (folder, *files)):
            raise InputError("folder: give a saved model in the directory that the service may read")
        return folder


def _check_host(request: Request) -> None:
    """Refuses a page of the web that has given its own name this machine's address (DNS rebinding)."""
    given = request.headers.get("host", "")
    try:
        host = urlsplit(f"//{given}").hostname or ""
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        raise HTTPException(403, f"tasks are changed by address or as localhost, not as {given!r}") from None


# ---- errors


def _problem(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    line = " ".join(reason.encode("utf-8", "replace").decode().split())
    return JSONResponse({"error": line}, status_code=status, headers=headers)


async def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    reason = str(error.detail)
    if error.status_code == 400 and error.__cause__ is not None:  # not UTF-8, nested too deeply, a number too long
        reason = f"the body is not JSON that can be read: {error.__cause__}"
    return _problem(error.status_code, reason, dict(error.headers or {}))


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return _problem(400, f"the body is not JSON: {faults[0]['ctx']['error']} at {faults[0]['loc'][-1]}")
    if isinstance(error.body, bytes):
        return _problem(415, "send the body as JSON, with the header Content-Type: application/json")
    told = [f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: {fault['msg']}" for fault in faults[:_SHOWN]]
    return _problem(422, "; ".join(told) + (f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""))


async def _answer_input(_: Request, error: Exception) -> Response:
    return _problem(404 if isinstance(error, UnknownTask) else 422, str(error))


async def _answer_full(_: Request, error: Exception) -> Response:
    assert isinstance(error, QueueFullError)
    return _problem(429, str(error), {"Retry-After": str(error.seconds)})


async def _answer_fault(_: Request, error: Exception) -> Response:
    return _problem(500, "this is a fault of the service: its log says more")
