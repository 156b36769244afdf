"""Counters for Prometheus, summed over the processes where a folder for them is set (PROMETHEUS_MULTIPROC_DIR)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bessemer.serve.registry import Registry

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted; the parts of a metric with its labels are looked up once."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = own = CollectorRegistry()
        self._requests = Counter("bessemer_requests", "Requests by route and status", ("route", "status"), registry=own)
        self._seconds = Histogram("bessemer_request_seconds", "Seconds from head to answer", ("route",), buckets=SECONDS, registry=own)
        self._rows = Counter("bessemer_rows", "Rows answered", ("model", "version"), registry=own)
        self._batch = Histogram("bessemer_batch_rows", "Rows answered at once", ("model",), buckets=ROWS, registry=own)
        self._busy = Counter("bessemer_model_seconds", "Seconds that models computed", ("model", "version"), registry=own)
        self._shadow = Counter("bessemer_shadow_rows", "Rows that a shadow answered too", ("model", "version", "agrees"), registry=own)
        self._waiting = Gauge("bessemer_rows_waiting", "Rows accepted and not yet answered", ("model",), registry=own,
                              multiprocess_mode="livesum")
        self._open = Gauge("bessemer_connections", "Open connections", registry=own, multiprocess_mode="livesum")
        self._process = Gauge("bessemer_workers", "Processes that answer", registry=own, multiprocess_mode="livesum")
        self._process.set(1)
        self._parts: dict[tuple[Any, ...], Any] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._part(self._requests, route, status).inc()
        self._part(self._seconds, route).observe(seconds)

    def batch(self, model: str, version: str, rows: int, seconds: float) -> None:
        """Count a batch."""
        self._part(self._rows, model, version).inc(rows)
        self._part(self._busy, model, version).inc(seconds)
        self._part(self._batch, model).observe(rows)

    def shadow(self, model: str, version: str, agrees: bool) -> None:
        """Count a row that a shadow answered."""
        self._part(self._shadow, model, version, "yes" if agrees else "no").inc()

    def _part(self, metric: Any, *labels: Any) -> Any:
        found = self._parts.get((id(metric), *labels))
        if found is None:
            found = self._parts[id(metric), *labels] = metric.labels(*map(str, labels))
        return found

    def measure(self, registry: Registry, connections: int) -> None:
        """Take the gauges' values of this process."""
        for name, hosted in registry.models.items():
            self._part(self._waiting, name).set(sum(version.batcher.depth for version in hosted.loaded.values()))
        self._open.set(connections)

    def text(self) -> bytes:
        """Return all of it in Prometheus' format."""
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.multiprocess import MultiProcessCollector

        if not os.environ.get(FOLDER):
            return generate_latest(self.registry)
        whole = CollectorRegistry()
        MultiProcessCollector(whole)
        return generate_latest(whole)
