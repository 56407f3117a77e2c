"""The classes for LangChain in its own standard tests.

They run where langchain-tests is installed. No extra brings it, since it brings plugins of pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexite.terms import LatentTermEncoder

pytest.importorskip("langchain_core", reason="langchain-core is not installed: pip install 'lexite[langchain]'")
pytest.importorskip("langchain_tests", reason="langchain-tests is not installed: pip install langchain-tests")
from langchain_core.documents import Document
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from lexite.integrations.langchain import LexiteRetriever, LexiteVectorStore


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def animals(encoder: LatentTermEncoder) -> Iterator[LexiteVectorStore]:
    texts = ["The cow gives milk.", "Milk and bread and cheese.", "The moon moves the sea.", "A cow and a horse by the sea."]
    store = LexiteVectorStore.from_documents([Document(page_content=text) for text in texts], vocabulary=encoder)
    yield store
    store.close()


class TestVectorStoreStandard(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, encoder: LatentTermEncoder) -> Iterator[LexiteVectorStore]:
        store = LexiteVectorStore(vocabulary=encoder)
        yield store
        store.close()


class TestRetrieverStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _searcher(self, animals: LexiteVectorStore) -> None:
        self._given = animals.searcher

    @property
    def retriever_constructor(self) -> type[LexiteRetriever]:
        return LexiteRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"searcher": self._given}

    @property
    def retriever_query_example(self) -> str:
        return "milk of the cow by the sea"
