"""Ids of records that have none: the numbers that are free, in order."""

from __future__ import annotations

from collections.abc import Container

from lexite.corpus.options import BadRecord


class Numbering:
    """Counts the records of all sources, and gives those without an id the next number that is no document's id.

    Args:
        taken: ids of documents that are there already, such as those of an index.
        used: ids of documents that were read before.
        held: how many documents ``taken`` has. Where their ids are the numbers up to that one, numbering goes on behind it
            without asking for each.

    >>> numbering = Numbering(taken={"1", "2", "4"})
    >>> [numbering.free(), numbering.free()]
    ['3', '5']
    """

    def __init__(self, taken: Container[str] = (), used: Container[str] = (), held: int = 0) -> None:
        self._taken, self._used = taken, used
        self._last = held if held and str(held) in taken else 0

    def passed(self) -> None:
        """Counts a record that has an id, or is bad."""
        self._last += 1

    def free(self) -> str:
        """The next free number."""
        while True:
            self._last += 1
            id = str(self._last)
            if id not in self._taken and id not in self._used:
                return id


class NoNumbers(Numbering):
    """Gives no numbers: a record without an id is bad."""

    def free(self) -> str:
        """Raises :class:`BadRecord`."""
        raise BadRecord(
            "it has no id, and a process that reads a share of the sources cannot number it. Name the field of the id."
        )
