"""Streams of token states: mixed sources, chunks that begin at the same texts, states from a folder."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lexite.backbone import StateStore, TokenStates
from lexite.corpus import Document
from lexite.errors import BackboneError, CorpusError
from lexite.training import sources
from lexite.training.sources import StoreSource, TextSource, mix, text_chunks


class Lengths:
    """A backbone whose states say how long the text is, one token per word."""

    fingerprint = "lengths"

    def encode(self, texts: Sequence[str], kind: str) -> TokenStates:
        assert kind == "document"
        counts = [len(text.split()) for text in texts]
        states = torch.tensor([[float(len(text))] for text, n in zip(texts, counts, strict=True) for _ in range(n)])
        return TokenStates(states, np.cumsum([0, *counts]), np.zeros(sum(counts), dtype=np.int32))


def corpus(path: Path, texts: Sequence[str]) -> Path:
    path.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    return path


def test_mixing_gives_the_stream_that_gave_fewest_characters() -> None:
    streams = [
        iter([Document(str(i), text) for i, text in enumerate(texts)]) for texts in (["aaaa", "a", "aa"], ["b", "bb", "bbb"])
    ]
    assert list(mix(streams)) == ["aaaa", "b", "bb", "bbb", "a", "aa"]


def test_chunks_are_bounded_in_characters_and_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK_CHARACTERS", 10)
    monkeypatch.setattr(sources, "TEXTS_PER_CHUNK", 3)
    assert list(text_chunks(iter(["123456", "123456", "1", "2", "3", "4"]))) == [["123456", "123456"], ["1", "2", "3"], ["4"]]


def test_skipping_gives_the_rest_of_the_same_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK_CHARACTERS", 12)
    path = corpus(tmp_path / "c.jsonl", ["a b", "c d e", "f", "g h i j", "k", "l m"])
    source = TextSource([path], Lengths())  # type: ignore[arg-type]
    whole = list(source.chunks())
    position = 0
    for number, chunk in enumerate(whole):
        rest = list(source.chunks(position))
        assert len(rest) == len(whole) - number
        assert all(torch.equal(a.states, b.states) for a, b in zip(rest, whole[number:], strict=True))
        position += chunk.n_texts
    assert position == 6


def test_the_identity_notices_another_file_under_the_name(tmp_path: Path) -> None:
    path = corpus(tmp_path / "c.jsonl", ["one"])
    before = TextSource([path], Lengths()).identity  # type: ignore[arg-type]
    corpus(path, ["one more"])
    assert TextSource([path], Lengths()).identity != before  # type: ignore[arg-type]


def test_standard_input_is_read_once_and_its_beginning_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SAMPLE_CHARACTERS", 8)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one two\nthree\nfour\n"), encoding="utf-8"))
    source = TextSource(["-"], Lengths())  # type: ignore[arg-type]
    assert not source.repeatable
    assert sum(len(chunk.states) for chunk in source.chunks()) == 4
    assert list(source.sample()) == ["one two", "three"]


def test_a_folder_with_another_file_is_another_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    before = TextSource([tmp_path], Lengths()).identity  # type: ignore[arg-type]
    assert TextSource([tmp_path], Lengths()).identity == before  # type: ignore[arg-type]
    (tmp_path / "b.txt").write_text("two")
    assert TextSource([tmp_path], Lengths()).identity != before  # type: ignore[arg-type]
    assert list(TextSource([tmp_path], Lengths()).sample()) == ["one", "two"]  # type: ignore[arg-type]


def test_sources_are_checked_at_once(tmp_path: Path) -> None:
    for names in ([], [tmp_path / "missing.jsonl"]):
        with pytest.raises(CorpusError):
            TextSource(names, Lengths())  # type: ignore[arg-type]


def write_store(path: Path, value: float) -> StateStore:
    states = TokenStates(torch.full((4, 2), value), np.array([0, 1, 4]), np.zeros(4, dtype=np.int32))
    StateStore.write(path, [states], backbone_info={"name": "m"}, kind="document", ids=["a", "b"])
    return StateStore.open(path)


def test_a_folder_of_states_is_a_source(tmp_path: Path) -> None:
    source = StoreSource(write_store(tmp_path / "states", 1.5))
    chunks = list(source.chunks())
    assert sum(chunk.n_texts for chunk in chunks) == 2
    assert torch.equal(torch.cat([chunk.states.float() for chunk in chunks]), torch.full((4, 2), 1.5))
    assert list(source.chunks(2)) == []


def test_nan_in_a_folder_of_states_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="NaN or infinity"):
        list(StoreSource(write_store(tmp_path / "states", float("nan"))).chunks())
