"""Labels as they lie in a file, one a line: each is read when it is asked for, since a search shows a few of thousands."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from lexite.errors import ModelError
from lexite.files import atomic_write, storage_errors

LABELS_NAME = "labels.gz"
LABELS_BEGIN = ',\n "labels": [\n'
LABELS_END = "\n ]\n}\n"


class LabelLines(Sequence[tuple[str, ...]]):
    """The labels of a vocabulary, equal to a tuple of the same.

    Args:
        lines: for each latent a JSON list of words.
        path: the file that they come from, for messages.

    >>> labels = LabelLines(['["river","bank"]', "[]"], Path("vocabulary.json"))
    >>> labels[0], len(labels), labels == (("river", "bank"), ())
    (('river', 'bank'), 2, True)
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, lines: Sequence[str], path: Path) -> None:
        self._lines, self._path = lines, path

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, number: int) -> tuple[str, ...]: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[str, ...]]: ...

    def __getitem__(self, number: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        """The words of a latent.

        Raises:
            ModelError: they are damaged.
        """
        if isinstance(number, slice):
            return LabelLines(self._lines[number], self._path)
        try:
            words = json.loads(self._lines[number])
        except ValueError as problem:
            raise ModelError(f"{self._path}: the label of latent {number} is damaged: {problem}.") from problem
        return tuple(str(word) for word in words)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (tuple, LabelLines)) else NotImplemented


def split_labels(text: str, path: Path) -> tuple[str, LabelLines] | None:
    """Takes the labels of a vocabulary's file out of its text.

    Args:
        text: the whole file, as ``Vocabulary.save`` lays it out.
        path: the file, for messages.

    Returns:
        The JSON without the labels, and the labels; None where the file is laid out in another way.
    """
    head, mark, rest = text.partition(LABELS_BEGIN)
    if not mark or not rest.endswith(LABELS_END):
        return None
    lines = rest[: -len(LABELS_END)].split(",\n")
    if not all(line.startswith("[") and line.endswith("]") for line in lines):
        return None
    return f"{head}\n}}", LabelLines(lines, path)


def write_labels(folder: Path, labels: Sequence[tuple[str, ...]]) -> None:
    """Writes labels into a folder, one a line, compressed."""
    lines = "\n".join(json.dumps(list(words), ensure_ascii=False, separators=(",", ":")) for words in labels)
    with atomic_write(folder / LABELS_NAME) as file:
        file.write(gzip.compress(lines.encode(), mtime=0))


def read_labels(path: Path) -> LabelLines:
    """Reads the labels that :func:`write_labels` wrote, each when it is asked for.

    Raises:
        ModelError: the file is missing or damaged.
    """
    if not path.exists():
        raise ModelError(f"{path} does not exist. Copy the whole folder again.")
    with storage_errors(path):
        written = path.read_bytes()
    try:
        lines = gzip.decompress(written).decode()
    except (OSError, EOFError, ValueError, zlib.error) as problem:
        raise ModelError(f"{path} is damaged and cannot be read: {problem}.") from problem
    return LabelLines(lines.split("\n") if lines else [], path)
