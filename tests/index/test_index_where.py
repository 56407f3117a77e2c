"""Searches that filter, sort and limit, on changed indexes: against a plain ranking, filtered by a plain evaluation."""

from __future__ import annotations

import datetime
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_fields import NAMES, VALUES, Row, Tested, conditions
from helpers_index import ALL_SCORINGS, VOCABULARY, weights_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, vstack

from lexite.corpus.passages import CutDocuments, PassageConfig
from lexite.corpus.records import Document
from lexite.errors import CorpusError, FilterError, IndexFormatError, MissingExtraError
from lexite.files import json_checksum, read_json, write_json
from lexite.index import BM25Index, numbering, selection
from lexite.index import fields as fields_module
from lexite.index import growing_fields as growing_module
from lexite.index.conditions import Comparison
from lexite.index.reference import reference_search
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import query_factors, worth_of_terms
from lexite.terms import EncodedQueries

pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")
CUTTING = PassageConfig(20, 25)
Found = list[tuple[str, float]]
NOW = datetime.datetime(2000, 1, 1, 12)
WITH_ALL: Row = dict(zip(NAMES, [1, 0.5, "a", True, NOW.date(), NOW, ["a"], "b"], strict=True))


class Plain:
    """The same documents in dictionaries, searched without an index."""

    def __init__(self) -> None:
        self.rows: dict[str, csr_array] = {}
        self.fields: dict[str, Row] = {}

    def put(self, identifier: str, rows: csr_array, fields: Row) -> None:
        self.drop(identifier)
        self.rows[identifier], self.fields[identifier] = rows, fields

    def drop(self, identifier: str) -> None:
        self.rows.pop(identifier, None)
        self.fields.pop(identifier, None)

    def ranking(self, query: csr_array, scoring: BM25Config) -> list[tuple[str, float, float]]:
        """All hits with score and coverage, best first: each document by its best passage."""
        everything = csr_array(vstack(list(self.rows.values()), format="csr"))
        owners = [name for name, own in self.rows.items() for _ in range(own.shape[0])]
        (found,), (scores,) = reference_search(everything, query, scoring, len(owners))
        frequency = np.bincount(everything.indices, minlength=everything.shape[1])
        worth = worth_of_terms(len(owners), frequency, everything.shape[1], scoring)
        factors = np.zeros(everything.shape[1])
        factors[query.indices] = query_factors(query.data, worth[query.indices], scoring)
        best: dict[str, tuple[str, float, float]] = {}
        for row, score in zip(found.tolist(), scores.tolist(), strict=True):
            if row >= 0:
                covered = factors[everything[[row]].indices].sum() / factors.sum() if factors.sum() else 0.0
                best.setdefault(owners[row], (owners[row], score, covered))
        return list(best.values())

    def search(
        self,
        query: csr_array,
        scoring: BM25Config,
        top_k: int,
        wanted: Callable[[str], bool],
        sort: str | None = None,
        min_score: float = -1.0,
        min_coverage: float = -1.0,
    ) -> Found:
        hits = [
            (name, score)
            for name, score, covered in self.ranking(query, scoring)
            if wanted(name) and score >= min_score and covered >= min_coverage
        ]
        if sort is not None:
            field, _, direction = sort.partition(":")
            values = {name: name if field == "_id" else self.fields[name].get(field) for name, _ in hits}
            known = sorted({value for value in values.values() if value is not None}, reverse=direction == "desc")
            places = {name: len(known) if value is None else known.index(value) for name, value in values.items()}
            order = list(self.rows)
            hits.sort(key=lambda hit: (places[hit[0]], -hit[1], order.index(hit[0])))
        return hits[:top_k]


def cut_documents(
    ids: Sequence[str], sizes: Sequence[int], fields: Sequence[Mapping[str, Any]]
) -> tuple[list[Document], CutDocuments]:
    """Documents of as many passages of two characters as sizes say."""
    documents = [Document(each, "p " * size, fields=own) for each, size, own in zip(ids, sizes, fields, strict=True)]
    spans = np.array([(2 * n, 2 * n + 2) for size in sizes for n in range(size)], dtype=np.int64).reshape(-1, 2)
    return documents, CutDocuments(["p"] * sum(sizes), np.cumsum([0, *sizes]).astype(np.int64), spans)


@st.composite
def changes(draw: Any) -> list[tuple[list[str], list[int], list[Row], list[str], str]]:
    """Rounds of documents to replace and to delete, and what is done in the end of each."""
    most = draw(st.sampled_from([1, 1, 4]))
    rounds = []
    for _ in range(draw(st.integers(1, 3))):
        ids = draw(st.lists(st.sampled_from([f"d{n}" for n in range(14)]), unique=True, min_size=1, max_size=9))
        sizes = draw(st.lists(st.integers(1, most), min_size=len(ids), max_size=len(ids)))
        fields = [draw(st.fixed_dictionaries({}, optional=VALUES)) for _ in ids]
        gone = draw(st.lists(st.sampled_from(ids), unique=True, max_size=2))
        rounds.append((ids, sizes, fields, gone, draw(st.sampled_from(["commit", "merge", "nothing"]))))
    return rounds


def build(path: Path, rounds: list[tuple[list[str], list[int], list[Row], list[str], str]], budget: int) -> Plain:
    plain = Plain()
    with BM25Index.create(path, VOCABULARY, passages=CUTTING, segment_postings=budget) as writer:
        writer.add([Document("gone", "", fields=WITH_ALL)], weights_of(1, 5))  # its types stay
        writer.delete("gone")
        for number, (ids, sizes, fields, gone, end) in enumerate(rounds):
            weights = weights_of(sum(sizes), number + 7 * len(ids))
            documents, cut = cut_documents(ids, sizes, fields)
            writer.replace(documents, weights, cut)
            for name, begin, stop, own in zip(ids, cut.bounds, cut.bounds[1:], fields, strict=False):
                plain.put(name, weights[begin:stop], own)
            writer.delete(gone)
            for name in gone:
                plain.drop(name)
            {"commit": writer.commit, "merge": writer.merge, "nothing": lambda: None}[end]()
        writer.commit()
    return plain


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    rounds=changes(),
    condition=conditions(),
    budget=st.sampled_from([1, 60, 10**6]),
    scoring=st.sampled_from(ALL_SCORINGS),
    top_k=st.sampled_from([1, 3, 50]),
    way=st.sampled_from(["masks", "numbers", "numpy"]),
    data=st.data(),
)
def test_searches_find_what_a_plain_ranking_finds(
    tmp_path_factory: pytest.TempPathFactory,
    rounds: Any,
    condition: Tested,
    budget: int,
    scoring: BM25Config,
    top_k: int,
    way: str,
    data: Any,
) -> None:
    path = tmp_path_factory.mktemp("where") / "index"
    plain = build(path, rounds, budget)
    index = BM25Index.open(path, verify=True)
    assert {document.id: dict(document.fields) for document in index} == {n: dict(f) for n, f in plain.fields.items()}
    if not plain.rows:
        return
    text, truth = condition
    assert index.fields == NAMES
    if data.draw(st.integers(0, 9)) == 0:
        text, truth = "_id >= 'd3'", lambda row: row["_id"] >= "d3"
    query = csr_array(weights_of(1, data.draw(st.integers(0, 99)), 0.3))
    among = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(sorted(plain.rows)), max_size=6)))
    sorts = [None, "_id:desc", *(f"{name}:{way}" for name in index.fields for way in ("asc", "desc") if name != "tags")]
    options: dict[str, Any] = {
        "sort": data.draw(st.sampled_from([each for each in sorts if each is None or " " not in each])),
        "min_score": data.draw(st.sampled_from([None, 0.5, 2.0])),
        "min_coverage": data.draw(st.sampled_from([None, 0.2, 0.6])),
    }
    excluded = data.draw(st.sampled_from([None, *sorted(plain.rows)]))

    def wanted(name: str) -> bool:
        return name != excluded and (among is None or name in among) and truth({**plain.fields[name], "_id": name}) is True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbering, "FEW_PASSING", 2.0 if way == "numbers" else 0.0)
        patch.setattr(selection, "FIRST_BATCH", data.draw(st.sampled_from([1, 2, 64])))
        if way == "numpy":
            patch.delitem(sys.modules, "numba", raising=False)
        (hits,) = index.search(
            EncodedQueries(query), top_k, scoring=scoring, where=text, among=among, exclude=[excluded], **options
        )
    limits = {name: value for name, value in options.items() if value is not None}
    expected = plain.search(query, scoring, top_k, wanted, **limits)
    assert [(hit.id, hit.score) for hit in hits] == expected
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    covered = {name: share for name, _, share in plain.ranking(query, scoring)}
    for hit in hits:
        explanation = index.explain(EncodedQueries(query), hit.id, scoring=scoring)
        assert explanation.coverage == pytest.approx(covered[hit.id], abs=1e-6)


@pytest.fixture
def library(tmp_path: Path) -> BM25Index:
    """Ten documents of different years; two of them have no year."""
    documents = [
        Document(f"d{n}", "", fields={"year": 2000 + n, "lang": "de" if n % 2 else "en"} if n < 8 else {}) for n in range(10)
    ]
    with BM25Index.create(tmp_path / "library", VOCABULARY) as writer:
        writer.add(documents, csr_array(np.ones((10, VOCABULARY.n_terms), dtype=np.float32)))
        writer.commit()
    return BM25Index.open(tmp_path / "library")


EVERYTHING = EncodedQueries(csr_array(np.ones((1, VOCABULARY.n_terms), dtype=np.float32)))


def ids_of(index: BM25Index, **options: Any) -> list[str]:
    (hits,) = index.search(EVERYTHING, 10, **options)
    return [hit.id for hit in hits]


def test_filters_may_be_trees_and_several_queries_share_one(library: BM25Index) -> None:
    assert ids_of(library, where=Comparison("year", ">", 2005)) == ["d6", "d7"]
    both = EncodedQueries(csr_array(vstack([EVERYTHING.rows, EVERYTHING.rows])))
    assert [[hit.id for hit in hits] for hits in library.search(both, 10, where="year = 2003")] == [["d3"], ["d3"]]
    documents, scores = library.search_arrays(EVERYTHING, 10, where="lang = 'de'", sort="year:desc")
    assert documents[0, :4].tolist() == [7, 5, 3, 1] and documents[0, 4] == -1 and scores[0, 4] == 0
    assert library.search(EVERYTHING, 0, where="year = 2003", sort="year") == [[]]
    no_query = EncodedQueries(csr_array((0, VOCABULARY.n_terms), dtype=np.float32))
    assert library.search(no_query, 3, where="year = 2003", sort="year") == []


def test_hits_without_the_field_come_last_in_both_directions(library: BM25Index) -> None:
    assert ids_of(library, sort="year") == [f"d{n}" for n in range(10)]
    assert ids_of(library, sort="YEAR:desc") == [*(f"d{n}" for n in range(7, -1, -1)), "d8", "d9"]


def test_wrong_names_are_answered_with_those_that_there_are(library: BM25Index) -> None:
    for options in ({"where": "page = 1"}, {"sort": "page"}, {"sort": "page:desc"}):
        with pytest.raises(FilterError, match=r"no field 'page'\. The fields are year \(whole numbers\), lang \(text\)\."):
            ids_of(library, **options)
    with pytest.raises(FilterError, match="by the name of a field"):
        ids_of(library, sort="")
    with pytest.raises(FilterError, match="no field 'page'"):
        library.facets("page")


def test_documents_are_selected_without_a_query(library: BM25Index) -> None:
    assert library.select().tolist() == list(range(10))
    assert library.select("year >= 2005").tolist() == [5, 6, 7]
    assert library.select("year is null or year > 2005", sort="year:desc").tolist() == [7, 6, 8, 9]


def test_facets_count_among_what_passes_or_among_hits(library: BM25Index) -> None:
    lang, year = library.facets(["lang", "year"], where="year >= 2003", n_values=2)
    assert (lang.values, lang.n_documents, lang.n_without) == ((("de", 3), ("en", 2)), 5, 0)
    assert (year.values, year.n_values) == (((2003, 1), (2004, 1)), 5)
    (lang,) = library.facets("lang", among=["d0", "d9"])
    assert (lang.values, lang.n_documents, lang.n_without) == ((("en", 1),), 2, 1)
    assert lang.to_json()["values"] == [{"value": "en", "documents": 1}]


def test_what_is_said_of_an_index_names_its_fields(library: BM25Index) -> None:
    info = library.info()
    assert info["fields"] == {"year": "integer", "lang": "text"} and info["bytes_fields"] > 0
    assert library.fields == {"year": "integer", "lang": "text"}
    assert library.get("d1").fields == {"year": 2001, "lang": "de"}  # type: ignore[union-attr]
    assert library.get("d9").fields == {}  # type: ignore[union-attr]


def test_masks_are_kept_for_the_next_search(library: BM25Index, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ids_of(library, where="year = 2003") == ["d3"]
    monkeypatch.setattr("lexite.index.masks.documents_that_pass", None)
    assert ids_of(library, where="year=2003") == ["d3"]


def test_a_value_of_another_type_changes_nothing(library: BM25Index) -> None:
    assert library.path is not None
    with BM25Index.writer(library.path) as writer:
        new = [Document("e1", "", fields={"year": 2020}), Document("e2", "", fields={"year": "soon"})]
        weights = weights_of(2, 1)
        with pytest.raises(
            CorpusError, match=r"Document 'e2', field 'year': 'soon' is text, but the field holds whole numbers"
        ):
            writer.replace(new, weights)
        assert "e1" not in writer and writer.n_documents == 10
        writer.add([Document("e3", "", fields={"year": 2020.5})], weights_of(1, 2))  # whole numbers become numbers
        writer.commit()
        assert writer.fields == {"year": "number", "lang": "text"}
    index = BM25Index.open(library.path)
    assert ids_of(index, where="year in (2020.5, 2007)", sort="year") == ["d7", "e3"]
    assert library.fields["year"] == "integer" and ids_of(library, where="year = 2007") == ["d7"]  # an older snapshot


def test_fields_can_be_left_out(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, store_fields=False) as writer:
        writer.add([Document("a", "", fields={"year": {"not": "checked"}})], weights_of(1, 1))  # type: ignore[dict-item]
        writer.commit()
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.add([Document("b", "", fields={"year": 2020})], weights_of(1, 2))
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    assert index.fields == {} and index.info()["fields"] is None and index.get("b").fields == {}  # type: ignore[union-attr]
    with pytest.raises(FilterError, match="have no fields"):
        ids_of(index, where="year = 2020")


def test_without_pyarrow_fields_are_left_out_and_that_is_said_once(
    tmp_path: Path, library: BM25Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (fields_module, growing_module):
        monkeypatch.setattr(module, "has_arrow", lambda: False)
    monkeypatch.setattr("lexite.index.filtering.has_arrow", lambda: False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    caplog.set_level(logging.WARNING, "lexite")
    logging.getLogger("lexite").propagate = True
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        for name in ("a", "b"):
            writer.add([Document(name, "", fields={"year": 2020, "lang": "en"})], weights_of(1, 1))
        writer.commit()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "(year, lang)" in said and "pip install 'lexite[fields]'" in said
    assert BM25Index.open(tmp_path / "i").fields == {}
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[fields\]'"):
        BM25Index.create(tmp_path / "j", VOCABULARY, store_fields=True)
    assert not (tmp_path / "j").exists()
    assert library.path is not None
    with BM25Index.writer(library.path) as writer:  # an index that has fields does not lose some
        with pytest.raises(MissingExtraError):
            writer.add([Document("c", "", fields={"year": 2020})], weights_of(1, 1))
        assert writer.n_documents == 10
    caplog.clear()
    index = BM25Index.open(library.path)
    assert [index.get("d1").fields, index.get("d2").fields] == [{}, {}]  # type: ignore[union-attr]
    assert len(caplog.records) == 1 and "lexite[fields]" in caplog.records[0].getMessage()
    assert ids_of(index)[:2] == ["d0", "d1"]
    with pytest.raises(MissingExtraError):
        ids_of(index, where="year = 2020")


def test_damaged_fields_are_refused(library: BM25Index) -> None:
    assert library.path is not None
    (path,) = library.path.glob("segments/*/fields.arrow")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(IndexFormatError, match=r"fields\.arrow is damaged: its checksum is wrong"):
        BM25Index.open(library.path, verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(IndexFormatError, match=r"fields\.arrow is damaged"):
        BM25Index.open(library.path)
    path.unlink()
    with pytest.raises(IndexFormatError, match=r"fields\.arrow is missing"):
        BM25Index.open(library.path)


def test_a_commit_point_with_unknown_types_is_damaged(library: BM25Index) -> None:
    assert library.path is not None
    place = library.path / "index.json"
    value = read_json(place, IndexFormatError)
    del value["sha256"]
    value["fields"] = {"year": "colour"}
    write_json(place, {**value, "sha256": json_checksum(value)})
    with pytest.raises(IndexFormatError, match="fields of the type 'colour'"):
        BM25Index.open(library.path)


def test_scores_are_an_order_too(library: BM25Index) -> None:
    for sort in ("_score", "_score:desc"):
        assert ids_of(library, sort=sort) == ids_of(library)
        library.check_fields(sort=sort)
    with pytest.raises(FilterError, match="best first only"):
        ids_of(library, sort="_score:asc")
    with pytest.raises(FilterError, match="only as hits of a query"):
        library.select(sort="_score")
