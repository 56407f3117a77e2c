"""Several indexes searched as one: every score is that of the merged index."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import ALL_SCORINGS, VOCABULARY, weights_of
from helpers_words import LITERAL, documents_with, texts_of, words_of

from lexite.corpus.passages import PassageConfig
from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError, IndexFormatError
from lexite.index import BM25Index
from lexite.index.joining import join_indexes
from lexite.scoring.config import BM25Config
from lexite.terms import EncodedQueries

SIZES = (60, 1, 90, 35)
QUERIES = EncodedQueries(weights_of(9, 77, 0.15), texts_of(9, 78))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Indexes a0 to a3, some of whose documents are deleted, and what they become when they are merged."""
    root = tmp_path_factory.mktemp("several")
    n = sum(SIZES)
    plain, weights = documents_with([f"d{i}" for i in range(n)], texts_of(n, 3)), weights_of(n, 3)
    documents = [Document(d.id, d.text, d.title, fields={"year": 1990 + i % 9}) for i, d in enumerate(plain)]
    first = 0
    for number, size in enumerate(SIZES):
        with BM25Index.create(root / f"a{number}", VOCABULARY, literal=LITERAL) as writer:
            middle = first + size // 2
            for begin, end in ((first, middle), (middle, first + size)):
                writer.add(documents[begin:end], weights[begin:end])
                writer.commit()
            if size > 10:
                writer.delete([f"d{first + 2}", f"d{first + size - 1}"])
                writer.commit()
        first += size
    join_indexes([root / f"a{i}" for i in range(4)], root / "all")
    return root


@pytest.fixture(scope="module")
def several(folder: Path) -> BM25Index:
    return BM25Index.open_several([folder / f"a{i}" for i in range(4)])


@pytest.fixture(scope="module")
def merged(folder: Path) -> BM25Index:
    return BM25Index.open(folder / "all")


def ranked(index: BM25Index, **how: Any) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in hits] for hits in index.search(QUERIES, 30, **how)]


@pytest.mark.parametrize("scoring", [None, *ALL_SCORINGS])
def test_scores_are_those_of_the_merged_index(several: BM25Index, merged: BM25Index, scoring: Any) -> None:
    assert ranked(several, scoring=scoring) == ranked(merged, scoring=scoring)
    assert ranked(several, scoring=scoring, approximate=True)[0][:1] == ranked(merged, scoring=scoring)[0][:1]


def test_words_really_have_other_numbers(several: BM25Index) -> None:
    assert any(segment.numbers is not None for segment in several._scorer.segments)
    assert any(np.any(np.diff(s.numbers.own[s.numbers.own >= 0]) < 0) for s in several._scorer.segments if s.numbers)


def test_statistics_are_those_of_all(several: BM25Index, merged: BM25Index) -> None:
    assert list(several.ids) == list(merged.ids) and words_of(several) == words_of(merged)
    assert np.array_equal(several.document_frequency, merged.document_frequency)
    assert several.average_length() == merged.average_length()
    assert (several.n_documents, several.n_passages, several.n_postings) == (182 - 0 - 2, 180, merged.n_postings)
    assert (several.rows() != merged.rows()).nnz == 0 and several.rows().has_sorted_indices


@pytest.mark.parametrize(
    "how",
    [
        {"where": "year >= 1994"},
        {"sort": "year:desc"},
        {"min_coverage": 0.3},
        {"min_score": 1.0},
        {"exclude": [f"d{i}" for i in range(9)]},
        {"among": ["d5", "d61", "d70", "d120", "d160"]},
    ],
)
def test_filters_and_limits_are_those_of_the_merged_index(several: BM25Index, merged: BM25Index, how: dict[str, Any]) -> None:
    assert ranked(several, **how) == ranked(merged, **how)


def test_reasons_words_and_facets_are_those_of_the_merged_index(several: BM25Index, merged: BM25Index) -> None:
    for hits in merged.search(QUERIES[:3], 3):
        for hit in hits:
            query = QUERIES[:1]
            assert several.explain(query, hit.id) == merged.explain(query, hit.id)
    for word in ("ba", "b12", "unknown"):
        ours, theirs = (index.documents_with([word]) for index in (several, merged))
        assert [several.document_id(i) for i in ours.tolist()] == [merged.document_id(i) for i in theirs.tolist()]
    assert several.facets("year") == merged.facets("year")
    assert (several.query_factors(QUERIES) != merged.query_factors(QUERIES)).nnz == 0


def test_a_process_without_compiled_kernels_finds_the_same(folder: Path, merged: BM25Index) -> None:
    script = f"""
import sys, json, pickle
from lexite.index import BM25Index
index = BM25Index.open_several([{str(folder)!r} + f"/a{{i}}" for i in range(4)])
queries = pickle.loads({pickle.dumps(QUERIES[:1])!r})
print(json.dumps([(hit.id, hit.score) for hit in index.search(queries, 30)[0]]))
assert "numba" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert [tuple(pair) for pair in json.loads(done.stdout)] == ranked(merged)[0]


def test_it_is_opened_again_where_it_arrives_and_when_it_changes(folder: Path, tmp_path: Path) -> None:
    one = BM25Index.open_several([folder / "a0", folder / "a1"])
    assert ranked(pickle.loads(pickle.dumps(one))) == ranked(one)
    one.verify()
    assert "a0" in repr(one) and one.path is None and one.newest().generation == one.generation


def test_what_differs_between_indexes_is_named_with_both_values(tmp_path: Path) -> None:
    """Of the settings, and of a configuration only the fields that differ."""
    settings: list[dict[str, Any]] = [
        {},
        {"scoring": BM25Config(k1=0.9, document_transform="sqrt")},
        {"literal": LITERAL, "passages": PassageConfig(40, 60)},
        {"literal": dataclasses.replace(LITERAL, literal_pairs=True), "passages": PassageConfig(50, 60), "store_text": False},
    ]
    for number, how in enumerate(settings):
        with BM25Index.create(tmp_path / str(number), VOCABULARY, **how) as writer:
            writer.commit()
    other_terms = dataclasses.replace(
        VOCABULARY, terms_config={**VOCABULARY.terms_config, "k_documents": 5, "floor_queries": 0.1}
    )
    with BM25Index.create(tmp_path / "4", other_terms) as writer:
        writer.commit()
    zero = BM25Config()
    expected = {
        (0, 1): f"they differ in k1 of scoring ({zero.k1} and 0.9), document_transform of scoring ('none' and 'sqrt'). ",
        (1, 0): f"they differ in k1 of scoring (0.9 and {zero.k1}), document_transform of scoring ('sqrt' and 'none'). ",
        (0, 2): "they differ in literal words (none and some), passages (none and some). ",
        (
            2,
            3,
        ): "they differ in literal_pairs of literal words (False and True), words of passages (40 and 50), whether texts are "
        "kept (True and False). ",
    }
    for (one, other), told in expected.items():
        named = [tmp_path / str(one), tmp_path / str(other)]
        message = (
            f"{named[0]} and {named[1]} cannot be one index: {told}Build one of them again with the settings of the other."
        )
        for join in (BM25Index.open_several, lambda paths: join_indexes(paths, tmp_path / "joined")):
            with pytest.raises(IndexFormatError) as caught:
                join(named)
            assert str(caught.value) == message
    with pytest.raises(IndexFormatError) as caught:
        BM25Index.open_several([tmp_path / "0", tmp_path / "4"])
    assert str(caught.value) == (
        f"{tmp_path / '0'} and {tmp_path / '4'} cannot be one index: their texts were encoded with other settings, "
        "k_documents (16 and 5), floor_queries (none and 0.1)."
    )
    assert not (tmp_path / "joined").exists()


def test_what_cannot_be_one_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="both have a document 'd"):
        BM25Index.open_several([folder / "a0", folder / "all"])
    with BM25Index.create(tmp_path / "b", VOCABULARY) as writer:
        writer.commit()
    with pytest.raises(IndexFormatError, match="literal words"):
        BM25Index.open_several([folder / "a0", tmp_path / "b"])
    with pytest.raises(ArgumentError, match="No index"):
        BM25Index.open_several([])
