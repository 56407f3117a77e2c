"""What the clients of OpenSearch and Elasticsearch have in common: names of indexes, addresses, and words for errors."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from lexite.errors import ConfigError

TIMEOUT = 120.0
"""Seconds that an answer may take."""
LONGEST_NAME = 255  # bytes
_NO_NAME = re.compile(r'[\\/*?"<>|\s,#:]|^[-_+]|^\.{1,2}$')


def check_index_name(name: str) -> None:
    """Refuses what is no name of one index. A pattern such as ``notes*`` would stand for several, and ``drop`` for their end.

    Raises:
        ConfigError: it is none.

    >>> check_index_name("notes-2")
    """
    found = _NO_NAME.search(name)
    if found is not None or name != name.lower() or not name or len(name.encode()) > LONGEST_NAME:
        raise ConfigError(
            f"'{name}' is no name of an index. It has small letters and digits, and none of \\ / * ? \" < > | , # : or blanks. "
            f"It does not begin with - _ or +, and has {LONGEST_NAME} bytes at most."
        )


def shown_address(scheme: str, url: str, name: str) -> str:
    """The address of an index, for messages: without passwords.

    Args:
        scheme: of the engine.
        url: of the server; several with commas between them.
        name: of the index.

    >>> shown_address("opensearch", "https://me:secret@a:9200,https://b", "notes")
    'opensearch+https://a:9200,b/notes'
    """
    way = "+https" if url.startswith("https://") else ""
    hosts = ",".join(each.split("://")[-1].split("@")[-1].rstrip("/") for each in url.split(","))
    return f"{scheme}{way}://{hosts}/{name}"


def without_user(url: str) -> tuple[list[str], dict[str, str]]:
    """The addresses of servers without user and password, and the header that says these.

    A client that makes the header by itself may have no characters but those of Latin-1 for it.

    Args:
        url: of the server; several with commas between them, of which the first that names a user names all.

    >>> without_user("http://me:%C3%A4@a:9200,http://b")
    (['http://a:9200', 'http://b'], {'authorization': 'Basic bWU6w6Q='})
    """
    bare, said = [], ""
    for each in url.split(","):
        way, _, rest = each.rpartition("://")
        who, _, host = rest.rpartition("@")
        bare.append(f"{way or 'http'}://{host}")
        said = said or who
    if not said:
        return bare, {}
    user, _, password = said.partition(":")
    told = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return bare, {"authorization": f"Basic {told}"}


def is_blocked(error: Any) -> bool:
    """Whether an index takes no writes until somebody sees to it, as when the disk is full. Its status says that it is busy.

    Args:
        error: what stands under ``error`` in an answer.
    """
    return isinstance(error, Mapping) and error.get("type") == "cluster_block_exception"


def reason_of(error: Any, otherwise: str = "") -> str:
    """Why an engine refused something, with the causes that it names.

    Args:
        error: what stands under ``error`` in its answer.
        otherwise: what is said where that says nothing.
    """
    if not isinstance(error, Mapping):
        return str(error or otherwise)
    causes = [error.get("reason"), (error.get("caused_by") or {}).get("reason")]
    causes += [root.get("reason") for root in error.get("root_cause") or []]
    return "; ".join(dict.fromkeys(str(cause) for cause in causes if cause)) or str(error.get("type") or otherwise)
