"""What the service refuses before it is asked anything: bodies that are too large or too slow.

A body is read as a whole before a request goes on, so its size and the time it takes are known: 413 as soon as the
declared or the received size is too large, 408 when it has not arrived in time. The refusal goes out at once; what the
client still sends is dropped for a moment, so that the answer is read and not lost in a reset connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

_LINGER = 2.0
"""Seconds for which what a refused client still sends is dropped."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may ask."""

    rows: int = 256
    """Rows of a request."""
    characters: int = 20_000
    """Of each text."""
    body_bytes: int = 2**20
    """Of a request's body."""
    seconds: float = 10.0
    """For a client to send the head of a request, and again for its body."""


class RefusedError(Exception):
    """A request that is not read any further."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """Passes on requests that are within the limits, with their bodies read; adds headers; tells how each ended.

    Args:
        app: behind it.
        limits: of bodies.
        report: told method, path of the route, status and seconds of each request.
    """

    def __init__(self, app: ASGI, *, limits: Limits, report: Callable[..., object]) -> None:
        self._app, self._limits, self._report = app, limits, report
        self.given_up = 0
        """Requests that were not answered as the service had to end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            try:
                body = await self._body(scope, receive)
            except RefusedError as refused:
                await _refuse(refused, receive, answer)
            else:
                if body is not None:
                    await self._app(scope, _replaying(body, receive), answer)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            if status:
                method = scope["method"] if scope["method"] in _METHODS else "OTHER"
                path = getattr(scope.get("route"), "path", "other")
                self._report(method=method, path=path, status=status, seconds=time.perf_counter() - start)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None if the client went away."""
        too_large = RefusedError(413, f"the body is too large: send at most {self._limits.body_bytes:,} bytes")
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self._limits.body_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self._limits.body_bytes:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            reason = f"the body did not arrive within {self._limits.seconds:g} seconds"
            raise RefusedError(408, reason) from None


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then what the client does next."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(refused: RefusedError, receive: Receive, send: Send) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    try:
        async with asyncio.timeout(_LINGER):
            while (message := await receive())["type"] != "http.disconnect" and message.get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
