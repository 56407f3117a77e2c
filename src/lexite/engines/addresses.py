"""Addresses of collections: ``opensearch://host:9200/name``, and which engine each begins with."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from lexite.errors import ConfigError

if TYPE_CHECKING:
    from lexite.engines.live import LiveEngine

SCHEMES: Mapping[str, str] = {
    "opensearch": "lexite.engines.opensearch",
    "elasticsearch": "lexite.engines.elasticsearch",
    "solr": "lexite.engines.solr",
    "postgresql": "lexite.engines.postgres",
    "qdrant": "lexite.engines.qdrant",
    "milvus": "lexite.engines.milvus",
    "vespa": "lexite.engines.vespa",
}
"""The module of each engine that is a server. It has a function ``at_address(address, **options)``."""
FOLDERS: Mapping[str, str] = {
    "lucene": "lexite.engines.lucene",
    "xapian": "lexite.engines.xapian",
    "qdrant-edge": "lexite.engines.qdrant",
    "milvus-lite": "lexite.engines.milvus",
}
"""The module of each engine that runs in this process, as in ``lucene:PATH``. It has ``at_folder(path, **options)``."""
_SECURE = "+https"
_BEGINNING = re.compile(r"([a-z]+)(\+https)?:/+(.*)", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """Where a collection is.

    Attributes:
        scheme: which engine.
        secure: whether the server is asked by HTTPS.
        host: with user and password, where they are given.
        port: None: the engine's own.
        path: segments of the path before the name.
        name: of the collection.
        options: what stands behind the question mark.
    """

    scheme: str
    secure: bool
    host: str
    port: int | None
    path: tuple[str, ...]
    name: str
    options: Mapping[str, str]

    def server(self, port: int, path: str = "") -> str:
        """The address of the server.

        Args:
            port: the engine's own.
            path: of the server, where the address has none.
        """
        way = "https" if self.secure else "http"
        return f"{way}://{self.host}:{self.port or port}{''.join(f'/{part}' for part in self.path) or path}"

    def numbers(self, *names: str, besides: Sequence[str] = ()) -> dict[str, Any]:
        """Options that are whole numbers, by name.

        Args:
            names: theirs.
            besides: names of other options, which are not looked at.

        Raises:
            ConfigError: there is another option, or one is no number.
        """
        known = (*names, *besides)
        odd = next((name for name in self.options if name not in known), None)
        if odd is not None:
            raise ConfigError(f"An address of {self.scheme} has no option '{odd}'. It has {', '.join(known) or 'none'}.")
        own = {name: value for name, value in self.options.items() if name in names}
        wrong = next((value for value in own.values() if not (value.isascii() and value.isdigit())), None)
        if wrong is not None:
            raise ConfigError(f"'{wrong}' in the address is no whole number.")
        return {name: int(value) for name, value in own.items()}


def is_address(text: str) -> bool:
    """Whether a text is the address of a collection, rather than a path.

    >>> is_address("opensearch://localhost/notes"), is_address("lucene:notes"), is_address("notes.lexite")
    (True, True, False)
    """
    if is_local(text):
        return True
    found = _BEGINNING.fullmatch(text)
    return found is not None and found.group(1) in SCHEMES


def is_local(text: str) -> bool:
    """Whether a text is the address of an engine that runs in this process.

    >>> is_local("lucene:notes"), is_local("opensearch://localhost/notes")
    (True, False)
    """
    return _folder_of(text) is not None


def _folder_of(text: str) -> tuple[str, str] | None:
    """The engine and the path of an address of an engine in this process."""
    scheme, _, path = text.partition(":")
    return (scheme, path) if scheme in FOLDERS and path else None


def read_address(text: str) -> Address:
    """Takes an address apart.

    Raises:
        ConfigError: it is none.

    >>> address = read_address("solr+https://search.example/solr/notes?shards=2")
    >>> address.server(8983, "/solr"), address.name, address.numbers("shards")
    ('https://search.example:8983/solr', 'notes', {'shards': 2})
    """
    found = _BEGINNING.fullmatch(text)
    if found is None or found.group(1) not in SCHEMES:
        known = ", ".join([*(f"{scheme}://" for scheme in SCHEMES), *(f"{scheme}:PATH" for scheme in FOLDERS)])
        raise ConfigError(
            f"'{text.split('@')[-1]}' is no address of an engine. It begins with {known}, as in opensearch://localhost:9200/notes"
        )
    shown = text.split("@")[-1]
    try:
        split = urlsplit(f"//{found.group(3)}")
    except ValueError as error:
        raise ConfigError(f"The host in '{shown}' is none: {error}.") from None
    *path, name = [unquote(part) for part in split.path.split("/")[1:]] or [""]
    try:
        port = split.port
    except ValueError:
        raise ConfigError(f"The port in '{shown}' is no number from 0 to 65535.") from None
    if not name or not split.hostname:
        raise ConfigError(f"'{shown}' lacks a host or a name: {found.group(1)}://localhost/notes")
    host = split.netloc.removesuffix(f":{port}") if port is not None else split.netloc
    return Address(
        found.group(1),
        bool(found.group(2)),
        host,
        port,
        tuple(path),
        name,
        dict(parse_qsl(split.query, keep_blank_values=True)),
    )


def connect(address: str, **options: Any) -> LiveEngine:
    """The engine at an address; its collection may be there or not.

    Args:
        address: ``opensearch://USER:PASSWORD@HOST:PORT/NAME``; with ``+https`` behind the first word, by HTTPS, with the
            options of :mod:`lexite.engines.security`. Or ``lucene:PATH``, of an engine that runs in this process.
        **options: of the engine, such as ``route_name``; see :class:`lexite.engines.live.LiveEngine`.

    Raises:
        ConfigError: it is no address, or the engine has no such option.
        MissingExtraError: the engine's client is not installed.
        EngineError: the engine does not answer.
    """
    local = _folder_of(address)
    if local is not None:
        engine: LiveEngine = importlib.import_module(FOLDERS[local[0]]).at_folder(local[1], **options)
        return engine
    read = read_address(address)
    engine = importlib.import_module(SCHEMES[read.scheme]).at_address(read, **options)
    return engine
