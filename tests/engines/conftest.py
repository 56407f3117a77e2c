"""Indexes to export, and queries."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from emulated_engines import memory_index, random_queries
from engine_fixtures import servers

from lexite.index import BM25Index, EncodedQueries


@pytest.fixture(scope="package", autouse=True)
def no_server_outlives_its_tests() -> Iterator[None]:
    """Ends the servers with the tests that ask them, so that the rest of a run has their memory and threads."""
    yield
    servers().stop()


@pytest.fixture(scope="session")
def index() -> BM25Index:
    return memory_index()


@pytest.fixture(scope="session")
def queries() -> EncodedQueries:
    return random_queries()
