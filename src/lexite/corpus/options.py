"""How sources are read, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lexite.config import option
from lexite.errors import CorpusError

MESSAGES_KEPT = 20


@dataclass(frozen=True)
class ReadOptions:
    """Field names of the records, and what happens with a bad one.

    A field name that is not set is looked up in the first usable record (the header, in a table); see ``docs/corpus.md``.
    Plain text and text files have no fields, so the names do not matter there.
    """

    id_field: str | None = option(None, "Field with the id. Default: _id, id, docid, doc_id or pid, else the record's number.")
    text_field: str | None = option(None, "Field with the text. Default: text, body, contents, content, passage or abstract.")
    title_field: str | None = option(None, "Field with the title. Default: title, where there is one.")
    skip_bad: bool = option(False, "Count bad records and go on, instead of stopping at the first.")


@dataclass
class ReadReport:
    """Counts what was read; filled while the iterator runs.

    Attributes:
        read: records handed on.
        skipped: bad records left out (only with ``skip_bad``). A source that cannot be read to its end counts as one.
        messages: what was wrong with the first 20 of them.

    >>> report = ReadReport()
    >>> report.skip("notes.jsonl, line 3: the text is empty.")
    >>> report.skipped, report.messages
    (1, ['notes.jsonl, line 3: the text is empty.'])
    """

    read: int = 0
    skipped: int = 0
    messages: list[str] = field(default_factory=list)

    def skip(self, message: str) -> None:
        """Counts one bad record, and keeps its message when it is among the first 20."""
        self.skipped += 1
        if len(self.messages) < MESSAGES_KEPT:
            self.messages.append(message)


class BadRecord(Exception):
    """What is wrong with one record, without its place."""


class DamagedSource(CorpusError):
    """A source cannot be read, or not to its end; the message names it. With ``skip_bad`` it counts as one bad record."""


class Guard:
    """Decides what happens with bad records: the first is an error, or all are counted.

    Args:
        skip_bad: count and go on.
        report: where skipped records are counted.
        hint: a sentence that ends every error.
    """

    def __init__(self, skip_bad: bool, report: ReadReport, hint: str = "") -> None:
        self._skip_bad, self._hint = skip_bad, hint
        self.report = report

    def bad(self, message: str, cause: BaseException | None = None) -> None:
        """Raises :class:`CorpusError` with ``message``, or counts it; ``message`` begins with the place."""
        if not self._skip_bad:
            raise CorpusError(f"{message} {self._hint}".rstrip()) from cause
        self.report.skip(message)
