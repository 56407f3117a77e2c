"""``Searcher``: documents in, questions in, hits out."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from lexite.config import from_dict
from lexite.corpus.passages import PassageConfig, passages_of
from lexite.corpus.text_fields import FieldWeights, field_weights_of
from lexite.errors import ArgumentError
from lexite.index import BM25Index, check_index_folder
from lexite.index.side_config import SideDataConfig, VectorFormat
from lexite.kernels.threads import ForkSafeLock
from lexite.ranking.hits import Hit
from lexite.scoring.config import BM25Config, scoring_of
from lexite.scoring.words import LiteralConfig, literal_of
from lexite.search.answering import answered, documents_like, encoded_for, scoring_for, texts_of
from lexite.search.building import build, encoder_to_build_with, remove_own, temporary_folder
from lexite.search.indexing import Indexer, index_documents, only_new
from lexite.search.labels import kinds_of, labels_of
from lexite.search.opening import opened_index, queries_and_labels
from lexite.search.queries import (
    ModelQueries,
    QueryEncoder,
    StaticQueries,
    static_queries_of,
)
from lexite.search.results import SearchHit, describe_answer
from lexite.search.sources import Sources, documents_of
from lexite.search.strategy import Backend, Strategy
from lexite.search.tabular import preset_for_documents
from lexite.terms.queries import EncodedQueries
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.corpus import ReadOptions, ReadReport
    from lexite.index import Explanation
    from lexite.index.field_values import Facet
    from lexite.search.sync_plan import SyncReport
    from lexite.terms import LatentTermEncoder
    from lexite.terms.config import Profile


class Searcher:
    """An index with what encodes its queries: ask it text, get hits.

    :meth:`build` makes one from documents, :meth:`open` opens one. Queries and later documents are encoded as the index
    recorded when it was built, so that a question has the same answer from Python, the command line and a server. Searching is
    safe from several threads. Changes (:meth:`add`, :meth:`replace`, :meth:`delete`) wait for each other, and the next search
    sees them. A pickled searcher opens index and vocabulary again where it arrives; a forked process can use the one it has.

    Args:
        index: the opened index, or an engine that holds its documents (:mod:`lexite.engines`).
        queries: what encodes its queries.
        label: words for a latent term; None for those of its vocabulary, where that is on this machine.
        scoring: how to score; None takes what the index says.

    >>> texts = ["Plants make sugar from light.", "The tides follow the moon.", "Bread is baked from flour."]
    >>> with Searcher.build(texts=texts) as searcher:
    ...     hits = searcher.search("how do plants feed themselves")
    ...     hits[0].id, hits[0].passage.text
    ('1', 'Plants make sugar from light.')
    """

    def __init__(
        self,
        index: Backend,
        queries: QueryEncoder,
        label: Callable[[int], str] | None = None,
        scoring: BM25Config | None = None,
    ) -> None:
        self._backend, self.queries = index, queries
        self.label = label or labels_of(index)
        self.scoring = scoring
        self._changing = ForkSafeLock(reentrant=True)
        self._remove_folder: weakref.finalize[..., Any] | None = None
        self._closed = False

    @classmethod
    def build(
        cls,
        sources: Sources | None = None,
        path: str | Path | None = None,
        *,
        texts: Iterable[str] | None = None,
        vocabulary: str | Path | LatentTermEncoder = "default",
        overwrite: bool = False,
        profile: Profile | None = None,
        prefix: int | None = None,
        terms: Mapping[str, Any] | None = None,
        scoring: BM25Config | Mapping[str, Any] | None = None,
        literal: LiteralConfig | bool = True,
        passages: PassageConfig | Literal["auto", "none", "tables"] | int | None = "auto",
        field_weights: FieldWeights | Mapping[str, float] | None = None,
        static: bool = True,
        vectors: VectorFormat | None = None,
        token_codes: bool = False,
        token_k: int | None = None,
        preset: str | None = None,
        store_text: bool = True,
        store_fields: bool | None = None,
        read: ReadOptions | None = None,
        report: ReadReport | None = None,
        show_progress: bool = True,
        **model: Any,
    ) -> Searcher:
        """Builds an index from documents, and opens it.

        Args:
            sources: files and folders (what :func:`lexite.read_documents` takes), or :class:`lexite.Document` objects; one or
                many.
            path: folder of the index; None keeps it in a temporary folder until the searcher is closed.
            texts: plain texts in place of ``sources``; their ids are 1, 2, 3 …
            vocabulary: what ``LatentTermEncoder.from_pretrained`` takes, or an encoder.
            overwrite: replace an index that is there.
            profile: ``"full"`` or ``"small"``: how many terms texts get, in place of what the vocabulary says.
            prefix: use the first latents only, of a nested vocabulary or a ranked one.
            terms: fields of ``TermsConfig`` (``{"k_documents": 4}``), which win over the profile.
            scoring: BM25's numbers: some by name (``{"k1": 1.2}``), or all; default the vocabulary's.
            literal: whether words are indexed beside latent terms, or how.
            passages: how texts of more than 250 words are cut: ``"auto"`` into passages of about 160 words, a number into
                passages of so many, ``"none"`` not at all. Hits are documents in any case.
            field_weights: encode title, headings and body apart, and count them so: ``{"title": 2.0}``; None encodes them
                together. ``docs/fields-of-text.md``.
            static: keep a table that encodes queries without the model, counted from these documents.
            vectors: keep the dense vector of each passage for second stages: ``"int8"`` (a byte for each number), ``"fp16"`` or
                ``"fp32"``; None keeps none.
            token_codes: keep the latents of each token for second stages.
            token_k: most latents to keep of a token; None for 6, or as many as documents are encoded with where that is fewer.
            preset: build for a way of searching, by its name (:data:`lexite.search.presets.PRESETS`). It decides how texts are
                cut, how words count and what is kept for second stages; what is given beside it wins.
            store_text: keep titles and texts, so that hits show them.
            store_fields: keep the fields of documents, to filter and sort by; None keeps them where pyarrow is installed, and
                insists on it where ``read`` names some.
            read: names of fields, and whether bad records are skipped.
            report: filled with counts while documents are read.
            show_progress: show progress on stderr, where that is a terminal.
            **model: how the model runs and reads: ``device``, ``precision``, ``long``, ``query_prompt``, ``document_prompt`` …,
                as for ``LatentTermEncoder.from_pretrained``.

        Raises:
            CorpusError: a document cannot be read, has no text, or an id occurs twice.
            ArgumentError: ``sources`` are of the wrong kind, or both ``sources`` and ``texts`` are given.
            StorageError: the folder holds something else, or cannot be written.
            ModelError, BackboneError: the vocabulary or its model cannot be loaded.
        """
        began = time.time_ns()
        asked = {"vectors": vectors, "token_codes": token_codes, "token_k": token_k}
        side_data = from_dict(SideDataConfig, asked, "side files")
        words, weights = literal_of(literal), field_weights_of(field_weights)
        cutting = passages_of(passages)
        if path is not None:
            check_index_folder(path, overwrite=overwrite)
        documents = documents_of(sources, texts, read, report)
        if preset is not None:
            way, documents = preset_for_documents(preset, documents)
            side_data, words = way.side_data(side_data), way.words_over(words)
            cutting, scoring = passages_of(way.passages_over(passages)), way.recorded_over(scoring)
        encoder = encoder_to_build_with(vocabulary, prefix=prefix, profile=profile, terms=terms, **model)
        with temporary_folder() if path is None else contextlib.nullcontext() as own:
            indexer = Indexer.create(
                str(path) if own is None else own / "index",
                encoder,
                scoring=scoring_of(scoring, encoder.scoring),
                literal=words,
                passages=cutting,
                field_weights=weights,
                side_data=side_data,
                store_text=store_text,
                store_fields=True if store_fields is None and read is not None and read.asks_for_fields else store_fields,
                static=static,
                overwrite=overwrite,
            )
            index = build(indexer, documents, sources, began, show_progress=show_progress)
            searcher = cls(index, ModelQueries(encoder), encoder.label)
        if own is not None:
            searcher._remove_folder = weakref.finalize(searcher, remove_own, own, os.getpid())
        return searcher

    @classmethod
    def open(
        cls,
        path: str | Path | BM25Index | Sequence[str | Path],
        *,
        static: bool = False,
        cascade: bool | Strategy | None = False,
        vocabulary: str | Path | LatentTermEncoder | None = None,
        scoring: BM25Config | Mapping[str, Any] | None = None,
        **model: Any,
    ) -> Searcher:
        """Opens an index.

        Args:
            path: its folder, or the opened index; or the folders of several, which are searched as one: scores are those of
                one index of all documents, but none of them can be changed through the searcher.
            static: encode queries with the static table of the index: neither torch nor transformers is loaded.
            cascade: likewise, but queries whose static ranking is unsure are encoded by the model, which is loaded for the
                first of them: True, or a :class:`lexite.search.strategies.Cascade` with other settings.
            vocabulary: where the index's vocabulary is now, or an encoder of it; None looks where it was at the build.
            scoring: BM25's numbers for all searches: some by name, or all; default what the index says.
            **model: how the model runs: ``device``, ``precision``, ``trust_remote_code``; and ``query_prompt``, where that is
                meant to be other than the index recorded.

        Raises:
            IndexFormatError: there is no index, it is damaged, or ``vocabulary`` is another one.
            ArgumentError: options of the model, or ``cascade``, beside ``static``.
            ModelError, BackboneError: the vocabulary or its model cannot be loaded.
        """
        index = opened_index(path)
        chosen = None if scoring is None else scoring_of(scoring, index.scoring)
        queries, label = queries_and_labels(index, static, vocabulary, model, cascade)
        return cls(index, queries, label, chosen)

    @property
    def backend(self) -> Backend:
        """The index as it was last opened, or the engine.

        Raises:
            ArgumentError: the searcher is closed.
        """
        if self._closed:
            raise ArgumentError("This searcher is closed. Open it again with Searcher.open.")
        return self._backend

    @property
    def index(self) -> BM25Index:
        """The index as it was last opened.

        Raises:
            ArgumentError: the searcher is closed, or asks an engine.
        """
        backend = self.backend
        if not isinstance(backend, BM25Index):
            raise ArgumentError(f"This searcher asks {type(backend).__name__}, which is no index. Its backend is the engine.")
        return backend

    @property
    def path(self) -> Path | None:
        """Folder of the index; None for one in memory, and for an engine."""
        return getattr(self._backend, "path", None)

    def __repr__(self) -> str:
        place = repr(str(self.path)) if self.path else type(self._backend).__name__
        if self._closed:
            return f"Searcher({place}, closed)"
        backend = self._backend
        words = " and words" if backend.literal is not None else ""
        return (
            f"Searcher({place}, {counted(backend.n_documents)}, {backend.vocabulary.name}{words}, {self.queries.kind} queries)"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        backend, queries = self.backend, self.queries
        if isinstance(backend, BM25Index) and isinstance(queries, StaticQueries) and queries.table is backend.static():
            return Searcher._static, (backend, self.label, self.scoring)
        return Searcher, (backend, queries, self.label, self.scoring)

    @classmethod
    def _static(cls, index: BM25Index, label: Callable[[int], str], scoring: BM25Config | None) -> Searcher:
        """The searcher of an index that encodes queries with its own table."""
        return cls(index, static_queries_of(index), label, scoring)

    def __len__(self) -> int:
        return self.backend.n_documents

    def __contains__(self, identifier: str) -> bool:
        return self.backend.get(identifier) is not None

    def encode(
        self, queries: str | Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None
    ) -> EncodedQueries:
        """Encodes queries as the index recorded.

        Args:
            queries: text, or several.
            k_queries: latents kept per token, where that is meant to be other than recorded.
            floor_queries: the share of a query's heaviest term below which terms are dropped; likewise.
        """
        return self.queries.encode(texts_of(queries), k_queries=k_queries, floor_queries=floor_queries)

    @overload
    def search(self, queries: str, top_k: int = 10, **options: Any) -> list[SearchHit]: ...

    @overload
    def search(self, queries: Sequence[str] | EncodedQueries, top_k: int = 10, **options: Any) -> list[list[SearchHit]]: ...

    def search(
        self,
        queries: str | Sequence[str] | EncodedQueries,
        top_k: int = 10,
        *,
        passages: bool = True,
        passages_per_hit: int = 0,
        **options: Any,
    ) -> list[SearchHit] | list[list[SearchHit]]:
        """The best documents, with title, passage and matched terms.

        Args:
            queries: text, a list of texts, or what :meth:`encode` gave.
            top_k: hits for each query.
            passages: look for the snippet of each document that holds most of its score; else the beginning of its best
                passage is shown.
            passages_per_hit: whole passages that match to add to each hit (:attr:`SearchHit.passages`), the best first.
            **options: as for :meth:`rank`.

        Returns:
            Hits for a text; a list of them for each of several.

        Raises:
            ArgumentError, IndexFormatError: as :meth:`rank`.
        """
        answer = answered(self.backend, self.queries, self.label, self.scoring, queries, top_k, **options)
        found = describe_answer(answer, self.label, self.queries, passages, passages_per_hit)
        return found[0] if isinstance(queries, str) else found

    def more_like(
        self, ids: Sequence[str] | str, top_k: int = 10, *, passages: bool = True, passages_per_hit: int = 0, **options: Any
    ) -> list[SearchHit]:
        """The documents that are most like one or several others, which are left out themselves.

        They are asked for by the terms in which those documents are strongest, latents and words
        (:mod:`lexite.search.expansion`). Neither a model nor a query is needed.

        Args:
            ids: of the documents, or of the one.
            top_k: how many hits.
            passages: as for :meth:`search`.
            passages_per_hit: likewise.
            **options: as for :meth:`rank`; ``disliked`` names documents that hits should not be like.

        Raises:
            CorpusError: the index has no document of an id.
            ArgumentError: no document is named, or the engine does not show the terms of documents.
        """
        answer = documents_like(self.backend, self.queries, self.label, self.scoring, ids, top_k, **options)
        return describe_answer(answer, self.label, self.queries, passages, passages_per_hit)[0]

    def expanded(self, queries: str | Sequence[str] | EncodedQueries, **options: Any) -> EncodedQueries:
        """The queries as they are asked in the end, when feedback and strategies (``then``) have changed them.

        They can be searched, explained, saved (:func:`lexite.search.term_files.write_term_queries`) and edited.

        Args:
            queries: text, a list of texts, or what :meth:`encode` gave.
            **options: as for :meth:`rank`.
        """
        return answered(self.backend, self.queries, self.label, self.scoring, queries, 10, **options).queries

    def rank(self, queries: str | Sequence[str] | EncodedQueries, top_k: int = 10, **options: Any) -> list[list[Hit]]:
        """The best documents alone: ids, scores, ranks. It is faster than :meth:`search`, which reads and explains them.

        Args:
            queries: text, a list of texts, or what :meth:`encode` gave.
            top_k: hits for each query.
            **options: ``scoring`` (BM25's numbers, some by name or all), ``exclude``, ``among`` and ``approximate``, as for
                ``BM25Index.search``; ``k_queries`` and ``floor_queries``, as for :meth:`encode`; ``then``, a list of
                strategies (:mod:`lexite.search.strategy`) that are called one after the other, or ``preset``, the name of one
                of :data:`lexite.search.presets.PRESETS`; ``where``, ``sort``,
                ``min_score`` and ``min_coverage``, as for ``BM25Index.search``, which decide what strategies see; ``offset``,
                how many hits are passed over: the second page of ten has offset 10; ``operators``, whether
                ``+word``, ``-word`` and ``"a phrase"`` in texts say what a hit must and must not have
                (:mod:`lexite.search.operators`): no unless told so, for texts of programs mean what they say; ``liked`` and
                ``disliked``, ids of documents whose terms are mixed into the queries or taken out of them.

        Returns:
            For each query its hits, best first.

        Raises:
            ArgumentError: an option that there is not, or queries that are no text.
            IndexFormatError: encoded queries of another vocabulary, or encoded in another way than recorded and without texts.
            QueryError: operators that the index cannot answer.
        """
        answer = answered(self.backend, self.queries, self.label, self.scoring, queries, top_k, **options)
        return [list(hits) for hits in answer.rankings]

    def explain(
        self, query: str | EncodedQueries, document: str, *, scoring: BM25Config | Mapping[str, Any] | None = None
    ) -> Explanation:
        """Why a document has its score: every number of BM25, by name, with labels. It prints as a tree.

        Args:
            query: text, or one encoded query.
            document: its id.
            scoring: as for :meth:`search`.

        Raises:
            CorpusError: the index has no such document.
        """
        index = self.backend
        if not isinstance(document, str):
            raise ArgumentError(f"A document is named by its id, which is text, not by a {type(document).__name__}.")
        encoded, chosen = encoded_for(index, self.queries, query), scoring_for(index, self.scoring, scoring)
        return index.explain(encoded, document, scoring=chosen).folded(kinds_of(self.label)).labelled(self.label)

    def facets(self, fields: str | Sequence[str], **options: Any) -> list[Facet]:
        """How often the values of fields occur among documents; see :meth:`BM25Index.facets`.

        Args:
            fields: names of fields, or one name.
            **options: ``where``, ``among`` and ``n_values``.
        """
        return self.index.facets(fields, **options)

    def add(self, sources: Sources | None = None, *, texts: Iterable[str] | None = None, **options: Any) -> int:
        """Adds documents; all of them, or none.

        Args:
            sources: as for :meth:`build`.
            texts: likewise.
            **options: ``read``, ``report`` and ``show_progress``, as for :meth:`build`; ``wait``, the seconds to wait
                for another writer.

        Returns:
            How many were added.

        Raises:
            CorpusError: a document cannot be read, or the index has one of the same id.
            ArgumentError: the searcher was opened with ``static``, and so has no model.
            StorageError: the index cannot be written, or another writer changes it.
        """
        return self._take(sources, texts, replace=False, **options)

    def replace(self, sources: Sources | None = None, *, texts: Iterable[str] | None = None, **options: Any) -> int:
        """Adds documents that take the place of those with the same ids; as :meth:`add`."""
        return self._take(sources, texts, replace=True, **options)

    def sync(
        self,
        sources: Sequence[str | Path] | str | Path,
        *,
        read: ReadOptions | None = None,
        dry_run: bool = False,
        wait: float = 0.0,
        show_progress: bool = True,
    ) -> SyncReport:
        """Brings the index in step with files: new ones are added, changed ones replaced, vanished ones deleted.

        Documents of other sources stay. Every 30 seconds what was done so far is committed.

        Args:
            sources: files, folders and patterns.
            read: how files are read.
            dry_run: only count; nothing is changed.
            wait: seconds to wait for another writer.
            show_progress: show progress on stderr, where that is a terminal.

        Raises:
            CorpusError: a source does not exist, or a record of a table is bad.
            ArgumentError: the searcher was opened with ``static``, and so has no model.
            StorageError: the index cannot be written, or another writer changes it.
        """
        from lexite.search.syncing import sync_index

        def encoder() -> LatentTermEncoder:
            return self._model_queries().of_newer(BM25Index.open(self._folder())).encoder

        self._model_queries()
        with self._changing:
            done = sync_index(
                self._folder(), sources, encoder, read=read, dry_run=dry_run, wait=wait, show_progress=show_progress
            )
            self.refresh()
        return done

    def delete(self, ids: Iterable[str] | str, *, missing_ok: bool = False, wait: float = 0.0) -> int:
        """Deletes documents; all of them, or none.

        Args:
            ids: their ids, or one id.
            missing_ok: whether ids that the index does not have are passed over.
            wait: seconds to wait for another writer.

        Returns:
            How many were deleted.

        Raises:
            CorpusError: the index has no such document.
            StorageError: the index cannot be written, or another writer changes it.
        """
        with self._changing, BM25Index.writer(self._folder(), wait=wait) as writer:
            deleted = writer.delete(ids, missing_ok=missing_ok)
            writer.commit()
            self.refresh()
        return deleted

    def refresh(self) -> bool:
        """Opens the newest commit of the index, which another process may have made.

        Returns:
            Whether there was a newer one.
        """
        with self._changing:
            newest = self.index.newest()
            changed = newest.generation != self.index.generation
            if changed:
                self.queries = self.queries.of_newer(newest)
                self._backend = newest
        return changed

    def close(self) -> None:
        """Lets the index go, and removes it when it was built without a path. Calling it again does nothing."""
        with self._changing:
            self._closed = True
            if self._remove_folder is not None:
                self._remove_folder()

    def __enter__(self) -> Searcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _model_queries(self) -> ModelQueries:
        """What encodes documents too."""
        if not isinstance(self.queries, ModelQueries):
            raise ArgumentError("Documents are encoded by the model, which a static searcher has not. Open it without static.")
        return self.queries

    def _folder(self) -> Path:
        folder: Path | None = getattr(self.backend, "path", None)
        if folder is None:
            raise ArgumentError(
                "Only an index in a folder is changed through a searcher. Build one with Searcher.build; an engine has add and "
                "delete of its own."
            )
        return folder

    def _take(
        self,
        sources: Sources | None,
        texts: Iterable[str] | None,
        *,
        replace: bool,
        read: ReadOptions | None = None,
        report: ReadReport | None = None,
        show_progress: bool = True,
        wait: float = 0.0,
    ) -> int:
        self._model_queries()
        if replace and texts is not None:
            raise ArgumentError("Texts have no ids, so they can replace nothing. Give documents: [Document(id, text)].")
        fingerprint = self.queries.fingerprint
        with self._changing, BM25Index.writer(self._folder(), vocabulary=fingerprint, wait=wait) as writer:
            self.refresh()  # what is written now follows what is recorded now
            types = self.index.fields
            documents = documents_of(sources, texts, read, report, taken=writer, held=writer.n_documents, field_types=types)
            indexer = Indexer.change(writer, self._model_queries().encoder)
            new = documents if replace else only_new(documents, writer)
            taken, _ = index_documents(indexer, new, replace=replace, show_progress=show_progress)
            indexer.commit()
            self.refresh()
        return taken
