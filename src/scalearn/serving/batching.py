"""Rows of concurrent requests, joined to one batch.

Requests wait in a bounded queue for the one thread that computes. It takes what waits, up to `most` rows, after giving
others `wait` seconds to join the first; while it computes the next batch gathers by itself. Every request that was
accepted is answered: closing computes what still waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from scalearn.prediction import Prediction
from scalearn.serving.computation import Question

Answers = list[Prediction]


class QueueFullError(RuntimeError):
    """There is no room for the rows of a request now; `seconds` is when there may be."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many rows wait already: try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, eq=False)
class _Request:
    questions: Sequence[Question]
    future: Future[Answers] = field(default_factory=Future)


class Batcher:
    """Computes requests, several at once.

    Args:
        compute: answers questions, in order; called by one thread only.
        most: rows to join at most; a request of more is computed alone.
        wait: seconds to wait for others to join.
        room: rows that may wait.
        report: told the rows and the seconds of each batch.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Question]], Answers],
        *,
        most: int,
        wait: float,
        room: int,
        report: Callable[[int, float], object] = lambda rows, seconds: None,
    ) -> None:
        self._compute, self._most, self._wait, self._room, self._report = compute, most, wait, room, report
        self._waiting: deque[_Request] = deque()
        self._rows = 0
        self._pace = 0.01  # seconds a row took lately
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="scalearn-batches", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return self._rows

    def submit(self, questions: Sequence[Question]) -> Future[Answers]:
        """Queues a request; its answers are those of its questions, in order.

        Raises:
            QueueFullError: too many rows wait, or the batcher is closed. A request larger than the whole room is
                taken where none waits.
        """
        request = _Request(questions)
        with self._changed:
            if self._closed or (self._rows and self._rows + len(questions) > self._room):
                raise QueueFullError(min(60, max(1, math.ceil(self._rows * self._pace))))
            self._waiting.append(request)
            self._rows += len(questions)
            self._changed.notify_all()
        return request.future

    def close(self) -> None:
        """Takes no more requests, computes those that wait, and ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while self._batch():
            pass

    def _batch(self) -> bool:
        """Computes one batch, and keeps nothing of it while it waits for the next; false if there will be no more."""
        if not (requests := self._next()):
            return False
        start = time.perf_counter()
        questions = [question for request in requests for question in request.questions]
        try:
            answers = self._compute(questions)
        except Exception:
            for request in requests:  # one of them is at fault: the others shall not suffer
                self._alone(request)
        else:
            done = 0
            for request in requests:
                request.future.set_result(answers[done : done + len(request.questions)])
                done += len(request.questions)
        seconds = time.perf_counter() - start
        self._pace += 0.2 * (seconds / max(1, len(questions)) - self._pace)
        self._report(len(questions), seconds)
        return True

    def _alone(self, request: _Request) -> None:
        try:
            request.future.set_result(self._compute(request.questions))
        except Exception as error:
            request.future.set_exception(error)

    def _next(self) -> list[_Request]:
        """The requests of the next batch; none when there will be no more."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                until = time.monotonic() + self._wait
                while self._rows < self._most and not self._closed and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                chosen, count = [], 0
                while self._waiting and (not count or count + len(self._waiting[0].questions) <= self._most):
                    request = self._waiting.popleft()
                    self._rows -= len(request.questions)
                    if request.future.set_running_or_notify_cancel():
                        chosen.append(request)
                        count += len(request.questions)
                if chosen:
                    return chosen
