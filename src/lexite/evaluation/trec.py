"""Writing the runs and judgements of an evaluation in TREC form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lexite.evaluation.judged import JudgedCollection
from lexite.evaluation.report import THEN
from lexite.files import storage_errors
from lexite.index import write_trec_qrels, write_trec_run


class RunFolder:
    """A folder of ``COLLECTION.SYSTEM.run`` and ``COLLECTION.qrels``.

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
        write_trec_qrels(self.path / f"{collection.name}.qrels", collection.qrels)

    def write_run(self, collection: JudgedCollection, system: str, run: Mapping[str, Mapping[str, float]]) -> None:
        """Writes a system's ranking of a collection; query id -> document id -> score.

        The name of a file has a dot where that of the system has `` > ``, as in ``latent > hybrid``.
        """
        system = system.replace(THEN, ".")
        write_trec_run(self.path / f"{collection.name}.{system}.run", run, tag=f"lexite-{system}")
