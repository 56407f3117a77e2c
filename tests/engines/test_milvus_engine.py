"""Milvus: Milvus Lite in this process through pymilvus, whose code drives a server; or the server of LEXITE_MILVUS_URL."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from congruence import CASES, Case, Kit, begun, beside, check_opened_again, fielded_index, named, run, small
from emulated_engines import N_LATENTS, random_queries
from engine_pages import run_page
from engines_wanted import wanted
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite import Document
from lexite.cli import main
from lexite.engines import connect
from lexite.engines.loading import LoadSettings
from lexite.engines.milvus import MilvusEngine
from lexite.engines.milvus_filters import quoted
from lexite.engines.milvus_rows import MilvusRows, text_parts
from lexite.errors import ArgumentError, ConfigError, CorpusError, EngineError
from lexite.index import BM25Index, LiteralConfig, VocabularyInfo

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    wanted("pymilvus")
    wanted("milvus_lite", "milvus-lite")


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    place = os.environ.get("LEXITE_MILVUS_URL") or str(tmp_path_factory.mktemp("milvus") / "tests.db")
    names = itertools.count()

    def make(**options: object) -> MilvusEngine:
        return MilvusEngine(MilvusRows(place), f"lexite_{next(names)}", **options)

    made = Kit(make, 1e-5, no_filters=("escape", "ilike"), impossible_ids=("é" * 33_000,), n_documents=200)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


def test_questions_that_are_asked_together_get_what_each_gets_alone(kit: Kit) -> None:
    documents, rows = small(60)
    engine, queries = begun(kit.new()), random_queries(9)
    engine.add(documents, rows)
    among = [[f"s{number}" for number in range(place % 3, 60, 2)] for place in range(9)]
    for options in ({}, {"where": "year > 2000"}, {"sort": "year"}, {"among": among}):
        alone = [
            engine.search(
                queries[place], 5, **{name: [given[place]] if name == "among" else given for name, given in options.items()}
            )[0]
            for place in range(9)
        ]
        assert engine.search(queries, 5, **options) == alone and any(alone)


def test_a_file_is_opened_again(tmp_path: Path) -> None:
    check_opened_again(lambda: MilvusEngine(MilvusRows(tmp_path / "notes.db")))


def test_two_collections_of_a_file_are_apart_and_one_process_has_it(tmp_path: Path) -> None:
    documents, rows = small(20)
    path = tmp_path / "two.db"
    one, other = (begun(MilvusEngine(MilvusRows(path), name)) for name in ("one", "other"))
    one.add(documents, rows)
    assert len(other) == 0
    other.close()  # the file stays open for the first
    assert len(one) == 20 and one.search(random_queries(1))[0]
    asked = "from lexite.engines import connect; print(len(connect('milvus-lite:two.db/one')))"
    command = [sys.executable, "-c", asked]
    elsewhere = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Cannot reach Milvus at milvus-lite:two.db (one process at a time has a file open" in elsewhere.stderr
    one.close()
    elsewhere = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert elsewhere.stdout == "20\n"


def test_what_is_long_comes_back_whole_and_what_is_too_long_is_named(kit: Kit) -> None:
    engine = begun(kit.new(), words=False)
    rows = csr_array(np.ones((4, N_LATENTS), np.float32))
    documents = [
        Document("long", "日本語 text\n" * 20_000, "a title"),
        Document("wide", "x", fields={"note": "ü" * 33_000}),
        Document("titled", "x", "日" * 22_000),
        Document("fine", "x"),
    ]
    report = engine.add(documents, rows, settings=LoadSettings(skip_bad=True))
    assert report.n_documents == 2 and len(engine) == 2
    assert [each.id for each in report.refused] == ["wide", "titled"]
    assert "its fields have 66,012 bytes" in report.refused[0].reason and "its title has 66,000" in report.refused[1].reason
    stored = engine.get("long")
    assert stored is not None and (stored.text, stored.title) == (documents[0].text, "a title")
    asked = random_queries(3)
    found = engine.search(asked, exclude=["\ud800"] * 3)  # no document is called so
    assert [{hit.id for hit in hits} for hits in found] == [{"long", "fine"}] * 3
    assert engine.driver.frequencies(["t0", "t1"]).tolist() == [2, 2]  # those that were refused do not count
    assert engine.get("\ud800") is None and engine.delete(["\ud800"]) == 0
    with pytest.raises(CorpusError, match="'wide': its fields have 66,012 bytes.*The others are there"):
        engine.add([documents[1], Document("more", "x")], rows[:2])
    assert len(engine) == 3 and engine.get("wide") is None


def test_documents_of_an_index_that_are_refused_do_not_count(kit: Kit, tmp_path: Path) -> None:
    documents, rows = small(40)
    documents[7] = Document("s7", documents[7].text, "日" * 22_000)
    info = VocabularyInfo("f" * 64, "congruence", N_LATENTS)
    with BM25Index.create(tmp_path / "i", info, literal=LiteralConfig()) as writer:
        writer.add(documents, rows)
        writer.commit()
    engine, left = kit.new(), [number for number in range(40) if number != 7]
    report = engine.load(BM25Index.open(tmp_path / "i"), settings=LoadSettings(skip_bad=True))
    assert [each.id for each in report.refused] == ["s7"] and len(engine) == 39
    names = [f"t{number}" for number in range(N_LATENTS)]
    counted = beside([documents[number] for number in left], csr_array(rows[left])).document_frequency[:N_LATENTS]
    assert engine.driver.frequencies(names).tolist() == counted.tolist()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), st.integers(1, 4))
def test_texts_are_divided_and_joined(text: str, times: int) -> None:
    parts = text_parts(text * times * 2000)
    assert "".join(parts) == text * times * 2000 and all(len(part.encode()) <= 65_535 for part in parts)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_literal_is_read_as_the_text_that_it_stands_for(text: str) -> None:
    literal, end = wanted("milvus_lite.search.filter.tokens").tokenize(quoted(text))
    assert (literal.value, end.text) == (text, "")


def test_numbers_that_are_too_large_are_above_all(kit: Kit) -> None:
    engine, index = kit.new(), fielded_index()
    engine.load(index)
    large = "1" + "0" * 350
    for where in (f"price < {large}", f"price > {large}", f"price = {large}", f"not price < {large}", f"price > -{large}"):
        found, expected = engine.search(random_queries(2), 300, where=where), index.search(random_queries(2), 300, where=where)
        for theirs, ours in zip(found, expected, strict=True):
            assert {hit.id for hit in theirs} == {hit.id for hit in ours}, where


def test_a_sort_of_more_hits_than_milvus_gives_is_refused(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, rows = small(30)
    engine = begun(kit.new())
    engine.add(documents, rows)
    monkeypatch.setattr("lexite.engines.milvus.MOST_HITS", 20)
    with pytest.raises(ArgumentError, match="reads every hit, of which Milvus gives 20 at most"):
        engine.search(random_queries(1), sort="year")
    with pytest.raises(ArgumentError, match="16,384"):
        engine.search(random_queries(1), 20_000)


def test_the_page_runs(tmp_path: Path) -> None:
    run_page("milvus", folder=tmp_path)
    engine = connect(f"milvus-lite:{tmp_path / 'notes.db'}/notes")
    assert len(engine) == 208
    engine.close()


def test_the_command_line_loads_a_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index, url = str(fielded_index().path), f"milvus-lite:{tmp_path / 'notes.db'}/notes"
    assert main(["search", url, "w1", "--static"]) == 1
    said = " ".join(capfd.readouterr().err.split())
    assert f"There is no collection at {url}. Load an index: lexite load INDEX --to {url}" in said
    assert not (tmp_path / "notes.db").exists()
    assert main(["load", index, "--to", url, "--json"]) == 0
    done = json.loads(capfd.readouterr().out)
    assert (done["documents"], done["route"], done["refused"]) == (200, "impacts", [])
    assert main(["load", index, "--to", url]) == 1
    assert "already. Replace it with --overwrite" in capfd.readouterr().err
    assert main(["load", index, "--to", url, "--overwrite", "-q"]) == 0
    assert capfd.readouterr().out.startswith("200 documents, 200 passages")
    assert main(["load", index, "--to", "milvus-lite:notes"]) == 1
    assert "Its name ends with .db" in capfd.readouterr().err
    assert main(["load", index, "--to", f"milvus-lite:{tmp_path}/nowhere/notes.db"]) == 1
    assert "its folder is not there" in capfd.readouterr().err


def test_a_server_that_is_not_there_is_an_error_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    engine = connect("milvus://root:secret@127.0.0.1:1/notes")
    with pytest.raises(EngineError, match="Cannot reach Milvus at milvus://127.0.0.1:1:") as raised:
        engine.exists()
    assert "secret" not in str(raised.value) and "Traceback" not in capfd.readouterr().err


def test_a_refused_request_is_an_error_without_a_traceback_beside_it(kit: Kit, capfd: pytest.CaptureFixture[str]) -> None:
    engine: Any = begun(kit.new())
    with pytest.raises(EngineError, match="Milvus at .* failed at 'query'"):
        engine.driver._rows.query(engine.driver.name, "fields[", ["doc"])
    assert "Traceback" not in capfd.readouterr().err


def test_addresses_and_names() -> None:
    rows: Any = connect("milvus+https://root:Mil%40vus@example.org/books/notes").driver
    assert (rows._rows._uri, rows.name) == ("https://example.org:19530", "notes")
    assert rows._rows._options == {"token": "root:Mil@vus", "db_name": "books"}
    assert rows.address == "milvus+https://example.org:19530/books/notes"
    with pytest.raises(ConfigError, match="DATABASE/NAME"):
        connect("milvus://host/a/b/c")
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        connect("milvus://host/my-notes")


def test_an_old_milvus_lite_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.2.1")
    with pytest.raises(EngineError, match="Milvus Lite 3.2.1 scores sparse vectors by BM25"):
        MilvusRows(tmp_path / "notes.db")
