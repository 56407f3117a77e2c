"""What Milvus keeps beside the passages: numbers of words, frequencies of terms, and how the documents were made."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from lexite.engines.forms.base import FIELD
from lexite.engines.milvus_filters import one_of_texts
from lexite.engines.milvus_rows import AT_ONCE, MilvusRows, text_parts
from lexite.engines.word_numbers import WORDS_FROM, WordNumbers

_COLUMNS = {"kind": "text", "number": "whole", "value": "number", "parts": "texts"}
_RECORD, _LENGTHS, _N_WORDS, _WORD, _FREQUENCY = "record", "lengths", "words", "word", "frequency"


class MilvusTerms:
    """A collection of terms, one row for each number of a word and each frequency.

    Args:
        rows: a server or a file.
        name: of the collection.
    """

    def __init__(self, rows: MilvusRows, name: str) -> None:
        self._rows, self.name = rows, name
        self.numbers = WordNumbers(self._find_words, self._create_words)

    def create(self) -> None:
        """Makes the collection."""
        self._rows.create(self.name, "key", _COLUMNS)
        self.numbers.forget()

    def drop(self) -> None:
        """Removes the collection, if there is one."""
        self._rows.drop(self.name)
        self.numbers.forget()

    @property
    def record(self) -> Any | None:
        """The record; None where none was written."""
        found = self._found(_RECORD)
        return json.loads("".join(found["parts"])) if found else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keeps a record as text, so that its numbers stay what they are."""
        self._write([_row(_RECORD, text=json.dumps(record))])

    @property
    def length(self) -> float | None:
        """The sum of the lengths of all passages; None where none was added."""
        found = self._found(_LENGTHS)
        return float(found["value"]) if found else None

    def add_length(self, length: float) -> None:
        """Adds to the sum of lengths."""
        self._write([_row(_LENGTHS, value=(self.length or 0.0) + length)])

    def frequencies(self, names: Sequence[str]) -> dict[str, int]:
        """In how many passages terms occur, by name; those that occur in none may be missing."""
        return {"".join(row["parts"]): int(row["value"]) for row in self._of(_FREQUENCY, names)}

    def forget_frequencies(self) -> None:
        """Removes all frequencies."""
        self._rows.delete(self.name, f'kind == "{_FREQUENCY}"')

    def add_frequencies(self, changes: Mapping[str, int]) -> None:
        """Adds to frequencies."""
        known = self.frequencies(list(changes))
        self._write([_row(_FREQUENCY, name, value=known.get(name, 0) + n, text=name) for name, n in changes.items()])

    def names_of(self, numbers: Sequence[int]) -> dict[int, str]:
        """The names of terms, by number."""
        found = {number: f"t{number}" for number in numbers if number < WORDS_FROM}
        words = [number for number in numbers if number >= WORDS_FROM]
        for begin in range(0, len(words), AT_ONCE):
            only = f'kind == "{_WORD}" and number in {words[begin : begin + AT_ONCE]}'
            for row in self._rows.query(self.name, only, ["number", "parts"]):
                found[int(row["number"])] = "".join(row["parts"])
        return found

    def _find_words(self, names: list[str]) -> Mapping[str, int]:
        return {"".join(row["parts"]): int(row["number"]) for row in self._of(_WORD, names)}

    def _create_words(self, names: list[str]) -> Mapping[str, int]:
        found = self._found(_N_WORDS)
        first = int(found["number"]) if found else WORDS_FROM
        made = dict(zip(names, range(first, first + len(names)), strict=True))
        self._write([_row(_N_WORDS, number=first + len(names))])  # before them: a number that is lost does no harm
        self._write([_row(_WORD, name, number=number, text=name) for name, number in made.items()])
        return made

    def _found(self, kind: str) -> dict[str, Any] | None:
        """The only row of a kind."""
        return next(iter(self._of(kind, [""])), None)

    def _of(self, kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
        keys = [_key(kind, name) for name in names]
        parts = [keys[begin : begin + AT_ONCE] for begin in range(0, len(keys), AT_ONCE)]
        columns = ["number", "value", "parts"]
        return [row for part in parts for row in self._rows.query(self.name, one_of_texts("key", part), columns)]

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows.upsert(self.name, rows)


def _key(kind: str, name: str) -> str:
    """The primary key of a row: a digest, since names may be long."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"lexite:{kind}:{name}"))


def _row(kind: str, name: str = "", *, number: int = 0, value: float = 0.0, text: str = "") -> dict[str, Any]:
    return {
        "key": _key(kind, name),
        "kind": kind,
        "number": number,
        "value": float(value),
        "parts": text_parts(text),
        FIELD: {0: 1.0},  # Milvus has no collection without vectors
    }
