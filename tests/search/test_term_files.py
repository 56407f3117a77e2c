"""Files of queries that people read and change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.errors import ArgumentError, CorpusError
from lexite.search.term_files import read_term_queries, write_term_queries
from lexite.terms import EncodedQueries

WEIGHTS = st.floats(0, 1e6, width=32, exclude_min=True)


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 19), WEIGHTS, max_size=5),
            st.none() | st.dictionaries(st.sampled_from(["sun", "b12", "müsli", "東京"]), WEIGHTS, max_size=3),
            st.text(max_size=8),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, given_queries: list) -> None:
    rows = np.zeros((len(given_queries), 20), dtype=np.float32)
    for row, (terms, _, _) in zip(rows, given_queries, strict=True):
        row[list(terms)] = list(terms.values())
    words = [each for _, each, _ in given_queries]
    texts = [text.encode("utf-8", "replace").decode() for _, _, text in given_queries]
    queries = EncodedQueries(csr_array(rows), texts, "f" * 64, word_weights=words)
    path = tmp_path_factory.mktemp("terms") / "q.json"
    ids = [f"q{n}" for n in range(len(texts))]
    write_term_queries(path, ids, queries, lambda term: f"label\n{term}")
    found_ids, found = read_term_queries(path, 20)
    assert found_ids == ids and found.texts == tuple(texts) and found.fingerprint == "f" * 64
    assert np.array_equal(found.to_csr().toarray(), rows)
    single = [None if own is None else {word: float(np.float32(w)) for word, w in own.items()} for own in words]
    read = found.word_weights or [None] * len(ids)
    assert [None if own is None else {word: float(np.float32(w)) for word, w in own.items()} for own in read] == single


def test_a_file_can_be_read_and_changed_by_a_person(tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    queries = EncodedQueries(csr_array([[0.0, 0.5, 3.25]]), ["Solar power"], word_weights=[{"power": 1.0, "solar": 1.9}])
    write_term_queries(path, ["1"], queries, lambda term: f"label {term}")
    assert path.read_text() == (
        '{"id": "1", "text": "Solar power", "words": {"solar": 1.9, "power": 1.0}, "terms": [\n'
        '  {"term": 2, "weight": 3.25, "label": "label 2"},\n'
        '  {"term": 1, "weight": 0.5, "label": "label 1"}\n'
        "]}\n"
    )
    path.write_text(
        json.dumps({"id": 1, "words": {"Solar": 2}, "terms": [{"term": "0", "weight": 4}]}, indent=4)
        + '\n{"id":"2","terms":{}}'
    )
    ids, changed = read_term_queries(path, 3)
    assert ids == ["1", "2"] and changed.word_weights == ({"solar": 2.0}, None)
    assert changed.to_csr().toarray().tolist() == [[4.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "1", "terms": [\n{"term": 3, "weight": 1}\n', "line 1 is not valid JSON"),
        ('{"id": "1", "terms": [3]}', "a term in a list should be"),
        ('{"id": "1", "terms": [{"term": 1.5, "weight": 1}]}', "a term in a list should be"),
        ('{"id": "1", "terms": [{"term": 9, "weight": 1}]}', "'9' is no term"),
        ('{"id": "1", "terms": [{"term": 2, "weight": 1}, {"term": 2, "weight": 1}]}', "term 2 occurs twice"),
        ('{"id": "1", "terms": {}, "words": ["a"]}', "the words should be"),
        ('{"id": "1", "terms": {}, "words": {"three whole words": 1}}', "'three whole words' is neither a word"),
        ('{"id": "1", "terms": {}, "words": {"sun": -1}}', "weight of the word 'sun' must be a number"),
        ('{"id": "1", "terms": {}, "vocabulary": 3}', "the vocabulary must be text"),
        ('{"id": "1", "terms": {}, "vocabulary": "a"}\n{"id": "2", "terms": {}, "vocabulary": "b"}', "of another vocabulary"),
    ],
)
def test_wrong_files_are_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "q.json").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_term_queries(tmp_path / "q.json", 5)


def test_an_id_is_needed_for_each_query(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="1 queries, but 2 ids"):
        write_term_queries(tmp_path / "q.json", ["1", "2"], EncodedQueries(csr_array((1, 3))))
