"""Processes that live through all rounds and measure when they are told."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any


@contextmanager
def told(begin: Callable[..., Callable[[Any], Any]], *given: Any) -> Iterator[Connection]:
    """A new process, as its pipe: what is sent there is measured, and the result comes back.

    Args:
        begin: called there with `given`; returns what measures. Of a module's top level.
        given: for `begin`.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, begin, given), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()  # which ends it
        process.join()


def _serve(pipe: Connection, begin: Callable[..., Callable[[Any], Any]], given: tuple[Any, ...]) -> None:
    measure = begin(*given)
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        pipe.send(measure(asked))
