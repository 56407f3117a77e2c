"""An engine of one's own: one class, one line, and a searcher gives over it what it gives over an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, vstack

from lexite import Document, Searcher, read_documents
from lexite.engines import Capabilities, Engine
from lexite.errors import ArgumentError
from lexite.index import BM25Index, Explanation, Hit, StoredDocument, VocabularyInfo
from lexite.scoring.rounding import rounded_weights
from lexite.search.indexing import recorded
from lexite.search.queries import ModelQueries
from lexite.terms import EncodedQueries, LatentTermEncoder


class ListEngine:
    """Documents in lists, scored all by themselves: an index is made of them for each search."""

    capabilities = Capabilities(exact=True, live_statistics=True, among=True, exclude=True, word_weights=True)

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self.rows: list[csr_array] = []

    def create(self, vocabulary: VocabularyInfo, scoring: Any, literal: Any = None) -> None:
        self.vocabulary, self.scoring, self.literal = vocabulary, scoring, literal

    def add(self, documents: Sequence[Document], rows: csr_array) -> None:
        self.documents += documents
        self.rows += [rows[[number]] for number in range(len(documents))]

    def delete(self, ids: Iterable[str]) -> int:
        gone = set(ids)
        kept = [(d, r) for d, r in zip(self.documents, self.rows, strict=True) if d.id not in gone]
        count = len(self.documents) - len(kept)
        self.documents, self.rows = [d for d, _ in kept], [r for _, r in kept]
        return count

    @property
    def n_documents(self) -> int:
        return len(self.documents)

    def _index(self) -> BM25Index:
        texts = [f"{document.title} {document.text}" for document in self.documents] if self.literal else None
        ids = [document.id for document in self.documents]
        return BM25Index.in_memory(
            vstack(self.rows, format="csr"), ids, self.scoring, self.vocabulary, texts=texts, literal=self.literal
        )

    def search(self, queries: EncodedQueries, top_k: int = 10, **options: Any) -> list[list[Hit]]:
        found = self._index().search(queries, top_k, **options)
        return [[dataclasses.replace(hit, document=-1) for hit in hits] for hits in found]

    def get(self, identifier: str) -> StoredDocument | None:
        return next((StoredDocument(d.id, d.title, d.text) for d in self.documents if d.id == identifier), None)

    def explain(self, query: EncodedQueries, document: str, **options: Any) -> Explanation:
        return self._index().explain(query, document, **options)

    def close(self) -> None:
        self.documents, self.rows = [], []


@pytest.mark.parametrize("literal", [False, True])
def test_a_searcher_over_an_engine_is_a_searcher(literal: bool, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    over_index = Searcher.build(documents, tmp_path / "i", vocabulary=encoder, literal=literal)
    engine: Engine = ListEngine()
    engine.create(recorded(encoder), encoder.scoring, over_index.index.literal)
    read = list(read_documents(documents))
    rows = encoder.encode_documents([document.full_text for document in read])
    rows.data = rounded_weights(rows.data)  # as an index on the disk does
    engine.add(read, rows)
    over_engine = Searcher(engine, ModelQueries(encoder))  # the one line
    for question in ("milk of the cow", "parse a json file", "nothing"):
        ours, theirs = over_index.search(question), over_engine.search(question)
        assert [dataclasses.replace(hit, document=-1) for hit in ours] == theirs and ours
        assert over_engine.explain(question, ours[0].id) == over_index.explain(question, ours[0].id)
    best = over_engine.rank("milk", then=[lambda answer: answer.with_rankings([hits[:1] for hits in answer.rankings])])
    assert len(best[0]) == 1 and repr(over_engine).startswith("Searcher(ListEngine, 6 documents, tiny")
    assert engine.delete(["d1"]) == 1 and over_index.delete("d1") == 1 and len(over_engine) == 5
    assert [(h.id, h.score) for h in over_engine.search("milk")] == [(h.id, h.score) for h in over_index.search("milk")]
    with pytest.raises(ArgumentError, match="asks ListEngine"):
        _ = over_engine.index
    with pytest.raises(ArgumentError, match="an engine has add"):
        over_engine.delete("d2")
    assert np.isfinite(over_engine.search("the")[0].score)
