"""BM25 over latent terms as a search model of mteb, so that ``mteb.evaluate`` ranks as ``lexite search`` does.

mteb hands the corpus of a task to ``index`` and its queries to ``search`` (its ``SearchProtocol``). Nothing here needs mteb
until a model is made, but for types.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.corpus.passages import PassageConfig, passages_of
from lexite.corpus.records import Document
from lexite.errors import ConfigError, CorpusError, MissingExtraError
from lexite.files import storage_errors
from lexite.integrations.mteb_meta import changed_settings, model_meta
from lexite.progress import progress
from lexite.ranking.rankings import strictly_decreasing
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.words import LiteralConfig, literal_of
from lexite.search import Searcher
from lexite.search.indexing import Indexer, chunks, index_documents
from lexite.search.queries import configured_encoder
from lexite.terms.config import Profile
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.static_counts import counter_for

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta
    from mteb.types import CorpusDatasetType, EncodeKwargs, QueryDatasetType, RetrievalOutputType, TopRankedDocumentsType

HITS_AT_ONCE = 1 << 19
"""Hits of all queries that are held together: queries are searched in groups of so many."""


class BM25SearchModel:
    """A vocabulary as a search model of mteb: BM25 over latent terms, and over literal words beside them.

    ``index`` encodes the corpus chunk by chunk into an index in a temporary folder, as ``lexite index`` makes it; ``search``
    searches it. The folder is removed by the next ``index``, by :meth:`close`, by an error, when the model is no longer used,
    and when the program ends. Ranks, ties included, are those of ``lexite search``: the later of two equal documents gets the
    next smaller score in single precision, so that mteb cannot reorder them.

    A document that shares no term with a query is no hit. Where a task gives candidates (reranking), these alone are ranked;
    the statistics of BM25 still come from the whole corpus.

    Args:
        encoder: the vocabulary: an encoder, which is not changed, or what ``LatentTermEncoder.from_pretrained`` takes.
        scoring: BM25's numbers in place of the vocabulary's: some by name (``{"k1": 1.2, "b": 0.4}``), or all of them.
        profile: how many terms texts get, as ``lexite index --profile``; None: as the vocabulary says.
        literal: whether literal words are indexed and searched too, or how.
        passages: how long texts are cut, as by :meth:`lexite.Searcher.build`.
        static_queries: encode queries with a table that is counted from the task's corpus, in place of the model.
        top_k: documents ranked per query at most; None: as many as a task asks for (1,000, as a rule). One more is returned,
            since some tasks drop a document with the id of the query.
        texts_per_chunk: documents that are encoded and handed to the index together.
        meta: fields of mteb's ``ModelMeta`` that replace the automatic ones, such as ``name`` (``owner/name``),
            ``languages`` or ``training_datasets``.

    Raises:
        MissingExtraError: mteb is not installed.
        ConfigError: an option or a field of ``meta`` is not valid, or static queries of a backbone that cannot have any.
        ModelError: the vocabulary cannot be loaded.
    """

    def __init__(
        self,
        encoder: LatentTermEncoder | str | Path = "default",
        *,
        scoring: BM25Config | Mapping[str, Any] | None = None,
        profile: Profile | None = None,
        literal: LiteralConfig | bool = True,
        passages: PassageConfig | Literal["auto", "none", "tables"] | int | None = "auto",
        static_queries: bool = False,
        top_k: int | None = None,
        texts_per_chunk: int = TEXTS_PER_CHUNK,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        _check_mteb()
        if top_k is not None and top_k < 1:
            raise ConfigError(f"top_k is {top_k}, but must be at least 1.")
        if texts_per_chunk < 1:
            raise ConfigError(f"texts_per_chunk is {texts_per_chunk}, but must be at least 1.")
        given = encoder if isinstance(encoder, LatentTermEncoder) else LatentTermEncoder.from_pretrained(encoder)
        given = given.replaced(scoring=scoring_of(scoring, given.scoring))
        self.encoder = configured_encoder(given, profile=profile)
        self.literal, self.passages = literal_of(literal), passages_of(passages)
        self.static_queries, self.top_k, self.texts_per_chunk = static_queries, top_k, texts_per_chunk
        if static_queries and counter_for(given.backbone, given.n_latents) is None:
            raise ConfigError(
                f"{given.backbone.name} has no tokenizer that can be carried along, so it can have no static queries."
            )
        whole = None if self.passages == PassageConfig() else self.passages or "none"
        cut = whole.words if isinstance(whole, PassageConfig) else whole
        options = {"static_queries": static_queries or None, "top_k": top_k, "passages": cut}
        settings = {**changed_settings(self.encoder, self.literal), **{k: v for k, v in options.items() if v is not None}}
        self._meta = model_meta(self.encoder, settings, meta or {})
        self._searcher: Searcher | None = None
        self._remove_folder: weakref.finalize[..., BM25SearchModel] | None = None

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """The model's record, under which mteb keeps results and from which it makes tables."""
        return self._meta

    def index(
        self,
        corpus: CorpusDatasetType,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        encode_kwargs: EncodeKwargs,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Indexes the corpus of a task, in place of the one before. mteb calls it.

        Args:
            corpus: rows with ``id``, ``text`` and, where there are any, ``title``.
            task_metadata: of the task; its name is shown beside the progress.
            hf_split: not used.
            hf_subset: not used.
            encode_kwargs: ``show_progress_bar`` is followed. ``batch_size`` is not, since lexite makes batches by their tokens
                (``BackboneConfig.tokens_per_batch``).
            num_proc: not used: rows are read while others are encoded.
            **kwargs: not used.

        Raises:
            CorpusError: the corpus has no text, or an id twice.
            ConfigError: ``encode_kwargs`` ask for quantised embeddings, of which there are none.
            StorageError: the folder for temporary files (TMPDIR) has no room.
        """
        self.close()
        show = _shows_progress(encode_kwargs)
        with storage_errors(tempfile.gettempdir()):
            folder = tempfile.mkdtemp(prefix="lexite-mteb-")
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        try:
            self._build(Path(folder) / "index", corpus, task_metadata.name, show)
        except BaseException:
            self.close()
            raise

    def search(
        self,
        queries: QueryDatasetType,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        encode_kwargs: EncodeKwargs,
        top_ranked: TopRankedDocumentsType | None = None,
        num_proc: int | None = None,
        **kwargs: Any,
    ) -> RetrievalOutputType:
        """Ranks the indexed documents for the queries of a task. mteb calls it.

        Args:
            queries: rows with ``id``, ``text`` and, where there is one, ``instruction``; see :func:`query_text`.
            task_metadata: of the task.
            hf_split: not used.
            hf_subset: not used.
            top_k: documents per query at most.
            encode_kwargs: as for :meth:`index`.
            top_ranked: for each query the documents to rank; a query that is not there gets none. None: all documents.
            num_proc: not used.
            **kwargs: not used.

        Returns:
            For each query the ids of its hits with their scores, best first; scores fall strictly.

        Raises:
            ConfigError: nothing is indexed, or ``encode_kwargs`` are as said in :meth:`index`.
            CorpusError: a query is no text, or a document to rank is not in the corpus.
        """
        if self._searcher is None:
            raise ConfigError("Nothing is indexed. Call index before search, and search before close.")
        try:
            show = _shows_progress(encode_kwargs)
            rows = list(_columns(queries, ("id", "text", "instruction")))
            identifiers, texts = [str(row["id"]) for row in rows], [query_text(row) for row in rows]
            most = top_k if self.top_k is None else min(top_k, self.top_k + 1)
            candidates = None if top_ranked is None else [list(top_ranked.get(query, ())) for query in identifiers]
            ranked = _rank(self._searcher, texts, most, candidates, show)
            return dict(zip(identifiers, ranked, strict=True))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Removes the index and its folder. The model can be used again, from ``index`` on."""
        self._searcher = None  # its files are mapped
        if self._remove_folder is not None:
            self._remove_folder()
            self._remove_folder = None

    def __enter__(self) -> BM25SearchModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _build(self, path: Path, corpus: CorpusDatasetType, name: str, show: bool) -> None:
        indexer = Indexer.create(
            path,
            self.encoder,
            literal=self.literal,
            passages=self.passages,
            store_text=False,
            static=self.static_queries,
        )
        with indexer:
            index_documents(
                indexer,
                _documents(corpus),
                total=len(corpus),
                title=f"{name}: latent terms",
                show_progress=show,
                documents_per_chunk=self.texts_per_chunk,
            )
            indexer.commit()
        self._searcher = Searcher.open(path, static=self.static_queries, vocabulary=self.encoder)


def query_text(row: Mapping[str, Any]) -> str:
    """The text of a query as mteb gives it to every model.

    Args:
        row: a row of a task's queries. ``text`` is a text, or a conversation: a list of messages, each a text or a mapping with
            ``role`` and ``content``. ``instruction``, where there is one, follows a text and precedes a conversation.

    Raises:
        CorpusError: it is neither.

    >>> query_text({"text": "capital of Peru", "instruction": "Documents in Spanish only."})
    'capital of Peru Documents in Spanish only.'
    >>> query_text({"text": [{"role": "user", "content": "Peru?"}, {"role": "user", "content": "Its capital."}]})
    'user: Peru?; user: Its capital.'
    """
    text, instruction = row.get("text"), row.get("instruction")
    if isinstance(text, str):
        return text if instruction is None else f"{text} {instruction}"
    try:
        said = "; ".join(turn if isinstance(turn, str) else f"{turn['role']}: {turn['content']}" for turn in text or ())
    except (TypeError, KeyError):
        said = ""
    if not said:
        raise CorpusError(f"The query '{row.get('id')}' has no text. lexite reads text only; leave this task out.")
    return said if instruction is None else f"{instruction} {said}"


def _check_mteb() -> None:
    try:
        import mteb  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "mteb":  # something that mteb needs
            raise
        raise MissingExtraError("mteb", "mteb", "An evaluation with mteb") from error


def _shows_progress(encode_kwargs: Mapping[str, Any]) -> bool:
    precision = encode_kwargs.get("precision")
    if precision not in (None, "float32"):
        raise ConfigError(f"encode_kwargs ask for embeddings in {precision}, but BM25 has no embeddings. Leave precision out.")
    return bool(encode_kwargs.get("show_progress_bar", True))


def _columns(rows: QueryDatasetType, names: Sequence[str]) -> QueryDatasetType:
    """The columns of these names that there are. Others, such as images, are not decoded."""
    return rows.select_columns([name for name in names if name in rows.column_names])


def _documents(corpus: CorpusDatasetType) -> Iterator[Document]:
    """The documents of a corpus."""
    if "text" not in corpus.column_names:
        raise CorpusError("The corpus of this task has no text. lexite reads text only; leave this task out.")
    for row in _columns(corpus, ("id", "text", "title")):
        yield Document(str(row["id"]), row["text"] or "", row.get("title") or "")


def _rank(
    searcher: Searcher, texts: Sequence[str], most: int, candidates: Sequence[Sequence[str]] | None, show: bool
) -> Iterator[dict[str, float]]:
    """The ids and scores of each query's hits, best first."""
    group = max(1, HITS_AT_ONCE // max(min(most, len(searcher)), 1))
    with progress("Searching", total=len(texts), unit="queries", show=show) as bar:
        for part in chunks(range(len(texts)), group):
            low, high = part[0], part[-1] + 1
            among = None if candidates is None else candidates[low:high]
            missing = next((each for ids in among or () for each in ids if each not in searcher.index), None)
            if missing is not None:
                raise CorpusError(f"The document '{missing}' is to be ranked, but it is not in the corpus.")
            for hits in searcher.rank(texts[low:high], most, among=among):
                falling = strictly_decreasing(np.array([hit.score for hit in hits], dtype=np.float32))
                yield {hit.id: score for hit, score in zip(hits, falling.tolist(), strict=True)}
            bar.advance(len(part))
