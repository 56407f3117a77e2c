"""Vespa, against a small server that evaluates its requests as Vespa's reference says. No Vespa was run."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from congruence import CASES, Case, Kit, begun, beside, check_same, fielded_index, named, run, small
from emulated_engines import random_queries
from engine_pages import run_page
from engines_wanted import wanted
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from vespa_stub import Stub, serving, stored, tensor

from lexite import Document
from lexite.cli import main
from lexite.engines import connect
from lexite.engines.export import export_index
from lexite.engines.export_settings import ExportSettings
from lexite.engines.forms.vespa import literal_tensor, stored_value, value_of
from lexite.engines.requests import request_of
from lexite.engines.retrying import Patience
from lexite.engines.vespa import RECORD_NAME, VespaEngine
from lexite.engines.vespa_client import document_name
from lexite.errors import ArgumentError, ConfigError, CorpusError, EngineError, LexiteError
from lexite.index import EncodedQueries

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    wanted("vespa", "pyvespa")


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving(Stub()) as running:
        yield running


@pytest.fixture(scope="module")
def kit(stub: Stub) -> Iterator[Kit]:
    names = itertools.count()

    def make(**options: Any) -> VespaEngine:
        url = f"http://{stub.host}"
        return VespaEngine(url, f"lexite_{next(names)}", deploy=url, **options)

    unknown = ("lang >=", "like")
    made = Kit(make, 1e-5, no_filters=unknown, impossible_ids=("a\x01", "é" * 10_001), n_documents=200)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


def test_the_page(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    run_page("vespa", url=f"http://{stub.host}")


def test_the_feed_of_an_export_and_its_queries_give_the_ranking_of_the_index(tmp_path: Path) -> None:
    index, asked = fielded_index(), random_queries(8)
    settings = ExportSettings("vespa", text=True, fields=True, name="notes")
    export_index(index, tmp_path / "out", settings)
    own = Stub()
    with serving(own):
        files = {"services.xml": (tmp_path / "out" / "services.xml").read_text(encoding="utf-8")}
        files["schemas/notes.sd"] = (tmp_path / "out" / "notes.sd").read_text(encoding="utf-8")
        own.activate(files)
        for path in sorted((tmp_path / "out").glob("part-*")):
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                own.documents["notes"][record["put"]] = stored(record["fields"], own.schemas["notes"])
        for number in range(8):
            request = request_of(index, EncodedQueries(asked.to_csr()[[number]], [asked.texts[number]]), settings)
            assert request.target == "POST /search/"
            hits = own.search(request.body)["children"]
            expected = index.search(asked[number])[0]
            assert [hit["relevance"] for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)


def test_the_schema_of_an_export_is_enough_where_lexite_may_not_deploy(tmp_path: Path) -> None:
    index, own = fielded_index(), Stub()
    with serving(own):
        engine = VespaEngine(f"http://{own.host}", "notes")
        assert not engine.exists()
        with pytest.raises(EngineError, match="has no schema 'notes' with the fields of this collection. Add ?.deploy=19071"):
            engine.load(index)
        export_index(index, tmp_path / "out", ExportSettings("vespa", text=True, fields=True, name="notes"))
        read = {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("services.xml", "notes.sd")}
        own.activate({"services.xml": read["services.xml"], "schemas/notes.sd": read["notes.sd"]})
        assert engine.load(index).n_documents == 200
        check_same(Kit(lambda: engine, 1e-5), engine, index, random_queries(5))
        new = Document("new", "x", fields={"unknown": 1})
        with pytest.raises(EngineError, match="has no field unknown. Add ?.deploy=19071"):
            engine.add([new], random_queries(1).to_csr())
        assert len(engine) == 200
        engine.drop()
        assert not engine.exists() and not own.documents["notes"]


def test_an_application_of_somebody_else_stays_as_it_is() -> None:
    own = Stub(files={"services.xml": "<services><!-- ours --></services>"})
    with serving(own):
        engine = VespaEngine(f"http://{own.host}", "notes", deploy=f"http://{own.host}")
        with pytest.raises(EngineError, match="was not made by lexite, so it is not changed.*notes.sd into its folder schemas"):
            engine.load(fielded_index())
        assert own.files == {"services.xml": "<services><!-- ours --></services>"}


def test_passages_without_a_record_were_not_made_by_lexite(stub: Stub, tmp_path: Path) -> None:
    engine = VespaEngine(f"http://{stub.host}", "foreign", deploy=f"http://{stub.host}")
    engine.load(fielded_index())
    stub.documents["foreign"].pop("id:foreign:foreign::=lexite")
    for overwrite in (False, True):
        with pytest.raises(LexiteError, match="was not made by lexite, so it is not replaced"):
            VespaEngine(f"http://{stub.host}", "foreign").load(fielded_index(), overwrite=overwrite)
    with pytest.raises(LexiteError, match="was not made by lexite"):
        VespaEngine(f"http://{stub.host}", "foreign").search(random_queries(1))
    assert len(stub.documents["foreign"]) == 200


def test_what_passes_is_tried_again_and_what_does_not_is_named() -> None:
    own, waits = Stub(late=3), list[float]()
    with serving(own):
        url, patience = f"http://{own.host}", Patience(sleep=waits.append)
        engine = begun(VespaEngine(url, "notes", deploy=url, patience=patience))
        assert len(waits) >= 2  # until the schema is served
        documents, rows = small(20)
        turn = itertools.count()
        busy = (429, "application/json", b'{"pathId": "x", "message": "too many"}')
        own.fail = lambda method, path: busy if method == "POST" and "/docid/" in path and next(turn) % 3 == 0 else None
        assert engine.add(documents, rows).n_documents == 20
        check_same(Kit(lambda: engine, 1e-5), engine, beside(documents, rows), random_queries(4))
        part = json.dumps({"root": {"coverage": {"coverage": 50, "full": False}, "fields": {"totalCount": 3}}}).encode()
        turn = itertools.count()
        own.fail = lambda method, path: (200, "application/json", part) if "/search/" in path and next(turn) < 2 else None
        engine.forget_counts()
        check_same(Kit(lambda: engine, 1e-5), engine, beside(documents, rows), random_queries(4))
        own.fail = lambda method, path: (200, "application/json", part) if "/search/" in path else None
        with pytest.raises(EngineError, match="did not answer in 8 attempts: it looked at 50% of the documents alone"):
            engine.search(random_queries(1))
        full = b'{"pathId": "x", "message": "disk is full"}'
        own.fail = lambda method, path: (507, "application/json", full) if method == "POST" and "/docid/" in path else None
        with pytest.raises(EngineError, match=r"refused a request \(507\): disk is full"):
            engine.add([Document("more", "x")], rows[[0]])


def test_a_document_that_is_refused_is_named(stub: Stub) -> None:
    url = f"http://{stub.host}"
    engine = begun(VespaEngine(url, "refusing", deploy=url))
    documents, rows = small(3)
    broken = b'{"pathId": "x", "message": "no room for s1"}'
    stub.fail = lambda method, path: (400, "application/json", broken) if (method, path[-8:]) == ("POST", "docid/s1") else None
    try:
        with pytest.raises(CorpusError, match="'s1': no room for s1. The others are there"):
            engine.add(documents, rows)
    finally:
        stub.fail = lambda method, path: None
    assert len(engine) == 2


def test_candidates_of_wand_are_ranked_exactly(stub: Stub) -> None:
    url, index = f"http://{stub.host}", fielded_index()
    engine = VespaEngine(url, "candidates", deploy=url, candidates=40)
    engine.load(index)
    assert not engine.capabilities.exact and VespaEngine(url, "candidates").capabilities.exact
    check_same(Kit(lambda: engine, 1e-5, overlap=0.9), engine, index, random_queries(10))
    with pytest.raises(ArgumentError, match="gives 400 hits at once at most"):
        engine.search(random_queries(1), 401)


def test_words_of_a_collection_keep_their_letters(stub: Stub) -> None:
    url = f"http://{stub.host}"
    engine = begun(VespaEngine(url, "words", deploy=url))
    texts = ["naïve it's", "NAIVE its", "東京 o'neill's", 'say "x" \\ y', "1.5 net-income"]
    empty = csr_array((len(texts), 400), dtype=np.float32)
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    engine.add(documents, empty)
    check_same(Kit(lambda: engine, 1e-5), engine, beside(documents, empty), EncodedQueries(empty, texts))


def test_addresses_and_names(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    engine: Any = connect("vespa+https://me:secret@example.org/notes?deploy=19071&candidates=100&most_hits=1000")
    assert engine.driver.address == "vespa+https://example.org:8080/notes" and engine.capabilities.most_hits == 1000
    assert engine.driver._application.address == "https://example.org:19071"
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        connect("vespa://host/my-notes")
    with pytest.raises(ConfigError, match="candidates is 0"):
        connect("vespa://host/notes?candidates=0")
    with pytest.raises(CorpusError, match="The field 'order' cannot go to Vespa: Vespa uses its name for something else"):
        begun(VespaEngine(f"http://{stub.host}", "odd", deploy=f"http://{stub.host}")).add(
            [Document("d", "x", fields={"order": 1})], random_queries(1).to_csr()
        )
    port = stub.host.rpartition(":")[2]
    url = f"vespa://{stub.host}/cli?deploy={port}"
    for words, status, message in (
        (["load", str(fielded_index().path), "--to", url, "-q"], 0, f"by the route impacts: vespa://{stub.host}/cli"),
        (["load", str(fielded_index().path), "--to", url, "-q"], 1, "Replace it with --overwrite"),
        (["load", str(fielded_index().path), "--to", f"{url}&x=1"], 1, "An address of vespa has no option 'x'"),
        (["load", str(fielded_index().path), "--to", "vespa://127.0.0.1:9/x"], 1, "vespa://127.0.0.1:9/x did not answer in 4"),
    ):
        assert main(words) == status, words
        captured = capsys.readouterr()
        assert message in captured.out + captured.err and "Traceback" not in captured.err


@given(st.lists(st.text(), max_size=6, unique=True))
def test_documents_of_different_ids_have_different_names_that_a_path_keeps(ids: list[str]) -> None:
    made = [document_name(each) for each in ids]
    assert len(set(made)) == len(ids) and RECORD_NAME not in made
    for name in made:
        assert quote(unquote(quote(name))) == quote(name) and not set(name) & set("/.%?#")


@given(st.dictionaries(st.text("abcü'-", min_size=1), st.floats(2**-20, 2**20, width=32), max_size=6))
def test_a_tensor_is_read_as_what_it_stands_for(weights: dict[str, float]) -> None:
    assert tensor(literal_tensor(weights)) == pytest.approx(weights)


@given(st.one_of(st.dates(), st.datetimes(timezones=st.just(datetime.timezone.utc)), st.integers(-(2**63), 2**63 - 1)))
def test_values_of_fields_come_back(value: datetime.date | int) -> None:
    kind: Any = "integer" if isinstance(value, int) else "datetime" if isinstance(value, datetime.datetime) else "date"
    assert value_of(stored_value(value), kind) == value and -(2**63) <= stored_value(value) < 2**63


def test_a_port_that_is_none_is_no_fault_of_lexite(stub: Stub) -> None:
    engine = VespaEngine(f"http://{stub.host}", "port", deploy="http://127.0.0.1:99999")
    with pytest.raises(EngineError, match="99999 cannot be reached: no connection .Port out of range"):
        begun(engine)
