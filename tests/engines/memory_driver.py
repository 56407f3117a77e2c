"""A driver over dictionaries: what a driver has to do, in the plainest way. Scores are those of the route, in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Written, joined_text
from lexite.engines.forms.base import Collection
from lexite.engines.forms.bulk import BulkForm
from lexite.engines.live import LiveEngine
from lexite.engines.queries import EngineQuery
from lexite.errors import EngineError
from lexite.index import StoredDocument


def kept_feature(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a feature field of Lucene keeps: the upper bits."""
    return (values.view(np.uint32) >> 15 << 15).view(np.float32)


class MemoryDriver:
    """Documents of one process."""

    engine, address, name = "Memory", "memory:documents", "documents"

    def __init__(self, live_statistics: bool = True) -> None:
        self.form = BulkForm(("impacts", "saturation"))
        self.capabilities = Capabilities(
            live_statistics=live_statistics, among=True, exclude=True, word_weights=True, most_hits=10_000
        )
        self.record: Any = None
        self.passages: dict[str, tuple[EngineDocument, dict[str, Any]]] = {}
        self.table: dict[str, int] = {}
        self.requests: list[int] = []

    def create(self, collection: Collection) -> None:
        if self.record is not None:
            raise EngineError(f"There is a collection at {self.address} already.")
        self.passages = {}

    def drop(self) -> None:
        self.record, self.passages = None, {}

    def read_record(self) -> Any:
        return self.record

    def write_record(self, record: Mapping[str, Any]) -> None:
        self.record = record

    def add_fields(self, new: Mapping[str, Any]) -> None:
        pass

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        for each in documents:
            names = collection.names.of(each.terms.tolist())
            self.passages[each.id] = each, dict(zip(names, each.values.tolist(), strict=True))
        self.requests.append(len(documents))
        return Written(sum(14 * len(each.terms) for each in documents))

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        self.table = {} if anew else self.table
        for name, change in changes.items():
            self.table[name] = self.table.get(name, 0) + change

    def settle(self) -> None:
        pass

    def delete(self, documents: Sequence[str]) -> None:
        gone = [own for own, (each, _) in self.passages.items() if each.document in documents]
        for own in gone:
            _, terms = self.passages.pop(own)
            self.keep_frequencies(dict.fromkeys(terms, -1), anew=False)

    def present(self, documents: Sequence[str]) -> set[str]:
        return {each.document for each, _ in self.passages.values()}.intersection(documents)

    def counts(self) -> Counts:
        held = list(self.passages.values())
        lengths = [each.length for each, _ in held]
        filled = sum(bool(terms) for _, terms in held)
        return Counts(len({e.document for e, _ in held}), len(held), filled, float(np.mean(lengths)) if held else None)

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        if not self.capabilities.live_statistics:
            return np.array([self.table.get(name, 0) for name in names], np.int64)
        return np.array([sum(name in terms for _, terms in self.passages.values()) for name in names], np.int64)

    def parts_of(self, query: EngineQuery, terms: dict[str, Any], collection: Collection) -> dict[int, float]:
        names = collection.names.of(query.terms.tolist())
        shared = [place for place, name in enumerate(names) if name in terms]
        weights, values = query.weights[shared], np.float32([terms[names[place]] for place in shared])
        if collection.route.saturates:
            kept = kept_feature(values)
            parts = weights * (np.float32(1) - np.float32(query.pivot) / (np.float32(query.pivot) + kept))
        else:
            parts = weights * values
        return dict(zip(shared, parts.tolist(), strict=True))

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        return [self.answer(question, collection) for question in questions]

    def answer(self, question: Question, collection: Collection) -> list[Found]:
        best: dict[str, tuple[float, int, Any]] = {}
        for each, terms in self.passages.values():
            if question.among is not None and each.document not in question.among or each.document == question.exclude:
                continue
            parts = self.parts_of(question.query, terms, collection)
            score = float(np.add.accumulate(np.float32(list(parts.values())))[-1]) if parts else 0.0
            if parts and score > best.get(each.document, (-1.0, 0, None))[0]:
                best[each.document] = score, each.number, each.span
        ordered = sorted(best.items(), key=lambda pair: (-pair[1][0], pair[1][1]))
        return [Found(document, score, span) for document, (score, _, span) in ordered[: question.top_k]]

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        return [
            PassageParts(each.span, each.length, self.parts_of(query, terms, collection))
            for each, terms in self.passages.values()
            if each.document == document
        ]

    def get(self, document: str, fields: Mapping[str, Any]) -> StoredDocument | None:
        own = [each for each, _ in self.passages.values() if each.document == document]
        if not own:
            return None
        text = joined_text([(each.span, each.text) for each in own])
        return StoredDocument(document, own[0].title, text, own[0].fields)

    def close(self) -> None:
        pass


class MemoryEngine(LiveEngine):
    """A live engine of one process."""

    def __init__(self, route: str = "impacts", live_statistics: bool = True, **options: Any) -> None:
        super().__init__(MemoryDriver(live_statistics), route_name=route, **options)
