"""lexite in Haystack: a document store over an index, and a retriever component."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError, MissingExtraError
from lexite.errors import FilterError as LexiteFilterError
from lexite.integrations.shared.documents import Content, FoundDocument, KeptDocuments, Translate
from lexite.integrations.shared.haystack_filters import condition_of
from lexite.integrations.shared.metadata import fields_of, shown_metadata
from lexite.search.strategies import STRATEGIES

try:
    from haystack import Document as HaystackDocument
    from haystack import component, default_from_dict, default_to_dict
    from haystack.document_stores.errors import DuplicateDocumentError
    from haystack.document_stores.types import DuplicatePolicy, FilterPolicy, apply_filter_policy
    from haystack.errors import FilterError
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "haystack":
        raise
    raise MissingExtraError("haystack-ai", "haystack", "A document store for Haystack") from error

if TYPE_CHECKING:
    from lexite.index import StoredDocument
    from lexite.search import Searcher


class LexiteDocumentStore:
    """A document store of Haystack whose documents lie in an index of lexite. It needs no embedder.

        store = LexiteDocumentStore("notes.lexite")
        store.write_documents([Document(content="Plants make sugar from light.", meta={"year": 2020})])
        LexiteRetriever(store, top_k=2).run("food of plants", filters={"field": "meta.year", "operator": ">=", "value": 2019})

    A document must have a text. ``meta`` is stored and given back, and so are embeddings and blobs, which are not searched.
    Filters are Haystack's, over ``id`` and what is in ``meta`` that a field can hold. A key of ``meta`` has one type in all
    documents.

    Args:
        index: a searcher; the folder of an index, which is made when it is not there; None for a temporary folder, until
            :meth:`close`.
        static: search with the static table, without a model; documents can then be deleted, not written.
        build: options of :meth:`lexite.Searcher.build`, such as ``{"vocabulary": "my-vocabulary"}``, for an index that is made.

    Raises:
        ArgumentError, ConfigError: ``index`` is something else, or an option can have no effect.
        IndexFormatError: the folder holds an index that is damaged, or something else.
    """

    def __init__(
        self, index: Searcher | str | Path | None = None, *, static: bool = False, build: Mapping[str, Any] | None = None
    ) -> None:
        self.documents = KeptDocuments(index, static=static, absent_is_null=True, **dict(build or {}))

    @property
    def searcher(self) -> Searcher | None:
        """The searcher; None while there are neither documents nor an index."""
        return self.documents.searcher

    def to_dict(self) -> dict[str, Any]:
        """The store as JSON values: the folder of its index and how it is opened.

        Raises:
            ConfigError: the index lies in no folder of its own, or an option is no JSON value.
        """
        kept = self.documents
        path = kept.path if kept.own or kept.searcher is None else kept.searcher.path
        if path is None and kept.searcher is not None:
            raise ConfigError("The index lies in a temporary folder, which another program cannot open. Give it a folder.")
        wrong = next((name for name, value in kept.build.items() if not isinstance(value, _JSON)), None)
        if wrong is not None:
            raise ConfigError(f"The option '{wrong}' of the store is no JSON value. Give its name or folder in its place.")
        described: dict[str, Any] = default_to_dict(
            self, index=None if path is None else str(path), static=kept.static, build={**kept.build} or None
        )
        return described

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LexiteDocumentStore:
        """A store that :meth:`to_dict` described."""
        store: LexiteDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """How many documents there are."""
        return len(self.documents)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[HaystackDocument]:
        """The documents that pass a filter, in the order in which they came.

        Raises:
            FilterError: Haystack's; the filter is wrong, or compares a field with a value of another type.
        """
        with _HaystackFilters():
            return [_as_haystack(stored, stored.text) for stored in self.documents.select(_where(filters))]

    def write_documents(self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Writes documents, all of them or none.

        Args:
            documents: each with a text.
            policy: what happens to a document whose id is there: ``FAIL``, which ``NONE`` means too, ``SKIP`` or ``OVERWRITE``.

        Returns:
            How many were written.

        Raises:
            DuplicateDocumentError: an id is there, or twice among the documents, and ``policy`` is to fail.
            ArgumentError: they are no documents (it is a ``TypeError``); ValueError as Haystack has it.
            CorpusError: a document has no text, or what cannot be kept.
        """
        if not isinstance(documents, Sequence) or any(not isinstance(each, HaystackDocument) for each in documents):
            raise ValueError("Documents are written as a list of Haystack's Document.")
        with self.documents.changing:
            chosen = {}
            known = {stored.id for stored in self.documents.get([each.id for each in documents])}
            for each in documents:
                there = each.id in known or each.id in chosen
                if there and policy in (DuplicatePolicy.FAIL, DuplicatePolicy.NONE):
                    raise DuplicateDocumentError(f"A document with the id '{each.id}' is there already.")
                if not (there and policy == DuplicatePolicy.SKIP):
                    chosen[each.id] = each
            self.documents.put([_as_lexite(each) for each in chosen.values()])
        return len(chosen)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Deletes documents; ids that are not there are passed over."""
        self.documents.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Deletes all documents."""
        self.documents.delete_where(None)

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Deletes the documents that pass a filter, and returns how many. Errors are those of :meth:`filter_documents`."""
        with _HaystackFilters():
            return self.documents.delete_where(_where(filters))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Sets values in ``meta`` of the documents that pass a filter, which are encoded again; returns how many."""
        with self.documents.changing:
            changed = self.filter_documents(filters)
            new = [dataclasses.replace(each, meta={**each.meta, **meta}) for each in changed]
            self.documents.put([_as_lexite(each) for each in new])
        return len(new)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """How many documents pass a filter. Errors are those of :meth:`filter_documents`."""
        with _HaystackFilters():
            return self.documents.count(_where(filters))

    async def count_documents_async(self) -> int:
        """:meth:`count_documents` in a thread."""
        return await asyncio.to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[HaystackDocument]:
        """:meth:`filter_documents` in a thread."""
        return await asyncio.to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[HaystackDocument], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """:meth:`write_documents` in a thread."""
        return await asyncio.to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """:meth:`delete_documents` in a thread."""
        await asyncio.to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self) -> None:
        """:meth:`delete_all_documents` in a thread."""
        await asyncio.to_thread(self.delete_all_documents)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """:meth:`delete_by_filter` in a thread."""
        return await asyncio.to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """:meth:`update_by_filter` in a thread."""
        return await asyncio.to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """:meth:`count_documents_by_filter` in a thread."""
        return await asyncio.to_thread(self.count_documents_by_filter, filters)

    def search(
        self, query: str, top_k: int, filters: dict[str, Any] | None, content: Content, **options: Any
    ) -> list[HaystackDocument]:
        """The best documents with their scores; options are those of :meth:`lexite.Searcher.search`."""
        with _HaystackFilters():
            found = self.documents.search(query, top_k, where=_where(filters), content=content, **options)
        return [_scored(each) for each in found]

    def close(self) -> None:
        """Lets the index go, and removes it when it was built without a folder of its own."""
        self.documents.close()


@component
class LexiteRetriever:
    """A component that asks a :class:`LexiteDocumentStore`.

    Args:
        document_store: what is asked.
        filters: Haystack's filters.
        top_k: documents for a question, at most.
        filter_policy: whether filters of a question replace ``filters`` or are merged with them.
        content: ``"text"`` hands on whole texts, ``"passage"`` the best passage of each document.
        preset: a preset of searching by its name.
        then: second stages. They are saved with a pipeline when they are lexite's own and their settings are JSON values.
        options: of each search, as for :meth:`lexite.Searcher.search`, as JSON values: ``{"min_coverage": 0.2}``.

    Raises:
        ArgumentError: ``document_store`` is something else.
        ValueError: ``top_k`` is not positive, as Haystack has it.
    """

    def __init__(
        self,
        document_store: LexiteDocumentStore,
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: FilterPolicy | str = FilterPolicy.REPLACE,
        content: Content = "text",
        preset: str | None = None,
        then: Sequence[Any] = (),
        options: dict[str, Any] | None = None,
    ) -> None:
        if not isinstance(document_store, LexiteDocumentStore):
            raise ArgumentError(f"The retriever asks a LexiteDocumentStore, not a {type(document_store).__name__}.")
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}, but must be at least 1.")
        self.document_store, self.filters, self.top_k = document_store, filters, top_k
        self.filter_policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy
        self.content, self.preset, self.options = content, preset, dict(options or {})
        self.then = [_strategy(each) for each in then]

    def to_dict(self) -> dict[str, Any]:
        """The component as JSON values.

        Raises:
            ConfigError: a second stage cannot be saved, or the store cannot.
        """
        then = [_described(each) for each in self.then]
        described: dict[str, Any] = default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            content=self.content,
            preset=self.preset,
            then=then,
            options=self.options,
        )
        return described

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LexiteRetriever:
        """A component that :meth:`to_dict` described."""
        given = dict(data["init_parameters"])
        if isinstance(given["document_store"], dict):
            given["document_store"] = LexiteDocumentStore.from_dict(given["document_store"])
        found: LexiteRetriever = default_from_dict(cls, {**data, "init_parameters": given})
        return found

    @component.output_types(documents=list[HaystackDocument])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """The best documents for a question.

        Args:
            query: its text.
            filters: of this question.
            top_k: documents at most, in place of the component's.

        Raises:
            FilterError: Haystack's, as :meth:`LexiteDocumentStore.filter_documents`.
        """
        chosen = apply_filter_policy(self.filter_policy, self.filters, filters)
        options = {
            **self.options,
            **({"preset": self.preset} if self.preset else {}),
            **({"then": self.then} if self.then else {}),
        }
        most = self.top_k if top_k is None else top_k
        return {"documents": self.document_store.search(query, most, chosen, self.content, **options)}

    @component.output_types(documents=list[HaystackDocument])
    async def run_async(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """:meth:`run` in a thread."""
        return await asyncio.to_thread(self.run, query, filters, top_k)


_JSON = (str, int, float, bool, type(None), list, dict)


class _HaystackFilters:
    """Raises errors of filters as Haystack's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, LexiteFilterError):
            raise FilterError(str(error)) from error


def _where(filters: dict[str, Any] | None) -> Translate | None:
    return functools.partial(condition_of, filters) if filters else None


def _as_lexite(document: HaystackDocument) -> Document:
    given = document.to_dict(flatten=False)
    extra = {name: given[name] for name in ("blob", "embedding", "sparse_embedding") if given.get(name) is not None}
    return Document(document.id, document.content or "", fields=fields_of(document.meta, document.id, extra))


def _as_haystack(stored: StoredDocument, content: str, score: float | None = None) -> HaystackDocument:
    meta, extra = shown_metadata(stored)
    known = {"id": stored.id, "content": content, "meta": meta, "score": score, **extra}
    return HaystackDocument.from_dict(known)


def _scored(found: FoundDocument) -> HaystackDocument:
    return _as_haystack(found.stored, found.content, found.score)


def _strategy(given: Any) -> Any:
    """A second stage, which a saved pipeline has as its name and settings."""
    if not isinstance(given, Mapping):
        return given
    name = given.get("name")
    if not isinstance(name, str) or name not in STRATEGIES:
        raise ConfigError(f"There is no strategy {name!r}. There are {', '.join(STRATEGIES)}.")
    return STRATEGIES[name](**dict(given.get("settings") or {}))


def _described(strategy: Any) -> dict[str, Any]:
    """A second stage as its name and settings."""
    name = STRATEGIES.name_of(type(strategy).__name__)
    if name is None or not dataclasses.is_dataclass(strategy):
        shown = getattr(strategy, "__name__", type(strategy).__name__)
        raise ConfigError(
            f"The second stage {shown} cannot be saved, since it is none of lexite's own: {', '.join(STRATEGIES)}."
        )
    settings = {}
    for field in dataclasses.fields(strategy):
        value = getattr(strategy, field.name)
        if value != field.default:
            settings[field.name] = value
    wrong = next((key for key, value in settings.items() if not isinstance(value, _JSON)), None)
    if wrong is not None:
        raise ConfigError(f"The setting '{wrong}' of {type(strategy).__name__} is no JSON value, so it cannot be saved.")
    return {"name": name, "settings": settings}
