"""Reranking by a cross-encoder, against ``CrossEncoder.predict`` on the same pairs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from second_stage import PASSAGES, asked, ranked, read_stored
from sentence_transformers import CrossEncoder

from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.errors import ArgumentError, ConfigError, ModelError
from lexite.index.config import StoredDocument
from lexite.ranking.hits import PassageHit
from lexite.search import Answer
from lexite.search.strategies import cross_encoder
from lexite.search.strategies.cross_encoder import Rerank

QUERIES = ["milk of the cow", "how to parse json text"]
SPANS = {"d1": (0, 33), "d3": (30, 86)}
NAMES = ["d2", "d3", "d1", "d6"]


def make_model(tokenizer_of: Path, folder: Path, *, num_labels: int = 1) -> Path:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_of)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(
        vocab_size=len(tokenizer), num_labels=num_labels, max_position_embeddings=64, initializer_range=0.3, **sizes
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of two layers with random weights."""
    return make_model(tiny_model, tmp_path_factory.mktemp("cross") / "model")


@pytest.fixture(scope="session")
def model(model_folder: Path) -> CrossEncoder:
    return CrossEncoder(str(model_folder), device="cpu", max_length=48)


@dataclass
class Texts:
    """Documents, and passages that an index would find in d1."""

    documents: dict[str, StoredDocument]
    found: Sequence[PassageHit] = ()

    def get(self, identifier: str) -> StoredDocument | None:
        return self.documents.get(identifier)

    def passages(self, query: Any, document: str, **options: Any) -> Sequence[PassageHit]:
        return self.found if document == "d1" else ()


@dataclass
class Cut(Texts):
    """The same, of an index that cuts texts into passages of ten words."""

    passages_config: PassageConfig = PASSAGES


@pytest.fixture
def answer(documents: Path) -> Answer:
    return asked(Texts(read_stored(documents)), None, QUERIES, [ranked(NAMES, SPANS), ranked(NAMES[:2], SPANS)])


def read(answer: Answer, name: str, span: tuple[int, int] | None = None) -> str:
    stored = answer.backend.get(name)
    assert stored is not None
    start, stop = span or SPANS.get(name, (0, len(stored.text)))
    return f"{stored.title} {stored.text[start:stop]}".strip()


def scores_of(answer: Answer) -> list[dict[str, float]]:
    return [{hit.id: hit.score for hit in hits} for hits in answer.rankings]


@pytest.mark.parametrize(
    ("activation", "function"), [("auto", None), ("none", torch.nn.Identity()), ("sigmoid", torch.nn.Sigmoid())]
)
@pytest.mark.parametrize("tokens", [16, 100, 4096])
def test_scores_are_what_the_model_predicts(
    activation: Any, function: Any, tokens: int, answer: Answer, model: CrossEncoder, model_folder: Path
) -> None:
    strategy = Rerank(str(model_folder), max_length=48, device="cpu", tokens_per_batch=tokens, activation=activation)
    found = strategy(answer)
    for query, hits, scores in zip(QUERIES, answer.rankings, scores_of(found), strict=True):
        pairs = [(query, read(answer, hit.id)) for hit in hits]
        expected = dict(zip([hit.id for hit in hits], model.predict(pairs, activation_fn=function).tolist(), strict=True))
        assert scores == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 4) for score in scores_of(found)[0].values()}) == 4
    assert [[hit.score for hit in hits] for hits in found.rankings] == [
        sorted((hit.score for hit in hits), reverse=True) for hits in found.rankings
    ]
    assert [hit.span for hit in found.rankings[0]] == [SPANS.get(hit.id) for hit in found.rankings[0]]


def test_a_model_that_is_loaded_may_be_given_and_scores_be_fused(answer: Answer, model: CrossEncoder) -> None:
    new = scores_of(Rerank(encoder=model)(answer))[0]
    low, high = min(new.values()), max(new.values())
    expected = {hit.id: (hit.score - 16.0) / 3.0 + 2.0 * (new[hit.id] - low) / (high - low) for hit in answer.rankings[0]}
    assert scores_of(Rerank(encoder=model, weight=2.0)(answer))[0] == pytest.approx(expected, abs=1e-5)


def test_the_best_of_several_passages_counts(answer: Answer, model: CrossEncoder) -> None:
    found = [PassageHit(3.0, (0, 33)), PassageHit(2.0, (34, 52)), PassageHit(1.0, (53, 80))]
    answer = dataclasses.replace(answer, backend=Texts(answer.backend.documents, found))  # type: ignore[attr-defined]
    for passages in (1, 2, 3):
        pairs = [(QUERIES[0], read(answer, "d1", passage.span)) for passage in found[:passages]]
        score = scores_of(Rerank(encoder=model, passages=passages)(answer))[0]["d1"]
        assert score == pytest.approx(float(model.predict(pairs).max()), abs=1e-5)


def test_of_a_long_document_that_another_ranking_let_in_the_best_passage_is_read(answer: Answer, model: CrossEncoder) -> None:
    """Such a hit names no passage. Where none shares a term with the query, the first one is read, and never the whole text."""
    long = " ".join(f"This is the sentence number {n} of a long text." for n in range(5))
    stored = {name: StoredDocument(name, "", text) for name, text in {"d1": long, "d2": long, "d3": "A short one."}.items()}
    first, second = map(tuple, cut_documents([stored["d1"]], PASSAGES).spans[:2].tolist())
    cut = Cut(stored, [PassageHit(9.0, second)])
    asked_for = dataclasses.replace(answer, backend=cut, rankings=[ranked(["d1", "d2", "d3"]), []])
    found = Rerank(encoder=model)(asked_for).rankings[0]
    read = {"d1": long[slice(*second)], "d2": long[slice(*first)], "d3": "A short one."}
    expected = {name: float(model.predict([(QUERIES[0], text)])[0]) for name, text in read.items()}
    assert {hit.id: hit.score for hit in found} == pytest.approx(expected, abs=1e-5)


def test_hits_behind_the_candidates_stay_and_nothing_found_stays_nothing(answer: Answer, model: CrossEncoder) -> None:
    found = Rerank(encoder=model, candidates=2)(answer)
    assert [hit.id for hit in found.rankings[0]][2:] == NAMES[2:]
    assert Rerank(encoder=model)(dataclasses.replace(answer, rankings=[[], []])).rankings == [[], []]


def test_a_model_is_loaded_once(answer: Answer, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = Rerank(str(model_folder), device="cpu")
    strategy(answer)
    monkeypatch.setattr("sentence_transformers.CrossEncoder", None)
    assert Rerank(str(model_folder), device="cpu", candidates=1)(answer).rankings


def test_what_is_lacking_is_said(
    answer: Answer, model: CrossEncoder, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Rerank().needs == frozenset() and Rerank(candidates=7).candidates == 7
    with pytest.raises(ArgumentError, match="document 'd2'.*--no-text"):
        Rerank(encoder=model)(dataclasses.replace(answer, backend=Texts({})))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="have no texts"):
        Rerank(encoder=model)(dataclasses.replace(answer, queries=dataclasses.replace(answer.queries, texts=None)))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Rerank(str(tmp_path / "nothing"))(answer)
    with pytest.raises(ModelError, match="there is no such folder"):
        Rerank("./nothing")(answer)
    with pytest.raises(ModelError, match="3 numbers for a pair"):
        Rerank(str(make_model(tiny_model, tmp_path / "three", num_labels=3)))(answer)
    with pytest.raises(ConfigError, match="at least 1"):
        Rerank(passages=0)
    with pytest.raises(ModelError, match=r"cannot read a pair: .*--rerank-max-length"):
        long = dataclasses.replace(answer.queries, texts=["milk " * 99, "milk"])
        Rerank(str(make_model(tiny_model, tmp_path / "short")), max_length=500)(dataclasses.replace(answer, queries=long))
    broken = CrossEncoder(str(make_model(tiny_model, tmp_path / "broken")), device="cpu")
    with torch.no_grad():
        broken.model.classifier.bias.fill_(np.nan)
    with pytest.raises(ModelError, match="NaN"):
        Rerank(encoder=broken)(answer)
    cross_encoder._load.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ArgumentError, match="pip install"):
        Rerank("any")(answer)
