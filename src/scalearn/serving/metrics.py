"""What the service counts, for Prometheus. Each service has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters of one service.

    Args:
        queued: how many rows wait now.
        tasks: how many targets there are now.
    """

    def __init__(self, *, queued: Callable[[], float], tasks: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "scalearn_requests", "Requests answered.", ("method", "path", "status"), registry=self._registry
        )
        self._latency = Histogram(
            "scalearn_request_seconds",
            "From the first byte of a request's head to the end of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter("scalearn_rows", "Rows computed.", registry=self._registry)
        self._batch = Histogram("scalearn_batch_rows", "Rows computed at once.", buckets=_ROWS, registry=self._registry)
        self._compute = Histogram(
            "scalearn_batch_seconds", "Time that a batch took.", buckets=_SECONDS, registry=self._registry
        )
        Gauge("scalearn_queued_rows", "Rows that wait.", registry=self._registry).set_function(queued)
        Gauge("scalearn_tasks", "Targets that can be asked.", registry=self._registry).set_function(tasks)

    def batch(self, rows: int, seconds: float) -> None:
        """Counts a batch that was computed."""
        self._rows.inc(rows)
        self._batch.observe(rows)
        self._compute.observe(seconds)

    def request(self, *, method: str, path: str, status: int, seconds: float) -> None:
        """Counts a request that was answered.

        Args:
            method: of HTTP.
            path: the route, not what the client wrote: there are few of them.
            status: of the answer.
            seconds: that it took.
        """
        self._requests.labels(method, path, str(status)).inc()
        self._latency.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All of it in the exposition format."""
        return generate_latest(self._registry)
