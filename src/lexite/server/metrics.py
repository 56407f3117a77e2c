"""What Prometheus reads of a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from lexite.server.indexes import ServedIndex

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder where the processes of one server keep their counts. It is read when prometheus_client is imported."""
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests of one application; its registry is its own, so that a process may have several.

    Where several processes answer (:mod:`lexite.server.workers`), each adds what it counts to a folder, and tells the sums.

    Attributes:
        in_flight: requests that are being answered.
    """

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "lexite_requests", "Requests that were answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "lexite_request_seconds", "Seconds until an answer was sent.", ("route",), buckets=BUCKETS, registry=registry
        )
        self.in_flight = Gauge(
            "lexite_requests_in_flight", "Requests that are being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self._reloads = Counter(
            "lexite_reloads", "Newer commits that took the place of older ones.", ("index",), registry=registry
        )
        self._indexes: _OfIndexes | None = None

    def watch(self, indexes: Mapping[str, ServedIndex]) -> None:
        """Tells the numbers of indexes too. They are read when they are asked for."""
        self._indexes = _OfIndexes(indexes)
        for name in indexes:
            self._reloads.labels(name)

    def reloaded(self, index: str) -> None:
        """Counts a newer commit that took the place of an older one."""
        self._reloads.labels(index).inc()

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request. Routes are those of the table, so that no client can make new labels."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All numbers in the text format of Prometheus."""
        registry, folder = self._registry, os.environ.get(SHARED_FOLDER)
        if folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        own = CollectorRegistry()
        if self._indexes is not None:
            own.register(self._indexes)
        return generate_latest(registry) + generate_latest(own)


class _OfIndexes:
    """The numbers of the indexes, read when Prometheus asks."""

    def __init__(self, indexes: Mapping[str, ServedIndex]) -> None:
        self._indexes = indexes

    def describe(self) -> list[Metric]:
        """Nothing, so that nothing is read before somebody asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        documents = GaugeMetricFamily("lexite_documents", "Documents of an index.", labels=["index"])
        generation = GaugeMetricFamily("lexite_generation", "Number of the commit that answers.", labels=["index"])
        stale = GaugeMetricFamily("lexite_newest_unusable", "Whether the newest commit could not be opened.", labels=["index"])
        for name, served in self._indexes.items():
            index = served.snapshot.index
            documents.add_metric([name], index.n_documents)
            generation.add_metric([name], index.generation)
            stale.add_metric([name], served.trouble is not None)
        yield from (documents, generation, stale)
