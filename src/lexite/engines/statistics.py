"""Statistics that are baked into what an engine holds, and how far an index has moved away from them.

avgdl goes into each document that is written, and the idf of routes without an idf of the engine's own into each query.
Documents that come later are written with the avgdl of those before, so that all documents are measured alike, until it has
moved so far that rankings moved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.config import differing, to_dict
from lexite.errors import IndexFormatError
from lexite.files import json_checksum, read_json
from lexite.scoring.config import BM25Config, saved_scoring
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.index import BM25Index

FORMAT, FORMAT_VERSION = "lexite-statistics", 1
LENGTH_MOVED = 0.10
"""A share by which avgdl may move. ``benchmarks/export_drift.py`` measures what that does to rankings."""
GROWN = 0.5
"""A share by which the number of passages may grow."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is counted over the passages of an index.

    Attributes:
        n_passages: all of them; N of the formula.
        n_filled: those that have a term; what engines count as N.
        average_length: avgdl under the transform of the scoring.
        document_frequency: (n_terms,) in how many passages each term occurs.
        scoring: how the index scores.
        fingerprint: of the vocabulary.
    """

    n_passages: int
    n_filled: int
    average_length: float
    document_frequency: NDArray[np.int64]
    scoring: BM25Config
    fingerprint: str

    @property
    def frequency_digest(self) -> str:
        """SHA-256 over N and the document frequencies, from which every idf follows; terms that no passage has do not count."""
        known = np.flatnonzero(self.document_frequency)
        digest = hashlib.sha256(f"{self.n_passages}:{self.n_filled}:".encode())
        digest.update(known.astype("<i8").tobytes())
        digest.update(self.document_frequency[known].astype("<i8").tobytes())
        return digest.hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The record that goes with an export."""
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "n_passages": self.n_passages,
            "n_filled": self.n_filled,
            "average_length": self.average_length,
            "frequency_digest": self.frequency_digest,
            "scoring": to_dict(self.scoring),
            "vocabulary_fingerprint": self.fingerprint,
        }
        return {**value, "sha256": json_checksum(value)}


def statistics_of(index: BM25Index, scoring: BM25Config | None = None) -> Statistics:
    """The statistics of an index.

    Args:
        index: the index.
        scoring: how engines are to score; None takes that of the index.
    """
    scoring = scoring or index.scoring
    return Statistics(
        index.n_passages,
        index.n_filled_passages,
        index.average_length(scoring.document_transform),
        index.document_frequency,
        scoring,
        index.vocabulary.fingerprint,
    )


@dataclass(frozen=True)
class StatisticsRecord:
    """Statistics as an export recorded them.

    Attributes:
        n_passages: as in :class:`Statistics`, and so are the others.
        n_filled: likewise.
        average_length: likewise.
        frequency_digest: likewise.
        scoring: likewise.
        fingerprint: likewise.
    """

    n_passages: int
    n_filled: int
    average_length: float
    frequency_digest: str
    scoring: BM25Config
    fingerprint: str


def read_record(value: Any, where: str) -> StatisticsRecord:
    """A record that :meth:`Statistics.to_json` made.

    Args:
        value: the JSON value.
        where: where it was read, for messages.

    Raises:
        IndexFormatError: it is damaged, or no such record.
    """
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise IndexFormatError(f"{where} is no record of statistics. Name the file export.json of an export.")
    if value.get("format_version") != FORMAT_VERSION:
        raise IndexFormatError(f"{where} has format version {value.get('format_version')}; this lexite reads {FORMAT_VERSION}.")
    if value.get("sha256") != json_checksum(value):
        raise IndexFormatError(f"{where} is damaged: its checksum is wrong. Export the index again.")
    return StatisticsRecord(
        int(value["n_passages"]),
        int(value["n_filled"]),
        float(value["average_length"]),
        str(value["frequency_digest"]),
        saved_scoring(value["scoring"], where),
        str(value["vocabulary_fingerprint"]),
    )


def load_record(path: str | Path) -> StatisticsRecord:
    """The record of an export: its folder, or the file ``export.json`` in it, or a record alone.

    Raises:
        IndexFormatError: there is none, or it is damaged.
    """
    place = Path(path)
    place = place / "export.json" if place.is_dir() else place
    value = read_json(place, IndexFormatError)
    if isinstance(value, dict) and isinstance(value.get("statistics"), dict):
        value = value["statistics"]
    return read_record(value, str(place))


@dataclass(frozen=True)
class Drift:
    """How far an index has moved from what an export recorded.

    Attributes:
        growth: passages now, as a share of those then, less 1.
        length: avgdl now, as a share of that then, less 1.
        frequencies_changed: whether any document frequency, or N, is another.
        scoring_changed: whether the index scores otherwise now.
        vocabulary_changed: whether another vocabulary made it.
        scoring: what of the scoring is otherwise, in words, with the values then and now.
    """

    growth: float
    length: float
    frequencies_changed: bool
    scoring_changed: bool
    vocabulary_changed: bool
    scoring: str = ""

    @property
    def moved(self) -> bool:
        """Whether what the engine holds should be written anew."""
        far = abs(self.length) > LENGTH_MOVED or not -GROWN <= self.growth <= GROWN
        return far or self.scoring_changed or self.vocabulary_changed

    def reasons(self) -> list[str]:
        """What has moved too far, in sentences."""
        found = []
        if self.vocabulary_changed:
            found.append("Another vocabulary made the index.")
        if self.scoring_changed:
            found.append(f"The index scores otherwise now: {self.scoring}.")
        if abs(self.length) > LENGTH_MOVED:
            found.append(f"The mean length moved by {self.length:+.1%}, more than {LENGTH_MOVED:.0%}.")
        if not -GROWN <= self.growth <= GROWN:
            found.append(f"The number of passages moved by {self.growth:+.1%}, more than {GROWN:.0%}.")
        return found


def drift_of(record: StatisticsRecord, now: Statistics) -> Drift:
    """How far statistics have moved from a record.

    Args:
        record: of an export.
        now: of the index.
    """
    return Drift(
        _change(now.n_passages, record.n_passages),
        _change(now.average_length, record.average_length),
        now.frequency_digest != record.frequency_digest,
        now.scoring != record.scoring,
        now.fingerprint != record.fingerprint,
        differing(to_dict(record.scoring), to_dict(now.scoring), ", now "),
    )


def describe_drift(record: StatisticsRecord, now: Statistics) -> str:
    """One line about how far statistics have moved."""
    drift = drift_of(record, now)
    sizes = f"{counted(record.n_passages, 'passage')} then, {now.n_passages:,} now ({drift.growth:+.1%})"
    return f"{sizes}; mean length {record.average_length:.6g} then, {now.average_length:.6g} now ({drift.length:+.1%})"


def _change(now: float, then: float) -> float:
    if not then:
        return 0.0 if not now else math.inf
    return now / then - 1.0
