"""Requests are joined, none is lost, and one at fault harms no other."""

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from scalearn.prediction import Prediction
from scalearn.serving.batching import Batcher, QueueFullError


class Compute:
    """Answers a number with itself; waits where it is told to; refuses negative ones."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.may = threading.Event()
        self.may.set()

    def __call__(self, questions: Sequence[Any]) -> list[Prediction]:
        self.batches.append(list(questions))
        assert self.may.wait(10)
        if any(question < 0 for question in questions):
            raise ArithmeticError("negative")
        return [Prediction(label=float(question), probabilities={}) for question in questions]


@pytest.fixture
def compute() -> Iterator[Compute]:
    made = Compute()
    yield made
    made.may.set()


def batcher(compute: Compute, **options: Any) -> Batcher:
    return Batcher(compute, **{"most": 8, "wait": 0.0, "room": 100, **options})


def labels(future: Any) -> list[float]:
    return [answer.label for answer in future.result(10)]


def blocked(compute: Compute, own: Batcher) -> Any:
    """A request that is being computed until the event is set."""
    compute.may.clear()
    first = own.submit([0])
    while not compute.batches:
        time.sleep(0.001)
    return first


def test_what_gathers_during_a_computation_is_computed_together_in_order(compute: Compute) -> None:
    reported: list[int] = []
    own = batcher(compute, report=lambda rows, seconds: reported.append(rows))
    first = blocked(compute, own)
    futures = [own.submit(range(start, start + 3)) for start in (1, 4, 7)]
    assert own.rows == 9
    compute.may.set()
    assert labels(first) == [0]
    assert [labels(future) for future in futures] == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    own.close()
    assert compute.batches == [[0], [1, 2, 3, 4, 5, 6], [7, 8, 9]]  # at most 8 rows, requests whole
    assert reported == [1, 6, 3]
    assert own.rows == 0


def test_a_request_larger_than_a_batch_is_computed_alone(compute: Compute) -> None:
    own = batcher(compute)
    first = blocked(compute, own)
    futures = [own.submit(range(20)), own.submit([1])]
    compute.may.set()
    assert len(labels(futures[0])) == 20 and labels(futures[1]) == [1] and labels(first) == [0]
    own.close()
    assert [len(batch) for batch in compute.batches] == [1, 20, 1]


def test_the_first_waits_for_others(compute: Compute) -> None:
    own = batcher(compute, wait=5.0)
    start = time.monotonic()
    futures = [own.submit([1, 2, 3]), own.submit([4, 5, 6]), own.submit([7, 8])]  # 8 rows are a batch: no more waiting
    assert [len(labels(future)) for future in futures] == [3, 3, 2]
    assert time.monotonic() - start < 4
    assert len(compute.batches) == 1
    last = own.submit([9])
    own.close()  # nor does it wait when nothing can come any more
    assert labels(last) == [9]
    assert time.monotonic() - start < 4


def test_one_at_fault_harms_no_other(compute: Compute) -> None:
    own = batcher(compute)
    first = blocked(compute, own)
    futures = [own.submit([1]), own.submit([-1]), own.submit([2])]
    compute.may.set()
    assert labels(first) + labels(futures[0]) + labels(futures[2]) == [0, 1, 2]
    with pytest.raises(ArithmeticError):
        futures[1].result(10)
    assert labels(own.submit([3])) == [3]
    own.close()


def test_a_full_queue_says_when_to_come_again(compute: Compute) -> None:
    own = batcher(compute, room=5)
    first = blocked(compute, own)
    waiting = own.submit(range(5))
    with pytest.raises(QueueFullError, match="too many rows wait") as error:
        own.submit([1])
    assert 1 <= error.value.seconds <= 60
    compute.may.set()
    assert labels(first) == [0] and len(labels(waiting)) == 5
    assert len(labels(own.submit(range(20)))) == 20  # larger than the room, but nothing waits
    own.close()
    with pytest.raises(QueueFullError):
        own.submit([1])


def test_what_was_cancelled_is_not_computed(compute: Compute) -> None:
    own = batcher(compute)
    first = blocked(compute, own)
    gone, stays = own.submit([1]), own.submit([2])
    assert gone.cancel()
    compute.may.set()
    assert labels(first) + labels(stays) == [0, 2]
    own.close()
    assert compute.batches == [[0], [2]]


def test_closing_answers_what_waits(compute: Compute) -> None:
    own = batcher(compute)
    first = blocked(compute, own)
    futures = [own.submit([number]) for number in range(1, 30)]
    threading.Timer(0.05, compute.may.set).start()
    own.close()
    assert [labels(future) for future in futures] == [[float(number)] for number in range(1, 30)] and labels(first) == [
        0
    ]


def test_many_threads_get_their_own_answers(compute: Compute) -> None:
    own = batcher(compute, wait=0.001)
    faults = []

    def ask(offset: int) -> None:
        for turn in range(20):
            rows = [1000 * offset + 10 * turn + i for i in range(1 + turn % 4)]
            if labels(own.submit(rows)) != rows:
                faults.append(rows)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    own.close()
    assert faults == []
    assert max(map(len, compute.batches)) > 4


def test_nothing_of_a_batch_is_kept_while_there_is_no_other(compute: Compute) -> None:
    """A target that was removed must not stay in memory until somebody asks again."""

    class Question:
        """Of a target."""

    own = batcher(lambda questions: [Prediction(label=1.0, probabilities={}) for _ in questions])  # type: ignore[arg-type]
    question: Any = Question()
    gone = weakref.ref(question)
    own.submit([question]).result(10)
    del question
    until = time.monotonic() + 10
    while gone() is not None and time.monotonic() < until:
        time.sleep(0.001)
    assert gone() is None
    own.close()
