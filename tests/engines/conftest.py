"""Indexes to export, and queries."""

from __future__ import annotations

import pytest
from emulated_engines import memory_index, random_queries

from lexite.index import BM25Index, EncodedQueries


@pytest.fixture(scope="session")
def index() -> BM25Index:
    return memory_index()


@pytest.fixture(scope="session")
def queries() -> EncodedQueries:
    return random_queries()
