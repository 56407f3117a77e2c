"""Writing the runs and judgements of an evaluation in TREC form."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from lexite.evaluation.judged import JudgedCollection
from lexite.files import storage_errors
from lexite.index import write_trec_qrels, write_trec_run

Value = TypeVar("Value", int, float)


class RunFolder:
    """A folder of ``COLLECTION.SYSTEM.run`` and ``COLLECTION.qrels``.

    The columns of TREC's form are separated by blanks, so white space and the per cent sign in ids are written as in URLs
    (``%20``, ``%25``), alike in runs and qrels.

    Args:
        path: the folder; made when missing. Files of the same names are replaced.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with storage_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write_qrels(self, collection: JudgedCollection) -> None:
        """Writes the judgements of a collection."""
        write_trec_qrels(self.path / f"{collection.name}.qrels", _quoted(collection.qrels))

    def write_run(self, collection: JudgedCollection, system: str, run: Mapping[str, Mapping[str, float]]) -> None:
        """Writes a system's ranking of a collection; query id -> document id -> score."""
        write_trec_run(self.path / f"{collection.name}.{system}.run", _quoted(run), tag=f"lexite-{system}")


def quote_id(identifier: str) -> str:
    """An id as one column; ``urllib.parse.unquote`` gives it back.

    >>> quote_id("Olinda Posso"), quote_id("PLAIN-2")
    ('Olinda%20Posso', 'PLAIN-2')
    """
    return re.sub(r"[\s%]", lambda match: urllib.parse.quote(match[0]), identifier)


def _quoted(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, dict[str, Value]]:
    return {quote_id(query): {quote_id(document): value for document, value in row.items()} for query, row in rows.items()}
