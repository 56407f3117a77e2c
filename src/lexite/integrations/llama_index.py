"""lexite in LlamaIndex: a vector store whose vectors are latent terms, and a retriever."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError, FilterError, MissingExtraError
from lexite.index.conditions import Condition, Negation, Operator
from lexite.integrations.shared.conditions import Conditions, all_of, any_of
from lexite.integrations.shared.documents import Content, FoundDocument, KeptDocuments, Translate, unique
from lexite.integrations.shared.metadata import fields_of, shown_metadata

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.bridge.pydantic import PrivateAttr
    from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
    from llama_index.core.vector_stores.types import (
        BasePydanticVectorStore,
        FilterCondition,
        FilterOperator,
        MetadataFilter,
        MetadataFilters,
        VectorStoreQuery,
        VectorStoreQueryMode,
        VectorStoreQueryResult,
    )
    from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "llama_index":
        raise
    raise MissingExtraError("llama-index-core", "llama-index", "A vector store for LlamaIndex") from error

if TYPE_CHECKING:
    from lexite.index import StoredDocument
    from lexite.search import Searcher

NODE, NODE_TYPE, SOURCE = "_node_content", "_node_type", "ref_doc_id"
_SOURCE_NAMES = ("doc_id", "document_id", SOURCE)
_ORDERS: dict[FilterOperator, Operator] = {
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
}
_TEXT_MODES = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)


class LexiteVectorStore(BasePydanticVectorStore):
    """A vector store of LlamaIndex whose nodes lie in an index of lexite. It needs no embeddings.

        store = LexiteVectorStore("notes.lexite")
        store.add([TextNode(text="Plants make sugar from light.", metadata={"year": 2020})])
        LexiteRetriever(store, similarity_top_k=2).retrieve("food of plants")

    Nodes are stored whole, but for their embeddings, and given back so. Metadata that a field can hold can be filtered by, and
    so can ``ref_doc_id``. A node whose id is there replaces it. Similarities are BM25's scores.

    Args:
        source: a searcher; the folder of an index, which is made when it is not there; None for a temporary folder, until
            :meth:`close`.
        static: search with the static table, without a model; nodes can then be deleted, not added.
        options: of each search, as for :meth:`lexite.Searcher.search`: ``then``, ``preset`` …
        **build: options of :meth:`lexite.Searcher.build`, such as ``vocabulary``, for an index that is made.

    Raises:
        ArgumentError, ConfigError: ``source`` is something else, or an option can have no effect.
        IndexFormatError: the folder holds an index that is damaged, or something else.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    _documents: KeptDocuments = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(
        self,
        source: Searcher | str | Path | None = None,
        *,
        static: bool = False,
        options: Mapping[str, Any] | None = None,
        **build: Any,
    ) -> None:
        super().__init__(stores_text=True, is_embedding_query=False)
        self._documents = KeptDocuments(source, static=static, absent_is_null=True, **build)
        self._options = dict(options or {})

    def __reduce__(self) -> tuple[Any, ...]:  # pydantic's would leave the documents out
        return _store_of, (self._documents, self._options)

    @classmethod
    def class_name(cls) -> str:
        """Name of the class in files of LlamaIndex."""
        return "LexiteVectorStore"

    @property
    def client(self) -> Searcher | None:
        """The searcher; None while there are neither nodes nor an index."""
        return self._documents.searcher

    def __len__(self) -> int:
        return len(self._documents)

    def __bool__(self) -> bool:
        return True

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Adds nodes, all of them or none, and returns their ids.

        Raises:
            CorpusError: a node has no text, or metadata of another type than others.
        """
        self._documents.put(unique([_as_lexite(node) for node in nodes]))
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Deletes the nodes of a document."""
        self._documents.delete_where(lambda make: make.equal(SOURCE, ref_doc_id))

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Deletes nodes: those of some ids that pass filters.

        Raises:
            ConfigError: there are neither ids nor filters; :meth:`clear` deletes all.
        """
        if node_ids is None and filters is None:
            raise ConfigError("Nodes are deleted by their ids, by filters, or both. clear() deletes all.")
        self._documents.delete_where(_where(filters, node_ids))

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """The nodes of some ids that pass filters, in the order in which they came; of neither: all."""
        return [_as_node(stored, stored.text) for stored in self._documents.select(_where(filters, node_ids))]

    def clear(self) -> None:
        """Deletes all nodes."""
        self._documents.delete_where(None)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The best nodes for the text of a query.

        Args:
            query: with ``query_str``, and filters, ids of nodes or ids of documents.
            **kwargs: ``content`` (``"text"`` or ``"passage"``), and options of :meth:`lexite.Searcher.search`.

        Raises:
            ConfigError: the query has a mode that needs embeddings.
            ArgumentError: it has no text.
        """
        if query.mode not in _TEXT_MODES:
            raise ConfigError(
                f"The mode '{query.mode.value}' needs embeddings, and this store has none. Leave it out. For dense scores "
                "beside latent terms: options={'then': [Hybrid()]}."
            )
        if query.query_str is None:
            raise ArgumentError("The query has no text, but only a text can be searched for. Give query_str.")
        where = _where(query.filters, query.node_ids or None, query.doc_ids or None)  # of an index: empty
        found = self._documents.search(query.query_str, query.similarity_top_k, where=where, **{**self._options, **kwargs})
        nodes = [_as_node(each.stored, each.content) for each in found]
        return VectorStoreQueryResult(nodes, [each.score for each in found], [each.stored.id for each in found])

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """:meth:`add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """:meth:`delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """:meth:`delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aget_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """:meth:`get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """:meth:`clear` in a thread."""
        await asyncio.to_thread(self.clear)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """:meth:`query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def search(self, query: str, top_k: int, filters: MetadataFilters | None, **options: Any) -> list[FoundDocument]:
        """The best documents; options are those of :meth:`query`."""
        return self._documents.search(query, top_k, where=_where(filters), **{**self._options, **options})

    def close(self) -> None:
        """Lets the index go, and removes it when it was built without a folder of its own."""
        self._documents.close()


class LexiteRetriever(BaseRetriever):
    """A retriever of LlamaIndex over a :class:`LexiteVectorStore`, or over any index of lexite.

    Args:
        source: the store; or a searcher, or the folder of an index.
        similarity_top_k: nodes for a question, at most.
        filters: which nodes may be found.
        content: ``"text"`` hands on whole texts, ``"passage"`` the best passage of each document.
        options: of each search, as for :meth:`lexite.Searcher.search`: ``then``, ``preset`` …
        **base: what LlamaIndex's ``BaseRetriever`` takes, such as ``callback_manager``.
    """

    def __init__(
        self,
        source: LexiteVectorStore | Searcher | str | Path,
        *,
        similarity_top_k: int = 10,
        filters: MetadataFilters | None = None,
        content: Content = "text",
        options: Mapping[str, Any] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        self.store = source if isinstance(source, LexiteVectorStore) else LexiteVectorStore(source)
        self.similarity_top_k, self.filters, self.content = similarity_top_k, filters, content
        self.options = dict(options or {})

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        options = {"content": self.content, **self.options}
        found = self.store.search(query_bundle.query_str, self.similarity_top_k, self.filters, **options)
        return [NodeWithScore(node=_as_node(each.stored, each.content), score=each.score) for each in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _as_lexite(node: BaseNode) -> Document:
    """A node as a document. Its metadata are fields; the whole node is kept beside, but for text and embedding."""
    described = node_to_metadata_dict(node, remove_text=True, flat_metadata=False)
    made = fields_of(_of_fields(node.metadata), node.node_id)
    own = {NODE: str(described[NODE]), NODE_TYPE: str(described[NODE_TYPE])}
    source = {} if node.ref_doc_id is None else {SOURCE: node.ref_doc_id}
    return Document(node.node_id, node.get_content(metadata_mode=MetadataMode.NONE), fields={**made, **own, **source})


def _of_fields(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata without the names that have a meaning of their own here; the node that is kept beside has them."""
    return {name: value for name, value in metadata.items() if name not in (NODE, NODE_TYPE, SOURCE)}


def _as_node(stored: StoredDocument, content: str) -> BaseNode:
    if NODE in stored.fields:
        known = {NODE: stored.fields[NODE], NODE_TYPE: stored.fields.get(NODE_TYPE)}
        return metadata_dict_to_node(known, content)
    metadata, _ = shown_metadata(stored)
    return TextNode(id_=stored.id, text=content, metadata=metadata)


def _where(
    filters: MetadataFilters | None, node_ids: Sequence[str] | None = None, doc_ids: Sequence[str] | None = None
) -> Translate | None:
    if filters is None and node_ids is None and doc_ids is None:
        return None
    return functools.partial(_condition, filters, node_ids, doc_ids)


def _condition(
    filters: MetadataFilters | None, node_ids: Sequence[str] | None, doc_ids: Sequence[str] | None, make: Conditions
) -> Condition:
    parts = [] if filters is None else [_group(filters, make)]
    if node_ids is not None:
        parts.append(make.one_of("_id", node_ids))
    if doc_ids is not None:
        parts.append(make.one_of(SOURCE, doc_ids))
    return all_of(parts)


def _group(filters: MetadataFilters, make: Conditions) -> Condition:
    if not isinstance(filters, MetadataFilters):
        raise FilterError(f"Filters are MetadataFilters of LlamaIndex, not a {type(filters).__name__}.")
    parts = [_group(each, make) if isinstance(each, MetadataFilters) else _single(each, make) for each in filters.filters]
    if not parts or filters.condition in (None, FilterCondition.AND):
        return all_of(parts)
    return any_of(parts) if filters.condition == FilterCondition.OR else Negation(any_of(parts))


def _single(given: MetadataFilter, make: Conditions) -> Condition:
    field, operator, value = given.key, given.operator, given.value
    if field in _SOURCE_NAMES and field not in make.types:
        field = SOURCE
    if operator == FilterOperator.EQ:
        return make.equal(field, value)
    if operator == FilterOperator.NE:
        return make.differs(field, value)
    if operator in _ORDERS:
        return make.ordered(field, _ORDERS[operator], value)
    if operator == FilterOperator.IS_EMPTY:
        empty = [make.equal(field, "")] if make.types.get(field) == "text" else []
        return any_of([make.exists(field, False), *empty])
    if operator in (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL):
        if not isinstance(value, list):
            raise FilterError(f"The filter on '{given.key}' compares it by '{operator.value}' with {value!r}, not with a list.")
        if operator == FilterOperator.ALL:
            return make.contains_all(field, value)
        found = make.one_of(field, value)
        return Negation(found) if operator == FilterOperator.NIN else found
    if operator == FilterOperator.CONTAINS and make.types.get(field) != "text":
        return make.contains_all(field, [value])
    if operator in (FilterOperator.CONTAINS, FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE):
        return make.has_part(field, str(value), any_case=operator == FilterOperator.TEXT_MATCH_INSENSITIVE)
    raise FilterError(f"lexite has nothing for the operator '{operator.value}' of the filter on '{given.key}'.")


def _store_of(documents: KeptDocuments, options: dict[str, Any]) -> LexiteVectorStore:
    """A store that was pickled."""
    store = LexiteVectorStore(options=options)
    store._documents = documents
    return store
