"""From documents to an index: the one place that encodes documents, counts their static table and records how it was done."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.corpus.passages import CutDocuments, PassageConfig, cut_documents
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import CorpusError
from lexite.index import BM25Index, VocabularyInfo
from lexite.index.dictionary import WordRows
from lexite.index.manifest import COMMIT_NAME
from lexite.index.side_config import SideDataConfig, SideDataRecord
from lexite.index.side_files import SideRows
from lexite.progress import progress
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import SparseRows
from lexite.scoring.transform import drop_small
from lexite.scoring.words import LiteralConfig
from lexite.search.side_collection import SideCollector, side_data_of, side_rows_of
from lexite.search.unread import UnreadDocuments
from lexite.terms.piece_counts import PieceCounts

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.index import IndexWriter
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static import StaticTable
    from lexite.terms.static_counts import StaticCounter

logger = logging.getLogger("lexite")
T = TypeVar("T")

NUMBERS = ("k_documents", "k_queries", "floor_documents", "floor_queries")
"""Keys under which an index records k and floors."""
READING = ("long", "query_prompt", "document_prompt")
"""Keys under which it records how texts are read, where that is other than the vocabulary says."""
PREFIX = "prefix"
"""Key under which it records how many latents of the vocabulary it has, where that is not all."""


def recorded(encoder: LatentTermEncoder) -> VocabularyInfo:
    """What an index records about its vocabulary, so that later documents and queries are encoded alike."""
    numbers = (encoder.k_for("document"), encoder.k_for("query"), encoder.floor_for("document"), encoder.floor_for("query"))
    config = {**dict(zip(NUMBERS, numbers, strict=True)), **encoder.components.reading}
    if encoder.prefix_size is not None:
        config[PREFIX] = encoder.prefix_size
    return VocabularyInfo(encoder.fingerprint, encoder.name, encoder.n_latents, config, encoder.source)


class Intake:
    """The way of documents into an index, once their weights are there.

    Nothing a reader can see changes before :meth:`commit`. Used as a context manager: leaving the block without it drops
    everything, with a warning where no error ended it, and removes the folder of an index that was new.

    Args:
        writer: of the index.
        new_folder: the folder to remove when nothing was ever committed to it; None: nothing is removed.
    """

    def __init__(self, writer: IndexWriter, new_folder: Path | None = None) -> None:
        self.writer, self._new_folder = writer, new_folder

    @classmethod
    def into_new(
        cls,
        path: str | Path,
        vocabulary: VocabularyInfo,
        scoring: BM25Config,
        *,
        overwrite: bool,
        store_text: bool,
        store_fields: bool | None,
        literal: LiteralConfig | None,
        passages: PassageConfig | None,
        field_weights: FieldWeights | None,
        side_data: SideDataRecord | None = None,
    ) -> Intake:
        """Starts a new index; arguments and errors are those of :meth:`lexite.index.BM25Index.create`."""
        new = not Path(path).exists()
        writer = BM25Index.create(
            path,
            vocabulary,
            scoring,
            overwrite=overwrite,
            store_text=store_text,
            store_fields=store_fields,
            literal=literal,
            passages=passages,
            field_weights=field_weights,
            side_data=side_data,
        )
        return cls(writer, Path(path) if new else None)

    def put(
        self,
        documents: Sequence[Document],
        rows: SparseRows,
        cut: CutDocuments,
        *,
        side: SideRows | None = None,
        words: WordRows | None = None,
        replace: bool = False,
    ) -> int:
        """Puts documents in.

        Args:
            documents: the documents.
            rows: raw weights of their passages.
            cut: their passages.
            side: side data of their passages, where the index keeps some.
            words: literal words of their passages; None counts them in the texts.
            replace: whether they take the place of documents with the same ids.

        Returns:
            How many documents were replaced.
        """
        if replace:
            return self.writer.replace(documents, rows, cut, side)
        self.writer.add(documents, rows, cut, side, words)
        return 0

    def commit(self, table: StaticTable | None = None) -> None:
        """Makes all that was put in the state of the index, with a static table; None leaves the one that it has."""
        if table is not None:
            self.writer.set_static(table)
        self.writer.commit()

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.writer.__exit__(kind, error, trace)
        if self._new_folder is not None and not (self._new_folder / COMMIT_NAME).exists():
            shutil.rmtree(self._new_folder, ignore_errors=True)


class Indexer:
    """Takes documents into an index: encodes them, puts them in, counts them into its static table.

    It is a context manager as :class:`Intake` is.

    Args:
        intake: of the index.
        encoder: its vocabulary.
        counter: counts the codes of the documents for a static table; None for none.
        finish: makes the table of the counter before a commit; None leaves the one that the index has.

    Attributes:
        writer: of the index.
        unread: the documents so far that the vocabulary cannot read.
    """

    def __init__(
        self,
        intake: Intake,
        encoder: LatentTermEncoder,
        counter: StaticCounter | None = None,
        finish: Callable[[StaticCounter], StaticTable | None] | None = None,
    ) -> None:
        self.encoder, self.counter = encoder, counter
        self._intake, self.writer, self._finish = intake, intake.writer, finish
        self.unread = UnreadDocuments()

    @classmethod
    def create(
        cls,
        path: str | Path,
        encoder: LatentTermEncoder,
        *,
        scoring: BM25Config | None = None,
        literal: LiteralConfig | None = None,
        passages: PassageConfig | None = None,
        field_weights: FieldWeights | None = None,
        side_data: SideDataConfig | None = None,
        store_text: bool = True,
        store_fields: bool | None = None,
        static: bool = True,
        overwrite: bool = False,
    ) -> Indexer:
        """Starts a new index.

        Args:
            path: its folder.
            encoder: its vocabulary.
            scoring: how searches score unless told otherwise; None takes the vocabulary's.
            literal: whether words are indexed beside latent terms, and how; None for the defaults, which index them.
            passages: how long texts are cut into passages; None leaves them whole.
            field_weights: how much title, headings and body count, encoded apart; None encodes them together.
            side_data: what is kept of passages for second stages; None keeps nothing.
            store_text: whether titles and texts are kept.
            store_fields: whether fields are kept; None keeps them where pyarrow is installed.
            static: whether it gets a table that encodes queries without the model, where the model can have one.
            overwrite: whether an index that is there may be replaced.

        Raises:
            ArgumentError: the model has not what ``side_data`` asks for.
            StorageError: the folder holds something else, cannot be written, or is being written by another process.
        """
        from lexite.terms.static_counts import counter_for, table_of_corpus

        words = literal or LiteralConfig()
        words.check_installed()
        backbone = encoder.backbone
        counter = counter_for(backbone, encoder.n_latents) if static else None
        if static and counter is None:
            logger.info("%s has no tokenizer that can be carried along, so the index gets no static table.", backbone.name)
        side = side_data_of(side_data, encoder)
        intake = Intake.into_new(
            path,
            recorded(encoder),
            scoring or encoder.scoring,
            overwrite=overwrite,
            store_text=store_text,
            store_fields=store_fields,
            literal=words,
            passages=passages,
            field_weights=field_weights,
            side_data=side,
        )

        def finish(counted: StaticCounter) -> StaticTable:
            return table_of_corpus(counted, encoder.static, backbone, encoder.terms.pooling)

        return cls(intake, encoder, counter, finish)

    @classmethod
    def change(cls, writer: IndexWriter, encoder: LatentTermEncoder) -> Indexer:
        """Goes on with an index.

        Documents that are replaced or deleted stay counted in its static table, which has sums over tokens, not over documents.

        Args:
            writer: of the index. ``BM25Index.writer`` locks it, so that a lock is found before a model is loaded.
            encoder: the index's vocabulary, encoding as the index recorded (:func:`lexite.search.queries.encoder_of`).
        """
        from lexite.terms.static_counts import counter_for

        table = writer.static()
        counter = None if table is None else counter_for(encoder.backbone, encoder.n_latents)
        if table is not None and counter is None:
            logger.info("%s has no tokenizer, so the index's static table stays as it is.", encoder.backbone.name)

        def finish(counted: StaticCounter) -> StaticTable | None:
            return None if table is None else counted.moved(table, prior_tokens=math.inf)

        return cls(Intake(writer), encoder, counter, finish)

    def take(
        self,
        documents: Sequence[Document],
        rows: SparseRows | None = None,
        cut: CutDocuments | None = None,
        *,
        side: SideRows | None = None,
        replace: bool = False,
    ) -> int:
        """Takes some documents.

        Args:
            documents: the documents.
            rows: raw weights of their passages; None encodes them. A caller that gives rows counts their codes
                (:attr:`counter`) itself.
            cut: their passages; None cuts them as the index says.
            side: side data of their passages, where rows are given and the index keeps some; None makes them.
            replace: whether they take the place of documents with the same ids.

        Returns:
            How many documents were replaced.
        """
        if cut is None:
            cut = cut_documents(documents, self.writer.passages, self.writer.field_weights)
        counts = None
        if rows is None:
            counts = PieceCounts(self.encoder.components.unread_pieces)
            floor = None if cut.fields is None else 0.0  # of sums of fields it is taken afterwards
            record = self.writer.side_data if cut.fields is None else None
            sink = None if record is None else SideCollector(record, self.encoder.sae)
            encoded = self.encoder.encode_documents(
                cut.encoded_texts, floor=floor, static=self.counter, pieces=counts, sink=sink
            )
            side = None if sink is None else sink.collected()
            rows = summed_fields(self.encoder, encoded, cut)
        if side is None and self.writer.side_data is not None:  # fields are encoded apart, but vectors are of whole passages
            side = side_rows_of(self.writer.side_data, self.encoder, cut.texts)
        self.unread.note(documents, rows, counts, self.writer.literal, cut.bounds, cut.encoded_bounds)
        return self._intake.put(documents, rows, cut, side=side, replace=replace)

    def commit(self) -> None:
        """Makes all that was taken the state of the index; see :meth:`lexite.index.IndexWriter.commit`."""
        self._intake.commit(None if self.counter is None or self._finish is None else self._finish(self.counter))

    def __enter__(self) -> Indexer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._intake.__exit__(kind, error, trace)


def summed_fields(encoder: LatentTermEncoder, rows: SparseRows, cut: CutDocuments) -> SparseRows:
    """Raw weights of passages from those of their fields, which were encoded without a floor: it is taken of the sums.

    Args:
        encoder: the vocabulary.
        rows: raw weights of ``cut.encoded_texts``; where these are passages, they are what is given back.
        cut: the passages.
    """
    if cut.fields is None:
        return rows
    return drop_small(cut.fields.summed(rows), encoder.floor_for("document"))


def index_documents(
    indexer: Indexer,
    documents: Iterable[Document],
    *,
    replace: bool = False,
    total: int | None = None,
    title: str = "Indexing",
    show_progress: bool = False,
    documents_per_chunk: int = TEXTS_PER_CHUNK,
) -> tuple[int, int]:
    """Takes a stream of documents, chunk by chunk, and warns of those that the vocabulary cannot read; the caller commits.

    Args:
        indexer: of the index.
        documents: any iterable, read once.
        replace: whether they take the place of documents with the same ids.
        total: how many there are, when known.
        title: what the progress is called.
        show_progress: whether it is shown on stderr.
        documents_per_chunk: documents that are encoded before the next are read.

    Returns:
        How many documents were taken, and how many of these replaced another.
    """
    taken = replaced = 0
    with progress(title, total=total, unit="documents", show=show_progress) as bar:
        for chunk in chunks(documents, documents_per_chunk):
            replaced += indexer.take(chunk, replace=replace)
            taken += len(chunk)
            bar.advance(len(chunk))
    indexer.unread.tell()
    return taken, replaced


def chunks(items: Iterable[T], size: int = TEXTS_PER_CHUNK) -> Iterator[list[T]]:
    """Consecutive lists of ``size`` items; the last may be shorter.

    >>> list(chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    stream = iter(items)
    while chunk := list(islice(stream, size)):
        yield chunk


def only_new(
    documents: Iterable[Document], writer: IndexWriter, skip: Callable[[str], None] | None = None
) -> Iterator[Document]:
    """The documents whose ids an index does not have.

    Args:
        documents: a stream.
        writer: of the index.
        skip: takes a message for each document that the index has already; None: such a document is an error.

    Raises:
        CorpusError: the index has a document of an id already.
    """
    for document in documents:
        if document.id not in writer:
            yield document
        elif skip is not None:
            skip(f"The index has a document '{document.id}' already.")
        else:
            raise CorpusError(
                f"The index has a document '{document.id}' already. Replace it (--replace, Searcher.replace), or pass over "
                "such documents (--skip-bad). Nothing was added."
            )
