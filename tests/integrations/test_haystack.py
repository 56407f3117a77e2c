"""The classes for Haystack: its own standard tests of document stores, and what they leave out."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexite import Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError
from lexite.search.strategies import Rescore
from lexite.terms import LatentTermEncoder

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # before it is imported
haystack = pytest.importorskip("haystack", reason="haystack-ai is not installed: pip install 'lexite[haystack]'")
from haystack import Document, Pipeline  # noqa: E402
from haystack.dataclasses import ByteStream  # noqa: E402
from haystack.document_stores.errors import DuplicateDocumentError  # noqa: E402
from haystack.document_stores.types import DuplicatePolicy  # noqa: E402
from haystack.errors import FilterError  # noqa: E402
from haystack.testing.document_store import (  # noqa: E402
    CountDocumentsByFilterTest,
    DocumentStoreBaseExtendedTests,
)
from haystack.utils.filters import document_matches_filter  # noqa: E402

from lexite.integrations.haystack import LexiteDocumentStore, LexiteRetriever  # noqa: E402


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture
def document_store(encoder: LatentTermEncoder) -> Iterator[LexiteDocumentStore]:
    store = LexiteDocumentStore(build={"vocabulary": encoder})
    yield store
    store.close()


class TestStandard(DocumentStoreBaseExtendedTests, CountDocumentsByFilterTest):
    @pytest.fixture
    def document_store(self, encoder: LatentTermEncoder) -> Iterator[LexiteDocumentStore]:
        store = LexiteDocumentStore(build={"vocabulary": encoder})
        yield store
        store.close()

    def test_write_documents(self, document_store: LexiteDocumentStore) -> None:
        document = Document(content="test doc")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document], DuplicatePolicy.NONE)
        self.assert_documents_are_equal(document_store.filter_documents(), [document])


@pytest.fixture(scope="module")
def animals(encoder: LatentTermEncoder) -> Iterator[LexiteDocumentStore]:
    store = LexiteDocumentStore(build={"vocabulary": encoder})
    store.write_documents(ANIMALS)
    yield store
    store.close()


ANIMALS = [
    Document(id="a", content="The cow gives milk.", meta={"year": 2019, "who": {"name": "Ida"}, "none": None}),
    Document(id="b", content="Milk and bread and cheese.", meta={"year": 2021, "lang": "it's"}, embedding=[0.5, 0.25]),
    Document(id="c", content="The moon moves the sea.", meta={"year": 2021}, blob=ByteStream(b"moon")),
    Document(id="d", content="A cow and a horse by the sea.", meta={"sizes": [1, 2]}),
]


def comparison(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


FILTERS = [
    comparison("meta.year", "==", 2021),
    comparison("meta.year", "!=", 2021),
    comparison("meta.year", "in", [2019, None]),
    comparison("meta.year", "not in", [2019, None]),
    comparison("meta.who.name", "==", "Ida"),
    comparison("meta.lang", "==", "it's"),
    comparison("meta.lang", "!=", "x' or '1' = '1"),
    comparison("meta.nowhere", "==", None),
    comparison("meta.nowhere", "==", 3),
    comparison("meta.nowhere", "not in", [3]),
    comparison("year", ">", 2019),
    comparison("id", "in", ["a", "d"]),
    {"operator": "NOT", "conditions": [comparison("meta.year", ">=", 2020), comparison("meta.lang", "==", "it's")]},
    {
        "operator": "OR",
        "conditions": [
            comparison("meta.year", "<", 2020),
            {"operator": "NOT", "conditions": [comparison("meta.year", "!=", None)]},
        ],
    },
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filters_let_pass_what_haystacks_own_function_does(animals: LexiteDocumentStore, filters: dict[str, Any]) -> None:
    wanted = [each for each in ANIMALS if document_matches_filter(filters, each)]
    assert animals.filter_documents(filters) == wanted
    assert animals.count_documents_by_filter(filters) == len(wanted)
    hits = LexiteRetriever(animals).run("milk cow sea moon", filters=filters)["documents"]
    assert {hit.id for hit in hits} == {each.id for each in wanted}


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (comparison("content", "==", "x"), "filtered by id and by what is in meta"),
        (comparison("meta.year", "~", 1), "no operator '~'"),
        (comparison("meta.year", "==", "2021"), "holds whole numbers"),
        ({"operator": "XOR", "conditions": []}, "operator 'XOR'"),
        ({"operator": "AND", "conditions": ["x"]}, "not a str"),
    ],
)
def test_filters_that_are_wrong_are_haystacks_errors(animals: LexiteDocumentStore, filters: dict[str, Any], words: str) -> None:
    with pytest.raises(FilterError, match=words):
        animals.filter_documents(filters)


def test_the_retriever_gives_what_the_searcher_finds(animals: LexiteDocumentStore) -> None:
    assert animals.searcher is not None
    hits = animals.searcher.search("milk of the cow", 3)
    retriever = LexiteRetriever(animals, top_k=3)
    documents = retriever.run("milk of the cow")["documents"]
    assert [(each.id, each.score) for each in documents] == [(hit.id, hit.score) for hit in hits]
    assert asyncio.run(retriever.run_async("milk of the cow", top_k=2))["documents"] == documents[:2]
    merged = LexiteRetriever(animals, filters=comparison("meta.year", "==", 2021), filter_policy="merge")
    only = merged.run("milk cow sea", filters=comparison("meta.lang", "==", "it's"))["documents"]
    assert [each.id for each in only] == ["b"] and only[0].embedding == [0.5, 0.25]

    def backwards(answer: Any) -> Any:
        return answer.with_rankings([list(reversed(hits)) for hits in answer.rankings])

    turned = LexiteRetriever(animals, then=[backwards], top_k=4)
    plain = LexiteRetriever(animals, top_k=4).run("milk cow sea")["documents"]
    assert [each.id for each in turned.run("milk cow sea")["documents"]] == [each.id for each in plain][::-1]
    with pytest.raises(ConfigError, match="backwards cannot be saved"):
        turned.to_dict()
    few = LexiteRetriever(animals, options={"min_coverage": 0.99})
    assert len(few.run("The moon moves the sea.")["documents"]) < 4


def test_a_pipeline_is_saved_and_loaded(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    build = {"vocabulary": str(encoder.source), "vectors": "int8"}
    store = LexiteDocumentStore(tmp_path / "i", build=build)
    store.write_documents(ANIMALS)
    pipeline = Pipeline()
    pipeline.add_component("retriever", LexiteRetriever(store, top_k=2, then=[Rescore(candidates=50)], filters=FILTERS[0]))
    found = pipeline.run({"retriever": {"query": "milk and the sea"}})["retriever"]["documents"]
    text = pipeline.dumps()
    json.dumps(pipeline.to_dict())
    again = Pipeline.loads(text, allowed_modules=["lexite.integrations.haystack"])
    assert again.run({"retriever": {"query": "milk and the sea"}})["retriever"]["documents"] == found
    assert {each.id for each in found} == {"b", "c"}
    with Searcher.open(tmp_path / "i", vocabulary=encoder) as searcher:
        described = LexiteDocumentStore(searcher).to_dict()
    assert described["init_parameters"] == {"index": str(tmp_path / "i"), "static": False, "build": None}


def test_what_cannot_be_saved_or_kept_is_said(document_store: LexiteDocumentStore, encoder: LatentTermEncoder) -> None:
    with pytest.raises(ConfigError, match="'vocabulary' of the store is no JSON value"):
        document_store.to_dict()
    with pytest.raises(CorpusError, match="Document 'x': the text is empty"):
        document_store.write_documents([Document(id="x", blob=ByteStream(b"picture"))])
    with pytest.raises(CorpusError, match="field 'page'"):
        document_store.write_documents(
            [Document(content="a cow", meta={"page": 1}), Document(content="milk", meta={"page": "x"})]
        )
    assert document_store.count_documents() == 0
    assert document_store.write_documents([]) == 0
    document_store.write_documents([Document(content="a cow")])
    with pytest.raises(ConfigError, match="temporary folder"):
        document_store.to_dict()
    with pytest.raises(ArgumentError, match="not a str"):
        LexiteRetriever("store")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is 0"):
        LexiteRetriever(document_store, top_k=0)
    with pytest.raises(ConfigError, match="no strategy 'magic'"):
        LexiteRetriever(document_store, then=[{"name": "magic"}])
    with pytest.raises(DuplicateDocumentError):
        document_store.write_documents([Document(id="t", content="a"), Document(id="t", content="b")])


def test_the_store_is_used_from_a_loop(document_store: LexiteDocumentStore) -> None:
    async def work() -> None:
        assert await document_store.write_documents_async(ANIMALS) == 4
        assert await document_store.count_documents_async() == 4
        assert [each.id for each in await document_store.filter_documents_async(FILTERS[0])] == ["b", "c"]
        await document_store.delete_documents_async(["a", "nowhere"])
        assert await document_store.update_by_filter_async(FILTERS[0], {"lang": "de"}) == 2
        assert await document_store.count_documents_by_filter_async(comparison("meta.lang", "==", "de")) == 2
        assert await document_store.delete_by_filter_async(FILTERS[0]) == 2
        await document_store.delete_all_documents_async()
        assert await document_store.count_documents_async() == 0

    asyncio.run(work())
