"""Lucene 9.12 in this process, by both routes; and Lucene 10 in another one, since a process has one JVM."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from congruence import CASES, Case, Kit, begun, beside, check_same, named, run, small
from emulated_engines import random_queries
from engine_pages import run_page
from engines_wanted import wanted
from lucene_jars import LUCENE_9, LUCENE_10, jars, libjvm
from scipy.sparse import csr_array

from lexite.engines.lucene import LuceneEngine
from lexite.errors import EngineError, StorageError
from lexite.index import BM25Config

pytestmark = [pytest.mark.engines, pytest.mark.slow]
TEN = os.environ.get("LEXITE_TEST_LUCENE") == "10"
NEAR = {"saturation": 2**-8, "linear": 2**-8, "frequencies": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wanted("jpype", "jpype1")
    return tmp_path_factory.mktemp("lucene")


@pytest.fixture(scope="module", params=["saturation", "frequencies", "linear"])
def kit(request: pytest.FixtureRequest, folder: Path) -> Iterator[Kit]:
    places, numbers = (jars(LUCENE_10), libjvm(21)) if TEN else (jars(LUCENE_9), libjvm(17)), itertools.count()

    def make(**options: object) -> LuceneEngine:
        return LuceneEngine(folder / f"{request.param}{next(numbers)}", *places, route_name=request.param, **options)

    made = Kit(make, NEAR[request.param], impossible_ids=("é" * 20_000,), n_documents=200)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


def test_the_version_is_the_one_that_was_meant(kit: Kit) -> None:
    assert kit.loaded.driver.version.startswith("10." if TEN else "9.12")


def test_deleted_documents_do_not_count_before_a_merge_or_after(kit: Kit) -> None:
    documents, rows = small()
    engine = begun(kit.new())
    engine.add(documents, rows)
    left = [number for number in range(200) if number % 3]
    engine.delete([documents[number].id for number in range(200) if not number % 3])
    assert engine.driver._reader.hasDeletions()
    index = beside([documents[number] for number in left], csr_array(rows[left]))
    names = [f"t{number}" for number in range(200)]
    before = engine.search(random_queries(10))
    assert engine.driver.frequencies(names).tolist() == index.document_frequency[:200].tolist()
    assert engine.counts.n_filled == index.n_filled_passages and engine.counts.n_passages == len(left)
    engine.driver.merge()
    engine.forget_counts()
    assert not engine.driver._reader.hasDeletions()
    assert engine.driver.frequencies(names).tolist() == index.document_frequency[:200].tolist()
    for was, now in zip(before, engine.search(random_queries(10)), strict=True):
        assert [hit.id for hit in was] == [hit.id for hit in now]
        assert [hit.score for hit in was] == pytest.approx([hit.score for hit in now], rel=1e-5)


def test_an_index_is_opened_again(kit: Kit) -> None:
    documents, rows = small(40)
    engine = begun(kit.new())
    engine.add(documents[:30], rows[:30])
    place = engine.driver._folder
    engine.close()
    again = LuceneEngine(place)
    assert len(again) == 30
    again.add(documents[30:], rows[30:])
    again.close()
    once_more = LuceneEngine(place)
    assert len(once_more) == 40 and once_more.record.route == engine.new_route
    assert once_more.delete([documents[0].id]) == 1  # from now on it is the writer
    with pytest.raises(EngineError, match="Cannot write to"):
        LuceneEngine(place).add([documents[0]], rows[[0]])
    once_more.close()


def test_delta_goes_by_the_linear_route(kit: Kit) -> None:
    if kit.loaded.record.route.name != "linear":
        pytest.skip("the others cannot have a delta")
    scoring = BM25Config(idf="bm25+", delta=0.7)
    documents, rows = small(100)
    engine = begun(kit.new(), scoring)
    engine.add(documents, rows)
    check_same(kit, engine, beside(documents, rows, scoring), random_queries(10))


def test_texts_that_are_too_long_for_a_term_are_refused_by_name(kit: Kit) -> None:
    from lexite import Document
    from lexite.engines.loading import LoadSettings

    _, rows = small(2)
    engine = begun(kit.new())
    given = [Document("good", "x"), Document("bad", "x", fields={"note": "y" * 40_000})]
    report = engine.add(given, rows, settings=LoadSettings(skip_bad=True))
    assert report.n_documents == 1 and "its field 'note' has 40,000 bytes" in report.refused[0].reason


def test_the_page_runs(kit: Kit, tmp_path: Path) -> None:
    run_page("lucene", folder=tmp_path / "notes")
    engine = LuceneEngine(tmp_path / "notes")
    assert len(engine) == 208
    engine.close()


def test_folders_and_jars_that_are_not_right_are_errors_for_people(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(StorageError, match="is not empty"):
        begun(LuceneEngine(tmp_path))
    LuceneEngine(tmp_path).drop()
    assert (tmp_path / "letter.txt").exists()
    code = "import sys; from lexite.engines.lucene import LuceneEngine; LuceneEngine(sys.argv[1], jars=sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode and "lucene-core and lucene-analysis-common" in done.stderr


@pytest.mark.skipif(TEN, reason="this is the other process")
def test_lucene_10_answers_too(folder: Path) -> None:
    """All of this file again in a process of its own, on another JVM."""
    jars(LUCENE_10), libjvm(21)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:cov", __file__]
    environment = {**os.environ, "LEXITE_TEST_LUCENE": "10"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
