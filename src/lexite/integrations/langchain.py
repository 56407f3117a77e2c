"""lexite in LangChain: a retriever over an index, and a vector store whose vectors are latent terms."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError, MissingExtraError
from lexite.index.conditions import Condition
from lexite.integrations.shared.conditions import Conditions
from lexite.integrations.shared.documents import Content, FoundDocument, KeptDocuments, Translate, unique
from lexite.integrations.shared.metadata import fields_of, shown_metadata
from lexite.integrations.shared.mongo import condition_of
from lexite.search import Searcher

try:
    from langchain_core.callbacks import CallbackManagerForRetrieverRun
    from langchain_core.documents import Document as LangChainDocument
    from langchain_core.embeddings import Embeddings
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.vectorstores import VectorStore
    from pydantic import ConfigDict, Field
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith(("langchain_core", "pydantic")):
        raise
    raise MissingExtraError("langchain-core", "langchain", "A retriever for LangChain") from error

if TYPE_CHECKING:
    from lexite.index import StoredDocument


class LexiteRetriever(BaseRetriever):
    """A retriever over an index of lexite, or over an engine that a searcher asks.

        retriever = LexiteRetriever(searcher=Searcher.open("notes.lexite"), k=4, options={"where": "year >= 2020"})
        retriever.invoke("how do plants breathe")

    Each document has its id, its stored text, and as metadata its fields, its title where it has one, and ``score``. What is
    given to ``invoke`` beside the query wins: ``k``, ``filter``, ``content``, and options of a search.

    Attributes:
        searcher: what is asked. Its index may change between questions.
        k: documents for a question, at most.
        filter: which documents may be found (:class:`LexiteVectorStore`).
        content: ``"text"`` hands on whole texts, ``"passage"`` the best passage of each document.
        options: of each search, as for :meth:`lexite.Searcher.search`: ``then``, ``preset``, ``scoring``, ``min_coverage`` …
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    searcher: Any
    k: int = 4
    filter: Any = None
    content: Content = "text"
    options: dict[str, Any] = Field(default_factory=dict)

    def model_post_init(self, context: Any, /) -> None:
        """Refuses what is no searcher. Pydantic calls it."""
        if not isinstance(self.searcher, Searcher):
            raise ArgumentError(
                f"The retriever asks a Searcher, not a {type(self.searcher).__name__}. Searcher.open gives one."
            )

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[LangChainDocument]:
        chosen = {"k": self.k, "filter": self.filter, "content": self.content, **self.options, **kwargs}
        found = _searched(KeptDocuments(self.searcher), query, **chosen)
        return [_shown(each, score=True) for each in found]


class LexiteVectorStore(VectorStore):
    """A vector store of LangChain whose documents lie in an index of lexite. It needs no embeddings.

        store = LexiteVectorStore("notes.lexite")
        store.add_documents([Document(page_content="Plants make sugar from light.", metadata={"year": 2020})])
        store.similarity_search("food of plants", k=2, filter={"year": {"$gte": 2019}})

    Metadata are stored and given back; those that a field can hold can be filtered by. A document without an id gets one, and
    one whose id is there replaces it. Scores are BM25's, relevance scores are :attr:`lexite.search.SearchHit.coverage`.

    A filter is a dictionary (``{"lang": "en", "year": {"$gte": 2020}}``, with ``$and``, ``$or``, ``$not`` and the operators of
    :mod:`lexite.integrations.shared.mongo`), an expression as in SQL's WHERE (``"year >= 2020"``), or a tree of
    :mod:`lexite.index.conditions`.

    Args:
        source: a searcher; the folder of an index, which is made when it is not there; None for a temporary folder, until
            :meth:`close`.
        static: search with the static table, without a model; documents can then be deleted, not added.
        options: of each search, as for :meth:`lexite.Searcher.search`: ``then``, ``preset`` …
        **build: options of :meth:`lexite.Searcher.build`, such as ``vocabulary``, for an index that is made.

    Raises:
        ArgumentError, ConfigError: ``source`` is something else, or an option can have no effect.
        IndexFormatError: the folder holds an index that is damaged, or something else.
    """

    def __init__(
        self,
        source: Searcher | str | Path | None = None,
        *,
        static: bool = False,
        options: Mapping[str, Any] | None = None,
        **build: Any,
    ) -> None:
        self.documents = KeptDocuments(source, static=static, **build)
        self.options = dict(options or {})

    @property
    def searcher(self) -> Searcher | None:
        """The searcher; None while there are neither documents nor an index."""
        return self.documents.searcher

    def __len__(self) -> int:
        return len(self.documents)

    def __bool__(self) -> bool:
        return True

    def add_documents(self, documents: Sequence[LangChainDocument], **kwargs: Any) -> list[str]:
        """Adds documents, all of them or none. Those whose ids are there are replaced.

        Args:
            documents: with their metadata. They are not changed.
            **kwargs: ``ids``, in place of those of the documents; None among them asks for a new one.

        Returns:
            The ids, in order.

        Raises:
            ConfigError: there are not as many ids as documents, or other options.
            CorpusError: a document has no text, or metadata that cannot be kept.
        """
        given = kwargs.pop("ids", None)
        if kwargs:
            raise ConfigError(f"Adding documents has no option '{next(iter(kwargs))}'. It has ids.")
        ids = [each.id for each in documents] if given is None else list(given)
        if len(ids) != len(documents):
            raise ConfigError(f"There are {len(ids)} ids for {len(documents)} documents. Give one for each.")
        named = [str(uuid.uuid4()) if each is None else each for each in ids]
        new = [
            Document(name, each.page_content, fields=fields_of(each.metadata, name))
            for name, each in zip(named, documents, strict=True)
        ]
        self.documents.put(unique(new))
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Deletes documents: those with some ids, those that pass a ``filter``, or all where neither is given.

        Raises:
            ConfigError: both are given, or another option.
        """
        where = kwargs.pop("filter", None)
        if kwargs:
            raise ConfigError(f"Deleting documents has no option '{next(iter(kwargs))}'. It has ids and filter.")
        if ids is not None and where is not None:
            raise ConfigError("Documents are deleted by their ids or by a filter. Leave one of them out.")
        if ids is not None:
            self.documents.delete(ids)
        else:
            self.documents.delete_where(_where(where))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[LangChainDocument]:
        """The documents with some ids; those that are not there are passed over."""
        return [_as_langchain(stored, stored.text) for stored in self.documents.get(ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[LangChainDocument]:
        """The best documents.

        Args:
            query: its text.
            k: how many at most. A document that shares no term with the query is not found.
            **kwargs: ``filter``, ``content`` (``"text"`` or ``"passage"``), and options of :meth:`lexite.Searcher.search`.
        """
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[LangChainDocument, float]]:
        """The best documents with their scores; a greater one is better. Arguments are those of :meth:`similarity_search`."""
        found = _searched(self.documents, query, k=k, **{**self.options, **kwargs})
        return [(_shown(each), each.score) for each in found]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[LangChainDocument, float]]:
        found = _searched(self.documents, query, k=k, **{**self.options, **kwargs})
        return [(_shown(each), min(1.0, each.coverage)) for each in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[LangChainDocument, float]]:
        from langchain_core.runnables.config import run_in_executor

        search = self._similarity_search_with_relevance_scores
        found: list[tuple[LangChainDocument, float]] = await run_in_executor(None, search, query, k, **kwargs)
        return found

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> LexiteVectorStore:
        """A store of texts.

        Args:
            texts: the texts.
            embedding: None. Documents become latent terms, so embeddings could have no effect.
            metadatas: of each text.
            ids: of each text; new ones where they are None.
            **kwargs: ``source``, and what else the class takes.

        Raises:
            ConfigError: there are embeddings.
        """
        _refuse_embeddings(embedding)
        store = cls(**kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    def from_documents(
        cls, documents: list[LangChainDocument], embedding: Embeddings | None = None, **kwargs: Any
    ) -> LexiteVectorStore:
        """A store of documents; arguments are those of :meth:`from_texts`."""
        _refuse_embeddings(embedding)
        ids = kwargs.pop("ids", None)
        store = cls(**kwargs)
        store.add_documents(documents, **({} if ids is None else {"ids": ids}))
        return store

    def close(self) -> None:
        """Lets the index go, and removes it when it was built without a folder of its own."""
        self.documents.close()


def _searched(documents: KeptDocuments, query: str, *, k: int, filter: Any = None, **options: Any) -> list[FoundDocument]:
    if filter is not None and options.get("where") is not None:
        raise ConfigError("filter and where both say which documents may be found. Leave one of them out.")
    where = options.pop("where", None) if filter is None else _where(filter)
    return documents.search(query, k, where=where, **options)


def _where(given: Any) -> str | Condition | Translate | None:
    """A filter as an index or :class:`KeptDocuments` takes it."""
    if given is None or isinstance(given, (str, Condition)):
        return given
    if isinstance(given, Mapping):
        return functools.partial(_translated, given)
    raise ArgumentError(
        f'A filter is a dictionary such as {{"year": {{"$gte": 2020}}}}, an expression such as "year >= 2020", or a condition, '
        f"not a {type(given).__name__}."
    )


def _translated(given: Mapping[str, Any], make: Conditions) -> Condition:
    return condition_of(given, make)


def _refuse_embeddings(embedding: Embeddings | None) -> None:
    if embedding is not None:
        raise ConfigError(
            "Documents become latent terms by the vocabulary, so embeddings can have no effect. Give embedding=None, and "
            "vocabulary=... for a vocabulary other than the default."
        )


def _shown(found: FoundDocument, *, score: bool = False) -> LangChainDocument:
    shown = _as_langchain(found.stored, found.content)
    if score:
        shown.metadata.setdefault("score", found.score)
    return shown


def _as_langchain(stored: StoredDocument, content: str) -> LangChainDocument:
    metadata, _ = shown_metadata(stored)
    return LangChainDocument(id=stored.id, page_content=content, metadata=metadata)
