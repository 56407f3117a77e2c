"""Milvus: Milvus Lite in this process through pymilvus, whose code drives a server; or the server of LEXITE_MILVUS_URL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest
from congruence import CASES, Case, Kit, named, run
from engines_wanted import wanted

from lexite.engines.milvus import MilvusEngine
from lexite.engines.milvus_rows import MilvusRows

pytestmark = [pytest.mark.engines, pytest.mark.slow]
NO_FILTERS = ("escape", "ilike")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    wanted("pymilvus")
    wanted("milvus_lite", "milvus-lite")
    place = os.environ.get("LEXITE_MILVUS_URL") or str(tmp_path_factory.mktemp("milvus") / "tests.db")
    names = itertools.count()

    def make(**options: object) -> MilvusEngine:
        return MilvusEngine(MilvusRows(place), f"lexite_{next(names)}", **options)

    made = Kit(make, 1e-5, no_filters=NO_FILTERS, impossible_ids=("é" * 33_000,), n_documents=200)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)
