"""Elasticsearch 8, through its own client (``pip install 'lexite[elasticsearch]'``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lexite.engines.addresses import Address
from lexite.engines.bulk_driver import BulkDriver, IndexSettings
from lexite.engines.forms.bulk import ELASTICSEARCH
from lexite.engines.live import LiveEngine
from lexite.engines.retrying import Patience, RequestFailed
from lexite.errors import MissingExtraError

TIMEOUT = 120.0
_KIND = "application/vnd.elasticsearch+{kind}; compatible-with=8"


class ElasticsearchEngine(LiveEngine):
    """An index of Elasticsearch, 8.15 or later.

    Documents hold impacts in a ``sparse_vector`` that prunes nothing (route ``impacts``), or relative frequencies or impacts in
    ``rank_features`` (``saturation``, ``linear``).

    Args:
        url: of the server, ``http://127.0.0.1:9200``; several with commas between them.
        name: of the index.
        shards: primary shards of a new index.
        replicas: copies of each.
        settings: other settings of a new index, by name.
        client: an ``elasticsearch.Elasticsearch`` to use in place of ``url``, with whatever security it was given.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``route_name``, ``text``, ``most_terms`` …

    Raises:
        MissingExtraError: the client is not installed.
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
        address = f"{url.split('@')[-1].removeprefix('http://').removeprefix('https://')}/{name}"
        driver = BulkDriver(
            "Elasticsearch",
            _Connection(url, client),
            name,
            ELASTICSEARCH,
            f"elasticsearch://{address}",
            index=IndexSettings(shards, replicas, settings),
            patience=patience,
        )
        super().__init__(driver, **options)


class _Connection:
    """The client, with its errors made plain. It does not try again by itself; the driver does."""

    def __init__(self, url: str, client: Any) -> None:
        try:
            module: Any = importlib.import_module("elasticsearch")
        except ImportError:
            raise MissingExtraError("elasticsearch", "elasticsearch", "Speaking to Elasticsearch") from None
        self._module = module
        self._client = client or module.Elasticsearch(
            url.split(","), request_timeout=TIMEOUT, max_retries=0, retry_on_timeout=False, retry_on_status=()
        )

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """As :meth:`lexite.engines.bulk_driver.Connection.request` says."""
        kind = _KIND.format(kind="x-ndjson" if isinstance(body, bytes) else "json")
        headers = {"accept": _KIND.format(kind="json"), **({} if body is None else {"content-type": kind})}
        try:
            answer = self._client.perform_request(method, path, params=dict(params or {}), headers=headers, body=body)
        except self._module.ApiError as error:
            raise RequestFailed(error.status_code, _words(error)) from None
        except self._module.TransportError as error:
            raise RequestFailed(None, f"no connection ({type(error).__name__}: {str(error)[:200]})") from None
        return answer.body

    def close(self) -> None:
        """Ends it."""
        self._client.close()


def _words(error: Any) -> str:
    found = error.body.get("error") if isinstance(error.body, Mapping) else None
    if isinstance(found, Mapping):
        causes = [found.get("reason"), *(root.get("reason") for root in found.get("root_cause") or [])]
        return "; ".join(dict.fromkeys(str(cause) for cause in causes if cause))
    return str(found or error.message)


def at_address(address: Address, **options: Any) -> ElasticsearchEngine:
    """The engine at ``elasticsearch://HOST:9200/NAME``; ``?shards=5&replicas=1`` shape a new index."""
    return ElasticsearchEngine(address.server(9200), address.name, **address.numbers("shards", "replicas"), **options)
