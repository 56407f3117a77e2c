"""The vocabulary that comes with lexite: there, whole, small, and better than its baselines on a real collection."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from lexite import BM25Index, LatentTermEncoder, evaluate_collections
from lexite.scoring.words import LiteralConfig
from lexite.terms import find_folder, read_manifest

SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data" / "collections"


@pytest.fixture(scope="module")
def encoder() -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained()


def test_it_is_an_encoder_of_at_most_16_megabytes_with_its_recipe() -> None:
    folder = find_folder("default")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * 10**6
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    manifest = read_manifest(folder)
    assert recipe == manifest["details"]["recipe"]
    assert recipe["n_latents"] == manifest["sae"]["n_latents"] == 16384
    card = (folder / "README.md").read_text()
    assert "CC BY-SA" in card
    assert "Wikinews" in card


def test_no_path_of_a_machine_is_in_it() -> None:
    texts = [path.read_text() for path in find_folder("default").iterdir() if path.suffix in (".json", ".yaml", ".md")]
    assert len(texts) >= 4
    assert not any(re.search(r"(?<![\w.:/])/(home|root|usr|tmp|work|Users)\b", text) for text in texts)


def test_meaning_is_found_without_a_common_word(encoder: LatentTermEncoder) -> None:
    texts = ["The physician examined her patient.", "A recipe for apple cake.", "The train arrives at noon."]
    index = BM25Index.in_memory(encoder.encode_documents(texts), ["doctor", "cake", "train"], encoder.scoring)
    queries = ["medical doctors", "baking desserts", "railway timetable"]
    hits = index.search(encoder.encode_queries(queries), top_k=1)
    assert [hit[0].id for hit in hits] == ["doctor", "cake", "train"]


def test_its_terms_have_labels(encoder: LatentTermEncoder) -> None:
    assert encoder.vocabulary is not None
    assert sum(bool(words) for words in encoder.vocabulary.labels) > 0.8 * encoder.n_latents
    labels = " ".join(label for _, label, _ in encoder.query_terms("guitar strings"))
    assert "guitar" in labels


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no test collections at {SHARED}; set LEXITE_SHARED")
def test_it_beats_the_dense_model_and_words_on_cisi(encoder: LatentTermEncoder) -> None:
    row = evaluate_collections(encoder, [SHARED / "cisi"]).to_json()["collections"]["cisi"]
    assert row["latent"]["nDCG@10"] > row["dense"]["nDCG@10"]
    assert row["latent"]["nDCG@10"] > row["bm25"]["nDCG@10"]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no test collections at {SHARED}; set LEXITE_SHARED")
def test_words_find_names_where_latent_terms_do_not(encoder: LatentTermEncoder) -> None:
    found = {}
    for literal in (LiteralConfig(literal=False), LiteralConfig()):
        report = evaluate_collections(encoder, [SHARED / "limit_small"], baselines=(), literal=literal)
        found |= {system: row["nDCG@10"] for system, row in report.to_json()["collections"]["limit_small"].items()}
    assert found["latent+words"] >= 0.97
    assert found["latent"] == pytest.approx(0.68, abs=0.01)
