"""The token decoder of a vocabulary: rounding, projection, its file, and how it goes along with the vocabulary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from lexite.corpus import Document
from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.errors import ConfigError, CorpusError, ModelError
from lexite.recipes.token_decoder import MAP_RIDGE, drawn_passages, fit_to_states, fit_token_decoder
from lexite.terms import LatentTermEncoder, TokenDecoder, read_manifest
from lexite.terms.config import DecoderConfig
from lexite.terms.token_decoder import FILE_NAME, projected


def random_decoder(n_latents: int, d_model: int, rank: int, seed: int = 0) -> TokenDecoder:
    generator = np.random.default_rng(seed)
    shapes = (d_model, rank), (n_latents, rank), (rank,)
    return TokenDecoder(*(generator.standard_normal(shape).astype(np.float32) for shape in shapes))


@given(n=st.integers(1, 20), rank=st.integers(1, 9), seed=st.integers(0, 2**31), zero=st.booleans())
def test_atoms_are_rounded_to_half_a_step_once_and_stay(n: int, rank: int, seed: int, zero: bool) -> None:
    decoder = random_decoder(n, 11, rank, seed)
    if zero:
        decoder.atoms[0] = 0.0
    rounded = decoder.rounded()
    errors = np.square(rounded.atoms - decoder.atoms).sum(axis=1)
    step = np.abs(decoder.atoms).max(axis=1, keepdims=True) / 7
    plain = np.rint(decoder.atoms / np.where(step > 0, step, 1)) * step  # the whole range in 15 steps
    half = 7 * step[:, 0] * 2.0**-11 * rank**0.5  # what the scale's own rounding to fp16 adds at most
    assert (np.sqrt(errors) <= np.linalg.norm(plain - decoder.atoms, axis=1) + half + 1e-6).all()
    np.testing.assert_array_equal(rounded.rounded().atoms, rounded.atoms)
    assert all(len(np.unique(row)) <= 15 for row in rounded.atoms)


def test_the_projection_keeps_what_a_singular_value_decomposition_keeps() -> None:
    generator = np.random.default_rng(1)
    atoms = (generator.standard_normal((40, 6)) @ generator.standard_normal((6, 12))).astype(np.float32)
    bias = generator.standard_normal(12).astype(np.float32)
    decoder = projected(atoms, bias, 4)
    left, values, right = np.linalg.svd(atoms.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(decoder.projection @ decoder.projection.T, right[:4].T @ right[:4], atol=1e-5)
    np.testing.assert_allclose(decoder.atoms @ decoder.projection.T, (left[:, :4] * values[:4]) @ right[:4], atol=1e-4)
    np.testing.assert_allclose(decoder.bias, bias @ decoder.projection, atol=1e-5)
    whole = projected(atoms, bias)  # no wider than a state
    assert whole.rank == 12
    np.testing.assert_allclose(whole.atoms @ whole.projection.T, atoms, atol=1e-4)
    with pytest.raises(ConfigError, match="at least 1"):
        projected(atoms, bias, 0)


def test_what_is_saved_comes_back_rounded(tmp_path: Path) -> None:
    decoder = random_decoder(9, 12, 5)
    assert decoder.save(tmp_path) == [FILE_NAME]
    loaded, wanted = TokenDecoder.load(tmp_path), decoder.rounded()
    assert (loaded.n_latents, loaded.d_model, loaded.rank) == (9, 12, 5)
    for name in ("projection", "atoms", "bias"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(wanted, name))
    for each in (loaded, wanted, loaded.reordered(np.array([3, 0, 8]))):
        assert each.levels is not None and each.levels[0].dtype == np.int8
        np.testing.assert_array_equal(each.levels[0] * each.levels[1][:, None], each.atoms)
    assert decoder.levels is None
    with pytest.raises(ModelError, match="levels"):
        replace(decoder, levels=(np.zeros((9, 4), np.int8), np.ones(9, np.float32)))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        TokenDecoder.load(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="is damaged"):
        TokenDecoder.load(tmp_path)
    random_decoder(9, 12, 5).save(tmp_path)
    arrays = load_file(path)

    def written(version: str = "1", **changes: Any) -> None:
        kept = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
        save_file(kept, path, metadata={"format_version": version})

    written(version="2")
    with pytest.raises(ModelError, match="format version 2; this lexite reads 1"):
        TokenDecoder.load(tmp_path)
    infinite = np.full_like(arrays["bias"], np.inf)
    wrong: list[dict[str, Any]] = [{"atoms": None}, {"scales": arrays["scales"][:-1]}, {"bias": arrays["bias"][:2]}]
    wrong += [{"projection": arrays["projection"][:, 1:]}, {"bias": infinite}]
    for changes in wrong:
        written(**changes)
        with pytest.raises(ModelError, match="is damaged"):
            TokenDecoder.load(tmp_path)


def test_it_goes_along_with_the_vocabulary_and_changes_no_fingerprint(encoder, make_backbone, tmp_path):
    decoder = random_decoder(64, 12, 5).rounded()
    with_it = encoder.replaced(token_decoder=decoder)
    assert with_it.fingerprint == encoder.fingerprint and encoder.token_decoder is None
    folder = with_it.save_pretrained(tmp_path / "v")
    assert FILE_NAME in read_manifest(folder)["files"]
    loaded = LatentTermEncoder.from_pretrained(folder, backbone=make_backbone())
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.token_decoder.atoms, decoder.atoms)
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(loaded.reordered(order).token_decoder.atoms, decoder.atoms[order])
    np.testing.assert_array_equal(loaded.prefix(10).token_decoder.atoms, decoder.atoms[:10])
    again = loaded.save_pretrained(tmp_path / "again")
    assert (again / FILE_NAME).read_bytes() == (folder / FILE_NAME).read_bytes()
    content = bytearray((folder / FILE_NAME).read_bytes())
    content[-1] ^= 1
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        LatentTermEncoder.from_pretrained(folder, backbone=make_backbone())


def test_one_that_does_not_fit_is_refused(encoder):
    for n_latents, d_model in ((63, 12), (64, 11)):
        with pytest.raises(ModelError, match=f"{n_latents} atoms for states of width {d_model}, but there are 64"):
            encoder.replaced(token_decoder=random_decoder(n_latents, d_model, 5))
    with pytest.raises(ModelError, match="of one width"):
        TokenDecoder(np.ones((12, 3), np.float32), np.ones((64, 4), np.float32), np.ones(3, np.float32))


def test_an_encoder_that_is_saved_alone_keeps_its_decoder_projected(encoder, make_backbone, tmp_path):
    whole = LatentTermEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "whole"), backbone=make_backbone())
    assert whole.token_decoder is None and whole.sae.decoder_weight is not None
    small = encoder.save_pretrained(tmp_path / "small", encoder_only=True)
    found = LatentTermEncoder.from_pretrained(small, backbone=make_backbone())
    assert found.sae.decoder_weight is None
    wanted = projected(encoder.sae.decoder_weight.numpy(), encoder.sae.decoder_bias.numpy()).rounded()
    np.testing.assert_array_equal(found.token_decoder.atoms, wanted.atoms)
    np.testing.assert_array_equal(found.token_decoder.bias, wanted.bias)


TEXTS = [
    f"The {a} {b} the {c} again." for a in ("cat", "dog", "cow") for b in ("saw", "hears") for c in ("ship", "moon", "sea")
]


@pytest.mark.parametrize("activation", ["topk", "abs_topk"])
def test_the_fit_is_that_of_ridge_regression(encoder, make_sae, activation):
    sae = make_sae()
    from lexite.sae import SparseAutoencoder

    parts = sae.config, sae.encoder_weight, sae.encoder_bias, None, sae.decoder_bias
    alone = encoder.replaced(sae=SparseAutoencoder(*parts, activation=activation, precision="fp32"), vocabulary=None)
    states = [alone.backbone.encode([text], "document") for text in TEXTS * 2]
    config = DecoderConfig(rank=12, ridge=0.4)
    found = fit_to_states(alone, iter(states), config)
    kept = [one for number, one in enumerate(states, start=1) if number % 10]
    rows = torch.cat([one.states for one in kept]).double().numpy()
    codes = np.zeros((len(rows), 64))
    start = 0
    for one in kept:
        values, indices = alone.codes(one, 4).signed(64)
        np.put_along_axis(codes[start : start + one.n_tokens], indices.long().numpy(), values.double().numpy(), axis=1)
        start += one.n_tokens
    weight = sae.encoder_weight.double().numpy()
    seen = np.concatenate([codes @ weight, np.ones((len(rows), 1))], axis=1)
    squares = seen.T @ seen
    solution = np.linalg.solve(squares + MAP_RIDGE * np.trace(squares) / 13 * np.eye(13), seen.T @ rows)
    prior, bias = weight @ solution[:-1], solution[-1]
    energies = np.square(codes).sum(axis=0)
    ridge = 0.4 * np.median(energies[energies > 0])
    exact = prior + np.linalg.solve(codes.T @ codes + ridge * np.eye(64), codes.T @ (rows - bias - codes @ prior))
    decoder = found.decoder
    np.testing.assert_allclose(codes @ decoder.atoms @ decoder.projection.T, codes @ exact, atol=0.05)
    assert found.n_tokens == len(rows) and found.kept == pytest.approx(1.0)
    others = torch.cat([one.states for number, one in enumerate(states, start=1) if number % 10 == 0]).double().numpy()
    wide = [alone.codes(one, 4).signed(64) for number, one in enumerate(states, start=1) if number % 10 == 0]
    dense = np.zeros((len(others), 64))
    start = 0
    for values, indices in wide:
        np.put_along_axis(dense[start : start + len(values)], indices.long().numpy(), values.double().numpy(), axis=1)
        start += len(values)
    missed = others - (dense @ decoder.atoms + decoder.bias) @ decoder.projection.T
    assert found.fvu == pytest.approx(np.square(missed).sum() / np.square(others - others.mean(axis=0)).sum(), abs=1e-3)


def test_a_passage_of_each_text_is_drawn_by_the_seed(encoder):
    long = " ".join(f"Sentence number {number} is about the sea and the wind." for number in range(120))
    passages = cut_documents([Document("", long)], PassageConfig()).texts
    drawn = [next(drawn_passages([long], seed)) for seed in range(12)]
    assert set(drawn) <= set(passages) and len(set(drawn)) > 1
    assert drawn == [next(drawn_passages([long], seed)) for seed in range(12)]
    assert list(drawn_passages(["short", ""], 0)) == ["short", ""]
    once, again = (fit_token_decoder(encoder, TEXTS, DecoderConfig(rank=3)).decoder for _ in range(2))
    np.testing.assert_array_equal(once.atoms, again.atoms)
    with pytest.raises(CorpusError, match="no text to fit"):
        fit_token_decoder(encoder, [])


def test_the_command_line_adds_one(documents: Path, tiny_vocabulary: Path, tmp_path: Path, capsys) -> None:
    from lexite.cli.app import main

    words = [str(tiny_vocabulary), str(documents), "-o", str(tmp_path / "with"), "--rank", "8", "--json", "-"]
    assert main(["-q", "fit-decoder", *words]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rank"] == 8 and facts["tokens"] > 0 and facts["fvu"] is None
    before, after = read_manifest(tiny_vocabulary), read_manifest(tmp_path / "with")
    assert after["fingerprint"] == before["fingerprint"] and after["files"][FILE_NAME]["bytes"] > 0
    index = str(tmp_path / "index")
    assert main(["-q", "index", str(documents), "-o", index, "--vocabulary", str(tmp_path / "with"), "--token-codes"]) == 0
    assert main(["-q", "search", index, "milk of the cow", "--then", "maxsim"]) == 0
    assert main(["-q", "fit-decoder", str(tiny_vocabulary), "-o", str(tmp_path / "x")]) == 2
