"""The classes for LangChain: what its standard tests leave out, which ``test_langchain_standard.py`` has."""

from __future__ import annotations

import asyncio
import datetime
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lexite import Document, Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError, FilterError
from lexite.index.conditions import Comparison
from lexite.terms import LatentTermEncoder

langchain = pytest.importorskip("langchain_core", reason="langchain-core is not installed: pip install 'lexite[langchain]'")
from langchain_core.documents import Document as LangChainDocument  # noqa: E402

from lexite.integrations.langchain import LexiteRetriever, LexiteVectorStore  # noqa: E402

ANIMALS = [
    ("a", "The cow gives milk.", {"year": 2019, "tags": ["farm", "food"], "who": {"name": "Ida"}}),
    ("b", "Milk and bread and cheese.", {"year": 2021, "lang": "it's", "note": None}),
    ("c", "The moon moves the sea.", {"year": 2021, "tags": ["sea"], "sizes": [1, 2]}),
    ("d", "A cow and a horse by the sea.", {}),
]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def animals(encoder: LatentTermEncoder) -> Iterator[LexiteVectorStore]:
    documents = [LangChainDocument(id=i, page_content=text, metadata=metadata) for i, text, metadata in ANIMALS]
    store = LexiteVectorStore.from_documents(documents, vocabulary=encoder)
    yield store
    store.close()


def found(store: LexiteVectorStore, filter: Any) -> set[str | None]:
    return {document.id for document in store.similarity_search("milk cow sea moon", k=10, filter=filter)}


@pytest.mark.parametrize(
    ("filter", "ids"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        ({"year": 2021}, "bc"),
        ({"year": {"$gt": 2019}, "tags": "sea"}, "c"),
        ({"lang": "it's"}, "b"),
        ({"lang": {"$ne": "it's"}}, "acd"),
        ({"year": {"$in": [2019, 1999]}}, "a"),
        ({"year": {"$nin": [2019]}}, "bcd"),
        ({"year": {"$between": [2018, 2020]}}, "a"),
        ({"tags": {"$in": ["farm", "sea"]}}, "ac"),
        ({"tags": {"$all": ["farm", "food"]}}, "a"),
        ({"tags": {"$exists": False}}, "bd"),
        ({"who.name": "Ida"}, "a"),
        ({"year": None}, "d"),
        ({"$not": {"year": {"$lte": 2020}}}, "bcd"),
        ({"year": {"$not": {"$lte": 2020}}}, "bcd"),
        ({"$or": [{"year": 2019}, {"tags": {"$contains": "sea"}}]}, "ac"),
        ({"$and": [{"year": 2021}, {"lang": {"$ilike": "IT%"}}]}, "b"),
        ("year = 2021 and lang is null", "c"),
        (Comparison("year", "<", 2020), "a"),
        ({"_id": {"$in": ["a", "d"]}}, "ad"),
        ({"year": {"$in": []}}, ""),
    ],
)
def test_filters_let_pass_what_they_say(animals: LexiteVectorStore, filter: Any, ids: str) -> None:
    assert found(animals, filter) == set(ids)


@pytest.mark.parametrize(
    ("filter", "error", "words"),
    [
        ({"yaer": 2021}, FilterError, "Did you mean 'year'"),
        ({"year": "2021"}, FilterError, "holds whole numbers"),
        ({"year": {"$near": 3}}, FilterError, r"no operator '\$near'"),
        ({"$some": []}, FilterError, r"no operator '\$some'"),
        ({"year": {"$in": 3}}, FilterError, "stands a list"),
        ({"year": {"$between": [3]}}, FilterError, "two values"),
        ({"year": {}}, FilterError, "says nothing of 'year'"),
        ({"$or": []}, FilterError, "list of filters"),
        ({"$or": ["x"]}, FilterError, "A filter is a dictionary"),
        ({"year": object()}, FilterError, "with a object"),
        ({3: 4}, FilterError, "has 3 where"),
        ({"year": {"$exists": 1}}, FilterError, "True or False"),
        ({"tags": {"$all": [3]}}, FilterError, "lists and patterns"),
        (3, ArgumentError, "not a int"),
    ],
)
def test_filters_that_are_wrong_are_refused(
    animals: LexiteVectorStore, filter: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        animals.similarity_search("milk", filter=filter)


def test_metadata_come_back_as_they_were(animals: LexiteVectorStore) -> None:
    assert {each.id: each.metadata for each in animals.get_by_ids(["d", "c", "b", "a", "x"])} == {
        i: metadata for i, _, metadata in ANIMALS
    }


def test_scores_are_those_of_the_searcher(animals: LexiteVectorStore) -> None:
    assert animals.searcher is not None
    hits = animals.searcher.search("milk of the cow", 3, where="year > 2000")
    got = animals.similarity_search_with_score("milk of the cow", k=3, filter={"year": {"$gt": 2000}})
    assert [(document.id, score) for document, score in got] == [(hit.id, hit.score) for hit in hits]
    relevant = animals.similarity_search_with_relevance_scores("milk of the cow", k=3, filter="year > 2000")
    assert [score for _, score in relevant] == [hit.coverage for hit in hits]
    least = sorted(hit.coverage for hit in hits)[1]
    retriever = animals.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": least, "k": 3, "filter": "year > 2000"}
    )
    wanted = [hit.id for hit in hits if hit.coverage >= least]
    assert [each.id for each in retriever.invoke("milk of the cow")] == wanted
    assert [each.id for each in asyncio.run(retriever.ainvoke("milk of the cow"))] == wanted


def test_strategies_and_options_reach_the_search(animals: LexiteVectorStore) -> None:
    def backwards(answer: Any) -> Any:
        return answer.with_rankings([list(reversed(hits)) for hits in answer.rankings])

    plain = [each.id for each in animals.similarity_search("milk cow sea", k=4)]
    retriever = LexiteRetriever(searcher=animals.searcher, options={"then": [backwards]})
    assert [each.id for each in retriever.invoke("milk cow sea")] == plain[::-1]
    assert [each.id for each in retriever.invoke("milk cow sea", then=None, k=1)] == plain[:1]
    assert retriever.invoke("milk", filter={"year": 2019})[0].metadata["score"] > 0
    with pytest.raises(ArgumentError, match="no option 'lambda_mult'"):
        animals.similarity_search("milk", lambda_mult=1)
    with pytest.raises(ConfigError, match="filter and where"):
        animals.similarity_search("milk", filter={"year": 1}, where="year = 1")
    with pytest.raises(ArgumentError, match="asks a Searcher, not a str"):
        LexiteRetriever(searcher="notes")
    with pytest.raises(ConfigError, match="content is 'all'"):
        animals.similarity_search("milk", content="all")


def test_a_store_in_a_folder_is_there_again_and_deletes_by_filter(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    day = datetime.date(2020, 2, 29)
    store = LexiteVectorStore(tmp_path / "i", vocabulary=encoder)
    ids = store.add_texts(["milk", "bread", "cheese"], [{"day": day}, {}, {"day": day}], ids=["m", "b", "c"])
    assert ids == ["m", "b", "c"] and len(store) == 3
    again = pickle.loads(pickle.dumps(LexiteVectorStore(tmp_path / "i", vocabulary=str(encoder.source))))
    assert again.similarity_search("milk", k=1) == [LangChainDocument(id="m", page_content="milk", metadata={"day": day})]
    assert store.delete(filter={"day": day}) and len(store) == 1
    assert store.delete() and len(store) == 0 and store.similarity_search("bread") == []
    assert store.add_texts(["wind"]) and len(store) == 1
    with pytest.raises(ConfigError, match="ids or by a filter"):
        store.delete(["b"], filter="day is null")
    still = LexiteVectorStore(tmp_path / "i", static=True)
    assert [each.page_content for each in still.similarity_search("wind")] == ["wind"]
    with pytest.raises(ArgumentError, match="static"):
        still.add_texts(["more"])


def test_passages_of_long_documents_can_be_handed_on(encoder: LatentTermEncoder) -> None:
    text = " ".join(["The wind moves the ship on the sea."] * 40 + ["The cow gives milk to the cat."] * 40)
    with Searcher.build(
        [Document("long", text, title="Long")], vocabulary=encoder, passages=40, show_progress=False
    ) as searcher:
        (whole,) = LexiteRetriever(searcher=searcher).invoke("milk of the cow")
        (part,) = LexiteRetriever(searcher=searcher, content="passage").invoke("milk of the cow")
    assert whole.page_content == text and whole.metadata["title"] == "Long"
    assert "cow" in part.page_content and len(part.page_content) < 500 and part.page_content in text


def test_threads_add_and_search_at_the_same_time(encoder: LatentTermEncoder) -> None:
    store = LexiteVectorStore(vocabulary=encoder)

    def work(number: int) -> list[LangChainDocument]:
        store.add_texts([f"milk number {number}"], ids=[str(number)])
        return store.similarity_search("milk", k=9)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(6)))
    assert len(store) == 6
    store.close()


def test_what_cannot_be_kept_is_refused_by_name(encoder: LatentTermEncoder) -> None:
    store = LexiteVectorStore(vocabulary=encoder)
    with pytest.raises(CorpusError, match="Document 'x': its metadata 'thing'"):
        store.add_texts(["milk"], [{"thing": object()}], ids=["x"])
    with pytest.raises(CorpusError, match="Document 'y': the text is empty"):
        store.add_texts(["milk", " "], ids=["x", "y"])
    assert len(store) == 0, "all or none"
    with pytest.raises(ConfigError, match="1 ids for 2 documents"):
        store.add_documents([LangChainDocument("a"), LangChainDocument("b")], ids=["1"])
    with pytest.raises(ConfigError, match="no option 'batch'"):
        store.add_documents([LangChainDocument("a")], batch=3)
    with pytest.raises(ConfigError, match="no option 'namespace'"):
        store.delete(["a"], namespace="n")
    with pytest.raises(ArgumentError, match="in a int"):
        LexiteVectorStore(3)  # type: ignore[arg-type]
    from langchain_core.embeddings import DeterministicFakeEmbedding

    with pytest.raises(ConfigError, match="embeddings can have no effect"):
        LexiteVectorStore.from_texts(["milk"], DeterministicFakeEmbedding(size=3))
    with pytest.raises(ConfigError, match="an index that is there"):
        LexiteVectorStore(static=True)
