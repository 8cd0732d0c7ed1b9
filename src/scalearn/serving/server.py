"""Runs the service until it is told to stop; then what was accepted is answered, and only then it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from scalearn.errors import InputError
from scalearn.serving.app import Service

_IDLE = 30
"""Seconds that a connection may stay open between two requests."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Args:
        host: an address or a name.
        port: 0 takes one that is free.

    Raises:
        InputError: there is no such address here, or the port is taken or not allowed.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host} port {port} cannot be listened on ({getattr(error, 'strerror', None) or error}): give another "
            "with --host and --port"
        ) from error


def run(service: Service, *, listener: socket.socket, stop_seconds: int = 60) -> int:
    """Serves until SIGINT or SIGTERM; a second signal, if it is Ctrl-C, ends it after the batch under way.

    Args:
        service: that answers.
        listener: from `listen`.
        stop_seconds: after which requests under way are given up when it stops.

    Returns:
        How many requests were given up.
    """
    try:
        server(service, stop_seconds=stop_seconds).run(sockets=[listener])
    finally:
        service.close()
    return service.asgi.given_up


def server(service: Service, *, stop_seconds: int = 60) -> uvicorn.Server:
    """What `run` runs: it stops when ``should_exit`` is set."""

    class Protocol(_TimedProtocol):
        head_seconds = service.limits.seconds

    config = uvicorn.Config(
        service.asgi,
        http=Protocol,
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=stop_seconds,
    )
    return _Server(config, service)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop. The signal is not raised again in the end, as uvicorn would: stopping is no failure."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True
        self._service.draining = True


class _TimedProtocol(H11Protocol):
    """Closes a connection whose request's head does not arrive in time."""

    head_seconds: float
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_wait()  # the head is there; the body has a deadline of its own
        elif self._deadline is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
