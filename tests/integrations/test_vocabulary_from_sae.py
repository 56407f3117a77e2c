"""An autoencoder that was trained elsewhere as a vocabulary; which reader a folder gets."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexite.backbone import Backbone, BackboneConfig, load_backbone
from lexite.corpus import ReadOptions
from lexite.errors import ConfigError, CorpusError, ModelError
from lexite.integrations import import_vocabulary, read_sae, vocabulary_from_sae, write_saelens, write_sparsify
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.sae.formats.dictionary_learning import CONVERSION
from lexite.terms import LatentTermEncoder

WIDTH, LATENTS = 32, 24
TEXTS = ["The cat and the dog drink milk.", "Rain and snow fall on the lake.", "", "The sort function of the list takes a key."]


@pytest.fixture(scope="module")
def backbone(tiny_model: Path) -> Backbone:
    return load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4))


@pytest.fixture
def make(draw):
    """Makes an autoencoder of the tiny model's width."""

    def autoencoder(activation: str = "topk", **values: object) -> SparseAutoencoder:
        config = SAEConfig(**{"d_model": WIDTH, "n_latents": LATENTS, "k": 3, **values})  # type: ignore[arg-type]
        matrix = torch.nn.functional.normalize(draw(config.n_latents, config.d_model), dim=1)
        thresholds = torch.full((LATENTS,), 0.4) if activation == "jumprelu" else None
        rest = torch.zeros(LATENTS), matrix, draw(config.d_model, scale=0.1)
        return SparseAutoencoder(config, matrix, *rest, activation=activation, thresholds=thresholds, precision="fp32")  # type: ignore[arg-type]

    return autoencoder


@pytest.mark.parametrize("activation", ["topk", "jumprelu", "abs_topk"])
def test_a_vocabulary_encodes_with_the_autoencoder(activation: str, make, backbone, tmp_path: Path) -> None:
    sae = make(activation)
    encoder = vocabulary_from_sae(read_sae(write_saelens(sae, tmp_path / "sae"), precision="fp32"), backbone, texts=TEXTS)
    plain = LatentTermEncoder(backbone, sae)
    assert (encoder.encode_documents(TEXTS) != plain.encode_documents(TEXTS)).nnz == 0
    vocabulary = encoder.vocabulary
    assert vocabulary is not None and vocabulary.n_documents == len(TEXTS) and vocabulary.n_latents == sae.n_terms
    counts = np.bincount(plain.encode_documents(TEXTS).indices, minlength=sae.n_terms)
    np.testing.assert_array_equal(vocabulary.document_counts, counts)
    loaded = LatentTermEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "v"), backbone=backbone)
    assert loaded.fingerprint == encoder.fingerprint
    assert vocabulary_from_sae(sae, backbone).vocabulary is None


def test_the_scale_is_estimated_on_the_text(make, backbone, tmp_path: Path) -> None:
    sae = make("jumprelu", normalize_activations="expected_average_only_in")
    states = backbone.encode(TEXTS, "document").states
    scale = float(WIDTH**0.5 / states.norm(dim=1).mean())
    encoder = vocabulary_from_sae(sae, backbone, texts=TEXTS)
    expected = sae.encode(states * scale).to_dense()
    torch.testing.assert_close(encoder.sae.encode(states).to_dense(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.sae.reconstruct(states) * scale, sae.reconstruct(states * scale), rtol=1e-4, atol=1e-4)
    given = vocabulary_from_sae(sae, backbone, input_scale=2.5)
    torch.testing.assert_close(given.sae.encode(states).to_dense(), sae.encode(states * 2.5).to_dense(), rtol=1e-4, atol=1e-5)
    for result in (encoder, given):
        assert result.sae.config.normalize_activations == "none"
    with pytest.raises(ModelError, match="the factor is not in its files. Give text"):
        vocabulary_from_sae(sae, backbone)
    with pytest.raises(ModelError, match="States cannot be scaled by -1"):
        vocabulary_from_sae(sae, backbone, input_scale=-1.0)
    with pytest.raises(ConfigError, match="scales states by itself"):
        vocabulary_from_sae(make(normalize_activations="layer_norm"), backbone, input_scale=2.0)


def test_bad_arguments(make, backbone) -> None:
    with pytest.raises(ModelError, match="reads states of width 31, but .* gives states of width 32"):
        vocabulary_from_sae(make(d_model=31), backbone)
    with pytest.raises(CorpusError, match="There is no text"):
        vocabulary_from_sae(make(), backbone, texts=[])


def test_the_summary_says_how_well_it_fits(make, backbone, tiny_model, documents, tmp_path: Path, caplog) -> None:
    sae = make("jumprelu", k=LATENTS, rule="relu_l1")
    folder = write_saelens(sae, tmp_path / "sae", metadata={"model_name": "gpt2", "hook_name": "blocks.5.hook_resid_post"})
    config = BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4)
    with caplog.at_level(logging.WARNING, "lexite"):
        summary = import_vocabulary(folder, tmp_path / "v", backbone=config, sources=[documents])
    loaded = LatentTermEncoder.from_pretrained(tmp_path / "v", backbone=backbone)
    from lexite.corpus import read_documents

    states = backbone.encode([document.full_text for document in read_documents([documents])], "document").states.double()
    left = states - sae.reconstruct(states.float()).double()
    fvu = float(left.square().sum() / (states - states.mean(0)).square().sum())
    l0 = sae.encode(states.float()).l0
    assert summary["fvu"] == pytest.approx(fvu, rel=1e-4) and summary["l0"] == pytest.approx(l0)
    assert loaded.sae.config.k == summary["k"] == round(l0)  # the folder does not name one
    assert (summary["library"], summary["trained_on"], summary["place"]) == ("SAELens", "gpt2", "blocks.5.hook_resid_post")
    assert summary["n_documents"] == 6 and summary["latents_used"] > 0 and summary["fingerprint"] == loaded.fingerprint
    assert "was trained on gpt2 (blocks.5.hook_resid_post)" in caplog.text
    assert ("reconstructs the states worse than their mean" in caplog.text) == (fvu >= 1)
    assert loaded.details.licence == "unknown"
    named = loaded.vocabulary.described
    assert named is not None and named.made["source"] == str(documents) and named.made["n_tokens"] <= summary["n_tokens"]
    recipe = loaded.details.recipe
    assert (recipe["imported"], recipe["place"], recipe["fvu"]) == ("sae", "blocks.5.hook_resid_post", summary["fvu"])
    assert "input_scale" not in recipe


@pytest.mark.parametrize(
    ("metadata", "warned"),
    [({"model_name": "somebody/tiny"}, False), ({}, False), ({"model_name": "gpt2"}, True), ({"hook_name": "blocks.1"}, True)],
)
def test_another_origin_is_warned_about(metadata, warned, make, tiny_model: Path, tmp_path: Path, caplog) -> None:
    folder = write_saelens(make(), tmp_path / "sae", metadata=metadata)
    import_vocabulary(folder, tmp_path / "v", backbone=BackboneConfig(model=str(tiny_model), overlap=4))
    assert ("says that it was trained on" in caplog.text) == warned


@pytest.mark.parametrize("library", ["sparsify", "dictionary_learning"])
def test_the_origin_is_found_in_each_format(library: str, make, write, tiny_model: Path, tmp_path: Path) -> None:
    sae, folder = make(), tmp_path / "layers.3"
    if library == "sparsify":
        write_sparsify(sae, folder)
        (tmp_path / "config.json").write_text(json.dumps({"model": "EleutherAI/pythia-70m"}))
    else:
        trainer = {"dict_class": "AutoEncoderNew", "lm_name": "EleutherAI/pythia-70m", "layer": 3}
        tensors = {"encoder.weight": sae.encoder_weight, "encoder.bias": sae.encoder_bias}
        tensors |= {"decoder.weight": sae.decoder_weight.T, "decoder.bias": sae.decoder_bias}
        write(folder, {"trainer": trainer}, tensors, ("config.json", "ae.safetensors"))
    summary = import_vocabulary(folder, tmp_path / "v", backbone=BackboneConfig(model=str(tiny_model), overlap=4))
    assert (summary["library"], summary["trained_on"]) == (library, "EleutherAI/pythia-70m")
    assert summary["place"] == ("layers.3" if library == "sparsify" else "layer 3")


def test_skipped_records_are_reported(make, tiny_model: Path, tmp_path: Path, caplog) -> None:
    (tmp_path / "t.jsonl").write_text('{"_id": "1", "text": "the cat"}\nno json\n')
    folder, config = write_saelens(make(), tmp_path / "sae"), BackboneConfig(model=str(tiny_model), overlap=4)
    import_vocabulary(folder, tmp_path / "v", backbone=config, sources=[tmp_path / "t.jsonl"], read=ReadOptions(skip_bad=True))
    assert "1 bad record was skipped" in caplog.text and "line 2" in caplog.text


def test_states_are_no_model(make, backbone, tmp_path: Path) -> None:
    folder = write_saelens(make(), tmp_path / "sae")
    states = backbone.encode(TEXTS, "document")
    (tmp_path / "states").mkdir()
    np.save(tmp_path / "states" / "states.npy", states.states.numpy())
    np.save(tmp_path / "states" / "offsets.npy", states.offsets)
    with pytest.raises(ModelError, match="holds token states, not a model"):
        import_vocabulary(folder, tmp_path / "v", backbone=BackboneConfig(model=str(tmp_path / "states")))


def test_no_more_text_is_read_than_is_needed(make, backbone, monkeypatch) -> None:
    from lexite.recipes import from_sae as vocabulary

    monkeypatch.setattr(vocabulary, "HEAD_TOKENS", 50)
    monkeypatch.setattr(vocabulary, "SAMPLE_TOKENS", 1200)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield TEXTS[taken % len(TEXTS)]

    measured = vocabulary_from_sae(make(), backbone, texts=endless()).vocabulary
    assert measured is not None and measured.described is not None, "what was read once is named too"
    assert 1200 <= measured.n_tokens < 1200 + 64 * 12
    assert measured.n_documents == taken


def test_the_examples_of_the_page_run(make, tiny_model: Path, tmp_path: Path, monkeypatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sae-import.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    write_saelens(make(), "sae-folder")
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    variables: dict[str, Any] = {}
    exec(first.replace("all-MiniLM-L6-v2", str(tiny_model)).replace("model=", "overlap=4, model="), variables)
    hits = variables["index"].search(variables["encoder"].encode_queries(["otters"]), top_k=1)
    assert len(hits) == 1
    exec(second, variables)
    for name in ("for-saelens", "for-sparsify"):
        assert read_sae(name).fingerprint == read_sae("my-vocabulary").fingerprint
    assert f"\n{CONVERSION}\n" in page


def test_which_reader_a_folder_gets(make, tmp_path: Path) -> None:
    sae = make()
    sae.save(tmp_path / "own")
    write_saelens(sae, tmp_path / "run" / "blocks.1" / "saelens")
    write_sparsify(sae, tmp_path / "run" / "layers.1")
    for folder in (tmp_path / "own", tmp_path / "run" / "blocks.1" / "saelens", tmp_path / "run" / "layers.1"):
        assert read_sae(folder, precision="fp32").fingerprint == sae.fingerprint
    with pytest.raises(ModelError, match=r"run holds autoencoders in folders: blocks.1/saelens, layers.1. Name one"):
        read_sae(tmp_path / "run")
    with pytest.raises(ModelError, match="does not exist"):
        read_sae(tmp_path / "nothing")
    with pytest.raises(ModelError, match="is a file. Name the folder"):
        read_sae(tmp_path / "own" / "sae.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"no cfg.json with sae_weights.safetensors \(SAELens\)"):
        read_sae(tmp_path / "empty")
    (tmp_path / "empty" / "model.pt").write_bytes(b"not opened")
    with pytest.raises(ModelError, match=r"It holds model.pt, a pickle"):
        read_sae(tmp_path / "empty")
