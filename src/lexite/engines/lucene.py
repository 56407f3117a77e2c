"""Lucene in this process: a JVM beside Python (jpype1), on the jars of Lucene 9.12 or 10.

Terms are tokens with frequencies (``t17|431``), which Lucene's own analysis reads. By ``frequencies`` they are scored by
``BM25Similarity``. By ``saturation`` and ``linear`` the frequencies are what a ``FeatureField`` keeps, the upper bits of a
float, and its queries score them. Segments are merged in order, so that equal scores come in the order of documents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.engines.base import Capabilities
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Refused, Written, joined_text
from lexite.engines.folders import new_folder
from lexite.engines.forms.base import FIELD, Collection
from lexite.engines.live import LiveEngine
from lexite.engines.lucene_documents import UNIT, DocumentMaker, LuceneLimits, tokens, value_problem
from lexite.engines.lucene_java import java
from lexite.engines.lucene_searches import QuestionWriter
from lexite.engines.queries import EngineQuery
from lexite.engines.stored_values import span_of, stored_fields
from lexite.errors import EngineError
from lexite.index.config import StoredDocument
from lexite.index.field_types import FieldType
from lexite.scoring.formula import inverse_document_frequency


class LuceneDriver:
    """An index of Lucene in a folder. One process at a time changes it; others may read.

    Args:
        folder: of the index.
        jars: as for :func:`java`.
        jvm: likewise.
    """

    engine, name = "Lucene", FIELD
    form = LuceneLimits()
    capabilities = Capabilities(live_statistics=True, among=True, exclude=True, fields=True, word_weights=True)

    def __init__(self, folder: str | Path, jars: str | Path | None = None, jvm: str | Path | None = None) -> None:
        self._folder, self.address = Path(folder), f"lucene:{folder}"
        self._java = java(jars, jvm)
        self._open: dict[str, Any] = {}
        builder = self._java.CustomAnalyzer.builder().withTokenizer("whitespace", "maxTokenLen", "1000")
        self._analyzer = builder.addTokenFilter("delimitedTermFrequency").build()
        self._documents, self._questions = DocumentMaker(self._java), QuestionWriter(self._java)

    @property
    def version(self) -> str:
        """Of Lucene."""
        return str(self._java.Version.LATEST.toString())

    @property
    def _directory(self) -> Any:
        if "directory" not in self._open:
            self._open["directory"] = self._java.FSDirectory.open(self._java.Path.of(str(self._folder.absolute())))
        return self._open["directory"]

    @property
    def _writer(self) -> Any:
        if "writer" not in self._open:
            self._open["writer"] = self._new_writer(self._java.OpenMode.APPEND)
        return self._open["writer"]

    def _new_writer(self, mode: Any) -> Any:
        config = self._java.IndexWriterConfig(self._analyzer)
        config.setOpenMode(mode)
        config.setMergePolicy(self._java.LogDocMergePolicy())
        config.setCommitOnClose(False)
        return self._java.IndexWriter(self._directory, config)

    @property
    def _searcher(self) -> Any:
        if "searcher" not in self._open:
            source = self._open.get("writer") or self._directory
            self._open["reader"] = self._java.DirectoryReader.open(source)
            self._open["searcher"] = self._java.IndexSearcher(self._open["reader"])
        return self._open["searcher"]

    @property
    def _reader(self) -> Any:
        return self._searcher.getIndexReader()

    def _refresh(self) -> None:
        """Lets go of the searcher, so that the next one sees what was written."""
        self._open.pop("searcher", None)
        reader = self._open.pop("reader", None)
        if reader is not None:
            reader.close()

    def create(self, collection: Collection) -> None:
        """Makes the index."""
        if self.read_record() is not None:
            raise EngineError(f"There is a collection at {self.address} already.")
        if not self._begun():
            new_folder(self._folder, "index of Lucene")
        with self._errors("make an index at"):
            self._open["writer"] = self._new_writer(self._java.OpenMode.CREATE)
            self._writer.commit()

    def _begun(self) -> bool:
        """Whether making the index was stopped before there was a record: an index without documents is all there is."""
        if not self._folder.is_dir():
            return False
        with self._errors("read"):
            return bool(self._java.DirectoryReader.indexExists(self._directory)) and not self._reader.maxDoc()

    def drop(self) -> None:
        """Removes the folder, if it has an index of lexite's."""
        there = self.read_record() is not None or "writer" in self._open
        self.close()
        if there:
            shutil.rmtree(self._folder)

    def read_record(self) -> Any | None:
        """What the last commit says."""
        if not self._folder.is_dir():
            return None
        with self._errors("read"):
            if not self._java.DirectoryReader.indexExists(self._directory):
                return None
            said = self._java.SegmentInfos.readLatestCommit(self._directory).getUserData().get("lexite")
        return None if said is None else json.loads(str(said))

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Commits, with the record."""
        with self._errors("write to"):
            said = self._java.HashMap()
            said.put("lexite", json.dumps(record))
            self._writer.setLiveCommitData(said.entrySet())
            self._writer.commit()
        self._refresh()

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Lucene takes new fields as they come."""

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages. A document with a text in a field that is too long for a term is refused."""
        refused: list[Refused] = []
        n_bytes = 0
        with self._errors("write to"):
            for each in documents:
                problem = value_problem(each)
                if problem is not None:
                    refused.append(Refused(each.id, problem))
                    continue
                terms = tokens(each, collection)
                n_bytes += len(terms) + len(each.text)
                made = self._documents.document(each, terms, collection)
                self._writer.updateDocument(self._java.Term("id", each.id), made)
        return Written(n_bytes, tuple(refused))

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Lucene counts by itself."""

    def settle(self) -> None:
        """Makes what was written visible here; a commit makes it durable."""
        with self._errors("write to"):
            self._writer.commit()
        self._refresh()

    def delete(self, documents: Sequence[str]) -> None:
        """Deletes documents, and commits."""
        with self._errors("delete from"):
            self._writer.deleteDocuments(self._questions.one_of("doc", documents))
        self.settle()

    def merge(self) -> None:
        """Brings all documents into one segment without deleted ones. Searches get faster."""
        with self._errors("merge"):
            self._writer.forceMerge(1)
        self.settle()

    def present(self, documents: Sequence[str]) -> set[str]:
        """Which documents there are."""
        with self._errors("ask"):
            return {each for each in documents if self._reader.docFreq(self._java.Term("doc", each)) and self._living(each)}

    def _living(self, document: str) -> bool:
        return not self._reader.hasDeletions() or self._count("doc", document) > 0

    def _count(self, field: str, value: str) -> int:
        return int(self._searcher.count(self._java.TermQuery(self._java.Term(field, value))))

    def counts(self) -> Counts:
        """Counts living documents. The mean length has those that were deleted in it until their segment is merged."""
        with self._errors("ask"):
            lengths = self._searcher.collectionStatistics("length")
            mean = None if lengths is None else float(lengths.sumTotalTermFreq()) / float(lengths.docCount()) / UNIT
            return Counts(self._count("kind", "first"), int(self._reader.numDocs()), self._count("kind", "filled"), mean)

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """In how many living documents terms occur. Where some are deleted, Lucene has to look."""
        with self._errors("ask"):
            if self._reader.hasDeletions():
                return np.array([self._count(FIELD, name) for name in names], dtype=np.int64)
            return np.array([self._reader.docFreq(self._java.Term(FIELD, name)) for name in names], dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks one question after the other."""
        with self._errors("search"):
            return [self._found(question, collection) if len(question.query.terms) else [] for question in questions]

    def _found(self, question: Question, collection: Collection) -> list[Found]:
        query = self._questions.question(self._clauses(question.query, collection), question, collection.fields)
        order = self._questions.order(question.sort, collection.fields)
        most = max(int(self._reader.maxDoc()), 1)
        n = question.top_k * 4 if collection.has_passages else question.top_k
        n = most if question.min_score is not None and order is not None else min(n, most)
        while True:
            top = self._searcher.search(query, n) if order is None else self._searcher.search(query, n, order, True)
            best = self._collapsed(top.scoreDocs, question)
            if len(best) >= question.top_k or len(top.scoreDocs) < n or n == most:
                return best
            n = min(4 * n, most)

    def _collapsed(self, hits: Any, question: Question) -> list[Found]:
        """The first hit of each document; hits come in order."""
        stored = self._searcher.storedFields()
        best: dict[str, Found] = {}
        for hit in hits:
            score = float(hit.score)
            if question.min_score is not None and score < question.min_score:
                continue
            kept = stored.document(hit.doc)
            document = str(kept.get("doc"))
            if document not in best:
                best[document] = Found(document, score, span_of(json.loads(str(kept.get("facts")))))
                if len(best) == question.top_k:
                    break
        return list(best.values())

    def _clauses(self, query: EngineQuery, collection: Collection) -> list[Any]:
        """A query for each term, with its weight."""
        names = collection.names.of(query.terms.tolist())
        weights = query.weights.astype(np.float64)
        if collection.route.own_idf:
            self._searcher.setSimilarity(self._java.BM25Similarity(query.pivot, 0.0))
            weights = weights * self._correction(names)
        return self._questions.clauses(names, weights.astype(np.float32).tolist(), query.pivot, collection.route)

    def _correction(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The idf of living documents by the one that Lucene takes, which counts deleted ones until segments are merged."""
        if not self._reader.hasDeletions():
            return np.ones(len(names))
        living = inverse_document_frequency(self._count("kind", "filled"), self.frequencies(names), "lucene")
        counted = np.array([self._reader.docFreq(self._java.Term(FIELD, name)) for name in names], dtype=np.int64)
        return living / inverse_document_frequency(int(self._reader.getDocCount(FIELD)), counted, "lucene")

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Asks for each term alone, among the passages of the document."""
        own = self._java
        with self._errors("ask"):
            only = own.TermQuery(own.Term("doc", document))
            hits = self._searcher.search(only, max(int(self._searcher.count(only)), 1)).scoreDocs
            found: dict[int, dict[int, float]] = {int(hit.doc): {} for hit in hits}
            for place, clause in enumerate(self._clauses(query, collection)):
                asked = own.Builder().add(clause, own.Occur.MUST).add(only, own.Occur.FILTER).build()
                for hit in self._searcher.search(asked, max(len(found), 1)).scoreDocs:
                    found[int(hit.doc)][place] = float(hit.score)
            facts = self._facts(list(found))
        together = [
            (int(own_facts["ordinal"]), PassageParts(span_of(own_facts), float(own_facts["length"]), parts))
            for own_facts, parts in zip(facts, found.values(), strict=True)
        ]
        return [each for _, each in sorted(together, key=lambda pair: pair[0])]

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts a document together of its passages."""
        own = self._java
        with self._errors("ask"):
            only = own.TermQuery(own.Term("doc", document))
            n = int(self._searcher.count(only))
            facts = self._facts([int(hit.doc) for hit in self._searcher.search(only, n).scoreDocs]) if n else []
        if not facts:
            return None
        facts.sort(key=lambda each: int(each["ordinal"]))
        text = joined_text([(span_of(each), each.get("text", "")) for each in facts])
        return StoredDocument(document, facts[0].get("title", ""), text, stored_fields(facts[0]["fields"], fields))

    def _facts(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        stored = self._searcher.storedFields()
        return [json.loads(str(stored.document(number).get("facts"))) for number in numbers]

    def close(self) -> None:
        """Closes the index. Changes that were not settled are dropped. The JVM stays."""
        self._refresh()
        for name, verb in (("writer", "close"), ("directory", "close")):
            opened = self._open.pop(name, None)
            if opened is not None:
                getattr(opened, verb)()

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        """Makes exceptions of Java into errors for people."""
        try:
            yield
        except self._java.Exception as error:
            raise EngineError(f"Cannot {verb} {self.address}: {error}") from None


class LuceneEngine(LiveEngine):
    """An index of Lucene as a backend of searches.

    Args:
        folder: as for :class:`LuceneDriver`.
        jars: likewise.
        jvm: likewise.
        **options: as for :class:`lexite.engines.live.LiveEngine`; ``route_name`` is one of ``LuceneLimits.routes``.
    """

    def __init__(
        self, folder: str | Path, jars: str | Path | None = None, jvm: str | Path | None = None, **options: Any
    ) -> None:
        super().__init__(LuceneDriver(folder, jars, jvm), **options)


def at_folder(path: str, **options: Any) -> LuceneEngine:
    """The engine over a folder; other arguments as for :class:`LuceneEngine`."""
    return LuceneEngine(path, **options)
