"""The engines' benchmark on a few documents: what a row says of an engine that runs in the process."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

import engines_here
import pytest

from engines import Held, measured

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engines"))

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@pytest.mark.parametrize(("name", "route"), [("Qdrant Edge 0.9.0", "impacts"), ("Milvus Lite 3.2.2", "impacts")])
def test_a_row_of_an_engine(name: str, route: str, tmp_path: Path) -> None:
    from congruence import beside, small
    from emulated_engines import random_queries

    documents, rows = small(60)
    queries = random_queries(5)
    index = beside(documents, rows)
    ids = [f"q{number}" for number in range(5)]
    best = index.search(queries, 1)
    qrels = {identifier: {hits[0].id: 1} for identifier, hits in zip(ids, best, strict=True)}
    some = Held("some", documents, rows, index, ids, queries, qrels)
    with ExitStack() as ends:
        row = measured(name, route, 1, engines_here.makers(tmp_path, ends)[name](), [some])
    assert (row.overlap, row.ndcg["some"]) == (1.0, 1.0) and row.overlap_after_deletes > 0.9
    assert row.cpu_ms_client > 0 and row.cpu_ms_server is None and row.documents_per_second > 0
    assert row.bytes_per_posting is not None and row.bytes_per_posting > 2
