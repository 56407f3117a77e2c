"""The vocabulary that comes with lexite: there, whole, small, and better than its baselines on a real collection."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from lexite import BM25Index, LatentTermEncoder, Searcher, evaluate_collections
from lexite.scoring.words import LiteralConfig
from lexite.search.strategies.maxsim import MaxSim
from lexite.search.strategies.query_tokens import unit_rows
from lexite.terms import find_folder, read_manifest

SHARED = Path(os.environ.get("LEXITE_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data" / "collections"


@pytest.fixture(scope="module")
def encoder() -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained()


def test_it_is_an_encoder_of_at_most_16_mebibytes_with_its_recipe() -> None:
    folder = find_folder("default")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 16 * 2**20
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


def test_its_labels_are_names_kinds_and_examples(encoder: LatentTermEncoder) -> None:
    vocabulary = encoder.vocabulary
    assert vocabulary is not None and vocabulary.described is not None
    named = [term for term in range(vocabulary.n_latents) if vocabulary.described.trusted(term)]
    names = [vocabulary.label(term) for term in named]
    assert len(named) > 4000 and len(set(map(str.casefold, names))) > 0.98 * len(named)
    assert all(1 <= len(name.split()) <= 4 for name in names)
    kinds = {vocabulary.kind(term) for term in named}
    assert kinds == {"lexical", "narrow", "broad"}, "what has no trusted name is unclear, a function word or dead"
    bank = vocabulary.about(max(named, key=lambda term: vocabulary.label(term) == "bank"))
    assert bank.contexts and bank.related and all(context.marks for context in bank.contexts)


def test_its_token_decoder_gives_token_states_back(encoder: LatentTermEncoder) -> None:
    decoder = encoder.token_decoder
    assert encoder.sae.decoder_weight is None and decoder is not None
    assert (decoder.n_latents, decoder.d_model, decoder.rank) == (16384, 384, 128)
    states = encoder.backbone.encode(["The bank raised its interest rates again.", "Otters live along the river."], "document")
    decoded = encoder.codes(states, 6).to_dense().numpy() @ decoder.atoms + decoder.bias
    seen = states.states.float().numpy() @ decoder.projection
    cosines = (unit_rows(decoded) * unit_rows(seen)).sum(axis=1)
    assert cosines.mean() > 0.8 and (unit_rows(decoded) @ unit_rows(seen).T).argmax(axis=1).tolist() == list(range(len(seen)))


def test_maxsim_ranks_an_index_of_it_by_codes(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    texts = ["The physician examined her patient.", "The bank raised its rates.", "A train arrives at noon."]
    with Searcher.build(texts=texts, path=tmp_path / "index", vocabulary=encoder, token_codes=True) as searcher:
        (hits,) = searcher.rank(["when does the railway run"], 3, then=[MaxSim(alone=True)])
        (expected,) = searcher.rank(["when does the railway run"], 3, then=[MaxSim(source="states", alone=True)])
        codes = searcher.index.token_codes(hits)
    assert hits[0].id == expected[0].id == "3" and hits[0].score == pytest.approx(expected[0].score, rel=0.35)
    assert np.diff(codes.entries).max() == 6 and np.isnan(codes.norms).all()


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
