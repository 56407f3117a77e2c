"""Literal words beside latent terms: scores, growing dictionaries, segments of different age."""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, N_TERMS, VOCABULARY, stack, weights_of
from helpers_old import to_version
from helpers_words import LITERAL, assert_same_with_words, documents_with, texts_of, words_of
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError, IndexFormatError
from lexite.index import BM25Config, BM25Index, LiteralConfig, VocabularyInfo
from lexite.index.stored_rows import PlainRows
from lexite.scoring.words import literal_words
from lexite.terms import EncodedQueries

SCORINGS = [
    dataclasses.replace(s, literal_weight=w) for s, w in zip(ALL_SCORINGS, (3.0, 2.5, 0.0, 0.7, 1.0, 1e6, 2.0), strict=True)
]
IDS = [f"d{i}" for i in range(14)]
OPERATIONS = st.one_of(
    st.tuples(st.just("replace"), st.lists(st.sampled_from(IDS), unique=True, max_size=6), st.integers(0, 10**6)),
    st.tuples(st.just("add"), st.integers(1, 9), st.integers(0, 10**6)),
    st.tuples(st.just("delete"), st.lists(st.sampled_from(IDS), unique=True, max_size=4), st.none()),
    st.tuples(st.sampled_from(["commit", "merge", "reopen", "rollback"]), st.none(), st.none()),
)
Row = tuple[csr_array, str]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    operations=st.lists(OPERATIONS, max_size=14),
    budget=st.sampled_from([1, 60, 400, 10**6]),
    literal=st.sampled_from([LITERAL, LiteralConfig(True, 0.5, "none")]),
)
def test_any_sequence_of_changes_finds_what_the_reference_finds(
    operations: list[tuple], budget: int, literal: LiteralConfig
) -> None:
    folder = Path(tempfile.mkdtemp())
    path = folder / "index"
    rows: dict[str, Row] = {}
    committed: dict[str, Row] = {}
    known: list[str] = []
    added = 0
    try:
        writer = BM25Index.create(path, VOCABULARY, SCORINGS[0], segment_postings=budget, store_text=False, literal=literal)
        writer.commit()
        for kind, what, how in [*operations, ("merge", None, None)]:
            if kind in ("replace", "add"):
                ids = what if kind == "replace" else [f"new{added + i}" for i in range(what)]
                added += len(ids)
                weights, texts = weights_of(len(ids), how), texts_of(len(ids), how)
                getattr(writer, kind)(documents_with(ids, texts), weights)
                for i, identifier in enumerate(ids):
                    rows.pop(identifier, None)
                    rows[identifier] = weights[[i]], texts[i]
            elif kind == "delete":
                writer.delete(what, missing_ok=True)
                for identifier in what:
                    rows.pop(identifier, None)
            elif kind in ("commit", "merge"):
                getattr(writer, kind)()
                committed = dict(rows)
                known = check(path, rows, known, SCORINGS[:1])
            else:
                writer.rollback()
                rows = dict(committed)
                writer = BM25Index.writer(path, segment_postings=budget)
        writer.rollback()
        check(path, rows, known, SCORINGS)
    finally:
        shutil.rmtree(folder)


def check(path: Path, rows: dict[str, Row], known: list[str], scorings: list[BM25Config]) -> list[str]:
    """Compares an index with the reference; its dictionary begins with the words that were known before. Returns them."""
    index = BM25Index.open(path, verify=True)
    weights, texts = stack([row for row, _ in rows.values()]), [text for _, text in rows.values()]
    assert_same_with_words(index, list(rows), weights, texts, scorings)
    words = words_of(index)
    assert words[: len(known)] == known
    return words


def one(weight: float = 0.0, term: int = 0) -> csr_array:
    return csr_array((np.full(1, weight, np.float32), np.array([term]), np.array([0, 1])), shape=(1, N_TERMS))


def test_a_case_by_hand() -> None:
    scoring = BM25Config(k1=1.5, b=0.75, idf_power=0.75, document_transform="sqrt", query_transform="none", literal_weight=3.0)
    weights = csr_array(np.array([[9.0, 0.0], [0.0, 1.0], [4.0, 0.0]]))
    texts = ["Zorblax zorblax the", "moon", ""]
    index = BM25Index.in_memory(weights, ["a", "b", "c"], scoring, texts=texts, literal=LiteralConfig(True, 4.0))
    assert words_of(index) == ["zorblax", "moon"] and (index.n_latents, index.n_terms) == (2, 4)
    query = csr_array(np.array([[2.0, 0.0]]))
    (hits,) = index.search(EncodedQueries(query, ["zorblax quux"]))
    lengths = [3.0 + math.sqrt(8.0), 1.0 + 2.0, 2.0]
    average = sum(lengths) / 3

    def part(tf: float, length: float) -> float:
        return tf / (tf + 1.5 * (0.25 + 0.75 * length / average))

    idf = {1: math.log(1 + 2.5 / 1.5), 2: math.log(1 + 1.5 / 2.5)}
    latent, word = 2.0 * idf[2] ** 0.75 * part(3.0, lengths[0]), 3.0 * idf[1] * part(math.sqrt(8.0), lengths[0])
    assert [hit.id for hit in hits] == ["a", "c"]
    other = 2.0 * idf[2] ** 0.75 * part(2.0, 2.0)
    assert hits[0].score == pytest.approx(latent + word) and hits[1].score == pytest.approx(other)
    explained = index.explain(EncodedQueries(query, ["zorblax quux"]), hits[0].document)
    assert {term.term: term.score for term in explained.terms} == {0: pytest.approx(latent), 2: pytest.approx(word)}
    by_kind = {term.kind: term for term in explained.terms}
    assert (by_kind["word"].word, by_kind["word"].label, by_kind["latent"].word) == ("zorblax", '"zorblax"', None)
    assert by_kind["word"].idf == pytest.approx(idf[1]) and by_kind["word"].worth == pytest.approx(3.0 * idf[1])
    assert by_kind["latent"].worth == pytest.approx(idf[2] ** 0.75) and by_kind["latent"].tf == pytest.approx(3.0)
    assert (by_kind["latent"].document_frequency, by_kind["latent"].weight) == (2, 9.0)
    assert (explained.n_documents, explained.id) == (3, "a")
    assert explained.length == pytest.approx(lengths[0]) and explained.average_length == pytest.approx(average)
    assert [term.term for term in index.explain(EncodedQueries(query), hits[0].document).terms] == [0]
    without_words = dataclasses.replace(scoring, literal_weight=0.0)
    assert [term.term for term in index.explain(EncodedQueries(query, ["zorblax"]), 0, scoring=without_words).terms] == [0]
    assert [index.word(2), index.word(3)] == ["zorblax", "moon"]
    for term in (-1, 1, 4):
        with pytest.raises(IndexError):
            index.word(term)


def test_a_name_that_only_words_find(tmp_path: Path) -> None:
    texts = [f"report number {i} of the usual kind" for i in range(50)]
    texts[37] += " by Quetzlwyn"
    same = csr_array(np.ones((50, N_TERMS), np.float32))
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LITERAL) as writer:
        writer.add(documents_with([str(i) for i in range(50)], texts), same)
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    nothing = csr_array((1, N_TERMS), dtype=np.float32)
    assert [hit.id for hit in index.search(EncodedQueries(nothing, ["who is QUETZLWYN?"]))[0]] == ["37"]
    assert index.search(EncodedQueries(nothing)) == [[]] and index.search(EncodedQueries(nothing, ["who is nobody"])) == [[]]
    assert index.search(EncodedQueries(nothing, ["quetzlwyn"]), scoring=BM25Config(literal_weight=0.0)) == [[]]
    assert index.search(EncodedQueries(one(1.0)), 1)[0][0].id == "0"
    assert index.search(EncodedQueries(one(1.0), ["quetzlwyn"]), 1)[0][0].id == "37"
    assert index.search(EncodedQueries(one(1.0), ["quetzlwyn"]), 1, scoring=BM25Config(literal_weight=0.0))[0][0].id == "0"


def test_in_memory_is_the_same(tmp_path: Path) -> None:
    weights, texts, ids = weights_of(40, 5), texts_of(40, 5), [f"m{i}" for i in range(40)]
    assert_same_with_words(BM25Index.in_memory(weights, ids, texts=texts), ids, weights, texts, SCORINGS)
    strict = LiteralConfig(False, 1.5, "none")
    index = BM25Index.in_memory(weights, ids, texts=texts, literal=strict)
    assert index.literal == dataclasses.replace(strict, literal=True)
    assert_same_with_words(index, ids, weights, texts, SCORINGS[:2])
    assert BM25Index.in_memory(weights, ids).literal is None
    with pytest.raises(CorpusError, match="40 documents, but 39 texts"):
        BM25Index.in_memory(weights, ids, texts=texts[1:])
    assert index.search(EncodedQueries(csr_array((0, N_TERMS)), [])) == []
    empty = BM25Index.in_memory(csr_array((0, N_TERMS)), [], texts=[])
    assert empty.search(EncodedQueries(weights_of(1, 1), ["milk"])) == [[]] and empty.n_terms == N_TERMS


def test_texts_must_fit_the_queries_and_do_nothing_without_words() -> None:
    weights, ids = weights_of(5, 1), list("abcde")
    index = BM25Index.in_memory(weights, ids, texts=texts_of(5, 1))
    for texts in ([], ["a", "b"]):
        with pytest.raises(ArgumentError, match=f"1 queries, but {len(texts)} texts"):
            index.search(EncodedQueries(weights_of(1, 2), texts))
    plain = BM25Index.in_memory(weights, ids)
    assert plain.search(EncodedQueries(weights_of(2, 2), ["ba", "da"])) == plain.search(EncodedQueries(weights_of(2, 2)))
    with pytest.raises(IndexFormatError, match="40 terms"):
        index.search(EncodedQueries(csr_array((1, index.n_terms))))


def test_no_words_leave_an_index_as_it_was(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LiteralConfig(literal=False)) as writer:
        writer.add(documents_with("abc", texts_of(3, 1)), weights_of(3, 1))
        writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.literal is None and index.n_terms == N_TERMS and not (tmp_path / "i" / "words").exists()
    assert index.info()["literal_words"] is False and "n_words" not in index.info()


def test_searching_without_compiled_code_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, texts, ids = weights_of(60, 8), texts_of(60, 8), [f"p{i}" for i in range(60)]
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LITERAL) as writer:
        for start in range(0, 60, 20):  # three segments, each with more words than the one before
            part = slice(start, start + 20)
            writer.add(documents_with(ids[part], texts[part]), weights[part])
            writer.commit()
    index = BM25Index.open(tmp_path / "i")
    sizes = [segment.n_terms for segment in index._scorer.segments]
    assert sizes == sorted(set(sizes)) and len(sizes) == 3 and sizes[-1] == index.n_terms
    queries, asked = weights_of(12, 9), texts_of(12, 9)
    for scoring in (index.scoring, BM25Config(k1=3.0, idf="bm25+", document_transform="log1p", literal_weight=0.4)):
        together = index.search_arrays(EncodedQueries(queries, asked), 9, scoring=scoring)
        for row in range(12):
            fresh = BM25Index.open(tmp_path / "i")
            with monkeypatch.context() as patch:
                patch.delitem(sys.modules, "numba")
                patch.delitem(sys.modules, "lexite.kernels.retrieval", raising=False)
                alone = fresh.search_arrays(EncodedQueries(queries[[row]], [asked[row]]), 9, scoring=scoring)
                assert "lexite.kernels.retrieval" not in sys.modules
            assert (alone[0][0] == together[0][row]).all() and (alone[1][0] == together[1][row]).all()


def test_the_weight_of_words_changes_at_search_time_without_new_lists() -> None:
    weights, ids = weights_of(30, 2), [f"w{i}" for i in range(30)]
    index = BM25Index.in_memory(weights, ids, texts=texts_of(30, 2))
    queries = EncodedQueries(weights_of(8, 3), texts_of(8, 3))
    found = [index.search_arrays(queries, scoring=BM25Config(literal_weight=weight))[1].tolist() for weight in (0.0, 1.0, 3.0)]
    assert found[0] != found[1] != found[2] and len(index._scorer._lists_of) == 1


def test_a_text_of_very_many_words_widens_the_rows(tmp_path: Path) -> None:
    many = " ".join(f"w{i}" for i in range(100_000))
    texts = ["w3 first", many, "w99999 last"]
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LITERAL) as writer:
        for number, text in enumerate(texts):  # the second finds a buffer of 16-bit terms
            writer.add([Document(str(number), text)], weights_of(1, number))
        writer.commit()
        index = BM25Index.open(tmp_path / "i", verify=True)
        assert index.n_terms == N_TERMS + 100_002 and len(index._scorer.segments) == 1
        assert not list((tmp_path / "i").rglob("*.tmp"))
        assert index.stored(1).text == many
        check_many(index, texts)
        writer.delete(["1"])
        writer.merge()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert index.n_terms == N_TERMS + 100_002, "the dictionary keeps the words of deleted documents"
    check_many(index, texts, gone=1)


def check_many(index: BM25Index, texts: list[str], gone: int = -1) -> None:
    nothing = csr_array((3, N_TERMS), dtype=np.float32)
    asked = ["w3", "w77777", "last w99999"]
    expected = [[n for n, text in enumerate(texts) if n != gone and set(text.split()) & set(q.split())] for q in asked]
    found = index.search(EncodedQueries(nothing, asked))
    assert [sorted(int(hit.id) for hit in hits) for hits in found] == expected


def test_old_narrow_segments_are_merged_with_new_ones(tmp_path: Path) -> None:
    n_latents = (1 << 16) - 3  # two words more, and plain rows need 32 bits
    vocabulary = VocabularyInfo("f" * 64, "wide", n_latents)
    row = csr_array((np.ones(1, np.float32), np.array([n_latents - 1]), np.array([0, 1])), shape=(1, n_latents))
    texts = ["ba", "ba da", "ga ka la ma"]
    with BM25Index.create(tmp_path / "i", vocabulary, literal=LITERAL, mantissa=23) as writer:
        for number, text in enumerate(texts[:2]):
            writer.add([Document(str(number), text)], row)
            writer.commit()
    to_version(tmp_path / "i", 4)
    with BM25Index.writer(tmp_path / "i") as writer:
        writer.add([Document("2", texts[2])], row)
        writer.commit()
        rows = [segment.rows for segment in BM25Index.open(tmp_path / "i")._scorer.segments]
        assert [part.terms.dtype.str if isinstance(part, PlainRows) else "" for part in rows] == ["<u2", "<u2", ""]
        queries = csr_array((3, n_latents), dtype=np.float32)
        for _ in range(2):
            index = BM25Index.open(tmp_path / "i", verify=True)
            found = index.search(EncodedQueries(queries, ["ba", "da", "ma ka"]))
            assert [sorted(hit.id for hit in hits) for hits in found] == [["0", "1"], ["1"], ["2"]]
            writer.merge()
    assert len(index._scorer.segments) == 1 and index._scorer.segments[0].n_terms == n_latents + 6


def test_odd_texts(tmp_path: Path) -> None:
    texts = ["", "\U0001f600 ...", "e\u0301te\u0301 \ud800", "東京都", "\0", "the of"]
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LITERAL) as writer:
        writer.add([Document(str(i), text) for i, text in enumerate(texts)], csr_array((6, N_TERMS), dtype=np.float32))
        writer.commit()
    index = BM25Index.open(tmp_path / "i", verify=True)
    assert words_of(index) == ["été", "東京", "京都", "東", "京", "都"] and index.n_postings == 6
    found = index.search(EncodedQueries(csr_array((3, N_TERMS), dtype=np.float32), ["ÉTÉ", "東京都", "\udfff \U0001f600"]))
    assert [[hit.id for hit in hits] for hits in found] == [["2"], ["3"], []]


def test_equal_hashes_of_words_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ids", "dictionary"):
        monkeypatch.setattr(f"lexite.index.{module}.hash_ids", lambda ids: np.zeros(len(ids), dtype=np.uint64))
    weights, texts, ids = weights_of(20, 4), texts_of(20, 4), [f"h{i}" for i in range(20)]
    index = BM25Index.in_memory(weights, ids)
    index = BM25Index.in_memory(weights, ids, texts=texts)
    words = words_of(index)
    assert index._words.find(words).tolist() == list(range(len(words)))
    assert index._words.find(["nothing"]).tolist() == [-1]


def test_a_refused_document_leaves_no_words(tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LITERAL) as writer:
        writer.add([Document("a", "ba")], weights_of(1, 1))
        with pytest.raises(CorpusError):
            writer.add([Document("a", "da")], weights_of(1, 1))
        assert writer.n_terms == N_TERMS + 1 and writer.n_latents == N_TERMS
        writer.commit()
    assert words_of(BM25Index.open(tmp_path / "i")) == ["ba"]


def test_info_counts_words(tmp_path: Path) -> None:
    weights, texts = weights_of(9, 3), texts_of(9, 3)
    with BM25Index.create(tmp_path / "i", VOCABULARY, literal=LiteralConfig(True, 2.0, "none")) as writer:
        writer.add(documents_with(IDS[:9], texts), weights)
        writer.commit()
        writer.delete([IDS[0]])
        writer.commit()
    info = BM25Index.open(tmp_path / "i").info()
    counts = [literal_words(text, "none") for text in texts]
    assert info["literal_words"] is True and info["format_version"] == 6
    assert (info["literal_weight_documents"], info["literal_stop_words"]) == (2.0, "none")
    assert info["n_words"] == len(set().union(*counts)) and info["n_words_used"] == len(set().union(*counts[1:]))
    assert info["n_postings_words"] == sum(map(len, counts[1:])) == info["n_postings"] - weights[1:].nnz
    assert info["n_terms"] == N_TERMS + info["n_words"]
    on_disk = {file: file.stat().st_size for file in (tmp_path / "i").rglob("*.*") if file.parent.name != "i"}
    assert info["bytes_words"] == sum(size for file, size in on_disk.items() if file.parent.name == "words") > 0
    assert info["bytes_total"] == sum(on_disk.values())
