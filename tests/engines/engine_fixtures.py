"""Kits of the engines that are servers, one server of each kind for a whole run.

An address in the environment is taken as it is. Else the server is started. Where it cannot be, tests are skipped with the
reason, or fail where ``LEXITE_ENGINES_REQUIRED`` is set.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
from typing import NoReturn

import pytest
from servers import Servers, ServerUnavailable, required

ADDRESSES = {
    "opensearch2": "LEXITE_OPENSEARCH_URL",
    "opensearch3": "LEXITE_OPENSEARCH_URL",
    "elasticsearch8": "LEXITE_ELASTICSEARCH_URL",
    "solr9": "LEXITE_SOLR_URL",
}
_numbers = itertools.count(1)


@functools.lru_cache(maxsize=1)
def servers() -> Servers:
    """The servers of this run, which end with it."""
    started = Servers()
    atexit.register(started.stop)
    return started


def address_of(kind: str) -> str:
    """The address of a server; skips or fails where there is none."""
    given = os.environ.get(ADDRESSES[kind])
    if given and kind == "opensearch2":
        pytest.skip(f"{ADDRESSES[kind]} is one server, which stands for opensearch3")
    try:
        return given or servers().url(kind)
    except ServerUnavailable as error:
        unavailable(str(error))


def unavailable(reason: str) -> NoReturn:
    """Skips a test, or fails it where engines are required."""
    if required():
        pytest.fail(f"A server is missing, and LEXITE_ENGINES_REQUIRED is set: {reason}")
    pytest.skip(reason)


def new_name() -> str:
    """A name that no collection of the run has."""
    return f"lexite-test-{os.getpid()}-{next(_numbers)}"
