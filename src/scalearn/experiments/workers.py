"""Runs in several processes of this machine, the cores divided among them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from ctypes import c_byte

import torch

from scalearn.experiments.plan import RunSpec
from scalearn.experiments.runner import Report, Runner, Settings

_ASKING = (signal.SIGINT, signal.SIGTERM)
_WATCH = 0.5  # seconds between looks at whether the process that began this one is still there


class Workers:
    """Processes that do runs; each is a pool of its own, so that one that dies takes no other with it.

    Args:
        settings: of the launch.
        count: processes.
    """

    def __init__(self, settings: Settings, count: int) -> None:
        self.slots = self.parallel = count
        self._settings = settings
        self._threads = max(1, (os.cpu_count() or 1) // count)
        self._context = multiprocessing.get_context("spawn")  # threads and CUDA do not survive a fork
        self._stop = self._context.RawValue("b", 0)  # an Event has a lock, which who is killed with it never gives back
        self._pools = [self._pool() for _ in range(count)]
        self._busy: list[Future[Report] | None] = [None] * count

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is not None:  # interrupted, or nothing can be written: what is on disk is all that counts
            self._kill()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def submit(self, run: RunSpec) -> Future[Report]:
        """Begins a run in a process that has none; a new one takes the place of one that died."""
        slot = next(i for i, future in enumerate(self._busy) if future is None or future.done())
        with _deaf():
            try:
                future = self._pools[slot].submit(_attempt, run)
            except BrokenExecutor:
                self._pools[slot] = self._pool()
                future = self._pools[slot].submit(_attempt, run)
        self._busy[slot] = future
        return future

    def stop(self) -> None:
        """Asks all runs to stop at a checkpoint."""
        self._stop.value = 1

    def _kill(self) -> None:
        for pool in self._pools:
            for process in list((pool._processes or {}).values()):
                process.kill()

    def _pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            mp_context=self._context,
            initializer=_begin,
            initargs=(self._settings, self._threads, self._stop, os.getpid()),
        )


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes begun in the block are born deaf to what asks to stop; this one hears it after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """What a worker process holds between its runs."""

    runner: Runner
    stop: c_byte


def _begin(settings: Settings, threads: int, stop: c_byte, parent: int) -> None:
    for number in _ASKING:  # they may reach all processes of a terminal or a job; the first one decides
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _Process.runner, _Process.stop = Runner(settings), stop


def _end_with(parent: int) -> None:
    """Ends this process when the one that began it is gone: nobody waits for what it does."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)


def _attempt(run: RunSpec) -> Report:
    return _Process.runner.attempt(run, lambda: bool(_Process.stop.value))
