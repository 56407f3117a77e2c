"""What Prometheus reads of a server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from lexite.server.indexes import ServedIndex

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """Counts requests of one application; its registry is its own, so that a process may have several.

    Args:
        indexes: by name; their numbers are read when they are asked for.

    Attributes:
        in_flight: requests that are being answered.
    """

    def __init__(self, indexes: Mapping[str, ServedIndex]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lexite_requests", "Requests that were answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "lexite_request_seconds", "Seconds until an answer was sent.", ("route",), buckets=BUCKETS, registry=self._registry
        )
        self.in_flight = Gauge("lexite_requests_in_flight", "Requests that are being answered.", registry=self._registry)
        self._registry.register(_OfIndexes(indexes))

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request. Routes are those of the table, so that no client can make new labels."""
        known = method if method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All numbers in the text format of Prometheus."""
        return generate_latest(self._registry)


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
        reloads = CounterMetricFamily("lexite_reloads", "Newer commits that took the place of older ones.", labels=["index"])
        for name, served in self._indexes.items():
            index = served.snapshot.index
            documents.add_metric([name], index.n_documents)
            generation.add_metric([name], index.generation)
            stale.add_metric([name], served.trouble is not None)
            reloads.add_metric([name], served.reloads)
        yield from (documents, generation, stale, reloads)
