"""Counting the word pieces that a vocabulary cannot read, held against counting them one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.backbone import BackboneConfig, load_backbone
from lexite.backbone.states import TokenStates
from lexite.scoring.rows import CSRRows
from lexite.terms import LatentTermEncoder, StaticTable, chunks
from lexite.terms.piece_counts import PieceCounts, unread_pieces

N_PIECES = 6


def states_of(texts: list[list[int]], unknown: list[int] | None) -> TokenStates:
    import torch

    ids = np.array([piece for text in texts for piece in text], dtype=np.int32)
    left_out = None if unknown is None else np.array(unknown, dtype=np.int64)
    offsets = np.cumsum([0, *map(len, texts)]).astype(np.int64)
    return TokenStates(torch.zeros(len(ids), 2), offsets, ids, left_out)


TEXTS = st.lists(st.tuples(st.lists(st.integers(-1, N_PIECES + 1), max_size=5), st.integers(0, 3)), max_size=5)


@given(st.lists(TEXTS, max_size=4), st.lists(st.booleans(), min_size=N_PIECES, max_size=N_PIECES))
def test_counts_are_those_of_each_text(chunks_of_texts: list, unread: list[bool]) -> None:
    counts = PieceCounts(np.array(unread))
    for texts in chunks_of_texts:
        counts.add(states_of([ids for ids, _ in texts], [n for _, n in texts]))
    listed = [text for texts in chunks_of_texts for text in texts]
    assert counts.pieces.tolist() == [len(ids) + n for ids, n in listed]
    expected = [n + sum(0 <= piece < N_PIECES and unread[piece] for piece in ids) for ids, n in listed]
    assert counts.not_read.tolist() == expected


def test_parts_of_a_text_are_counted_together() -> None:
    counts = PieceCounts(np.array([True, False]))
    counts.add(states_of([[0], [1, 1]], None))
    counts.add(states_of([[0, 0, 1]], [2]), one_text=True)
    assert (counts.pieces.tolist(), counts.not_read.tolist()) == ([1, 7], [1, 4])


def table(counts: list[int]) -> StaticTable:
    rows = CSRRows(np.zeros(len(counts) + 1, dtype=np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), (len(counts), 4))
    return StaticTable(rows, np.array(counts), "{}")


class Tokens:
    """A backbone of which only the pieces are asked for."""

    unknown_id = 0

    def __init__(self, *pieces: str) -> None:
        self.describe_token = pieces.__getitem__


def test_scripts_that_were_hardly_seen_are_unread() -> None:
    tokens = Tokens("[UNK]", "cat", "##s", "д", "##ом", "猫", "7", "β", "é")
    found = unread_pieces(tokens, table([0, 90_000, 9_000, 50, 40, 0, 500, 400, 0]))  # type: ignore[arg-type]
    assert found.tolist() == [True, False, False, True, True, True, False, False, False]
    assert unread_pieces(tokens, None).tolist() == [True]  # type: ignore[arg-type]


@pytest.mark.parametrize("special_tokens", ["drop", "keep"])
def test_unknown_pieces_are_counted_whether_they_are_kept_or_not(tiny_model: Path, special_tokens: str) -> None:
    config = BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4, special_tokens=special_tokens)  # type: ignore[arg-type]
    backbone = load_backbone(config)
    counts = PieceCounts(unread_pieces(backbone, None))
    counts.add(backbone.encode(["the cat", "猫 cat", "", "猫", "猫 " * 70 + "cat " * 30], "document"))
    frame = 2 if special_tokens == "keep" else 0
    assert counts.pieces.tolist() == [n + frame for n in (2, 2, 0, 1, 100)]  # windows of a long text count each piece once
    assert counts.not_read.tolist() == [0, 1, 0, 1, 70]


def test_the_encoder_counts_on_the_way(tiny_vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    texts = ["the cat", "猫 " * 40 + "cat", "猫"]
    counts = PieceCounts(encoder.components.unread_pieces)
    rows = encoder.encode_documents(texts, pieces=counts, texts_per_chunk=2)
    assert (counts.pieces.tolist(), counts.not_read.tolist()) == ([2, 41, 1], [0, 40, 1])
    assert (rows != encoder.encode_documents(texts)).nnz == 0
    monkeypatch.setattr(chunks, "CHARACTERS_PER_PART", 20)
    counts = PieceCounts(encoder.components.unread_pieces)
    encoder.encode_documents(texts, pieces=counts, texts_per_chunk=1)
    assert (counts.pieces.tolist(), counts.not_read.tolist()) == ([2, 41, 1], [0, 40, 1])
