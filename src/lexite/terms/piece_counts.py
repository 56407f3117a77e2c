"""How much of a text a vocabulary can read: its word pieces, and those among them that say nothing to the vocabulary.

A piece cannot be read where the tokenizer does not know it (``[UNK]``), or where it is of a script that the vocabulary has
hardly seen: one with less than a thousandth of the pieces that its static table was counted on.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone
    from lexite.backbone.states import TokenStates
    from lexite.terms.static import StaticTable

SEEN_SHARE = 0.001


class PieceCounts:
    """Counts the word pieces of texts while they are encoded.

    Args:
        unread: (n_pieces,) for each token id, whether the vocabulary cannot read it.
    """

    def __init__(self, unread: NDArray[np.bool_]) -> None:
        self._unread = unread
        self._all: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]
        self._not_read: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)]

    def add(self, states: TokenStates, *, one_text: bool = False) -> None:
        """Counts the pieces of some texts.

        Args:
            states: their token states.
            one_text: they go on with the text that was counted last.
        """
        ids = states.token_ids
        known = (ids >= 0) & (ids < len(self._unread))
        flags = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum(known & self._unread[np.where(known, ids, 0)], out=flags[1:])
        not_read, pieces = flags[states.offsets[1:]] - flags[states.offsets[:-1]], np.diff(states.offsets)
        if states.unknown is not None:
            not_read, pieces = not_read + states.unknown, pieces + states.unknown
        if one_text:
            self._not_read[-1][-1] += not_read.sum()
            self._all[-1][-1] += pieces.sum()
        else:
            self._not_read.append(not_read)
            self._all.append(pieces)

    @property
    def pieces(self) -> NDArray[np.int64]:
        """(n_texts,) pieces of each text that was counted."""
        return np.concatenate(self._all)

    @property
    def not_read(self) -> NDArray[np.int64]:
        """(n_texts,) how many of these the vocabulary cannot read."""
        return np.concatenate(self._not_read)


def unread_pieces(backbone: Backbone, table: StaticTable | None) -> NDArray[np.bool_]:
    """For each token id of a vocabulary's tokenizer, whether the vocabulary cannot read it.

    Args:
        backbone: of the vocabulary.
        table: its static table; without one, only pieces that the tokenizer does not know are unread.
    """
    unknown = getattr(backbone, "unknown_id", None)
    size = 0 if table is None else table.n_pieces
    unread = np.zeros(max(size, 0 if unknown is None else unknown + 1, 1), dtype=np.bool_)
    if table is not None:
        scripts = [_script(backbone.describe_token(number)) for number in range(size)]
        seen: Counter[str] = Counter()
        for script, count in zip(scripts, table.counts.tolist(), strict=True):
            seen[script] += count
        enough = SEEN_SHARE * sum(seen.values())
        unread[:size] = [bool(script) and seen[script] < enough for script in scripts]
    if unknown is not None:
        unread[unknown] = True
    return unread


def _script(piece: str) -> str:
    """The script of the first letter of a piece, as its name in Unicode begins (``CYRILLIC``); "" for digits and signs.

    >>> _script("##дом"), _script("cat"), _script("##7"), _script("猫")
    ('CYRILLIC', 'LATIN', '', 'CJK')
    """
    letter = next((character for character in piece if unicodedata.category(character)[0] in "LM"), "")
    if letter.isascii():
        return "LATIN" if letter else ""
    return unicodedata.name(letter, "").partition(" ")[0]
