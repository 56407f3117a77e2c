"""Whole words from word pieces, so that labels read well: ``photo``, ``##synthesis`` becomes ``photosynthesis``.

Three ways of writing pieces are known: WordPiece (``##`` before a piece that goes on), SentencePiece (``▁`` before one that
begins a word) and byte-level BPE (``Ġ`` before one that begins a word, bytes as odd letters).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPECIAL_PIECE = re.compile(r"\[(CLS|SEP|PAD|MASK|UNK|Q|D|unused\d+)\]|</?s>|<(pad|unk|mask|bos|eos|cls|sep)>|<\|.*\|>")
MAX_LETTERS = 24  # a longer word (an address, a formula) is no label
_ALONE, _BEGINS, _CONTINUES, _NOTHING = range(4)  # what a piece is: punctuation, a word's first piece, a later one, no text
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is 0 modulo 2**64


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a ragged batch of tokens.

    Attributes:
        of_row: ``(n_tokens,)`` the word that each token belongs to, counted through the batch.
        first_row: ``(n_words,)`` the first token of each word.
        keys: ``(n_words,)`` uint64; equal where the same pieces stand in the same order, 0 for what is no word.
    """

    of_row: NDArray[np.int64]
    first_row: NDArray[np.int64]
    keys: NDArray[np.uint64]


class WordPieces:
    """Puts word pieces together again.

    Args:
        describe_token: gives the piece of a token id as its tokenizer writes it.

    >>> pieces = WordPieces(["the", "photo", "##synthesis", "."].__getitem__)
    >>> words = pieces.split(np.array([0, 1, 2, 3], dtype=np.int32), np.array([0, 4]))
    >>> words.of_row.tolist(), pieces.text((1, 2))
    ([0, 1, 1, 2], 'photosynthesis')
    """

    def __init__(self, describe_token: Callable[[int], str]) -> None:
        self._describe = describe_token
        self._pieces: dict[int, str] = {}
        self._marker = ""  # "▁" or "Ġ" as soon as one was seen; until then WordPiece is assumed

    def split(self, token_ids: NDArray[np.int32], offsets: NDArray[np.int64]) -> Words:
        """Finds the words of the texts whose tokens are ``token_ids``; a word never goes over the end of a text.

        Args:
            token_ids: ``(n_tokens,)``; -1 where unknown.
            offsets: ``(n_texts + 1,)`` the tokens of each text.
        """
        if not len(token_ids):
            empty = np.zeros(0, dtype=np.int64)
            return Words(empty, empty, empty.astype(np.uint64))
        ids, inverse = np.unique(token_ids, return_inverse=True)
        self._learn_marker(ids)
        classes = np.array([self._class(int(token)) for token in ids], dtype=np.uint8)[inverse]
        before = np.concatenate([np.zeros(1, dtype=np.uint8), classes[:-1]])
        begins = (classes != _CONTINUES) | ((before != _BEGINS) & (before != _CONTINUES))
        text_starts = offsets[:-1]
        begins[text_starts[text_starts < len(token_ids)]] = True
        first_row = np.flatnonzero(begins)
        of_row = np.cumsum(begins) - 1
        place = np.arange(len(token_ids)) - first_row[of_row]
        powers = np.cumprod(
            np.concatenate([np.ones(1, np.uint64), np.full(int(place.max()), _FACTOR, np.uint64)]), dtype=np.uint64
        )
        keys = np.add.reduceat((token_ids.astype(np.int64) + 1).astype(np.uint64) * powers[place], first_row)
        keys[classes[first_row] == _NOTHING] = 0
        return Words(of_row, first_row, keys)

    def text(self, token_ids: tuple[int, ...]) -> str:
        """The word that the pieces ``token_ids`` make, without marks; "" when it is special, blank or too long."""
        pieces = [self._piece(token) for token in token_ids]
        if any(SPECIAL_PIECE.fullmatch(piece) for piece in pieces):
            return ""
        word = self._plain("".join(pieces if self._marker else (piece.removeprefix("##") for piece in pieces))).strip()
        return word if word.isprintable() and "\ufffd" not in word and len(word) <= MAX_LETTERS else ""

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._describe(token)
        return self._pieces[token]

    def _learn_marker(self, ids: NDArray[np.int32]) -> None:
        if not self._marker:
            pieces = (self._piece(int(token)) for token in ids if token >= 0)
            self._marker = next((piece[0] for piece in pieces if piece[:1] in ("▁", "Ġ")), "")

    def _plain(self, written: str) -> str:
        """What joined pieces stand for, with a space where the marker was."""
        if not self._marker:
            return written
        return _decode_bytes(written) if self._marker == "Ġ" else written.replace("▁", " ")

    def _class(self, token: int) -> int:
        piece = self._piece(token) if token >= 0 else ""
        if not piece or SPECIAL_PIECE.fullmatch(piece):
            return _NOTHING
        if not self._marker:
            return _CONTINUES if piece.startswith("##") and len(piece) > 2 else _BEGINS
        plain = self._plain(piece)
        if piece.startswith(self._marker):
            return _BEGINS if _spelled(plain[-1]) else _ALONE
        return _CONTINUES if _spelled(plain[0]) else _ALONE


def _spelled(letter: str) -> bool:
    """Whether a word goes on from piece to piece in this script: letters and digits, but not Chinese, Japanese or Thai."""
    code = ord(letter)
    unspaced = 0x0E00 <= code < 0x1000 or 0x2E80 <= code < 0xA000 or 0xF900 <= code < 0xFB00 or code >= 0x20000
    return letter.isalnum() and not unspaced


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level BPE writes for bytes (the table of GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES = _byte_letters()


def _decode_bytes(written: str) -> str:
    """The text that the odd letters of byte-level BPE stand for; ``Ġ`` is a space."""
    return bytes(_BYTES.get(letter, 32) for letter in written).decode("utf-8", errors="replace")
