"""Token states on disk: what is read is what was written, and each kind of damage is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.backbone import BackboneConfig, StateStore, TokenStates, concatenate, iterate_states, load_backbone
from lexite.backbone.arrays import GrowingArray, open_array
from lexite.backbone.precomputed import PrecomputedBackbone
from lexite.backbone.store import is_store
from lexite.backbone.transformer import TransformerBackbone
from lexite.errors import BackboneError, StorageError

INFO = {"name": "tiny", "fingerprint": "f" * 64}


def chunk(counts: list[int], dtype: torch.dtype = torch.float32, seed: int = 0, width: int = 4) -> TokenStates:
    generator = torch.Generator().manual_seed(seed)
    n = sum(counts)
    states = torch.randn(n, width, generator=generator).to(dtype)
    return TokenStates(states, np.cumsum([0, *counts]).astype(np.int64), np.arange(n, dtype=np.int32) + seed)


def write(path: Path, chunks: list[TokenStates], **options: Any) -> StateStore:
    return StateStore.write(path, iter(chunks), backbone_info=INFO, kind="document", **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_read_is_what_was_written(tmp_path: Path, dtype: torch.dtype) -> None:
    chunks = [chunk([2, 0, 3], dtype), chunk([], dtype), chunk([1, 4], dtype, seed=5)]
    write(tmp_path / "s", chunks, ids=list("abcde"))
    store = StateStore.open(tmp_path / "s", verify=True)
    assert (store.n_texts, store.n_tokens, store.d_model, store.kind) == (5, 10, 4, "document")
    assert (store.backbone_name, store.fingerprint, store.ids()) == ("tiny", "f" * 64, list("abcde"))
    expected = concatenate(chunks)
    for size in (1, 2, 100):
        parts = list(store.iterate(size))
        assert [part.n_texts for part in parts] == [min(size, 5 - i) for i in range(0, 5, size)]
        joined = concatenate(parts)
        assert joined.states.dtype == dtype
        assert torch.equal(joined.states, expected.states)
        assert joined.offsets.tolist() == expected.offsets.tolist()
        assert joined.token_ids.tolist() == expected.token_ids.tolist()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=4), st.integers(1, 5))
def test_any_shape_survives(tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], size: int) -> None:
    chunks = [chunk(counts, seed=i) for i, counts in enumerate(shapes)]
    store = write(tmp_path_factory.mktemp("any") / "s", chunks)
    expected = concatenate(chunks)
    assert [text.tolist() for part in store.iterate(size) for text in map(part.text, range(part.n_texts))] == [
        expected.text(i).tolist() for i in range(expected.n_texts)
    ]


def test_numpy_itself_reads_the_arrays(tmp_path: Path) -> None:
    write(tmp_path / "s", [chunk([2, 1])])
    assert np.load(tmp_path / "s" / "states.npy").shape == (3, 4)
    assert np.load(tmp_path / "s" / "offsets.npy").tolist() == [0, 2, 3]


def test_states_of_a_model_are_cached_exactly(
    tmp_path: Path, mean_folder: Path, load: Callable[..., TransformerBackbone]
) -> None:
    backbone = load(mean_folder, precision="bf16")
    texts = ["the cat", "", "a dog sat"]
    stream = iterate_states(backbone, texts, "query", texts_per_chunk=2)
    store = StateStore.write(tmp_path / "s", stream, backbone_info=backbone.info(), kind="query")
    direct = concatenate(list(iterate_states(backbone, texts, "query", texts_per_chunk=2)))
    assert torch.equal(store.read(0, 3).states, direct.states)
    again = load_backbone(BackboneConfig(model=str(tmp_path / "s")))
    assert isinstance(again, PrecomputedBackbone)
    assert (again.fingerprint, again.d_model, again.name, again.config) == (
        backbone.fingerprint, backbone.d_model, backbone.name, backbone.config
    )  # fmt: skip
    assert again.info()["config"]["model"] == str(mean_folder)
    assert sum(part.n_tokens for part in again.iterate(2)) == direct.n_tokens


def test_precomputed_states_cannot_encode(tmp_path: Path) -> None:
    write(tmp_path / "s", [chunk([2])])
    backbone = load_backbone(BackboneConfig(model=str(tmp_path / "s")))
    assert backbone.precision == "fp32"
    assert backbone.describe_token(3) == "?"
    for call in (
        lambda: backbone.encode(["x"], "query"),
        lambda: backbone.dense(["x"], "query"),
        lambda: backbone.dense_scores([], []),
    ):
        with pytest.raises(BackboneError, match="holds precomputed token states, not a model"):
            call()


def test_a_manifest_with_another_configuration_is_refused(tmp_path: Path) -> None:
    StateStore.write(tmp_path / "s", iter([chunk([2])]), backbone_info={"config": {"modle": "x"}}, kind="query")
    with pytest.raises(BackboneError, match="Did you mean 'model'"):
        load_backbone(BackboneConfig(model=str(tmp_path / "s")))


# Arrays from elsewhere


def test_one_array_is_a_store_of_single_tokens(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    np.save(tmp_path / "activations.npy", rows)
    backbone = load_backbone(BackboneConfig(model=str(tmp_path / "activations.npy")))
    assert isinstance(backbone, PrecomputedBackbone)
    assert (backbone.name, backbone.d_model, len(backbone.fingerprint)) == ("activations", 3, 64)
    assert backbone.config.model == str(tmp_path / "activations.npy")
    parts = list(backbone.iterate(2))
    assert [part.n_texts for part in parts] == [2, 2, 1]
    np.testing.assert_array_equal(torch.cat([part.states for part in parts]).numpy(), rows)
    assert parts[0].token_ids.tolist() == [-1, -1]
    assert backbone.store.ids() is None


def test_a_folder_of_arrays_with_offsets_and_ids(tmp_path: Path) -> None:
    np.save(tmp_path / "states.npy", np.ones((5, 3), dtype=np.float16))
    np.save(tmp_path / "offsets.npy", np.array([0, 2, 5]))
    np.save(tmp_path / "token_ids.npy", np.arange(5, dtype=np.int32))
    assert is_store(tmp_path)
    store = StateStore.open(tmp_path)
    assert (store.n_texts, store.kind, store.dtype) == (2, None, "float16")
    assert store.read(1, 2).token_ids.tolist() == [2, 3, 4]
    np.save(tmp_path / "offsets.npy", np.array([0, 2, 4]))
    with pytest.raises(BackboneError, match="rise from 0 to the number of token states"):
        StateStore.open(tmp_path)


def test_nan_in_an_array_names_file_and_text(tmp_path: Path) -> None:
    rows = np.ones((5, 3), dtype=np.float32)
    rows[3, 1] = np.nan
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(BackboneError, match=r"a\.npy: the state of token 0 of text 3 .* NaN"):
        list(StateStore.open(tmp_path / "a.npy").iterate(2))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3)), "holds 2 dimensions of float64, but must hold 2 of float32 or float16"),
        (np.ones(3, dtype=np.float32), "holds 1 dimensions"),
        (np.ones((3, 0), dtype=np.float32), "no width"),
        (np.array([["x"]], dtype=object), "damaged or not a .npy file"),
    ],
)
def test_arrays_of_another_kind(tmp_path: Path, array: Any, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(BackboneError, match=message):
        StateStore.open(tmp_path / "a.npy")


# Damage


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write(tmp_path / "s", [chunk([2, 0, 3])], ids=["a", "b", "c"])
    return tmp_path / "s"


@pytest.mark.parametrize("name", ["states.npy", "offsets.npy", "token_ids.npy"])
def test_missing_truncated_and_garbled_arrays_are_named(stored: Path, name: str) -> None:
    whole = (stored / name).read_bytes()
    for damaged in (whole[:-3], whole[:40], b"", b"text"):
        (stored / name).write_bytes(damaged)
        with pytest.raises(BackboneError, match=f"{name} is damaged"):
            StateStore.open(stored)
    (stored / name).unlink()
    with pytest.raises(BackboneError, match=f"{name} is missing"):
        StateStore.open(stored)
    with pytest.raises(BackboneError, match=f"{name} is missing"):
        StateStore.open(stored, verify=True)


def test_one_flipped_bit_is_found_by_verify(stored: Path) -> None:
    data = bytearray((stored / "states.npy").read_bytes())
    data[-1] ^= 1
    (stored / "states.npy").write_bytes(bytes(data))
    StateStore.open(stored)
    with pytest.raises(BackboneError, match=r"states\.npy is damaged: its SHA-256"):
        StateStore.open(stored, verify=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "x"}, "not the manifest"),
        ({"format_version": 2}, "format version 2 is not known"),
        ({"dtype": "int8"}, "fields dtype or files"),
        ({"files": None}, "fields dtype or files"),
        ({"n_texts": 9}, "says n_texts is 9, but the arrays hold 3"),
        ({"dtype": "bfloat16"}, "must hold 2 of uint16"),
    ],
)
def test_manifests_that_do_not_fit(stored: Path, edit_json: Callable[..., None], changes: dict[str, Any], message: str) -> None:
    edit_json(stored / "states.json", **changes)
    with pytest.raises(BackboneError, match=message):
        StateStore.open(stored)


def test_files_that_do_not_fit_each_other(stored: Path) -> None:
    np.save(stored / "token_ids.npy", np.zeros(3, dtype=np.int32))
    with pytest.raises(BackboneError, match="3 token ids for 5"):
        StateStore.open(stored)


def test_damaged_ids(stored: Path) -> None:
    (stored / "ids.json").write_text('["a"]')
    with pytest.raises(BackboneError, match="one id for each of the 3 texts"):
        StateStore.open(stored).ids()


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="do not exist"):
        StateStore.open(tmp_path / "none")
    with pytest.raises(BackboneError, match="holds no token states"):
        StateStore.open(tmp_path)


# Writing


def failing() -> Iterator[TokenStates]:
    yield chunk([2])
    raise RuntimeError("killed")


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    before = write(tmp_path / "s", [chunk([2, 3])]).read(0, 2).states
    with pytest.raises(RuntimeError, match="killed"):
        StateStore.write(tmp_path / "s", failing(), backbone_info=INFO, kind="query", overwrite=True)
    assert torch.equal(StateStore.open(tmp_path / "s", verify=True).read(0, 2).states, before)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_existing_folders_are_not_replaced_unasked(tmp_path: Path) -> None:
    write(tmp_path / "s", [chunk([2])])
    with pytest.raises(StorageError, match="exists already"):
        write(tmp_path / "s", [chunk([3])])
    assert write(tmp_path / "s", [chunk([3])], overwrite=True).n_tokens == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(StorageError, match="was not written by this command"):
        write(tmp_path / "other", [chunk([3])], overwrite=True)


@pytest.mark.parametrize(
    ("chunks", "options", "message"),
    [
        ([], {}, "no token states to store"),
        ([chunk([2]), chunk([2], width=5)], {}, "changed from 4 × float32 to 5 × float32"),
        ([chunk([2]), chunk([2], torch.bfloat16)], {}, "changed from 4 × float32 to 4 × bfloat16"),
        ([chunk([2], torch.float64)], {}, "cannot be stored"),
        ([chunk([2, 1])], {"ids": ["a"]}, "1 ids for 2 texts"),
    ],
)
def test_streams_that_cannot_be_stored(
    tmp_path: Path, chunks: list[TokenStates], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        write(tmp_path / "s", chunks, **options)
    assert list(tmp_path.iterdir()) == []


def test_nan_is_not_stored(tmp_path: Path) -> None:
    bad = chunk([1, 2])
    bad.states[2, 0] = float("nan")
    with pytest.raises(BackboneError, match="token 1 of text 4 "):
        write(tmp_path / "s", [chunk([1, 1, 1]), bad])


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: GrowingArray, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(GrowingArray, "append", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write(tmp_path / "s", [chunk([2])])
    assert list(tmp_path.iterdir()) == []


def test_growing_array_of_no_rows(tmp_path: Path) -> None:
    with GrowingArray(tmp_path / "a.npy", np.float32, 7):
        pass
    assert open_array(tmp_path / "a.npy", 2, [np.float32]).shape == (0, 7)


def test_the_manifest_is_json_with_checksums(stored: Path) -> None:
    manifest = json.loads((stored / "states.json").read_text())
    assert set(manifest["files"]) == {"states.npy", "offsets.npy", "token_ids.npy", "ids.json"}
    assert (manifest["n_tokens"], manifest["format_version"], manifest["backbone"]["name"]) == (5, 1, "tiny")
