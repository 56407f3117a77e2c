"""What every engine must do as an index does. One suite for all: cases that take a :class:`Kit`.

The file of an engine makes kits and runs the cases::

    @pytest.mark.parametrize("case", CASES, ids=named)
    def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
        run(case, kit)

A case that an engine's capabilities rule out is skipped with a word. Precision is declared by the kit, and no case loosens it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_engines import N_LATENTS, random_queries, random_rows, random_texts
from scipy.sparse import csr_array, vstack

from lexite import Document, Searcher
from lexite.engines.live import LiveEngine
from lexite.engines.loading import LoadSettings
from lexite.errors import ArgumentError, ConfigError, CorpusError, EngineError, FilterError, ModelError
from lexite.index import BM25Config, BM25Index, EncodedQueries, Hit, LiteralConfig, VocabularyInfo

SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
SCIFACT = SHARED / "data" / "collections" / "scifact"
N_DOCUMENTS, N_QUERIES = 3000, 50
ODD_IDS = ("ü/日本", "two\nlines", "a b", '"quoted"', "back\\slash", "😀", "#1", "x" * 500, "NULL", "-1", "*", "a:b AND c")
IMPOSSIBLE_IDS = ("", "\ud800")
"""No engine holds these."""


@dataclass
class Kit:
    """What the cases need of an engine.

    Attributes:
        make: gives a new engine over a collection of its own that is not there yet; options go to the engine.
        relative: how far scores may be from the index's, as a share.
        overlap: least mean overlap@10 with the index.
        impossible_ids: ids that the engine cannot hold, beside those that none can.
        odd_ids: ids that it must hold.
        no_filters: parts of filters that the engine has nothing for.
        n_documents: documents of the corpus.
        made: engines that :meth:`new` made, to be removed by :meth:`clear`.
        kept: the engine of :attr:`loaded`, once it is there.
    """

    make: Callable[..., LiveEngine]
    relative: float
    overlap: float = 0.999
    impossible_ids: tuple[str, ...] = ()
    odd_ids: tuple[str, ...] = ODD_IDS
    no_filters: tuple[str, ...] = ()
    n_documents: int = N_DOCUMENTS
    made: list[LiveEngine] = field(default_factory=list)
    kept: dict[str, LiveEngine] = field(default_factory=dict)

    def new(self, **options: Any) -> LiveEngine:
        """An engine whose collection is removed when the case ends."""
        self.made.append(self.make(**options))
        return self.made[-1]

    @property
    def corpus(self) -> tuple[BM25Index, EncodedQueries]:
        """What :attr:`loaded` holds, and queries."""
        return corpus(self.n_documents)

    @property
    def loaded(self) -> LiveEngine:
        """An engine that holds the corpus; it is loaded once, and no case changes it."""
        if "corpus" not in self.kept:
            engine = self.make()
            report = engine.load(self.corpus[0])
            assert report.n_documents == self.corpus[0].n_documents and not report.refused
            self.kept["corpus"] = engine
        return self.kept["corpus"]

    def clear(self) -> None:
        """Removes what the last case made."""
        while self.made:
            engine = self.made.pop()
            engine.drop()
            engine.close()

    def close(self) -> None:
        """Removes everything."""
        self.made += self.kept.values()
        self.kept.clear()
        self.clear()


Case = Callable[[Kit], None]


def run(case: Case, kit: Kit) -> None:
    """Runs a case, and removes what it made."""
    try:
        case(kit)
    finally:
        kit.clear()


@functools.lru_cache(maxsize=2)
def corpus(n_documents: int = N_DOCUMENTS) -> tuple[BM25Index, EncodedQueries]:
    """Documents and queries: SciFact's first 3,000 by the static table of the packaged vocabulary; synthetic ones elsewhere."""
    if not SCIFACT.is_dir():
        index = indexed(random_rows(n_documents, 1), random_texts(n_documents, 1))
        return index, random_queries(N_QUERIES)
    from lexite.terms.static import load_static

    def read(name: str, n: int) -> list[str]:
        with gzip.open(SCIFACT / name, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for _, line in zip(range(n), file, strict=False)]
        return [f"{record.get('title', '')} {record['text']}".strip() for record in records]

    table, _ = load_static("default")
    texts, asked = read("corpus.jsonl.gz", n_documents), read("queries.jsonl.gz", N_QUERIES)
    beginnings = [text[:300] for text in texts]  # latents of them are as many and as heavy as a test needs
    return indexed(table.encode(beginnings), texts), EncodedQueries(table.encode(asked), asked)


def indexed(
    rows: csr_array, texts: Sequence[str] | None, ids: Sequence[str] | None = None, scoring: BM25Config | None = None
) -> BM25Index:
    """An index of rows."""
    info = VocabularyInfo("f" * 64, "congruence", int(rows.shape[1]))
    names = [f"d{number}" for number in range(rows.shape[0])] if ids is None else ids
    literal = None if texts is None else LiteralConfig()
    return BM25Index.in_memory(rows, names, scoring, info, texts=texts, literal=literal)


def small(n: int = 200, seed: int = 3) -> tuple[list[Document], csr_array]:
    """A few documents with words and fields, and their rows."""
    texts = random_texts(n, seed)
    fields = [_fields(number) for number in range(n)]
    documents = [Document(f"s{number}", texts[number], f"title {number % 7}", fields=fields[number]) for number in range(n)]
    return documents, random_rows(n, seed)


def _fields(number: int) -> dict[str, Any]:
    import datetime

    day = datetime.date(2020, 1, 1) + datetime.timedelta(days=number)
    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(hours=number)
    given: dict[str, Any] = {
        "year": 1990 + number % 40,
        "price": number / 8,
        "lang": ("en", "de", "fr_FR", "100%", "Über", "it's")[number % 6],
        "open": number % 3 == 0,
        "day": day,
        "moment": moment,
        "tags": [f"tag{number % 5}", f"law {number % 2}"],
    }
    return {name: value for place, (name, value) in enumerate(given.items()) if (number + place) % 11}


def begun(engine: LiveEngine, scoring: BM25Config | None = None, n_latents: int = N_LATENTS, words: bool = True) -> LiveEngine:
    """An engine with an empty collection."""
    info = VocabularyInfo("f" * 64, "congruence", n_latents)
    engine.create(info, scoring or BM25Config(), LiteralConfig() if words else None)
    return engine


def beside(documents: Sequence[Document], rows: csr_array, scoring: BM25Config | None = None) -> BM25Index:
    """An index of the same documents."""
    return indexed(rows, [each.full_text for each in documents], [each.id for each in documents], scoring)


def check_same(
    kit: Kit, engine: LiveEngine, index: BM25Index, queries: EncodedQueries, scores: bool = True, **options: Any
) -> None:
    """Compares rankings: mean overlap@10, in which documents of nearly equal scores may be exchanged; and all scores."""
    found, expected = engine.search(queries, 10, **options), index.search(queries, 10, **options)
    overlaps = []
    for number, (theirs, ours) in enumerate(zip(found, expected, strict=True)):
        assert len(theirs) == len(ours), (number, len(theirs), len(ours))
        assert [hit.rank for hit in theirs] == list(range(1, len(theirs) + 1))
        if not ours:
            continue
        own = {hit.id: hit.score for hit in index.search(queries[number], 500, **_of_one(options, number))[0]}
        least = ours[-1].score * (1 - 2 * kit.relative)
        overlaps.append(sum(own.get(hit.id, -1.0) >= least for hit in theirs) / len(ours))
        if scores:
            for hit in theirs:
                assert hit.id in own, (number, hit)
                assert abs(hit.score / own[hit.id] - 1) <= kit.relative, (number, hit, own[hit.id])
        assert [hit.score for hit in theirs] == sorted((hit.score for hit in theirs), reverse=True)
    assert not overlaps or float(np.mean(overlaps)) >= kit.overlap, float(np.mean(overlaps))


def check_opened_again(make: Callable[[], LiveEngine]) -> None:
    """Holds that a collection in files goes on as it was: words keep their numbers, and statistics count what is there."""
    documents, rows = small(60)
    engine = begun(make())
    engine.add(documents[:40], rows[:40])
    engine.close()
    engine.close()
    again = make()
    again.add(documents[40:], rows[40:])
    assert len(again) == 60 and again.drift is not None
    again.delete([each.id for each in documents[:20]])
    names = [f"t{number}" for number in range(100)]
    counted = beside(documents[20:], rows[20:]).document_frequency[:100]
    assert again.driver.frequencies(names).tolist() == counted.tolist()
    again.delete([each.id for each in documents])
    again.add(documents[:40], rows[:40])
    check_same(Kit(lambda: again, 1e-5), again, beside(documents[:40], rows[:40]), random_queries(5))
    again.close()


def _of_one(options: dict[str, Any], number: int) -> dict[str, Any]:
    """The options of one query among several."""
    exclude, among = options.get("exclude"), options.get("among")
    own = dict(options)
    if exclude is not None:
        own["exclude"] = [exclude[number]]
    if among is not None and not isinstance(among[0], str):
        own["among"] = [among[number]]
    return own


def case_rankings_and_scores_are_those_of_the_index(kit: Kit) -> None:
    index, queries = kit.corpus
    engine = kit.loaded
    check_same(kit, engine, index, queries)
    assert len(engine) == index.n_documents and engine.vocabulary == index.vocabulary and engine.literal == index.literal
    assert all(hit.document == -1 and hit.n_cut == 0 for hit in engine.search(queries[0])[0])


def case_latents_alone(kit: Kit) -> None:
    index, queries = kit.corpus
    check_same(kit, kit.loaded, index, EncodedQueries(queries.rows))
    check_same(kit, kit.loaded, index, queries, scoring=BM25Config(literal_weight=0.0))


def case_queries_of_one_term_and_of_two_hundred(kit: Kit) -> None:
    index, queries = kit.corpus
    rows = queries.to_csr()
    one = csr_array((np.float32([3.0, 0.01]), ([0, 1], rows.indices[:2])), shape=(2, rows.shape[1]))
    check_same(kit, kit.loaded, index, EncodedQueries(one))
    long = vstack([csr_array(rows[start : start + 10].sum(axis=0)[None, :]) for start in range(0, 30, 10)])
    trimmed = []
    for row in range(3):
        dense = csr_array(long)[[row]].toarray()[0]
        dense[np.argsort(-dense)[200:]] = 0
        trimmed.append(dense)
    check_same(kit, kit.loaded, index, EncodedQueries(csr_array(np.array(trimmed, np.float32))))


def case_the_lightest_terms_are_cut_and_hits_say_how_many(kit: Kit) -> None:
    index, queries = kit.corpus
    most = kit.loaded.capabilities.most_terms
    present = np.flatnonzero(index.document_frequency[: index.n_latents])
    n = min(len(present), index.n_latents, (most or 1024) + 30)
    weights = np.linspace(1, 5, n, dtype=np.float32)
    wide = EncodedQueries(csr_array((weights, (np.zeros(n, int), present[:n])), shape=(1, index.n_latents)))
    cut = 0 if most is None else max(0, n - most)
    found = kit.loaded.search(wide)[0]
    assert found and all(hit.n_cut == cut for hit in found)
    few = kit.make(most_terms=7)
    few.driver.close()
    few.driver = kit.loaded.driver
    short = few.search(queries[:5])
    for number, hits in enumerate(short):
        factors = index.query_factors(queries[number])
        kept = np.argsort(-factors.data, kind="stable")[:7]
        assert all(hit.n_cut == max(0, len(factors.data) - 7) for hit in hits)
        own = {hit.id: hit.score for hit in index.search(queries[number], index.n_documents)[0]}
        assert hits and all(hit.score <= own[hit.id] * (1 + kit.relative) for hit in hits) and len(kept) == 7


def case_empty_queries_and_terms_that_no_document_has(kit: Kit) -> None:
    index, _ = kit.corpus
    nothing = csr_array((2, index.n_latents), dtype=np.float32)
    assert kit.loaded.search(EncodedQueries(nothing)) == [[], []]
    assert kit.loaded.search(EncodedQueries(nothing, ["", "qqzzxxyy"])) == [[], []]
    assert kit.loaded.search(EncodedQueries(csr_array((0, index.n_latents), dtype=np.float32))) == []


def case_negative_weights_are_refused(kit: Kit) -> None:
    index, _ = kit.corpus
    rows = csr_array((np.float32([1, -1]), ([0, 0], [1, 2])), shape=(1, index.n_latents))
    for each in (index, kit.loaded):
        with pytest.raises(ModelError, match="not negative"):
            each.search(EncodedQueries(rows))


def case_queries_of_another_vocabulary_are_refused(kit: Kit) -> None:
    index, queries = kit.corpus
    with pytest.raises(Exception, match="vocabulary"):
        kit.loaded.search(EncodedQueries(queries.rows, fingerprint="0" * 64))


def case_the_weights_of_words_are_searched(kit: Kit) -> None:
    if not kit.loaded.capabilities.word_weights:
        pytest.skip("the engine does not search weights of words")
    index, queries = kit.corpus
    weights = [{"cell": 2.0, "w1": 0.5}, None, {"qqzzxxyy": 1.0}]
    check_same(kit, kit.loaded, index, EncodedQueries(queries.to_csr()[:3], queries.texts[:3], word_weights=weights))


def case_scoring_of_a_search(kit: Kit) -> None:
    index, queries = kit.corpus
    other = BM25Config(idf_power=1.0, literal_weight=1.0, query_transform="sqrt")
    check_same(kit, kit.loaded, index, queries[:10], scoring=other)
    with pytest.raises(ConfigError, match="written with b 0.75"):
        kit.loaded.search(queries[:1], scoring=BM25Config(b=0.1))
    if kit.loaded.record.route.name == "saturation":
        check_same(kit, kit.loaded, index, queries[:10], scoring=BM25Config(k1=1.2))
    else:
        with pytest.raises(ConfigError, match="written with k1 2.5, so a search there cannot have k1 1.2. Load"):
            kit.loaded.search(queries[:1], scoring=BM25Config(k1=1.2))
        with pytest.raises(
            ConfigError, match="written with b 0.75 and k1 2.5, so a search there cannot have b 0.1 and k1 1.2. Load"
        ):
            kit.loaded.search(queries[:1], scoring=BM25Config(k1=1.2, b=0.1))


def case_among_and_exclude(kit: Kit) -> None:
    index, queries = kit.corpus
    able = kit.loaded.capabilities
    best = [[hit.id for hit in hits] for hits in index.search(queries[:5], 20)]
    if able.exclude:
        check_same(kit, kit.loaded, index, queries[:5], exclude=[own[0] for own in best[:4]] + [None])
    else:
        with pytest.raises(ArgumentError, match="cannot search with exclude"):
            kit.loaded.search(queries[:1], exclude=["d1"])
    if able.among:
        check_same(kit, kit.loaded, index, queries[:5], among=[own[5:15] for own in best])
        check_same(kit, kit.loaded, index, queries[:5], among=best[0])
        with pytest.raises(CorpusError, match="has no document 'nowhere'"):
            kit.loaded.search(queries[:1], among=["nowhere"])
    else:
        with pytest.raises(ArgumentError, match="cannot search with among"):
            kit.loaded.search(queries[:1], among=["d1"])


def case_explanations_add_up_to_the_score(kit: Kit) -> None:
    index, queries = kit.corpus
    rounded = kit.loaded.record.route.name == "frequencies"
    for number in range(3):
        best = index.search(queries[number], 3)[0]
        for hit in best:
            ours, theirs = index.explain(queries[number], hit.id), kit.loaded.explain(queries[number], hit.id)
            assert theirs.score == pytest.approx(ours.score, rel=kit.relative) and theirs.id == hit.id
            assert theirs.coverage == pytest.approx(ours.coverage, rel=1e-3)
            assert theirs.length == pytest.approx(ours.length, rel=1e-5) and theirs.norm == pytest.approx(ours.norm, rel=1e-5)
            mine = {(term.kind, term.word or term.term): term for term in ours.terms}
            assert {(term.kind, term.word or term.term) for term in theirs.terms} == set(mine)
            for term in theirs.terms:
                own = mine[term.kind, term.word or term.term]
                assert term.document_frequency == own.document_frequency and term.idf == pytest.approx(own.idf, rel=1e-6)
                assert term.weight == pytest.approx(own.weight, rel=0.05)  # a whole number of frequencies, where it is small
                assert term.score == pytest.approx(own.score, rel=0.05 if rounded else 0.01)  # no further off than its weight
    with pytest.raises(CorpusError, match="has no document 'nowhere'"):
        kit.loaded.explain(queries[0], "nowhere")


def case_documents_are_added_deleted_and_replaced(kit: Kit) -> None:
    documents, rows = small()
    queries = random_queries(20)
    engine = begun(kit.new())
    assert len(engine) == 0 and engine.search(queries[:2]) == [[], []]
    report = engine.add(documents, rows)
    assert (report.n_documents, report.refused) == (200, ()) and abs(report.drift or 0.0) < 1e-4
    check_same(kit, engine, beside(documents, rows), queries)
    with pytest.raises(CorpusError, match="'s1' already. Nothing was sent"):
        engine.add(documents[1:2], rows[[1]])
    gone = {f"s{number}" for number in range(0, 200, 3)}
    assert engine.delete([*gone, "nowhere"]) == len(gone)
    left = [number for number in range(200) if f"s{number}" not in gone]
    kept, rest = [documents[number] for number in left], csr_array(rows[left])
    assert len(engine) == len(kept) and engine.get("s0") is None
    exact = engine.capabilities.live_statistics
    as_baked = (
        BM25Index.in_memory
    )  # the mean length stays baked in: overlap is that of fresh statistics within the suite's bound
    assert as_baked is not None
    found = engine.search(queries)
    expected = beside(kept, rest).search(queries)
    shared = [len({h.id for h in a} & {h.id for h in b}) / max(len(b), 1) for a, b in zip(found, expected, strict=True) if b]
    own_idf = engine.record.route.own_idf  # which counts what is deleted until the engine has dropped it
    assert np.mean(shared) >= (0.9 if own_idf else 0.99 if exact else 0.95), np.mean(shared)
    assert not any(hit.id in gone for hits in found for hit in hits)
    changed = Document(kept[0].id, "aardvark zebra", "new", fields={"year": 2001})
    assert engine.add([changed], rows[[199]], replace=True).n_documents == 1
    assert len(engine) == len(kept)
    (stored,) = [engine.get(kept[0].id)]
    assert stored is not None and (stored.title, stored.text, stored.fields["year"]) == ("new", "aardvark zebra", 2001)
    word = EncodedQueries(csr_array((1, N_LATENTS), dtype=np.float32), ["aardvark"])
    assert [hit.id for hit in engine.search(word)[0]] == [kept[0].id]


def case_what_is_stored_comes_back(kit: Kit) -> None:
    documents, rows = small(30)
    engine = begun(kit.new())
    engine.add(documents, rows)
    for each in documents[:12]:
        stored = engine.get(each.id)
        assert stored is not None and (stored.id, stored.title, stored.text) == (each.id, each.title, each.text)
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in each.fields.items()}
        assert {name: tuple(v) if isinstance(v, list) else v for name, v in stored.fields.items()} == given
    again = kit.make()
    again.driver.close()
    again.driver = engine.driver
    assert again.record == engine.record and len(again) == 30


BEYOND = f"1{'0' * 350}"  # a whole number that no double holds
FILTERS = (
    "year >= 2000",
    "year between 1995 and 2004 and not open",
    "not (year > 2000 or price < 5)",
    "price < 7.5 or price = 10",
    "price <> 3.5",
    f"price < {BEYOND} and price > -{BEYOND}",
    f"price > {BEYOND} or price in (3.5, {BEYOND})",
    "year > 2000.5",
    "year < 1e30 and year <> 2000.5",
    "year in (2000, 2001.5) or year = 2003.0",
    "lang >= 'fr' and lang < 'ga'",
    "lang = 'en'",
    "lang <> 'en'",
    "lang in ('de', 'Über', '100%')",
    "lang not in ('de', 'en')",
    "lang like 'fr\\_%' escape '\\'",
    "lang like '%\\%' escape '\\'",
    "lang ilike 'üBER'",
    "lang not like '%e%'",
    "lang = 'it''s'",
    "open",
    "open = false",
    "not open",
    "day >= '2020-03-01' and day < '2020-04-01'",
    "moment > '2020-01-03 12:00:00'",
    "'tag1' in tags",
    "not 'tag1' in tags and 'law 0' in tags",
    "year is null",
    "year is not null and lang is null",
    "not (lang is null)",
    "_id in ('s1', 's2', 's7')",
    "_id <> 's1' and year > 2010",
    "(year > 2000 or lang = 'de') and not ('tag2' in tags or open)",
)


def case_filters_mean_what_they_mean_in_an_index(kit: Kit) -> None:
    documents, rows = small()
    engine = begun(kit.new())
    engine.add(documents, rows)
    if not engine.capabilities.fields:
        with pytest.raises(ArgumentError, match="cannot search with where"):
            engine.search(random_queries(1), where="year >= 2000")
        return
    index, queries = fielded_index(), random_queries(3)
    for where in FILTERS:
        if any(part in where for part in kit.no_filters):
            with pytest.raises(FilterError, match=engine.driver.engine):
                engine.search(queries, where=where)
            continue
        found, expected = engine.search(queries, 200, where=where), index.search(queries, 200, where=where)
        for theirs, ours in zip(found, expected, strict=True):
            assert {hit.id for hit in theirs} == {hit.id for hit in ours}, where
    for where, message in (("nowhere = 1", "no field 'nowhere'"), ("year = 'x'", "whole numbers")):
        with pytest.raises(FilterError, match=message):
            engine.search(queries, where=where)


def case_sorting_and_the_least_score(kit: Kit) -> None:
    documents, rows = small()
    engine = begun(kit.new())
    engine.add(documents, rows)
    if not engine.capabilities.fields:
        pytest.skip("the engine keeps no fields")
    index, queries = fielded_index(), random_queries(5)
    for sort in ("year", "price:desc", "lang", "day:desc", "moment", "open", "_id", "_score"):
        found, expected = engine.search(queries, 200, sort=sort), index.search(queries, 200, sort=sort)
        for theirs, ours in zip(found, expected, strict=True):
            assert {hit.id for hit in theirs} == {hit.id for hit in ours}
            keys = [
                (_sort_key(documents, hit, sort), _sort_key(documents, own, sort))
                for hit, own in zip(theirs, ours, strict=True)
            ]
            assert sort == "_score" or all(a == b for a, b in keys), sort
    ours = [hit.score for hit in index.search(queries[0], 30)[0]]
    n_best = max(range(1, 20), key=lambda n: ours[n - 1] / ours[n])  # the widest gap between two scores
    hits = engine.search(queries[0], 50, min_score=(ours[n_best - 1] + ours[n_best]) / 2)[0]
    assert len(hits) == n_best
    with pytest.raises(ArgumentError, match="min_coverage"):
        engine.search(queries, min_coverage=0.5)


def _sort_key(documents: Sequence[Document], hit: Hit, sort: str) -> Any:
    field = sort.partition(":")[0]
    return hit.id if field == "_id" else documents[int(hit.id[1:])].fields.get(field)


@functools.lru_cache(maxsize=1)
def fielded_index() -> BM25Index:
    """An index with the fields of :func:`small`."""
    return fielded(*small())


def fielded(documents: Sequence[Document], rows: csr_array) -> BM25Index:
    """An index that keeps texts and fields; its folder goes with the tests."""
    import atexit
    import tempfile

    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    path = Path(place.name) / "i"
    with BM25Index.create(path, VocabularyInfo("f" * 64, "congruence", N_LATENTS), literal=LiteralConfig()) as writer:
        writer.add(documents, rows)
        writer.commit()
    return BM25Index.open(path)


def case_ties_come_in_the_order_of_documents(kit: Kit) -> None:
    engine = begun(kit.new(), words=False)
    ids = [f"t{number}" for number in (5, 3, 9, 1, 7, 0, 8, 2)]
    rows = csr_array((np.ones(8, np.float32), (np.arange(8), np.full(8, 3))), shape=(8, N_LATENTS))
    engine.add([Document(each, "x") for each in ids], rows)
    query = EncodedQueries(csr_array((np.float32([2]), ([0], [3])), shape=(1, N_LATENTS)))
    for _ in range(3):
        hits = engine.search(query, 5)[0]
        assert len({hit.score for hit in hits}) == 1 and [hit.id for hit in hits] == ids[:5]


def case_ids_of_every_kind(kit: Kit) -> None:
    engine = begun(kit.new(), words=False)
    ids = list(kit.odd_ids)
    rows = random_rows(len(ids) + 4, 5)
    engine.add([Document(each, "x") for each in ids], rows[: len(ids)])
    assert len(engine) == len(ids)
    found = engine.search(EncodedQueries(csr_array(np.ones((1, N_LATENTS), np.float32))), 50)[0]
    assert sorted(hit.id for hit in found) == sorted(ids)
    for each in ids:
        stored = engine.get(each)
        assert stored is not None and stored.id == each
    bad = [*IMPOSSIBLE_IDS, *kit.impossible_ids]
    for each in bad:
        with pytest.raises(CorpusError, match="Nothing was sent"):
            engine.add([Document("fine", "x"), Document(each, "x")], rows[len(ids) : len(ids) + 2])
    assert engine.get("fine") is None
    together = [Document(each, "x") for each in ("fine", *bad)]
    many = csr_array(np.ones((len(together), N_LATENTS), np.float32))
    report = engine.add(together, many, settings=LoadSettings(skip_bad=True))
    assert report.n_documents == 1 and [each.id for each in report.refused] == bad and engine.get("fine") is not None
    assert all(each.reason for each in report.refused)
    assert engine.delete(ids) == len(ids) and len(engine) == 1
    with pytest.raises(CorpusError, match="occurs twice"):
        engine.add([Document("same", "x"), Document("same", "y")], rows[:2])


def case_documents_without_terms(kit: Kit) -> None:
    engine = begun(kit.new(), words=False)
    rows = csr_array(vstack([random_rows(20, 6), csr_array((3, N_LATENTS), dtype=np.float32)]), dtype=np.float32)
    documents = [Document(f"d{number}", "x") for number in range(23)]
    assert engine.add(documents, rows).n_documents == 23
    assert len(engine) == 23 and engine.get("d22") is not None
    check_same(kit, engine, indexed(rows, None), EncodedQueries(random_queries(10).rows))


def case_weights_of_every_size(kit: Kit) -> None:
    """From 1e-3 to 1e4. A route with whole numbers is given a scale that suits them."""
    rows = random_rows(300, 8)
    rows.data = np.exp(np.random.default_rng(9).uniform(np.log(1e-3), np.log(1e4), rows.nnz)).astype(np.float32)
    chosen = kit.new()
    if chosen.new_route.rounding == "count":
        chosen = kit.new(scale=100_000.0)
    engine = begun(chosen, words=False)
    engine.add([Document(f"d{number}", "x") for number in range(300)], rows)
    asked = random_queries(20).to_csr()
    asked.data = np.exp(np.random.default_rng(10).uniform(np.log(1e-3), np.log(1e4), asked.nnz)).astype(np.float32)
    check_same(kit, engine, indexed(rows, None), EncodedQueries(asked))


def case_passages(kit: Kit) -> None:
    index = passages_index()
    engine = kit.new()
    report = engine.load(index)
    assert (report.n_documents, report.n_passages) == (index.n_documents, index.n_passages)
    queries = EncodedQueries(random_queries(15).rows)
    check_same(kit, engine, index, queries)
    for number, hits in enumerate(engine.search(queries, 10)):
        for hit in hits:
            own = {passage.span: passage.score for passage in index.passages(queries[number], hit.id)}
            assert own[hit.span] >= max(own.values()) * (1 - 2 * kit.relative), (number, hit)
    best = index.search(queries[:1], 1)[0][0]
    spans = [hit.span for hit in index.passages(queries[0], best.id)]
    assert [hit.span for hit in engine.passages(queries[0], best.id)] == spans
    assert engine.explain(queries[0], best.id).score == pytest.approx(best.score, rel=kit.relative)
    stored, own = engine.get(best.id), index.get(best.id)
    assert stored is not None and own is not None and stored.text == own.text
    assert engine.delete([best.id]) == 1 and len(engine) == index.n_documents - 1
    assert best.id not in {hit.id for hit in engine.search(queries[:1], 50)[0]}


@functools.lru_cache(maxsize=1)
def passages_index() -> BM25Index:
    """Sixty documents of one to four passages."""
    import atexit
    import tempfile

    from lexite.corpus.passages import CutDocuments

    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    sizes = [1 + number % 4 for number in range(60)]
    words = random_texts(sum(sizes), 11)
    documents, spans, texts, at = [], [], [], 0
    for number, size in enumerate(sizes):
        own, begin = words[at : at + size], 0
        for text in own:
            spans.append((begin, begin + len(text)))
            begin += len(text) + 1
        documents.append(Document(f"p{number}", " ".join(own), f"title {number}"))
        texts += own
        at += size
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    path = Path(place.name) / "i"
    with BM25Index.create(path, VocabularyInfo("f" * 64, "congruence", N_LATENTS)) as writer:
        writer.add(documents, random_rows(sum(sizes), 12), CutDocuments(texts, bounds, np.array(spans)))
        writer.commit()
    return BM25Index.open(path)


def case_a_load_that_was_stopped_goes_on(kit: Kit) -> None:
    documents, rows = small()
    index, engine = beside(documents, rows), kit.new()
    written, real = [], engine.driver.write

    def stopping(passages: Any, collection: Any) -> Any:
        if len(written) == 3:
            raise EngineError("the connection was cut")
        written.append(len(passages))
        return real(passages, collection)

    engine.driver.write = stopping  # type: ignore[method-assign]
    settings = LoadSettings(batch_bytes=20_000)
    import lexite.engines.live_loading as module

    seconds, module.RECORD_SECONDS = module.RECORD_SECONDS, 0.0
    try:
        with pytest.raises(EngineError, match="was cut"):
            engine.load(index, settings=settings)
    finally:
        module.RECORD_SECONDS = seconds
        engine.driver.write = real  # type: ignore[method-assign]
    assert engine.record.loading is not None
    check_unfinished(engine)
    with pytest.raises(EngineError, match="unfinished load of something else"):
        engine.load(beside(documents[:50], csr_array(rows[:50])))
    before = engine.record.scoring.literal_weight
    with pytest.raises(
        EngineError, match=rf"something else \(literal_weight of scoring \({before}, not {before + 0.5}\)\) at "
    ):
        engine.load(index, scoring=dataclasses.replace(engine.record.scoring, literal_weight=before + 0.5), settings=settings)
    report = engine.load(index, settings=settings)
    assert 0 < report.resumed < 200 and report.resumed + report.n_documents == 200
    assert len(engine) == 200 and engine.record.loading is None
    check_same(kit, engine, index, random_queries(10))
    with pytest.raises(EngineError, match="already. Replace it with overwrite=True"):
        engine.load(index)
    assert engine.load(index, overwrite=True).n_documents == 200 and len(engine) == 200


def check_unfinished(engine: LiveEngine) -> None:
    """A collection of which documents are missing is searched with a warning."""
    with logged() as messages:
        engine.search(random_queries(1))
        engine.search(random_queries(1))
    assert len(messages) == 1 and "was stopped before its end" in messages[0]


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """What live engines log meanwhile."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("lexite.engines.live")
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def case_the_mean_length_is_watched(kit: Kit) -> None:
    engine = begun(kit.new(), words=False)
    rows = random_rows(60, 14)
    engine.add([Document(f"d{number}", "x") for number in range(30)], rows[:30])
    if engine.drift is None:
        pytest.skip("the engine does not say the mean length")
    heavy = csr_array(rows[30:] * np.float32(4))
    with logged() as messages:
        report = engine.add([Document(f"d{number}", "x") for number in range(30, 60)], heavy)
    assert report.drift is not None and report.drift > 0.5 and "load the index again" in messages[0]


def case_a_collection_that_is_not_there(kit: Kit) -> None:
    engine = kit.new()
    assert not engine.exists()
    with pytest.raises(EngineError, match="There is no collection at"):
        engine.search(EncodedQueries(random_queries(1).rows))
    begun(engine)
    assert engine.exists()
    other = kit.make()
    other.driver.close()
    other.driver = engine.driver
    with pytest.raises(EngineError, match="already"):
        begun(other)
    with pytest.raises(ArgumentError, match="cannot search with approximate"):
        engine.search(EncodedQueries(random_queries(1).rows), approximate=True)


class WordQueries:
    """Encodes queries as their words alone, which needs no model."""

    kind, fingerprint = "static", "f" * 64

    def encode(self, texts: Sequence[str], **settings: Any) -> EncodedQueries:
        return EncodedQueries(self.encode_passages(texts), list(texts), self.fingerprint)

    def encode_passages(self, texts: Sequence[str]) -> csr_array:
        return csr_array((len(texts), N_LATENTS), dtype=np.float32)


def case_a_searcher_over_it_is_a_searcher(kit: Kit) -> None:
    index, engine = fielded_index(), kit.new()
    engine.load(index)
    ours, theirs = (Searcher(each, WordQueries(), label=str) for each in (index, engine))
    for question in ("w0 w5", "naïve w12 東京", "x1"):
        for own, found in zip(ours.search(question, 5), theirs.search(question, 5), strict=True):
            assert found.score == pytest.approx(own.score, rel=kit.relative)
            if own.id != found.id:
                continue  # nearly equal scores
            assert (found.title, found.passage, dict(found.fields)) == (own.title, own.passage, dict(own.fields))
            assert found.coverage == pytest.approx(own.coverage, rel=1e-3)
            assert {term.label for term in found.terms} == {term.label for term in own.terms}
    best = theirs.search("w3", then=[lambda answer: answer.with_rankings([hits[:2] for hits in answer.rankings])])
    assert len(best) == 2 and len(theirs) == 200 and "200 documents" in repr(theirs)


CASES: tuple[Case, ...] = tuple(function for name, function in list(globals().items()) if name.startswith("case_"))


def named(case: Case) -> str:
    """What a case is called in the list of tests."""
    return case.__name__.removeprefix("case_")
