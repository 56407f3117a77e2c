"""The probe of a training: quick, the same numbers as an evaluation, and told early when it cannot work."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexite.backbone import BackboneConfig
from lexite.errors import BackboneError, CorpusError, MissingExtraError
from lexite.evaluation import evaluate_collections, make_probe
from lexite.evaluation.probe import training_probe
from lexite.recipes.from_text import train
from lexite.sae import SAEConfig
from lexite.terms import BM25Config, LatentTermEncoder, TermsConfig
from lexite.training import TrainingConfig

KEYS = ("probe_ndcg@10", "probe_recall@100", "probe_postings_per_document", "probe_terms_per_query")
COLUMNS = ("nDCG@10", "R@100", "postings_per_document", "terms_per_query")


def evaluated(encoder: LatentTermEncoder, path: Path) -> list[float]:
    row = evaluate_collections(encoder, [path], baselines=[]).to_json()["mean"]["latent"]
    return [row[column] for column in COLUMNS]


@pytest.mark.parametrize(
    "terms, scoring",
    [(None, None), (TermsConfig(pooling="max", k_documents=3, k_queries=2), BM25Config(k1=4.0, document_transform="log1p"))],
)
def test_the_numbers_are_those_of_an_evaluation(terms: Any, scoring: Any, encoder: Any, other_encoder: Any, pets: Path) -> None:
    probe = make_probe(pets, encoder.backbone, terms=terms, scoring=scoring)
    for each in (encoder, other_encoder):
        given = probe(each.sae)
        assert tuple(given) == KEYS
        known = LatentTermEncoder(each.backbone, each.sae, terms, scoring)
        assert list(given.values()) == evaluated(known, pets)


def test_the_backbone_runs_once(encoder: Any, pets: Path, corpus_size: int = 6) -> None:
    loaded: list[int] = []

    def load() -> Any:
        loaded.append(1)
        return encoder.backbone

    probe = make_probe(pets, load)
    assert not loaded and encoder.backbone.n_encoded == 0
    first = probe(encoder.sae)
    texts = encoder.backbone.n_encoded
    assert texts == corpus_size + 3  # documents, and queries that have judgements
    assert probe(encoder.sae) == first
    assert loaded == [1] and encoder.backbone.n_encoded == texts


def test_other_weights_give_other_numbers(encoder: Any, pets: Path) -> None:
    from lexite.sae import SparseAutoencoder

    probe = make_probe(pets, encoder.backbone)
    never = SparseAutoencoder(
        SAEConfig(d_model=16, n_latents=8, k=2), torch.zeros(8, 16), torch.full((8,), -9.0), None, torch.zeros(16)
    )
    assert list(probe(never).values()) == [0.0, 0.0, 0.0, 0.0]
    assert probe(encoder.sae)["probe_ndcg@10"] > 0


def test_a_training_logs_its_probe(documents: Path, collection: Path, tiny_model: Path, tmp_path: Path) -> None:
    model = BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4)
    training = TrainingConfig(
        tokens=600, epochs=99, batch_tokens=64, buffer_tokens=256, log_tokens=150, probe_tokens=300, checkpoint_tokens=600
    )
    probe = training_probe(collection, [documents], model)
    options: dict[str, Any] = {"backbone": model, "sae": SAEConfig(n_latents=48, k=4), "training": training}
    train([documents], tmp_path / "probed", probe=probe, **options)
    train([documents], tmp_path / "plain", **options)
    records = [json.loads(line) for line in (tmp_path / "probed" / "metrics.jsonl").read_text().splitlines()]
    probed = [record for record in records if "probe_ndcg@10" in record]
    assert len(probed) == 2 and len(records) > 2
    encoder, plain = (LatentTermEncoder.from_pretrained(tmp_path / name) for name in ("probed", "plain"))
    assert [probed[-1][key] for key in KEYS] == evaluated(encoder, collection)
    assert encoder.fingerprint == plain.fingerprint  # it only looks


def test_states_name_the_model_of_the_probe(collection: Path, documents: Path, tiny_model: Path, tmp_path: Path) -> None:
    from lexite.backbone import StateStore, iterate_states, load_backbone

    backbone = load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4))
    texts = [json.loads(line)["text"] for line in documents.read_text().splitlines()]
    store = StateStore.write(
        tmp_path / "states", iterate_states(backbone, texts, "document"), backbone_info=backbone.info(), kind="document"
    )
    sae = LatentTermEncoder.from_pretrained(_trained(store.path, tmp_path)).sae
    assert training_probe(collection, [store.path], BackboneConfig())(sae) == make_probe(collection, backbone)(sae)
    np.save(tmp_path / "foreign.npy", np.zeros((3, 4), dtype=np.float32))
    with pytest.raises(BackboneError, match="does not say which model"):
        training_probe(collection, [tmp_path / "foreign.npy"], BackboneConfig())


def _trained(states: Path, tmp_path: Path) -> Path:
    training = TrainingConfig(tokens=100, batch_tokens=50, buffer_tokens=100, epochs=9)
    train([states], tmp_path / "v", sae=SAEConfig(n_latents=32, k=4), training=training)
    return tmp_path / "v"


def test_what_is_wrong_is_told_before_the_training(
    encoder: Any, pets: Path, make_collection: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CorpusError, match="nowhere does not exist"):
        make_probe(pets.parent / "nowhere", encoder.backbone)
    with pytest.raises(CorpusError, match="no qrels/dev.tsv"):
        make_probe(pets, encoder.backbone, split="dev")
    broken = make_collection("broken", {"a": "cats"}, {"q": "cats"}, {"q": {"b": 1}})
    with pytest.raises(CorpusError, match="'b'"):
        make_probe(broken, encoder.backbone)
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match="ir-measures"):
        make_probe(pets, encoder.backbone)
    assert encoder.backbone.n_encoded == 0
