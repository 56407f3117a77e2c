from __future__ import annotations

import json
import logging
import shutil

import pytest

from lexite.errors import BackboneError, StorageError
from lexite.evaluation import evaluate_collections
from lexite.terms import BM25Config


def evaluate(encoder, path, cache, **options):
    report = evaluate_collections(encoder, [path], cache=cache, **options)
    return report.collections


def test_cached_numbers_are_those_of_the_backbone_and_the_second_time_it_rests(encoder, pets, backbone, tmp_path):
    plain = evaluate_collections(encoder, [pets]).collections
    assert evaluate(encoder, pets, tmp_path / "cache") == plain
    used = backbone.n_encoded, backbone.n_dense
    assert evaluate(encoder, pets, tmp_path / "cache") == plain
    assert (backbone.n_encoded, backbone.n_dense) == used


def test_variants_share_the_cache(encoder, other_encoder, pets, backbone, tmp_path):
    evaluate(encoder, pets, tmp_path / "cache")
    used = backbone.n_encoded, backbone.n_dense
    fewer = evaluate(encoder, pets, tmp_path / "cache", k_documents=1, k_queries=1, scoring=BM25Config(k1=5.0))
    other = evaluate(other_encoder, pets, tmp_path / "cache")
    assert (backbone.n_encoded, backbone.n_dense) == used
    assert fewer == evaluate_collections(encoder, [pets], k_documents=1, k_queries=1, scoring=BM25Config(k1=5.0)).collections
    assert other == evaluate_collections(other_encoder, [pets]).collections


def test_other_texts_and_other_backbones_have_other_entries(encoder, pets, make_collection, backbone, tmp_path):
    cache = tmp_path / "cache"
    evaluate(encoder, pets, cache, baselines=["dense"])
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 4
    changed = make_collection("elsewhere/pets", documents={"d1": "a", "d2": "b", "d3": "c", "d4": "d", "q9": "e"})
    evaluate(encoder, changed, cache, baselines=["dense"])  # the queries are the same, the documents are not
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 6
    backbone.fingerprint = "0" * 64
    evaluate(encoder, pets, cache, baselines=["dense"])
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 10


def files_of(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.parent != cache)


def damage(path, how):
    data = path.read_bytes()
    if how == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "text":
        path.write_text("{}", encoding="utf-8")
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "cut", "text", "delete"])
def test_whatever_is_damaged_is_made_again(encoder, pets, backbone, tmp_path, caplog, how):
    cache = tmp_path / "cache"
    plain = evaluate(encoder, pets, cache)
    untouched = {path: path.read_bytes() for path in files_of(cache)}
    assert len(untouched) >= 8
    for path in untouched:
        caplog.clear()
        damage(path, how)
        with caplog.at_level(logging.WARNING, logger="lexite"):
            assert evaluate(encoder, pets, cache) == plain
        if not (how == "flip" and path.suffix == ".json"):  # the last byte of JSON may be a line's end
            assert "damaged and is made again" in caplog.text, path
            assert files_of(cache) == list(untouched)


def test_a_folder_that_holds_something_else_is_left_alone(encoder, pets, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(StorageError, match="not empty"):
        evaluate_collections(encoder, [pets], cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_made(encoder, pets, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError):
        evaluate_collections(encoder, [pets], cache=tmp_path / "file")


@pytest.mark.parametrize("key, value", [("format_version", 99), ("n_texts", 1)])
def test_vectors_of_another_form_are_made_again(encoder, pets, tmp_path, caplog, key, value):
    cache = tmp_path / "cache"
    plain = evaluate(encoder, pets, cache)
    for path in cache.rglob("vectors.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}), encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="lexite"):
        assert evaluate(encoder, pets, cache) == plain
    assert caplog.text.count("made again") == 2


def test_states_of_too_few_texts_are_made_again(encoder, pets, make_collection, tmp_path, caplog):
    """An entry that is whole, but not that of this collection."""
    cache = tmp_path / "cache"
    plain = evaluate(encoder, pets, cache, baselines=[])
    documents, queries = sorted(path for path in cache.iterdir() if path.is_dir())
    shutil.rmtree(documents)
    shutil.copytree(queries, documents)
    with caplog.at_level(logging.WARNING, logger="lexite"):
        assert evaluate(encoder, pets, cache, baselines=[]) == plain
    assert "holds the states of 3 texts, but the collection has 6" in caplog.text


def test_a_backbone_that_fails_leaves_no_entry_behind(encoder, pets, backbone, tmp_path, monkeypatch):
    def fail(texts, kind):
        raise BackboneError("the weights melted")

    monkeypatch.setattr(backbone, "encode", fail)
    with pytest.raises(BackboneError, match="melted"):
        evaluate_collections(encoder, [pets], cache=tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lexite-state-cache.json"]
