"""``BM25Index``: an opened index that can be searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ArgumentError
from lexite.index.checks import check_mantissa
from lexite.index.config import SEGMENT_POSTINGS, StoredDocument, VocabularyInfo
from lexite.index.describe import describe
from lexite.index.dictionary import Dictionary
from lexite.index.document_ids import Among, DocumentIds
from lexite.index.explanation import Explanation
from lexite.index.field_types import VALUES_COUNTED, FieldType
from lexite.index.fields import arrow
from lexite.index.file_table import KnownFile, read_file_table
from lexite.index.filtering import DocumentFields
from lexite.index.ids import IdTable
from lexite.index.in_memory import indexed_in_memory
from lexite.index.manifest import Commit
from lexite.index.numbering import Numbering
from lexite.index.opening import OpenedFiles, open_newest, verify_files
from lexite.index.ranker import Ranker
from lexite.index.scorer import Scorer
from lexite.index.segment import Segment
from lexite.index.side_config import SideDataRecord
from lexite.index.side_data import PassageCodes, PassageVectors
from lexite.index.side_reading import SideReader
from lexite.index.static import StoredStatic
from lexite.index.word_conditions import WordConditions
from lexite.ranking.hits import Hit, PassageHit
from lexite.scoring.config import BM25Config, Transform, scoring_of
from lexite.scoring.rounding import MANTISSA
from lexite.scoring.rows import SparseRows
from lexite.scoring.words import LiteralConfig
from lexite.terms.queries import EncodedQueries
from lexite.wording import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from lexite.index.field_values import Facet
    from lexite.index.filters import Where
    from lexite.index.joining import JoinedStatic
    from lexite.index.row_reading import PassageRows
    from lexite.index.score_parts import QueryParts
    from lexite.index.term_space import TermSpace
    from lexite.index.writer import IndexWriter
    from lexite.terms.static import StaticTable


class BM25Index:
    """BM25 over weighted terms: a snapshot of an index folder, or an index in memory.

    A snapshot is the state of the last commit when it was opened. Later commits do not change it; open the folder again to see
    them. Its files are mapped into memory, so opening is quick, and processes that search the same index share them.
    Searching is safe from several threads.

    Attributes:
        path: its folder; None for an index in memory, and for several that are searched as one.
        ids: the ids of all documents, in document order.

    The score of a document is a sum over the query's terms, of
    ``T_q(query weight) · worth · tf / (tf + k1 · (1 - b + b · dl / avgdl))``. There tf is ``T_d(document weight)``, dl the sum
    of the document's tf, and worth is ``idf ** idf_power`` for a latent, ``idf · literal_weight`` for a literal word.
    ``lexite.scoring.formula`` has the forms of idf and what bm25+ changes. All additions are made in float32, in ascending
    order of terms.

    Terms are latents, which weights are given for. The literal words of an index that was made with words come after them: a
    word that occurs n times has the raw weight ``literal_weight_documents`` · n in a document, and n in a query.

    A long document may have several passages. All this is then counted over passages, and a document scores what its best one
    scores. A document that shares no term with the query is no hit. Among equal scores, the document that was added first comes
    first.

    >>> from scipy.sparse import csr_array
    >>> index = BM25Index.in_memory(csr_array([[0.0, 4.0], [1.0, 1.0]]), ["a", "b"])
    >>> queries = EncodedQueries(csr_array([[1.0, 0.0], [0.0, 2.5]]))
    >>> [[(hit.id, hit.rank) for hit in hits] for hits in index.search(queries)]
    [[('b', 1)], [('a', 1), ('b', 2)]]
    """

    def __init__(
        self,
        commit: Commit,
        segments: Sequence[Segment],
        path: Path | None,
        words: IdTable | None = None,
        static: StoredStatic | JoinedStatic | None = None,
        parts: Sequence[Path] = (),
    ) -> None:
        self._commit, self.path, self._static = commit, path, static
        self._parts = tuple(parts)
        self._words = Dictionary(IdTable.build([]) if words is None else words)
        self._scorer = Scorer(segments, commit.vocabulary.n_terms, len(self._words), commit.average_lengths)
        self._numbering = Numbering(segments)
        self.ids = DocumentIds(self._scorer.segments)
        self._n_documents = len(self.ids)
        self._fields = DocumentFields(segments, commit.fields or {}, self._name)
        self._side = SideReader(self._numbering, commit.side_data, commit.vocabulary.n_terms, self._name)
        self._ranker = Ranker(self._name, commit, self._words, self._scorer, self._numbering, self.ids, self._fields)

    @staticmethod
    def create(
        path: str | Path,
        vocabulary: VocabularyInfo,
        scoring: BM25Config | None = None,
        *,
        overwrite: bool = False,
        store_text: bool = True,
        literal: LiteralConfig | None = None,
        passages: PassageConfig | None = None,
        store_fields: bool | None = None,
        field_weights: FieldWeights | None = None,
        side_data: SideDataRecord | None = None,
        mantissa: int = MANTISSA,
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
            passages: how long texts are cut, to record it: the writer takes passages as they are given.
            store_fields: whether to keep the fields of documents. None keeps them where pyarrow is installed, and warns where
                documents have fields and it is not.
            field_weights: how much title, headings and body count, to record it. The writer takes weights of latents as they
                are given, and counts literal words so.
            side_data: which side files to keep (:func:`lexite.search.side_collection.side_data_of`); None: none.
            mantissa: bits of the mantissa that raw weights are rounded to (:func:`lexite.scoring.rounding.rounded_weights`).
                The default keeps the ranking; 23 keeps every bit, and takes some two bytes a posting more.
            segment_postings: postings after which a segment is closed and the next one begun; 250,000 documents close one too.

        Raises:
            ArgumentError: ``mantissa`` is no whole number from 1 to 23.
            StorageError: the folder holds something else, cannot be written, or is being written by another process.
            MissingExtraError: ``store_fields`` is True, and pyarrow is not installed.
        """
        from lexite.index.writer_opening import create_index

        if store_fields:
            arrow("Storing the fields of documents")
        check_mantissa(mantissa)
        chosen = literal if literal is not None and literal.literal else None
        state = Commit(0, vocabulary, scoring or BM25Config(), store_text, literal=chosen, passages=passages)
        state = dataclasses.replace(state, field_weights=field_weights, fields=None if store_fields is False else {})
        state = dataclasses.replace(state, side_data=side_data, mantissa=mantissa)
        return create_index(path, state, segment_postings, overwrite=overwrite)

    @staticmethod
    def writer(
        path: str | Path,
        *,
        vocabulary: str | None = None,
        segment_postings: int = SEGMENT_POSTINGS,
        wait: float = 0.0,
    ) -> IndexWriter:
        """Opens an index to change it.

        Args:
            path: its folder.
            vocabulary: fingerprint of the vocabulary that will make the weights. It must be the index's own.
            segment_postings: as in :meth:`create`.
            wait: seconds to wait for another writer.

        Raises:
            IndexFormatError: there is no index, it is damaged, or it was made with another vocabulary.
            StorageError: it cannot be written, or is being written by another process.
        """
        from lexite.index.writer_opening import open_writer

        return open_writer(path, vocabulary, segment_postings, wait)

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

        def make(files: OpenedFiles) -> BM25Index:
            index = cls(files.commit, files.segments, folder, files.words, files.static)
            if verify:
                index.verify()
            return index

        return open_newest(folder, make)

    @classmethod
    def open_several(cls, paths: Sequence[str | Path]) -> BM25Index:
        """Opens several indexes to search them as one, with the scores that a merged index gives (``lexite merge``).

        Frequencies, numbers of passages and average lengths are counted over all of them. Documents are numbered in the order
        of the indexes.

        Args:
            paths: folders of indexes of the same vocabulary and settings, that have no id in common.

        Raises:
            IndexFormatError: an index is missing or damaged; or they were made with other vocabularies or settings.
            CorpusError: two have a document of the same id.
            ArgumentError: none is given, or one is given twice.
        """
        from lexite.index.joining import opened_as_one

        folders = [Path(path) for path in paths]
        files = opened_as_one(folders)
        return cls(files.commit, files.segments, None, files.words, files.static, folders)

    def newest(self) -> BM25Index:
        """The newest commit of the index, or of the indexes that are searched as one.

        Raises:
            ArgumentError: the index is in memory.
            IndexFormatError: it is damaged.
        """
        if self.path is None and not self._parts:
            raise ArgumentError("An index in memory has no commits.")
        return BM25Index.open_several(self._parts) if self.path is None else BM25Index.open(self.path)

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
        made = indexed_in_memory(weights, ids, scoring, vocabulary, texts, literal)
        return cls(made.commit, made.segments, None, made.words)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path, so that another process opens the newest commit there; or the arrays of an index in memory."""
        if self.path is not None:
            return BM25Index.open, (self.path.absolute(),)
        if self._parts:
            return BM25Index.open_several, ([path.absolute() for path in self._parts],)
        return BM25Index._restored, (self._commit, self._scorer.segments, self._words.table)

    @classmethod
    def _restored(cls, commit: Commit, segments: Sequence[Segment], words: IdTable) -> BM25Index:
        for segment in segments:
            segment.protect()
        return cls(commit, segments, None, words)

    def search(
        self,
        queries: EncodedQueries,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        exclude: Sequence[str | None] | None = None,
        among: Among | None = None,
        approximate: bool = False,
        where: Where | None = None,
        sort: str | None = None,
        min_score: float | None = None,
        min_coverage: float | None = None,
    ) -> list[list[Hit]]:
        """The best documents for each query.

        Args:
            queries: what ``LatentTermEncoder.encode_queries`` gives. Where they have texts, their literal words are searched
                too, in an index that has some; words that no document ever had are dropped.
            top_k: how many hits to return for each at most.
            scoring: how to score; None takes what the index was made with.
            exclude: for each query the id of a document that is no hit (BEIR leaves out a document with the query's own id).
            among: ids of the only documents that may be hits: a list for all queries, or a list for each; or for each an array
                of numbers, such as :meth:`documents_with` gives. Statistics stay those of all documents.
            approximate: search faster and miss a hit now and then: of what frequent terms could add to a score only a part
                is counted on (``APPROXIMATE_SHARE``). Scores are exact. ``docs/results/performance.md`` has the measured loss.
            where: a filter over the fields of documents, as in SQL's WHERE (``"year >= 2020 and 'law' in tags"``), or its tree
                (:mod:`lexite.index.conditions`). Hits are the best documents among those for which it is true. Statistics stay
                those of all documents.
            sort: a field by which hits come in order, in place of their scores: ``"year"``, or ``"year:desc"`` for the largest
                first. All documents that share a term with the query are in this order, not the best alone. Documents with
                the same value come by score, those without the field last. ``"_id"`` sorts by id,
                ``"_score"`` by score as without ``sort``.
            min_score: the least score of a hit.
            min_coverage: the least share of the query that a hit covers, from 0 to 1 (:attr:`Explanation.coverage`).

        Returns:
            For each query its hits, best first.

        Raises:
            IndexFormatError: the queries come from another vocabulary, or were encoded in another way than the index recorded;
                or the postings are damaged.
            ArgumentError: the queries are no :class:`EncodedQueries`.
            CorpusError: ``among`` names a document that the index does not have.
            FilterError: the filter cannot be read, or names a field or a value that does not fit.
            MissingExtraError: a package that filters need is not installed.
            ModelError: a query weight is NaN, infinite or negative.
        """
        best = self._ranker.top(queries, top_k, scoring, exclude, among, approximate, where, sort, min_score, min_coverage)
        return self._ranker.hits(best)

    def search_arrays(
        self,
        queries: EncodedQueries,
        top_k: int = 10,
        *,
        scoring: BM25Config | None = None,
        exclude: Sequence[str | None] | None = None,
        among: Among | None = None,
        approximate: bool = False,
        **limits: Any,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The same as :meth:`search`, with its arguments and errors, as arrays.

        Returns:
            Document numbers and scores, both ``(n_queries, min(top_k, n_documents))``, best first. Where a query has fewer hits
            the document is -1 and the score 0.
        """
        best = self._ranker.top(queries, top_k, scoring, exclude, among, approximate, **limits)
        return best.documents, best.scores

    def explain(self, query: EncodedQueries, document: int | str, *, scoring: BM25Config | None = None) -> Explanation:
        """Which terms made the score of a document, with every number of the formula.

        Args:
            query: one query.
            document: the document's number (``Hit.document``) or its id.
            scoring: as in :meth:`search`.

        Raises:
            ArgumentError: more than one query.
            CorpusError: the index has no document of this id.
            IndexError: it has none of this number.
        """
        return self._ranker.explain(query, document, scoring, self.word)

    def explanations(
        self, query: EncodedQueries, documents: Sequence[int | str], *, scoring: BM25Config | None = None
    ) -> list[Explanation]:
        """Why several documents have their scores; as :meth:`explain`, and quicker than to call it for each."""
        return self._ranker.explanations(query, documents, scoring, self.word)

    def score_parts(
        self, query: EncodedQueries, documents: Sequence[int | str], *, scoring: BM25Config | None = None
    ) -> QueryParts:
        """What a query asks for, and what each term adds to the scores of documents; :meth:`explain` tells how it comes to be.

        Arguments and errors are those of :meth:`explanations`.
        """
        return self._ranker.parts(query, documents, scoring, self.word)

    def passages(self, query: EncodedQueries, document: int | str, *, scoring: BM25Config | None = None) -> list[PassageHit]:
        """The passages of a document that share a term with a query, best first; a search takes the first one's score.

        Arguments and errors are those of :meth:`explain`.
        """
        return self._ranker.passages(query, document, scoring)

    def documents_with(self, required: Sequence[str] = (), excluded: Sequence[str] = ()) -> NDArray[np.int64]:
        """The numbers of the documents that have all of some words and phrases and none of others, ascending.

        A text of several words is a phrase: the document has them side by side, in this order. Words are cut and folded as
        literal words are. All passages of a document count, and its title.

        Args:
            required: words and phrases that a document must have.
            excluded: words and phrases that it must not have.

        Raises:
            QueryError: the index has no literal words; or it keeps no texts, in which alone a phrase can be looked for.
            IndexFormatError: postings are damaged.
        """
        return self._word_conditions.passing(required, excluded)

    def missing_words(self, required: Sequence[str]) -> list[str]:
        """Those among words and phrases that no document has; errors are those of :meth:`documents_with`."""
        return self._word_conditions.missing(required)

    def rows(self, documents: Iterable[int | str] | None = None) -> csr_array[np.float32]:
        """Raw weights of documents, as the index keeps them; of a document with several passages, the sum of theirs.

        Args:
            documents: numbers (``Hit.document``) or ids; None takes all documents, in order. :meth:`iterate_rows` gives those
                in bounded memory.

        Returns:
            ``(n, n_terms)`` float32 CSR: latents first, literal words after them.

        Raises:
            CorpusError: the index has no document of this id.
            IndexError: it has none of this number.
        """
        from lexite.index.row_reading import read_documents

        wanted = self._numbering.living() if documents is None else self.ids.numbers(documents)
        return read_documents(self._numbering, self.n_terms, wanted)

    def term_space(self, scoring: BM25Config | None = None) -> TermSpace:
        """Documents and queries as vectors over the terms, for feedback and steering.

        Args:
            scoring: how to score; None takes what the index was made with.
        """
        from lexite.index.term_space import TermSpace

        return TermSpace(self._ranker, scoring_of(scoring, self.scoring))

    def iterate_rows(self, documents_per_chunk: int = 4096) -> Iterator[tuple[NDArray[np.int64], csr_array[np.float32]]]:
        """The raw weights of all documents, in order, some at a time and in bounded memory.

        Args:
            documents_per_chunk: how many.

        Yields:
            The numbers of the documents and their rows, as :meth:`rows` gives them.
        """
        from lexite.index.row_reading import iterate_rows

        return iterate_rows(self._numbering, self.n_terms, documents_per_chunk)

    def iterate_passages(
        self, transform: Transform | None = None, *, first_document: int = 0, documents_per_chunk: int = 512
    ) -> Iterator[PassageRows]:
        """The passages of all documents, in order, with their raw weights and lengths, in bounded memory.

        Args:
            transform: of the weights that make lengths; None takes that of :attr:`scoring`.
            first_document: number of the document to begin with.
            documents_per_chunk: documents whose passages come together.
        """
        from lexite.index.row_reading import iterate_passages

        chosen = transform or self.scoring.document_transform
        return iterate_passages(self._numbering, self.n_terms, chosen, first_document, documents_per_chunk)

    def query_factors(self, queries: EncodedQueries, *, scoring: BM25Config | None = None) -> csr_array[np.float32]:
        """What the impact of each term is multiplied by in a search: transformed query weight times the term's worth.

        Terms that no document has are left out. Literal words of the queries' texts are there, where the index has words.

        Args:
            queries: as for :meth:`search`; errors are those that it raises for them.
            scoring: as there.

        Returns:
            ``(n_queries, n_terms)``.

        >>> from scipy.sparse import csr_array
        >>> index = BM25Index.in_memory(csr_array([[0.0, 4.0], [1.0, 1.0]]), ["a", "b"])
        >>> index.query_factors(EncodedQueries(csr_array([[1.0, 16.0]]))).toarray().astype(float).round(2).tolist()
        [[0.83, 3.42]]
        """
        from scipy.sparse import csr_array

        rows = self._ranker.factors(queries, scoring)
        return csr_array((rows.values, rows.terms, rows.indptr), shape=(rows.n_rows, self.n_terms))

    @property
    def side_data(self) -> frozenset[str]:
        """What is kept of passages for second stages: ``vectors``, ``token_codes``, both or neither."""
        return self._side.kinds

    def vectors(self, hits: Sequence[Hit]) -> PassageVectors:
        """The dense vectors of the passages of documents, in the order of the hits.

        Args:
            hits: of a search of this index.

        Raises:
            ArgumentError: the index keeps no vectors.
            IndexError: it has no such document.
            IndexFormatError: vectors are damaged.
        """
        return self._side.vectors([hit.document for hit in hits])

    def token_codes(self, hits: Sequence[Hit]) -> PassageCodes:
        """The codes of the tokens of the passages of documents, in the order of the hits.

        Args:
            hits: of a search of this index.

        Raises:
            ArgumentError: the index keeps no token codes.
            IndexError: it has no such document.
            IndexFormatError: codes are damaged.
        """
        return self._side.token_codes([hit.document for hit in hits])

    def all_vectors(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The dense vectors of all passages, in order and some thousand at a time, to rank a small corpus by them.

        Yields:
            The numbers of the documents that passages belong to, (n,), and their vectors, (n, d).

        Raises:
            ArgumentError: the index keeps no vectors.
            IndexFormatError: vectors are damaged.
        """
        return self._side.all_vectors()

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
    def passages_config(self) -> PassageConfig | None:
        """How long texts are cut into passages; None: they are not."""
        return self._commit.passages

    @property
    def fields(self) -> Mapping[str, FieldType]:
        """Types of the fields that documents have, by name."""
        return self._fields.types

    @property
    def field_weights(self) -> FieldWeights | None:
        """How much title, headings and body count, encoded apart; None: they are encoded together."""
        return self._commit.field_weights

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

    def files(self) -> dict[str, KnownFile]:
        """The files that documents came from, where the index is kept in step with files (``lexite sync``); empty otherwise.

        Raises:
            IndexFormatError: the table is damaged.
        """
        return {} if self.path is None else read_file_table(self.path, self._commit.files)

    @property
    def has_static(self) -> bool:
        """Whether there is a static table."""
        return self._static is not None

    def static(self) -> StaticTable | None:
        """The table that encodes queries without the model; None when the index has none.

        It was counted from the documents that were ever added, deleted ones included. It is read at the first call.

        Raises:
            IndexFormatError: its files are damaged.
        """
        return None if self._static is None else self._static.table

    @property
    def generation(self) -> int:
        """Number of the commit that is open; each commit adds one."""
        return self._commit.generation

    @property
    def n_segments(self) -> int:
        """Number of segments."""
        return len(self._scorer.segments)

    @property
    def n_documents(self) -> int:
        """Number of documents that are not deleted."""
        return self._n_documents

    @property
    def n_passages(self) -> int:
        """Number of passages of these documents; each has one at least."""
        return self._scorer.n_passages

    @property
    def stores_text(self) -> bool:
        """Whether titles and texts are kept."""
        return self._commit.store_text

    @property
    def n_filled_passages(self) -> int:
        """Number of the passages of these documents that have a term."""
        return sum(segment.n_filled for segment in self._scorer.segments)

    @property
    def n_postings(self) -> int:
        """Number of postings of these documents."""
        return int(self.document_frequency.sum())

    @property
    def document_frequency(self) -> NDArray[np.int64]:
        """In how many passages each term occurs, (n_terms,); a document that was not cut is one passage."""
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
        return sum(part.rows.nbytes for part in self._scorer.segments)

    def average_length(self, transform: Transform | None = None) -> float:
        """Mean length of the passages: the sum of their transformed weights.

        Args:
            transform: of document weights; None takes that of :attr:`scoring`.
        """
        return self._scorer.average_length(transform or self.scoring.document_transform)

    def stored(self, document: int) -> StoredDocument:
        """Id, title, text and fields of a document, by its number (``Hit.document``)."""
        segment, local = self._numbering.place(document)
        return segment.stored(local, self._fields.shown)

    def document_id(self, document: int) -> str:
        """The id of a document, by its number."""
        return self._numbering.id(document)

    def find(self, identifier: str) -> int | None:
        """The number of the document with this id; None when there is none.

        Raises:
            ArgumentError: the id is no text.
        """
        number = int(self.ids.find([identifier])[0])
        return None if number < 0 else number

    def get(self, identifier: str) -> StoredDocument | None:
        """The document with this id, as :meth:`stored` gives it; None when there is none. Errors are those of :meth:`find`."""
        number = self.find(identifier)
        return None if number is None else self.stored(number)

    def __iter__(self) -> Iterator[StoredDocument]:
        """All documents, in order, as :meth:`stored` gives them."""
        for segment in self._scorer.segments:
            for document in segment.live_documents():
                yield segment.stored(document, self._fields.shown)

    def __contains__(self, identifier: str) -> bool:
        return self.find(identifier) is not None

    def __len__(self) -> int:
        return self.n_documents

    def __repr__(self) -> str:
        words = " and words" if self.literal is not None else ""
        where = str(self._name) if self.path or self._parts else "in memory"
        return f"BM25Index({where}, {counted(self.n_documents)}, {counted(self.n_latents, 'latent term')}{words})"

    def check_fields(self, *, where: Where | None = None, sort: str | None = None) -> None:
        """Looks whether a search could filter and sort so, and keeps what it will need.

        Arguments are those of :meth:`search`, and errors those that it raises for them.
        """
        self._fields.check(where, sort)

    def select(self, where: Where | None = None, *, sort: str | None = None) -> NDArray[np.int64]:
        """The numbers of all documents that pass a filter, whatever a query says.

        Args:
            where: the filter (:meth:`search`); None: all documents pass.
            sort: the field by which they come in order (:meth:`search`); None: in their own order.

        Raises:
            FilterError: the filter cannot be read, or names a field or a value that does not fit; or there is no such field.
            MissingExtraError: a package that filters need is not installed.
        """
        return self._fields.select(where, sort)

    def facets(
        self,
        fields: str | Sequence[str],
        *,
        where: Where | None = None,
        among: Sequence[int | str] | None = None,
        n_values: int = VALUES_COUNTED,
    ) -> list[Facet]:
        """How often the values of fields occur.

        Args:
            fields: names of fields, or one name.
            where: a filter (:meth:`search`): documents that pass it count. None: all do.
            among: numbers or ids of the only documents that count, such as those of hits; None: all do.
            n_values: how many values to return for each field, the most frequent first.

        Returns:
            For each field its values with numbers of documents.

        Raises:
            FilterError: there is no such field, or the filter cannot be read.
            CorpusError: ``among`` names a document that the index does not have.
            MissingExtraError: a package that filters need is not installed.

        >>> from scipy.sparse import csr_array
        >>> BM25Index.in_memory(csr_array([[1.0]]), ["a"]).facets("year")
        Traceback (most recent call last):
        lexite.errors.FilterError: There is no field 'year'. The documents of this index have no fields.
        """
        numbers = None if among is None else self.ids.numbers(among)
        return self._fields.facets(fields, where, numbers, n_values)

    def info(self) -> dict[str, Any]:
        """What can be said about the index in numbers, as JSON values. Bytes are bytes on the disk."""
        return describe(self, self._commit, self._scorer.segments)

    def verify(self) -> None:
        """Compares every file of the index with its recorded length and checksum.

        Raises:
            IndexFormatError: a file is missing or damaged; the message names it.
        """
        if self.path is not None:
            verify_files(self.path, self._commit)
        for path in self._parts:
            BM25Index.open(path, verify=True)

    @property
    def _word_conditions(self) -> WordConditions:
        return WordConditions(self._name, self._commit, self._numbering, self._words)

    @property
    def _name(self) -> object:
        return self.path or ", ".join(map(str, self._parts)) or "This index"
