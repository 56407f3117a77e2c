"""pyvespa, made plain: requests to one schema of a Vespa, each with an answer or a :class:`RequestFailed`."""

from __future__ import annotations

import importlib
import json
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from lexite.engines.bulk_clients import without_user
from lexite.engines.retrying import RequestFailed, json_object, no_connection, quoted
from lexite.engines.security import Security
from lexite.errors import MissingExtraError

TIMEOUT = 120.0
"""Seconds that an answer may take."""
_PROBED_WITHIN = 5.0
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def document_name(identifier: str) -> str:
    """What a document is called in Vespa: letters and digits stay, all else is written in its bytes.

    A name stands in a path, where slashes and points may be lost on the way.

    >>> document_name("d1"), document_name("a/ü")
    ('d1', 'a=2F=C3=BC')
    """
    return "".join(
        each if each in _PLAIN else "".join(f"={byte:02X}" for byte in each.encode("utf-8", "surrogatepass"))
        for each in identifier
    )


class Refusal(RequestFailed):
    """A request that Vespa itself refused for what it says of a document: an unknown schema or field, a value, a size."""


class VespaClient:
    """Documents and queries of one schema.

    Args:
        url: of the container, ``http://127.0.0.1:8080``; a user and a password may stand in it.
        name: of the schema.
        security: keys and certificates.
        app: a ``vespa.application.Vespa`` to use in place of ``url`` and ``security``.

    Raises:
        MissingExtraError: pyvespa is not installed.
    """

    def __init__(self, url: str, name: str, security: Security, app: Any = None) -> None:
        try:
            module: Any = importlib.import_module("vespa.application")
            self._httpr: Any = importlib.import_module("httpr")
            self._failures: Any = importlib.import_module("requests.exceptions")
            self._exceptions: Any = importlib.import_module("vespa.exceptions")
        except ImportError:
            raise MissingExtraError("pyvespa", "vespa", "Speaking to Vespa") from None
        (self.url,), headers = without_user(url.rstrip("/"))
        self.name, self._security, self._session = name, security, None
        if app is None:
            app = module.Vespa(self.url)
            if security.api_key is not None:
                headers = {**headers, "Authorization": f"Bearer {security.api_key}"}
            self._session = self._httpr.Client(
                headers=headers, timeout=TIMEOUT, follow_redirects=False, **security.tls("ca_cert_file", "verify")
            )
        else:
            self.url = str(app.end_point)
        self._sync = app.syncio(session=self._session, num_retries_429=0)  # the driver tries again
        self._sync.__enter__()

    def get(self, name: str, fields: Sequence[str] = ()) -> dict[str, Any] | None:
        """The fields of a document; None where there is none.

        Args:
            name: of the document.
            fields: those that are asked for; none: all.
        """
        only = {"fieldSet": f"{self.name}:{','.join(fields)}"} if fields else {}
        answer = self._ask(lambda: self._sync.get_data(self.name, name, **only), missing=True)
        return None if answer is None else dict(_part(answer, "fields"))

    def put(self, name: str, fields: Mapping[str, Any]) -> None:
        """Writes a document in place of one that is called so."""
        self._ask(lambda: self._sync.feed_data_point(self.name, name, dict(fields)))

    def remove(self, name: str) -> None:
        """Removes a document, if there is one."""
        self._ask(lambda: self._sync.delete_data(self.name, name))

    def query(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The root of the answer to a query, of all documents: what a node left out for its haste is asked for again."""
        whole = {"model.restrict": self.name, "timeout": f"{TIMEOUT:.0f}s", "ranking.softtimeout.enable": False}
        root = _part(self._ask(lambda: self._sync.query(body={**whole, **body})), "root")
        if root.get("errors"):
            raise RequestFailed(503, _words({"root": root}))
        coverage = root.get("coverage") or {}
        if coverage.get("full") is False or any((coverage.get("degraded") or {}).values()):
            raise RequestFailed(503, f"it looked at {coverage.get('coverage', 'a part')}% of the documents alone")
        return dict(root)

    def configure(self, method: str, url: str, content: bytes | None = None, kind: str = "application/zip") -> Any:
        """Sends a request to a config server: JSON that comes back, or text."""
        client = self._sync.http_client
        named = {} if content is None else {"content": content, "headers": {"content-type": kind}}
        try:
            answer = getattr(client, method.lower())(url, **named)
        except self._httpr.HTTPError as error:
            raise self._no_connection(error, url) from None
        if answer.status_code >= 300:
            raise _failure(answer)
        try:
            return json.loads(answer.text)
        except ValueError:
            return answer.text

    def close(self) -> None:
        """Ends the connection."""
        self._sync.__exit__(None, None, None)
        if self._session is not None:
            self._session.close()

    def _ask(self, send: Callable[[], Any], *, missing: bool = False) -> Any:
        """The answer to a request; None for a status of 404 where a document may be missing."""
        try:
            answer = send()
        except (self._exceptions.VespaError, self._failures.HTTPError) as error:
            response = getattr(error, "response", None)
            response = getattr(error.__cause__, "response", None) if response is None else response
            if response is None:
                raise RequestFailed(500, str(error)) from None
            raise _failure(response) from None
        except self._httpr.RequestError as error:
            if isinstance(error, self._httpr.DecodingError):
                raise RequestFailed(200, "no JSON came back") from None
            raise self._no_connection(error, self.url) from None
        except (ValueError, RuntimeError):  # the client's own error for what is no JSON
            raise RequestFailed(200, "no JSON came back") from None
        if answer.status_code == 404 and missing:
            return None
        if answer.status_code >= 300:
            raise RequestFailed(int(answer.status_code), _words(answer.json))
        return json_object(answer.json)

    def _no_connection(self, error: Exception, url: str) -> RequestFailed:
        """The failure of a request that was not answered. The client says no reason, so the system is asked for it."""
        split = urlsplit(url)
        try:
            port = split.port or (443 if split.scheme == "https" else 80)
            with socket.create_connection((split.hostname or "", port), _PROBED_WITHIN) as line:
                if split.scheme == "https" and self._security.verify:
                    context = ssl.create_default_context(cafile=self._security.ca)
                    context.wrap_socket(line, server_hostname=split.hostname).close()
        except OSError as found:
            return no_connection(found)
        except ValueError as wrong:  # the port is none
            return RequestFailed(None, f"no connection ({wrong})", lasting=True)
        return no_connection(error)


def _part(answer: Any, name: str) -> Mapping[str, Any]:
    """An object within an answer; RequestFailed where it is not there."""
    found = answer.get(name)
    if not isinstance(found, Mapping):
        raise RequestFailed(200, f"it sent {quoted(answer)} where '{name}' was asked for")
    return found


def _failure(answer: Any) -> RequestFailed:
    status = int(answer.status_code)
    try:
        value = json.loads(answer.text)
    except ValueError:
        return RequestFailed(status, quoted(answer.text))
    own = status in (400, 413) and isinstance(value, Mapping) and "pathId" in value
    return (Refusal if own else RequestFailed)(status, _words(value))


def _words(value: Any) -> str:
    """Why something was refused: the config server and documents say a message, queries have errors."""
    if not isinstance(value, Mapping):
        return quoted(value)
    root = value.get("root")
    errors = root.get("errors") if isinstance(root, Mapping) else None
    said = [
        value.get("message"),
        *(each.get("message") or each.get("summary") for each in errors or [] if isinstance(each, Mapping)),
    ]
    return "; ".join(" ".join(str(each).split()) for each in said if each) or quoted(value)


def content_url(config: str, session: Any, path: str) -> str:
    """Where a file of a session of a config server is."""
    return f"{config}/application/v2/tenant/default/session/{session}/content/{quote(path)}"
