"""Saved vocabularies: what comes back, what is refused, and the model card."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import yaml

from lexite.backbone.config import BackboneConfig
from lexite.errors import ConfigError, LexiteError, ModelError, StorageError
from lexite.files import sha256_file
from lexite.terms import (
    BM25Config,
    LatentTermEncoder,
    ModelDetails,
    TermsConfig,
    add_results,
    find_folder,
    measure_vocabulary,
    read_manifest,
)
from lexite.terms.card import hub_name, usage
from lexite.terms.manifest import seal_manifest

ROW = {"nDCG@10": 0.7012, "R@100": 0.93, "MRR@10": 0.66, "postings_per_document": 591.26}
LATENT = {**ROW, "terms_per_query": 113.0, "bytes_per_document": 4731.0}
RESULTS = {
    "vocabulary": "tiny",
    "collections": {"scifact": {"latent": LATENT, "bm25": {**ROW, "nDCG@10": 0.6617, "R@100": None}}},
    "mean": {"latent": LATENT, "bm25": ROW},
}


@pytest.fixture
def measured(encoder, texts):
    """An encoder with nothing at its default."""
    return LatentTermEncoder(
        encoder.backbone,
        encoder.sae,
        TermsConfig(pooling="max", k_documents=3, k_queries=2),
        BM25Config(k1=2.0, document_transform="log1p"),
        measure_vocabulary(encoder, texts, source="five sentences"),
        details=ModelDetails("tiny", "mit", "Five *sentences*.", {"tokens": 1000, "k": 4}),
    )


@pytest.fixture
def saved(measured, tmp_path):
    return measured.save_pretrained(tmp_path / "tiny")


def load(folder, backbone):
    return LatentTermEncoder.from_pretrained(folder, backbone=backbone)


def test_what_is_saved_comes_back(measured, saved, make_backbone, texts):
    loaded = load(saved, make_backbone())
    assert (loaded.terms, loaded.scoring, loaded.details) == (measured.terms, measured.scoring, measured.details)
    assert loaded.fingerprint == measured.fingerprint and loaded.source == str(saved)
    assert loaded.vocabulary is not None and measured.vocabulary is not None
    assert loaded.vocabulary.labels == measured.vocabulary.labels
    assert (loaded.encode_documents(texts) != measured.encode_documents(texts)).nnz == 0
    queries, wanted = loaded.encode_queries(texts), measured.encode_queries(texts)
    assert (queries.to_csr() != wanted.to_csr()).nnz == 0
    assert (queries.fingerprint, queries.settings) == (wanted.fingerprint, wanted.settings)
    assert loaded.sae.decoder_weight is not None


def test_vocabularies_from_before_floors_drop_no_terms(saved, measured, make_backbone):
    manifest = read_manifest(saved)
    for part, newer in (("terms", ("floor_documents", "floor_queries")), ("scoring", ("idf_power", "literal_weight"))):
        earlier = {key: value for key, value in manifest[part].items() if key not in newer}
        assert len(earlier) == len(manifest[part]) - 2
        edit(saved, **{part: earlier})
    loaded = load(saved, make_backbone())
    assert loaded.terms == replace(measured.terms, floor_documents=0.0, floor_queries=0.0) != measured.terms
    assert loaded.scoring == replace(measured.scoring, idf_power=1.0, literal_weight=3.0) != measured.scoring


def test_the_backbone_that_the_folder_names_is_loaded(measured, tmp_path, make_backbone, monkeypatch):
    config = BackboneConfig(model="fake-model", max_length=100, device="cpu", trust_remote_code=True)
    backbone = make_backbone(config)
    folder = LatentTermEncoder(backbone, measured.sae).save_pretrained(tmp_path / "v")
    asked = []
    monkeypatch.setattr("lexite.terms.saving.load_backbone", lambda config: asked.append(config) or backbone)
    LatentTermEncoder.from_pretrained(folder)
    LatentTermEncoder.from_pretrained(folder, device="cuda:1", precision="fp32", trust_remote_code=True)
    assert asked[0] == BackboneConfig(model="fake-model", max_length=100), "neither device nor trust comes from a folder"
    changed = {"device": "cuda:1", "precision": "fp32", "trust_remote_code": True}
    assert asked[1] == BackboneConfig(model="fake-model", max_length=100, **changed)


def test_the_source_of_a_folder_does_not_depend_on_where_one_is(saved, make_backbone, monkeypatch):
    monkeypatch.chdir(saved.parent)
    assert load("tiny", make_backbone()).source == str(saved)


def test_a_model_folder_is_saved_as_an_absolute_path(encoder, tmp_path, make_backbone, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    backbone = make_backbone(BackboneConfig(model="model"))
    folder = LatentTermEncoder(backbone, encoder.sae).save_pretrained("out")
    assert read_manifest(folder)["backbone"]["config"]["model"] == str(tmp_path / "model")
    assert "base_model" not in card_header(folder)


def test_encoder_only_in_bf16_is_half_of_a_quarter(measured, tmp_path, make_backbone, texts):
    whole = measured.save_pretrained(tmp_path / "whole")
    small = measured.save_pretrained(tmp_path / "small", encoder_only=True, dtype="bf16")
    sizes = [(folder / "sae.safetensors").stat().st_size for folder in (whole, small)]
    assert sizes[1] < sizes[0] / 2
    loaded = load(small, make_backbone())
    assert loaded.sae.decoder_weight is None
    assert loaded.fingerprint == read_manifest(small)["fingerprint"] != measured.fingerprint
    near = np.log1p(loaded.encode_documents(texts).toarray()) - np.log1p(measured.encode_documents(texts).toarray())
    assert np.abs(near).mean() < 0.05
    again = loaded.save_pretrained(tmp_path / "again", encoder_only=True, dtype="bf16")
    assert sha256_file(again / "sae.safetensors") == sha256_file(small / "sae.safetensors")
    assert load(again, make_backbone()).fingerprint == loaded.fingerprint


def test_the_same_encoder_gives_the_same_files(measured, tmp_path):
    first, second = (measured.save_pretrained(tmp_path / name / "tiny") for name in "ab")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_every_file_but_the_card_has_a_checksum(saved):
    manifest = json.loads((saved / "lexite.json").read_text())
    names = {path.name for path in saved.iterdir()}
    assert set(manifest["files"]) == names - {"lexite.json", "README.md"}
    assert {"sae.safetensors", "sae.json", "vocabulary.json", "vocabulary.safetensors"} <= names
    assert all(sha256_file(saved / name) == facts["sha256"] for name, facts in manifest["files"].items())
    (saved / "README.md").write_text("edited by hand")
    assert read_manifest(saved)["name"] == "tiny"


def test_an_output_folder_is_replaced_only_when_asked(measured, saved, tmp_path):
    with pytest.raises(StorageError, match="exists already"):
        measured.save_pretrained(saved)
    (saved / "stale.txt").write_text("old")
    measured.save_pretrained(saved, overwrite=True)
    assert not (saved / "stale.txt").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="not written by this command"):
        measured.save_pretrained(tmp_path / "notes", overwrite=True)


def test_a_failed_save_leaves_nothing(measured, tmp_path, monkeypatch):
    monkeypatch.setattr("lexite.terms.saving.write_manifest", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(StorageError, match="disk is full"):
        measured.save_pretrained(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_place_is_refused(measured, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        measured.save_pretrained(tmp_path / "out")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def edit(folder, **changes):
    path = folder / "lexite.json"
    seal_manifest(folder, {**json.loads(path.read_text()), **changes})


def test_a_manifest_edited_by_hand_is_refused(saved, make_backbone):
    path = saved / "lexite.json"
    path.write_text(path.read_text().replace('"k1": 2.0', '"k1": 9.0'))
    with pytest.raises(ModelError, match="checksum is not that of its contents"):
        load(saved, make_backbone())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flip(f / "sae.safetensors"), r"sae\.safetensors is damaged: its checksum"),
        (lambda f: flip(f / "vocabulary.safetensors"), r"vocabulary\.safetensors is damaged: its checksum"),
        (lambda f: (f / "sae.safetensors").write_bytes(b""), r"sae\.safetensors is damaged: it has 0 bytes"),
        (lambda f: (f / "sae.safetensors").unlink(), r"sae\.safetensors is missing"),
        (lambda f: (f / "lexite.json").unlink(), "is not a vocabulary: it holds no lexite.json"),
        (lambda f: (f / "lexite.json").write_text('{\n"format": '), "line 2: not valid JSON"),
        (lambda f: (f / "lexite.json").write_text("[]"), "written by something else"),
        (lambda f: edit(f, format="lexite-index"), "written by something else"),
        (lambda f: edit(f, format_version=2), "format version 2; this lexite reads 1"),
        (lambda f: edit(f, scoring=None), "'scoring' is missing"),
        (lambda f: edit(f, name=3), "'name' is missing"),
        (lambda f: edit(f, files={"../sae.json": {}}), "not valid"),
        (lambda f: edit(f, files={"sae.json": 3}), "not valid"),
        (lambda f: edit(f, backbone={"fingerprint": "x"}), "'backbone' has no 'config'"),
        (lambda f: edit(f, fingerprint="0" * 64), "fingerprint does not fit"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(saved, make_backbone, damage, message):
    damage(saved)
    with pytest.raises(ModelError, match=message) as caught:
        load(saved, make_backbone())
    assert "\n" not in str(caught.value) and str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": {"poling": "sum"}}, "unknown key 'poling'. Did you mean 'pooling'"),
        ({"scoring": {"k1": -1.0}}, "k1 is -1.0"),
        ({"terms": {"k_documents": 65}}, "between 1 and 64"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(saved, make_backbone, changes, message):
    edit(saved, **changes)
    with pytest.raises(ConfigError, match=message):
        load(saved, make_backbone())


def test_another_version_of_the_model_is_refused(saved, make_backbone):
    with pytest.raises(ModelError, match="made for another version of fake"):
        load(saved, make_backbone(salt="retrained"))


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "file", tmp_path / "nothing"):
        with pytest.raises(ModelError, match="is a file|does not exist"):
            read_manifest(path)
        with pytest.raises(ModelError, match="is a file|does not exist"):
            find_folder(path)


def card_header(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_says_where_a_vocabulary_comes_from(saved):
    header = card_header(saved)
    assert header["license"] == "mit" and header["library_name"] == "lexite" and "lexite" in header["tags"]
    assert header["base_model"] == "sentence-transformers/fake-model"
    text = (saved / "README.md").read_text(encoding="utf-8")
    for expected in ("# tiny", "Five *sentences*.", "| `tokens` | 1000 |", "Not measured yet", usage("tiny"), "k1 2.0"):
        assert expected in text


@pytest.mark.parametrize("model", ["/data/model", "./model", "a/b/c", "C:\\model"])
def test_a_folder_of_this_machine_is_no_base_model(model):
    assert hub_name(model) is None


def test_results_go_into_the_card(measured, saved, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(RESULTS))
    add_results(saved, tmp_path / "results.json", load_name="someone/tiny")
    text = (saved / "README.md").read_text(encoding="utf-8")
    assert "| scifact | 0.7012 | 0.6617 |" in text and "| scifact | 0.9300 | – |" in text
    assert "| scifact | 591.3 | 113.0 | 4,731.0 |" in text
    assert "mean" not in text.split("## Measured")[1].split("##")[0].replace("MRR@10: mean", "")
    assert '"someone/tiny"' in text
    assert read_manifest(saved)["details"]["results"] == RESULTS
    at_once = measured.save_pretrained(tmp_path / "once", results=RESULTS)
    assert "| scifact | 0.7012 | 0.6617 |" in (at_once / "README.md").read_text(encoding="utf-8")


def test_the_mean_is_shown_for_several_collections(measured, tmp_path):
    several = {**RESULTS, "collections": dict.fromkeys(("a", "b"), RESULTS["collections"]["scifact"])}
    folder = measured.save_pretrained(tmp_path / "v", results=several)
    assert "| **mean** | 0.7012 | 0.7012 |" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("results", [{}, {"collections": 3}, {"collections": {"a": {"latent": {"nDCG@10": "good"}}}}, [1]])
def test_results_of_another_form_are_refused(measured, tmp_path, results):
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(ModelError, match="not in the form"):
        measured.save_pretrained(tmp_path / "out", results=tmp_path / "results.json")
    assert not (tmp_path / "out").exists()


def test_all_errors_are_lexite_errors(tmp_path):
    for bad in (tmp_path / "nothing", "no-such-name", "../somewhere/else"):
        with pytest.raises(LexiteError, match="does not exist"):
            LatentTermEncoder.from_pretrained(bad)
