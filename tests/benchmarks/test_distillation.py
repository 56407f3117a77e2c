"""The comparison before and after distillation: its texts, its teacher, and that training brings the rankings closer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import distillation
import numpy as np
import pytest
import torch

from lexite import LatentTermEncoder
from lexite.evaluation import evaluate_collections
from lexite.terms import apply_transform

SENTENCES = [
    "The cat and the dog drink milk.",
    "A bird eats bread by the river.",
    "Rain and snow fall on the lake!",
    "How does the wind move the ship?",
    "The sort function of the list takes a key.",
    "Open the file and read the text.",
    "The trial measures the effect of the drug.",
    "The moon and the sun and the stars.",
    "Time is read from a clock by date.",
    "The cow gives milk and meat and cheese.",
]


def texts(n: int) -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(SENTENCES[i] for i in random.permutation(len(SENTENCES))) for _ in range(n)]


@pytest.fixture
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


def sides(encoder: LatentTermEncoder) -> list[distillation.Side]:
    pairs = distillation.sentence_pairs(iter(texts(40)), seed=0)
    queries, passages = zip(*pairs, strict=True)
    return [
        distillation.read_side(encoder.backbone, queries, "query"),
        distillation.read_side(encoder.backbone, passages, "document"),
    ]


def test_a_query_is_of_a_sentence_that_the_passage_does_not_have() -> None:
    pairs = list(distillation.sentence_pairs(iter([*texts(60), "Too short. Really."]), seed=0))
    assert len(pairs) == 60
    whole = 0
    for query, passage in pairs:
        found = [sentence for sentence in SENTENCES if query in sentence]
        whole += query in SENTENCES
        assert found and query not in passage
        assert 2 <= sum(sentence in passage for sentence in SENTENCES) < 8
    assert 15 < whole < 45
    assert pairs == list(distillation.sentence_pairs(iter(texts(60)), seed=0))
    assert pairs != list(distillation.sentence_pairs(iter(texts(60)), seed=1))


def test_the_batch_is_the_texts_themselves(encoder: LatentTermEncoder) -> None:
    queries, _ = sides(encoder)
    model = distillation.CachedModel(encoder).eval()
    some = np.array([7, 3, 19])
    pairs = list(distillation.sentence_pairs(iter(texts(40)), seed=0))
    queries_alone = encoder.encode_queries([pairs[number][0] for number in some])
    expected = apply_transform(queries_alone.to_csr(), encoder.scoring.query_transform).toarray()
    with torch.no_grad():
        weights = model(queries.features(some), task="query")["sentence_embedding"]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-4, atol=1e-5)
    dense = encoder.backbone.dense([pairs[number][0] for number in some], "query")
    np.testing.assert_allclose(distillation.GivenEmbeddings()(queries.features(some))["sentence_embedding"], dense, atol=1e-6)


def test_training_brings_bm25_closer_to_the_dense_model(encoder: LatentTermEncoder) -> None:
    torch.manual_seed(0)
    queries, documents = sides(encoder)
    model = distillation.CachedModel(encoder)
    losses = distillation.train(model, queries, documents, steps=60, batch=16, rate=1e-2, temperature=0.1, seed=0)
    assert len(losses) == 60 and np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_before_is_what_lexite_eval_measures(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: LatentTermEncoder
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(texts(12))))
    words = ["distillation.py", str(source), "--collections", str(collection), "--cache", str(tmp_path / "cache")]
    options = f"--vocabulary {tiny_vocabulary} --steps 3 --batch 4 --seeds 0 1 --learning-rate 0.1".split()
    monkeypatch.setattr(sys, "argv", [*words, *options, "--json", str(tmp_path / "found.json")])
    distillation.main()
    found = json.loads((tmp_path / "found.json").read_text())
    report = evaluate_collections(encoder, [collection])
    assert found["before"]["collections"] == {"tiny": pytest.approx(report.collections["tiny"]["latent"]["nDCG@10"])}
    assert set(found["seeds"]) == {"0", "1"} and all(len(seed["losses"]) == 3 for seed in found["seeds"].values())


def test_too_few_documents_are_named(
    tiny_vocabulary: Path, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(json.dumps({"_id": "1", "text": texts(1)[0]}) + "\n")
    words = ["distillation.py", str(source), "--collections", str(collection), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", [*words, "--vocabulary", str(tiny_vocabulary)])
    with pytest.raises(distillation.CorpusError, match="1 documents have sentences enough, but 5 are needed"):
        distillation.main()
