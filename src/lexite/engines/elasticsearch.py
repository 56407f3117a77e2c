"""Elasticsearch 8, through its own client (``pip install 'lexite[elasticsearch]'``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lexite.engines.addresses import Address
from lexite.engines.bulk_clients import TIMEOUT, check_index_name, is_blocked, reason_of, shown_address
from lexite.engines.bulk_driver import BulkDriver, IndexSettings
from lexite.engines.forms.bulk import ELASTICSEARCH
from lexite.engines.live import LiveEngine
from lexite.engines.retrying import Line, Patience, RequestFailed, json_object, no_connection
from lexite.engines.security import TLS, Security, security_of, with_password
from lexite.errors import MissingExtraError

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
        security: a key, and which certificates are believed. A user and a password stand in ``url``.
        client: an ``elasticsearch.Elasticsearch`` to use in place of ``url`` and ``security``.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``route_name``, ``text``, ``most_terms`` …

    Raises:
        ConfigError: no index can be called so.
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
        security: Security | None = None,
        client: Any = None,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        check_index_name(name)
        connection = _Connection(url, security or Security(), client)
        line = Line(shown_address("elasticsearch", url, name), patience)
        index = IndexSettings(shards, replicas, settings)
        super().__init__(BulkDriver("Elasticsearch", connection, name, ELASTICSEARCH, line, index=index), **options)


class _Connection:
    """The client, with its errors made plain. It does not try again by itself; the driver does."""

    def __init__(self, url: str, security: Security, client: Any) -> None:
        try:
            module: Any = importlib.import_module("elasticsearch")
        except ImportError:
            raise MissingExtraError("elasticsearch", "elasticsearch", "Speaking to Elasticsearch") from None
        self._module = module
        own = {"request_timeout": TIMEOUT, "max_retries": 0, "retry_on_timeout": False, "retry_on_status": ()}
        tls = security.tls("ca_certs", "verify_certs")
        quiet = {} if security.verify else {"ssl_show_warn": False}
        self._client = client or module.Elasticsearch(url.split(","), api_key=security.api_key, **own, **tls, **quiet)

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """As :meth:`lexite.engines.bulk_driver.Connection.request` says."""
        kind = _KIND.format(kind="x-ndjson" if isinstance(body, bytes) else "json")
        headers = {"accept": _KIND.format(kind="json"), **({} if body is None else {"content-type": kind})}
        try:
            answer = self._client.perform_request(method, path, params=dict(params or {}), headers=headers, body=body)
        except self._module.UnsupportedProductError:
            raise RequestFailed(200, "it does not call itself Elasticsearch") from None
        except self._module.ApiError as error:
            found = error.body.get("error") if isinstance(error.body, Mapping) else error.body
            raise RequestFailed(error.status_code, reason_of(found, error.message), lasting=is_blocked(found)) from None
        except self._module.SerializationError as error:
            raise RequestFailed(200, f"no JSON came back ({error.message})") from None
        except self._module.TransportError as error:
            raise no_connection(error) from None
        return json_object(answer.body)

    def close(self) -> None:
        """Ends it."""
        self._client.close()


def at_address(address: Address, **options: Any) -> ElasticsearchEngine:
    """The engine at ``elasticsearch://HOST:9200/NAME``; ``?shards=5&replicas=1`` shape a new index, ``api_key`` is a key."""
    shape, security = address.numbers("shards", "replicas", besides=(*TLS, "api_key")), security_of(address, key=True)
    return ElasticsearchEngine(with_password(address).server(9200), address.name, security=security, **shape, **options)
