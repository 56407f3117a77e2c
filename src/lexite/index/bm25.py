"""``BM25Index``: an opened index that can be searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import CorpusError, IndexFormatError, ModelError
from lexite.index.checks import check_vocabulary, check_weights
from lexite.index.config import StoredDocument, VocabularyInfo
from lexite.index.describe import describe
from lexite.index.dictionary import Dictionary, GrowingDictionary, open_words, verify_words
from lexite.index.ids import IdTable, encode_text, hash_ids
from lexite.index.manifest import SEGMENTS_NAME, Commit, read_commit
from lexite.index.scorer import Scorer
from lexite.index.segment import Segment, open_segment, segment_in_memory
from lexite.index.static import StoredStatic, verify_static
from lexite.index.storage import verify_file
from lexite.index.writer import SEGMENT_POSTINGS, IndexWriter, create_index, open_writer
from lexite.ranking.hits import Hit
from lexite.scoring.config import BM25Config, Transform
from lexite.scoring.rows import Rows, SparseRows
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

OPEN_ATTEMPTS = 10
APPROXIMATE_SHARE = 0.6


class BM25Index:
    """BM25 over weighted terms: a snapshot of an index folder, or an index in memory.

    A snapshot is the state of the last commit when it was opened. Later commits do not change it; open the folder again to see
    them. Its files are mapped into memory, so opening is quick, and processes that search the same index share them.
    Searching is safe from several threads.

    The score of a document is the sum over the query's terms of
    ``T_q(query weight) · idf · tf / (tf + k1 · (1 - b + b · dl / avgdl))``, with ``tf = T_d(document weight)`` and dl the sum
    of the document's tf; ``lexite.scoring.formula`` has the forms of idf and what bm25+ changes. All additions are made in
    float32 in ascending order of terms.

    Terms are latents, which weights are given for, and after them the literal words of an index that was made with them. A word
    that occurs n times in a document has the raw weight ``literal_weight_documents`` · n there; one that occurs n times in a
    query has n, and its part of the score is multiplied by ``BM25Config.literal_weight``.

    Documents that share no term with the query are no hits. Equal scores are ordered by
    document: the one added first comes first.

    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> index = BM25Index.in_memory(csr_array(np.array([[0.0, 4.0], [1.0, 1.0]])), ["a", "b"])
    >>> [[(hit.id, hit.rank) for hit in hits] for hits in index.search(csr_array(np.array([[1.0, 0.0], [0.0, 2.5]])))]
    [[('b', 1)], [('a', 1), ('b', 2)]]
    """

    def __init__(
        self,
        commit: Commit,
        segments: Sequence[Segment],
        path: Path | None,
        words: IdTable | None = None,
        static: StoredStatic | None = None,
    ) -> None:
        self._commit, self.path, self._static = commit, path, static
        self._words = Dictionary(IdTable.build([]) if words is None else words)
        self._scorer = Scorer(segments, commit.vocabulary.n_terms, len(self._words))

    @staticmethod
    def create(
        path: str | Path,
        vocabulary: VocabularyInfo,
        scoring: BM25Config | None = None,
        *,
        overwrite: bool = False,
        store_text: bool = True,
        literal: LiteralConfig | None = None,
        segment_postings: int = SEGMENT_POSTINGS,
    ) -> IndexWriter:
        """Starts a new index.

        Args:
            path: its folder.
            vocabulary: what makes its terms.
            scoring: how searches score unless told otherwise; None takes the defaults.
            overwrite: whether an index at ``path`` may be replaced. It stays as it is until the first commit.
            store_text: whether to keep titles and texts beside the ids.
            literal: whether to index the words of titles and texts beside the latent terms, and how. It is recorded, so that
                documents that are added later get theirs.
            segment_postings: postings after which a segment is closed and the next one begun; 250,000 documents close one too.

        Raises:
            StorageError: the folder holds something else, cannot be written, or is being written by another process.
        """
        chosen = literal if literal is not None and literal.literal else None
        state = Commit(0, vocabulary, scoring or BM25Config(), store_text, literal=chosen)
        return create_index(path, state, segment_postings, overwrite=overwrite)

    @staticmethod
    def writer(path: str | Path, *, vocabulary: str | None = None, segment_postings: int = SEGMENT_POSTINGS) -> IndexWriter:
        """Opens an index to change it.

        Args:
            path: its folder.
            vocabulary: fingerprint of the vocabulary that will make the weights; another than the index's is refused.
            segment_postings: as in :meth:`create`.

        Raises:
            IndexFormatError: there is no index, it is damaged, or it was made with another vocabulary.
            StorageError: it cannot be written, or is being written by another process.
        """
        return open_writer(path, vocabulary, segment_postings)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> BM25Index:
        """Opens an index for searching.

        Args:
            path: its folder.
            verify: whether to compare every file with its checksum (:meth:`verify`).

        Raises:
            IndexFormatError: there is no index, or it is damaged; the message names the file.
        """
        folder = Path(path)
        commit = read_commit(folder)
        for attempt in range(OPEN_ATTEMPTS):
            try:
                words = open_words(folder, commit.words) if commit.words else None
                static = StoredStatic(folder, commit.static, commit.vocabulary.n_terms) if commit.static else None
                index = cls(commit, _open_segments(folder, commit), folder, words, static)
                if verify:
                    index.verify()
                return index
            except IndexFormatError:
                newer = read_commit(folder)
                if newer == commit or attempt == OPEN_ATTEMPTS - 1:
                    raise
                commit = newer  # a writer has committed meanwhile and removed what the commit before needed
        raise AssertionError("the last attempt returns or raises")

    @classmethod
    def in_memory(
        cls,
        weights: SparseRows,
        ids: Sequence[str],
        scoring: BM25Config | None = None,
        vocabulary: VocabularyInfo | None = None,
        *,
        texts: Sequence[str] | None = None,
        literal: LiteralConfig | None = None,
    ) -> BM25Index:
        """An index without files, for evaluation.

        Args:
            weights: raw weights of latent terms, CSR, ``(len(ids), n_latents)``.
            ids: ids of the documents.
            scoring: as in :meth:`create`.
            vocabulary: what made the latent terms, if that is to be checked.
            texts: of the documents, one for each id: their literal words are indexed too.
            literal: how words are indexed when there are texts; None takes the defaults.

        Raises:
            ModelError: a weight is NaN, infinite or negative.
            CorpusError: an id is there twice, or not one for each row, or there is not a text for each id.
        """
        n_latents = int(weights.shape[1])
        rows = check_weights(weights, n_latents, lambda row: f"document '{ids[row]}'")
        if len(ids) != rows.n_rows or len(set(ids)) != len(ids):
            raise CorpusError(f"{rows.n_rows} documents need as many different ids; there are {len(set(ids))}.")
        words = GrowingDictionary()
        settings = None if texts is None else dataclasses.replace(literal or LiteralConfig(), literal=True)
        if texts is not None and settings is not None:
            if len(texts) != len(ids):
                raise CorpusError(f"There are {len(ids)} documents, but {len(texts)} texts.")
            rows = words.add_to(rows, n_latents, texts, settings)
        made_by = vocabulary or VocabularyInfo("", "", n_latents)
        commit = Commit(0, made_by, scoring or BM25Config(), store_text=False, literal=settings)
        segment = segment_in_memory(rows, n_latents + len(words), [encode_text(identifier) for identifier in ids])
        return cls(commit, [segment], None, words.committed())

    def search(
        self,
        queries: SparseRows,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        vocabulary: str | None = None,
        exclude: Sequence[str | None] | None = None,
        approximate: bool = False,
        texts: Sequence[str] | None = None,
    ) -> list[list[Hit]]:
        """The best documents for each query.

        Args:
            queries: raw query weights of latent terms, CSR, ``(n_queries, n_latents)``.
            top_k: how many hits to return for each at most.
            scoring: how to score; None takes what the index was made with.
            vocabulary: fingerprint of what made the queries; another than the index's is refused.
            exclude: for each query the id of a document that is no hit (BEIR leaves out a document with the query's own id).
            approximate: search faster and miss a hit now and then: of what frequent terms could add to a score only a part
                is counted on (``APPROXIMATE_SHARE``). Scores are exact. ``docs/results/performance.md`` has the measured loss.
            texts: of the queries. Their literal words are searched too, in an index that has some; words that no document ever
                had are dropped. Without texts latent terms alone are searched.

        Returns:
            For each query its hits, best first.

        Raises:
            IndexFormatError: the queries come from another vocabulary, or the postings are damaged.
            ModelError: a query weight is NaN, infinite or negative, or there is not a text for each query.
        """
        documents, scores = self.search_arrays(
            queries, top_k, scoring=scoring, vocabulary=vocabulary, exclude=exclude, approximate=approximate, texts=texts
        )
        return [
            [
                Hit(self.document_id(document), score, rank, document)
                for rank, (document, score) in enumerate(zip(row.tolist(), row_scores.tolist(), strict=True), start=1)
                if document >= 0
            ]
            for row, row_scores in zip(documents, scores, strict=True)
        ]

    def search_arrays(
        self,
        queries: SparseRows,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        vocabulary: str | None = None,
        exclude: Sequence[str | None] | None = None,
        approximate: bool = False,
        texts: Sequence[str] | None = None,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The same as :meth:`search`, as arrays.

        Returns:
            Document numbers and scores, both ``(n_queries, min(top_k, n_documents))``, best first. Where a query has fewer hits
            the document is -1 and the score 0.
        """
        check_vocabulary(self._name, self.vocabulary, vocabulary)
        if top_k < 0:
            raise ModelError(f"top_k is {top_k}, but must not be negative.")
        scoring = scoring or self.scoring
        rows = self._query_rows(queries, texts, scoring)
        excluded = np.full(rows.n_rows, -1, dtype=np.int64)
        if exclude is not None:
            if len(exclude) != rows.n_rows:
                raise ModelError(f"There are {rows.n_rows} queries, but documents to exclude for {len(exclude)}.")
            wanted = [i for i, identifier in enumerate(exclude) if identifier is not None]
            excluded[wanted] = self._find([str(exclude[i]) for i in wanted])
        share = APPROXIMATE_SHARE if approximate else 1.0
        return self._scorer.top(rows, min(top_k, self.n_documents), scoring, excluded, share)

    def explain(
        self,
        query: SparseRows,
        document: int,
        *,
        scoring: BM25Config | None = None,
        texts: Sequence[str] | None = None,
    ) -> list[tuple[int, float]]:
        """Which terms made the score of a document.

        Args:
            query: raw weights of one query, CSR, ``(1, n_latents)``.
            document: number of the document (``Hit.document``).
            scoring: as in :meth:`search`.
            texts: the text of the query, in a list of one, as in :meth:`search`.

        Returns:
            The shared terms with what each adds to the score, largest first; those from :attr:`n_latents` on are words
            (:meth:`word`). Their sum is the score, up to rounding.
        """
        scoring = scoring or self.scoring
        rows = self._query_rows(query, texts, scoring)
        if rows.n_rows != 1:
            raise ModelError(f"One query is needed to explain a hit, not {rows.n_rows}.")
        found = self._scorer.contributions(rows, document, scoring)
        return sorted(found, key=lambda entry: -entry[1])

    @property
    def vocabulary(self) -> VocabularyInfo:
        """Which vocabulary made the latent terms."""
        return self._commit.vocabulary

    @property
    def scoring(self) -> BM25Config:
        """How searches score unless told otherwise."""
        return self._commit.scoring

    @property
    def literal(self) -> LiteralConfig | None:
        """How literal words are indexed; None when there are none."""
        return self._commit.literal

    @property
    def n_latents(self) -> int:
        """Number of latent terms, the columns of weights."""
        return self.vocabulary.n_terms

    @property
    def n_terms(self) -> int:
        """Number of terms: latents, and after them literal words."""
        return self.n_latents + len(self._words)

    def word(self, term: int) -> str:
        """The literal word that a term stands for.

        Raises:
            IndexError: the term is a latent, or does not exist.
        """
        return self._words.word(term - self.n_latents)

    def static(self) -> StaticTable | None:
        """The table that encodes queries without the model; None when the index has none.

        It was counted from the documents that were ever added, deleted ones included. It is read at the first call.

        Raises:
            IndexFormatError: its files are damaged.
        """
        return None if self._static is None else self._static.table

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return len(self._scorer.segments)

    @property
    def n_documents(self) -> int:
        """Number of documents that are not deleted."""
        return self._scorer.n_documents

    @property
    def n_postings(self) -> int:
        """Number of postings of these documents."""
        return int(self.document_frequency.sum())

    @property
    def document_frequency(self) -> NDArray[np.int64]:
        """In how many documents each term occurs, (n_terms,)."""
        return self._scorer.document_frequency

    @property
    def bytes(self) -> int:
        """Bytes of the compressed posting lists with their directory, those of deleted documents included.

        It is what a search reads, but for the rows of the few documents that it scores exactly (:attr:`weight_bytes`).
        """
        return sum(postings.nbytes for postings in self._scorer.postings(self.scoring))

    @property
    def weight_bytes(self) -> int:
        """Bytes of the raw weights by document, from which exact scores and other scorings are computed."""
        return sum(part.row_terms.nbytes + part.row_weights.nbytes for part in self._scorer.segments)

    def average_length(self, transform: Transform | None = None) -> float:
        """Mean length of the documents: the sum of their transformed weights.

        Args:
            transform: of document weights; None takes that of :attr:`scoring`.
        """
        return self._scorer.average_length(transform or self.scoring.document_transform)

    def stored(self, document: int) -> StoredDocument:
        """Id, title and text of a document, by its number (``Hit.document``)."""
        number, local = self._scorer.place(document)
        return self._scorer.segments[number].stored(local)

    def document_id(self, document: int) -> str:
        """The id of a document, by its number."""
        number, local = self._scorer.place(document)
        return self._scorer.segments[number].ids.id(local)

    def find(self, identifier: str) -> int | None:
        """The number of the document with this id; None when there is none."""
        number = self._find([identifier])[0]
        return None if number < 0 else number

    def document_ids(self) -> Iterator[str]:
        """The ids of all documents, in document order."""
        for segment in self._scorer.segments:
            for document in segment.live_documents():
                yield segment.ids.id(document)

    def __contains__(self, identifier: str) -> bool:
        return self.find(identifier) is not None

    def __len__(self) -> int:
        return self.n_documents

    def info(self) -> dict[str, Any]:
        """What can be said about the index in numbers, as JSON values. Bytes are bytes on the disk."""
        return describe(self, self._commit)

    def verify(self) -> None:
        """Compares every file of the index with its recorded length and checksum.

        Raises:
            IndexFormatError: a file is missing or damaged; the message names it.
        """
        if self.path is None:
            return
        try:
            for segment in self._commit.segments:
                for name, record in segment.files.items():
                    verify_file(self.path / SEGMENTS_NAME / segment.name / name, record)
            if self._commit.words:
                verify_words(self.path, self._commit.words)
            if self._commit.static:
                verify_static(self.path, self._commit.static)
        except IndexFormatError as error:
            if read_commit(self.path) != self._commit:
                raise IndexFormatError(f"{self.path} was changed since it was opened. Open it again to verify it.") from error
            raise

    @property
    def _name(self) -> object:
        return self.path or "This index"

    def _query_rows(self, queries: SparseRows, texts: Sequence[str] | None, scoring: BM25Config) -> Rows:
        """The checked weights of queries, with their literal words."""
        rows = check_weights(queries, self.n_latents, lambda row: f"query number {row + 1}")
        if texts is not None and len(texts) != rows.n_rows:
            raise ModelError(f"There are {rows.n_rows} queries, but {len(texts)} texts.")
        if texts is None or self.literal is None or not scoring.literal_weight:
            return rows
        return self._words.add_to(rows, self.n_latents, texts, self.literal)

    def _find(self, ids: Sequence[str]) -> list[int]:
        encoded = [encode_text(identifier) for identifier in ids]
        hashes = hash_ids(encoded)
        numbers = np.full(len(ids), -1, dtype=np.int64)
        for first, segment in zip(self._scorer.first, self._scorer.segments, strict=False):
            found = segment.ids.find(encoded, hashes, segment.deleted)
            numbers = np.where(found >= 0, found + first, numbers)
        return [int(number) for number in numbers]


def _open_segments(folder: Path, commit: Commit) -> list[Segment]:
    return [
        open_segment(folder / SEGMENTS_NAME / record.name, record, with_texts=commit.store_text) for record in commit.segments
    ]
