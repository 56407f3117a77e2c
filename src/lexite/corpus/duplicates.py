"""Finding ids that occur twice, in little memory."""

from __future__ import annotations

import hashlib
from array import array

_FIRST_CAPACITY = 1 << 12


class IdSet:
    """A set of ids that keeps a 64-bit digest of each: 12 to 24 bytes an id, whatever its length.

    Open addressing with linear probing in one array, at most two thirds full. Two different ids have the same digest with a
    probability of n² / 2⁶⁵ over n ids: 3·10⁻⁶ for ten million.

    >>> ids = IdSet()
    >>> ids.add("a"), ids.add("b"), ids.add("a"), len(ids)
    (True, True, False, 2)
    """

    def __init__(self) -> None:
        self._resize(_FIRST_CAPACITY)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, id: object) -> bool:
        key, table, mask = self._key(str(id)), self._table, self._mask
        slot = key & mask
        while entry := table[slot]:
            if entry == key:
                return True
            slot = (slot + 1) & mask
        return False

    def add(self, id: str) -> bool:
        """Adds an id; False when it was there already.

        Raises:
            UnicodeEncodeError: the id holds half a surrogate pair and is no valid text.
        """
        key = self._key(id)
        table, mask = self._table, self._mask
        slot = key & mask
        while entry := table[slot]:
            if entry == key:
                return False
            slot = (slot + 1) & mask
        table[slot] = key
        self._count += 1
        if 3 * self._count > 2 * mask:
            self._grow()
        return True

    @staticmethod
    def _key(id: str) -> int:
        digest = hashlib.blake2b(id.encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") or 1  # 0 marks a free slot

    def _resize(self, capacity: int) -> None:
        self._table = array("Q", bytes(8 * capacity))
        self._mask = capacity - 1

    def _grow(self) -> None:
        old = self._table
        self._resize(2 * len(old))
        table, mask = self._table, self._mask
        for key in filter(None, old):
            slot = key & mask
            while table[slot]:
                slot = (slot + 1) & mask
            table[slot] = key
