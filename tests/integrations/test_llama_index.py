"""The classes for LlamaIndex: nodes kept and found, filters held against LlamaIndex's own function, its index over them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexite import Document, Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError, FilterError
from lexite.terms import LatentTermEncoder

pytest.importorskip("llama_index.core", reason="llama-index-core is not installed: pip install 'lexite[llama-index]'")
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from lexite.integrations.llama_index import LexiteRetriever, LexiteVectorStore


def node(identifier: str, text: str, source: str | None = None, **metadata: Any) -> TextNode:
    relations = {} if source is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=identifier, text=text, metadata=metadata, relationships=relations)


NODES = [
    node("a", "The cow gives milk.", "farm", year=2019, tags=["farm", "food"], who={"name": "Ida"}),
    node("b", "Milk and bread and cheese.", "farm", year=2021, lang="it's 50%", none=None),
    node("c", "The moon moves the sea.", "sea", year=2021, tags=["sea"], lang="", sizes=[1, 2]),
    node("d", "A cow and a horse by the sea."),
]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def animals(encoder: LatentTermEncoder) -> Iterator[LexiteVectorStore]:
    store = LexiteVectorStore(vocabulary=encoder)
    assert store.add(NODES) == ["a", "b", "c", "d"]
    yield store
    store.close()


def filters(*parts: Any, condition: FilterCondition = FilterCondition.AND) -> MetadataFilters:
    listed = [
        part if isinstance(part, MetadataFilters) else MetadataFilter(key=part[0], operator=part[1], value=part[2])
        for part in parts
    ]
    return MetadataFilters(filters=listed, condition=condition)


OPERATOR = FilterOperator


@pytest.mark.parametrize(
    "given",
    [
        filters(("year", OPERATOR.EQ, 2021)),
        filters(("year", OPERATOR.NE, 2021)),
        filters(("year", OPERATOR.GTE, 2019), ("year", OPERATOR.LT, 2021)),
        filters(("year", OPERATOR.IN, [2019, 1999])),
        filters(("year", OPERATOR.NIN, [2019, 1999])),
        filters(("lang", OPERATOR.EQ, "it's 50%")),
        filters(("lang", OPERATOR.IS_EMPTY, None)),
        filters(("year", OPERATOR.IS_EMPTY, None)),
        filters(("tags", OPERATOR.CONTAINS, "sea")),
        filters(("tags", OPERATOR.ALL, ["farm", "food"])),
        filters(("tags", OPERATOR.ANY, ["sea", "food"])),
        filters(("lang", OPERATOR.TEXT_MATCH, "0%")),
        filters(("lang", OPERATOR.TEXT_MATCH, "IT")),
        filters(("lang", OPERATOR.TEXT_MATCH_INSENSITIVE, "IT")),
        filters(("lang", OPERATOR.CONTAINS, "'s")),
        filters(("nowhere", OPERATOR.EQ, 3)),
        filters(("nowhere", OPERATOR.NE, 3)),
        filters(("year", OPERATOR.EQ, 2019), ("lang", OPERATOR.EQ, ""), condition=FilterCondition.OR),
        filters(("year", OPERATOR.EQ, 2019), ("lang", OPERATOR.EQ, ""), condition=FilterCondition.NOT),
    ],
    ids=str,
)
def test_filters_let_pass_what_llama_indexs_own_function_does(animals: LexiteVectorStore, given: MetadataFilters) -> None:
    metadata = {each.node_id: each.metadata for each in NODES}
    passes = build_metadata_filter_fn(metadata.__getitem__, given)
    wanted = [each.node_id for each in NODES if passes(each.node_id)]
    assert [each.node_id for each in animals.get_nodes(filters=given)] == wanted
    found = LexiteRetriever(animals, filters=given).retrieve("milk cow sea moon")
    assert {each.node.node_id for each in found} == set(wanted)


def test_filters_within_filters_and_documents(animals: LexiteVectorStore) -> None:
    inner = filters(("year", OPERATOR.EQ, 2019), ("lang", OPERATOR.EQ, ""), condition=FilterCondition.OR)
    outer = filters(inner, ("doc_id", OPERATOR.EQ, "sea"))
    assert [each.node_id for each in animals.get_nodes(filters=outer)] == ["c"]
    assert [each.node_id for each in animals.get_nodes(["d", "c", "x"])] == ["c", "d"]
    assert [each.node_id for each in animals.get_nodes(filters=filters(("who.name", OPERATOR.EQ, "Ida")))] == ["a"]
    assert len(animals.get_nodes(filters=MetadataFilters(filters=[]))) == 4


def test_nodes_come_back_whole(animals: LexiteVectorStore) -> None:
    assert animals.get_nodes() == NODES


def test_a_query_gives_what_the_searcher_finds(animals: LexiteVectorStore) -> None:
    assert animals.client is not None
    hits = animals.client.search("milk of the cow", 3)
    query = VectorStoreQuery(query_str="milk of the cow", similarity_top_k=3)
    for result in (animals.query(query), asyncio.run(animals.aquery(query))):
        assert (result.ids, result.similarities) == ([hit.id for hit in hits], [hit.score for hit in hits])
    retriever = LexiteRetriever(animals, similarity_top_k=3)
    found = retriever.retrieve("milk of the cow")
    assert [(each.node.node_id, each.score) for each in found] == [(hit.id, hit.score) for hit in hits]
    assert asyncio.run(retriever.aretrieve("milk of the cow")) == found
    only = animals.query(VectorStoreQuery(query_str="milk cow sea", similarity_top_k=9, doc_ids=["farm"], node_ids=["b", "d"]))
    assert only.ids == ["b"]

    def backwards(answer: Any) -> Any:
        return answer.with_rankings([list(reversed(hits)) for hits in answer.rankings])

    turned = LexiteRetriever(animals, options={"then": [backwards]}).retrieve("milk cow sea")
    plain = LexiteRetriever(animals).retrieve("milk cow sea")
    assert [each.node.node_id for each in turned] == [each.node.node_id for each in plain][::-1]


def test_an_index_of_llama_index_takes_and_deletes_documents(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    from llama_index.core import Document as LlamaDocument

    store = LexiteVectorStore(tmp_path / "i", vocabulary=encoder)
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
    for identifier, text in (("x", "The cow gives milk."), ("y", "The moon moves the sea.")):
        index.insert(LlamaDocument(text=text, id_=identifier, metadata={"name": identifier}))
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("milk of the cow")
    assert best.node.ref_doc_id == "x" and best.node.metadata == {"name": "x"}
    index.delete_ref_doc("x")
    assert [each.metadata["name"] for each in store.get_nodes()] == ["y"]
    (only,) = (
        VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
        .as_retriever(filters=filters(("name", OPERATOR.EQ, "y")))
        .retrieve("moon")
    )
    assert only.node.metadata == {"name": "y"}
    again = pickle.loads(pickle.dumps(LexiteVectorStore(tmp_path / "i", vocabulary=str(encoder.source))))
    assert len(again) == 1 and again.class_name() == "LexiteVectorStore"
    store.delete("nowhere")
    store.clear()
    assert len(store) == 0 and store.query(VectorStoreQuery(query_str="moon")).ids == []


def test_nodes_are_replaced_and_deleted(encoder: LatentTermEncoder) -> None:
    store = LexiteVectorStore(vocabulary=encoder)
    assert store.query(VectorStoreQuery(query_str="milk")).nodes == []

    async def work() -> None:
        await store.async_add(NODES)
        await store.async_add([node("a", "A horse.", "farm", year=1999)])
        assert [each.text for each in await store.aget_nodes(["a"])] == ["A horse."]
        await store.adelete_nodes(["a", "d"], filters(("year", OPERATOR.EQ, 1999)))
        assert {each.node_id for each in await store.aget_nodes()} == {"b", "c", "d"}
        await store.adelete("farm")
        assert {each.node_id for each in await store.aget_nodes()} == {"c", "d"}
        await store.aclear()

    asyncio.run(work())
    assert len(store) == 0
    store.close()


def test_an_index_that_lexite_made_is_retrieved_from(encoder: LatentTermEncoder) -> None:
    text = " ".join(["The wind moves the ship on the sea."] * 40 + ["The cow gives milk to the cat."] * 40)
    long = Document("long", text, title="Long", fields={"year": 2020})
    with Searcher.build([long], vocabulary=encoder, passages=40, show_progress=False) as searcher:
        (found,) = LexiteRetriever(searcher, content="passage").retrieve("milk of the cow")
    assert found.node.metadata == {"year": 2020, "title": "Long"}
    assert found.node.get_content() in text and len(found.node.get_content()) < 500


def test_what_is_wrong_is_refused(animals: LexiteVectorStore, encoder: LatentTermEncoder) -> None:
    with pytest.raises(ConfigError, match="mode 'mmr' needs embeddings"):
        animals.query(VectorStoreQuery(query_str="x", mode=VectorStoreQueryMode.MMR))
    with pytest.raises(ArgumentError, match="has no text"):
        animals.query(VectorStoreQuery(query_embedding=[1.0]))
    with pytest.raises(FilterError, match="not with a list"):
        animals.get_nodes(filters=filters(("year", OPERATOR.IN, 3)))
    with pytest.raises(FilterError, match="holds whole numbers"):
        animals.get_nodes(filters=filters(("year", OPERATOR.EQ, "2021")))
    with pytest.raises(FilterError, match="not a dict"):
        animals.get_nodes(filters={"year": 2021})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="clear"):
        animals.delete_nodes()
    with pytest.raises(CorpusError, match="Document 'x': the text is empty"):
        LexiteVectorStore(vocabulary=encoder).add([node("x", "")])
    with pytest.raises(ArgumentError, match="in a int"):
        LexiteRetriever(3)  # type: ignore[arg-type]
