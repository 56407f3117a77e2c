"""Qdrant: its real engine in this process, and the client's local mode, whose code drives a server."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from congruence import CASES, Case, Kit, begun, check_opened_again, named, run
from engine_pages import run_page
from engines_wanted import wanted

from lexite.engines.qdrant import QdrantEngine
from lexite.engines.qdrant_points import ClientPoints, EdgePoints
from lexite.engines.retrying import Patience
from lexite.errors import EngineError, StorageError

pytestmark = [pytest.mark.engines, pytest.mark.slow]
NO_FILTERS = ("like", "lang >=")


@pytest.fixture(scope="module", params=["impacts", "impacts-idf"])
def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    wanted("qdrant_edge", "qdrant-edge-py")
    folder, numbers = tmp_path_factory.mktemp("edge"), itertools.count()

    def make(**options: object) -> QdrantEngine:
        return QdrantEngine(EdgePoints(folder / str(next(numbers))), route_name=request.param, **options)

    made = Kit(make, 1e-5, no_filters=NO_FILTERS, n_documents=200)
    yield made
    made.close()


@pytest.fixture(scope="module")
def client() -> Iterator[Kit]:
    """A hundred documents: local mode is thousands of times slower than the engine."""
    wanted("qdrant_client", "qdrant-client")
    names = itertools.count()
    url = os.environ.get("LEXITE_QDRANT_URL") or ":memory:"

    def make(**options: object) -> QdrantEngine:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return QdrantEngine(ClientPoints(url), f"lexite{next(names)}", **options)

    made = Kit(make, 1e-5, no_filters=NO_FILTERS, n_documents=100)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_engine_in_this_process_answers_as_an_index(case: Case, edge: Kit) -> None:
    run(case, edge)


@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_client_answers_as_an_index(case: Case, client: Kit) -> None:
    run(case, client)


def test_a_folder_is_opened_again(tmp_path: Path) -> None:
    wanted("qdrant_edge", "qdrant-edge-py")
    check_opened_again(lambda: QdrantEngine(EdgePoints(tmp_path)))


def test_the_page_runs(tmp_path: Path) -> None:
    wanted("qdrant_edge", "qdrant-edge-py")
    run_page("qdrant", folder=tmp_path)
    engine = QdrantEngine(EdgePoints(tmp_path), "notes")
    assert len(engine) == 208
    engine.close()


def test_a_server_that_is_not_there_is_an_error_for_people() -> None:
    wanted("qdrant_client", "qdrant-client")
    points = ClientPoints("http://127.0.0.1:1", patience=Patience(2, 0.0), check_compatibility=False, timeout=2)
    with pytest.raises(EngineError, match="qdrant://127.0.0.1:1 did not answer in 2 attempts: no connection"):
        QdrantEngine(points).exists()


def test_folders_that_are_something_else_are_left_alone(tmp_path: Path) -> None:
    wanted("qdrant_edge", "qdrant-edge-py")
    letter = tmp_path / "notes" / "letter.txt"
    letter.parent.mkdir()
    letter.write_text("keep me")
    engine = QdrantEngine(EdgePoints(tmp_path), "notes")
    assert not engine.exists()
    engine.drop()
    with pytest.raises(StorageError, match="is not empty"):
        begun(engine)
    assert [each.name for each in letter.parent.iterdir()] == ["letter.txt"]
    with pytest.raises(StorageError, match="is a file, or lies in one"):
        begun(QdrantEngine(EdgePoints(letter), "notes"))


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    wanted("qdrant_edge", "qdrant-edge-py")
    engine = begun(QdrantEngine(EdgePoints(tmp_path), "notes"))
    with pytest.raises(EngineError, match="another process has it open"):
        QdrantEngine(EdgePoints(tmp_path), "notes").exists()
    engine.close()


def test_a_collection_without_a_record_is_made_again(tmp_path: Path) -> None:
    wanted("qdrant_edge", "qdrant-edge-py")
    engine = QdrantEngine(EdgePoints(tmp_path), "notes")
    engine.driver.write_record = lambda record: None  # type: ignore[method-assign]  # it was stopped here
    begun(engine)
    engine.close()
    again = begun(QdrantEngine(EdgePoints(tmp_path), "notes"))
    assert len(again) == 0 and again.exists()
    again.close()
