"""OpenSearch 2 and 3, through its own client (``pip install 'lexite[opensearch]'``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lexite.engines.addresses import Address
from lexite.engines.bulk_clients import TIMEOUT, check_index_name, is_blocked, reason_of, shown_address, without_user
from lexite.engines.bulk_driver import BulkDriver, IndexSettings
from lexite.engines.forms.base import Collection
from lexite.engines.forms.bulk import OPENSEARCH
from lexite.engines.live import LiveEngine
from lexite.engines.retrying import Line, Patience, RequestFailed, json_object, no_connection, quoted
from lexite.engines.security import TLS, Security, security_of, with_password
from lexite.errors import MissingExtraError

_ELASTICSEARCH = "You Know, for Search"  # what Elasticsearch calls itself


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
        security: which certificates are believed. A user and a password stand in ``url``.
        client: an ``opensearchpy.OpenSearch`` to use in place of ``url`` and ``security``.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``route_name``, ``text``, ``most_terms`` …

    Raises:
        ConfigError: no index can be called so.
        MissingExtraError: opensearch-py is not installed.
        EngineError: the server does not answer, or is none of OpenSearch.
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
        line = Line(shown_address("opensearch", url, name), patience)
        version = line.ask(lambda: _version(connection.request("GET", "/")))
        major = int(version.split(".")[0])

        def factor(collection: Collection) -> float:
            """Before version 3, BM25 keeps the factor k1 + 1 of the formula."""
            return collection.pivot + 1.0 if major < 3 and collection.route.name == "frequencies" else 1.0

        index = IndexSettings(shards, replicas, settings)
        super().__init__(BulkDriver("OpenSearch", connection, name, OPENSEARCH, line, index=index, factor=factor), **options)
        self.version = version


class _Connection:
    """The client, with its errors made plain. It does not try again by itself; the driver does."""

    def __init__(self, url: str, security: Security, client: Any) -> None:
        try:
            module: Any = importlib.import_module("opensearchpy")
        except ImportError:
            raise MissingExtraError("opensearch-py", "opensearch", "Speaking to OpenSearch") from None
        self._errors = module.exceptions
        own = {"timeout": TIMEOUT, "max_retries": 0, "retry_on_timeout": False, "http_compress": False, "ssl_show_warn": False}
        hosts, self._who = without_user(url)
        self._client = client or module.OpenSearch(hosts, **own, **security.tls("ca_certs", "verify_certs"))

    def request(self, method: str, path: str, params: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """As :meth:`lexite.engines.bulk_driver.Connection.request` says."""
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        sent = body.decode() if isinstance(body, bytes) else body
        try:
            answer = self._client.transport.perform_request(
                method, path, headers={"content-type": kind, **self._who}, params=dict(params or {}), body=sent
            )
        except self._errors.ConnectionError as error:
            raise no_connection(error) from None
        except self._errors.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else None
            found = error.info.get("error") if isinstance(error.info, Mapping) else None
            raise RequestFailed(status, reason_of(found, quoted(error.error)), lasting=is_blocked(found)) from None
        except self._errors.SerializationError as error:
            raise RequestFailed(200, f"no JSON came back ({error})") from None
        return json_object(answer)

    def close(self) -> None:
        """Ends it."""
        self._client.close()


def _version(answer: Any) -> str:
    """The version of a server, which is the first question.

    Raises:
        RequestFailed: it is something else.
    """
    version = answer.get("version")
    number = version.get("number") if isinstance(version, Mapping) else None
    if not isinstance(number, str) or not number.split(".")[0].isdigit():
        raise RequestFailed(200, f"it does not say its version, but {quoted(answer)}")
    if answer.get("tagline") == _ELASTICSEARCH:
        raise RequestFailed(200, "it is Elasticsearch, whose addresses begin with elasticsearch://")
    return number


def at_address(address: Address, **options: Any) -> OpenSearchEngine:
    """The engine at ``opensearch://HOST:9200/NAME``; ``?shards=5&replicas=1`` shape a new index."""
    shape, security = address.numbers("shards", "replicas", besides=TLS), security_of(address)
    return OpenSearchEngine(with_password(address).server(9200), address.name, security=security, **shape, **options)
