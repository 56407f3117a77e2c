"""OpenSearch 2 and 3, through its own client (``pip install 'lexite[opensearch]'``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lexite.engines.addresses import Address
from lexite.engines.bulk_driver import BulkDriver, IndexSettings
from lexite.engines.forms.base import Collection
from lexite.engines.forms.bulk import OPENSEARCH
from lexite.engines.live import LiveEngine
from lexite.engines.retrying import Patience, RequestFailed, retried
from lexite.errors import MissingExtraError

TIMEOUT = 120.0


class OpenSearchEngine(LiveEngine):
    """An index of OpenSearch.

    Documents hold relative frequencies in ``rank_features`` (route ``saturation``), or term frequencies in a text field
    (``frequencies``), or impacts (``linear``).

    Args:
        url: of the server, ``http://127.0.0.1:9200``; several with commas between them.
        name: of the index.
        shards: primary shards of a new index.
        replicas: copies of each.
        settings: other settings of a new index, by name.
        client: an ``opensearchpy.OpenSearch`` to use in place of ``url``, with whatever security it was given.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``route_name``, ``text``, ``most_terms`` …

    Raises:
        MissingExtraError: opensearch-py is not installed.
        EngineError: the server does not answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:9200",
        name: str = "lexite",
        *,
        shards: int = 1,
        replicas: int = 0,
        settings: Mapping[str, Any] | None = None,
        client: Any = None,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        connection = _Connection(url, client)
        waiting = patience or Patience()
        address = f"{url.split('@')[-1].removeprefix('http://').removeprefix('https://')}/{name}"
        version = retried(lambda: connection.request("GET", "/"), address, waiting)["version"]["number"]
        major = int(version.split(".")[0])

        def factor(collection: Collection) -> float:
            """Before version 3, BM25 keeps the factor k1 + 1 of the formula."""
            return collection.pivot + 1.0 if major < 3 and collection.route.name == "frequencies" else 1.0

        index = IndexSettings(shards, replicas, settings)
        driver = BulkDriver(
            "OpenSearch", connection, name, OPENSEARCH, f"opensearch://{address}", index=index, factor=factor, patience=waiting
        )
        super().__init__(driver, **options)
        self.version = str(version)


class _Connection:
    """The client, with its errors made plain. It does not try again by itself; the driver does."""

    def __init__(self, url: str, client: Any) -> None:
        try:
            module: Any = importlib.import_module("opensearchpy")
        except ImportError:
            raise MissingExtraError("opensearch-py", "opensearch", "Speaking to OpenSearch") from None
        self._errors = module.exceptions
        self._client = client or module.OpenSearch(
            url.split(","), timeout=TIMEOUT, max_retries=0, retry_on_timeout=False, http_compress=False
        )

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """As :meth:`lexite.engines.bulk_driver.Connection.request` says."""
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        sent = body.decode() if isinstance(body, bytes) else body
        try:
            return self._client.transport.perform_request(
                method, path, headers={"content-type": kind}, params=dict(params or {}), body=sent
            )
        except self._errors.ConnectionError as error:
            raise RequestFailed(None, f"no connection ({type(error).__name__}: {str(error)[:200]})") from None
        except self._errors.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else None
            raise RequestFailed(status, _words(error)) from None

    def close(self) -> None:
        """Ends it."""
        self._client.close()


def _words(error: Any) -> str:
    found = error.info.get("error") if isinstance(error.info, Mapping) else None
    if isinstance(found, Mapping):
        causes = [found.get("reason"), *(root.get("reason") for root in found.get("root_cause") or [])]
        return "; ".join(dict.fromkeys(str(cause) for cause in causes if cause))
    return str(found or error.error)


def at_address(address: Address, **options: Any) -> OpenSearchEngine:
    """The engine at ``opensearch://HOST:9200/NAME``; ``?shards=5&replicas=1`` shape a new index."""
    return OpenSearchEngine(address.server(9200), address.name, **address.numbers("shards", "replicas"), **options)
