"""Runs as Ray tasks: Ray places them by their CPUs and GPUs, and does them again when a worker or a node is lost.

All machines must see the folder of runs under the same path, and have the same versions installed. A task that is done
again goes on from its last checkpoint there. Never run on more than one machine so far.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import cache
from types import ModuleType
from typing import Any

from scalearn.errors import InputError
from scalearn.experiments.plan import RunSpec
from scalearn.experiments.runner import Report, Runner, Settings

_ASK = 1.0  # seconds between questions whether to stop


class Cluster:
    """A connection to Ray.

    Args:
        settings: of the launch.
        address: of a cluster; ``auto`` takes the one this machine is in, or makes one of this machine.
        cpus: that a run reserves, and the threads it computes with.
        gpus: that a run reserves; a fraction lets several share one. Without any where the device is ``cpu``.

    Raises:
        InputError: Ray is not installed, or does not answer at the address.
    """

    def __init__(self, settings: Settings, address: str, *, cpus: int = 1, gpus: float = 1.0) -> None:
        self._ray = _connected(address)
        gpus = gpus if settings.device == "cuda" else 0.0
        resources = self._ray.cluster_resources()
        room = resources.get("CPU", 1.0) / cpus
        if gpus:
            room = min(room, resources.get("GPU", 0.0) / gpus)
        if room < 1:
            raise InputError(
                f"no run fits into the cluster: it has {resources.get('CPU', 0):g} CPUs and "
                f"{resources.get('GPU', 0):g} GPUs, a run asks for {cpus} and {gpus:g}; ask for less (--cpus, --gpus)"
            )
        self.parallel = int(room)
        self.slots = 4 * self.parallel  # some wait in Ray's queue, so that a cluster that grows by itself does
        shared = replace(settings, runs=settings.runs.resolve(), data=settings.data and settings.data.resolve())
        flag = self._ray.remote(_Flag).options(num_cpus=0, max_restarts=-1)
        self._flag = flag.remote()
        task = self._ray.remote(_attempt).options(num_cpus=cpus, num_gpus=gpus, max_retries=3)
        here = os.getcwd()
        self._task: Callable[[RunSpec], Any] = lambda run: task.remote(shared, run, cpus, self._flag, here)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def submit(self, run: RunSpec) -> Future[Report]:
        """Gives a run to Ray."""
        theirs: Future[Report] = self._task(run).future()
        ours: Future[Report] = Future()
        theirs.add_done_callback(lambda done: _copy(done, ours))
        return ours

    def stop(self) -> None:
        """Asks all runs to stop at a checkpoint."""
        self._flag.stop.remote()


def _connected(address: str) -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: install it (pip install 'scalearn[ray]')") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "ignore_reinit_error": True}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise InputError(
                f"no Ray cluster answers at {address} ({error}): give --ray auto, or its address"
            ) from error
        ray.init(address="local", include_dashboard=False, **quiet)
    module: ModuleType = ray
    return module


class _Flag:
    """An actor that all tasks ask whether to stop."""

    def __init__(self) -> None:
        self._stop = False

    def stop(self) -> None:
        """From now on they shall."""
        self._stop = True

    def asked(self) -> bool:
        """Whether they shall."""
        return self._stop


@cache
def _runner(settings: Settings) -> Runner:
    """Of this worker process: it keeps tasks and backbones between runs."""
    return Runner(settings)


def _copy(theirs: Future[Report], ours: Future[Report]) -> None:
    """With the error as it was raised, not as Ray tells it with all that it knows about where."""
    error = theirs.exception()
    if error is None:
        ours.set_result(theirs.result())
    else:
        ours.set_exception(getattr(error, "cause", None) or error)


def _attempt(settings: Settings, run: RunSpec, threads: int, flag: Any, where: str) -> Report:
    import ray
    import torch

    with suppress(OSError):
        os.chdir(where)  # a recipe may name folders from where it was given
    torch.set_num_threads(threads)
    asked = [0.0]

    def stop() -> bool:
        if time.monotonic() - asked[0] < _ASK:
            return False
        asked[0] = time.monotonic()
        try:
            return bool(ray.get(flag.asked.remote(), timeout=_ASK))
        except ray.exceptions.RayError:  # it is being restarted, or busy: no reason to lose a run
            return False

    return _runner(settings).attempt(run, stop)
