"""How sources are read, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lexite.config import option
from lexite.errors import CorpusError

MESSAGES_KEPT = 20
TEXT_ONLY = ("id_field", "text_field", "title_field", "header", "skip_bad", "file_seconds", "file_memory")
"""The options of those who read ids and texts alone, and have no use for further fields."""


@dataclass(frozen=True)
class ReadOptions:
    """Field names of the records, and what happens with a bad one.

    A field name that is not set is looked up in the first usable record (the header, in a table); see ``docs/corpus.md``.
    Plain text and text files have no fields, so the names do not matter there.
    """

    id_field: str | None = option(None, "Field with the id. Default: _id, id, docid, doc_id or pid, else the record's number.")
    text_field: str | None = option(None, "Field with the text. Default: text, body, contents, content, passage or abstract.")
    title_field: str | None = option(None, "Field with the title. Default: title, where there is one.")
    fields: str = option("all", "Further fields that documents keep: all, none, or names with commas.")
    field_type: tuple[str, ...] = option(
        (), "Type of a further field: NAME=text, integer, number, boolean, date, datetime or list; can be given several times."
    )
    header: Literal["auto", "yes", "no"] = option("auto", "Whether a table's first line names its columns.")
    skip_bad: bool = option(False, "Count bad records and go on, instead of stopping at the first.")
    file_seconds: float = option(60.0, "Seconds in which the text of one file (PDF, HTML, …) must be found.", minimum=0.1)
    file_memory: int = option(1024, "MiB of memory that finding the text of one file may take.", minimum=16)

    @property
    def asks_for_fields(self) -> bool:
        """Whether further fields were named, so that an index which cannot keep them is a mistake."""
        return bool(self.field_type) or self.fields not in ("all", "none")

    def for_texts(self) -> ReadOptions:
        """The same, for those who read ids and texts alone."""
        return replace(self, fields="none", field_type=())

    def what_is_read(self) -> dict[str, Any]:
        """What decides which texts are read, as JSON values: neither further fields nor limits do."""
        names = ["id_field", "text_field", "title_field", "skip_bad"] + (["header"] if self.header != "auto" else [])
        return {name: getattr(self, name) for name in names}


@dataclass
class ReadReport:
    """Counts what was read; filled while the iterator runs.

    Attributes:
        read: records handed on.
        skipped: bad records left out: all with ``skip_bad``, else those that are bad files of a folder. A source that cannot
            be read to its end counts as one.
        messages: what was wrong with the first 20 of them.
        reasons: how many were left out for which reason.
        unread: files of folders that are of no kind that is read: ending -> count.
        notes: what else is worth telling at the end: columns that could not be kept, characters that were replaced.

    >>> report = ReadReport()
    >>> report.skip("notes.jsonl, line 3: the text is empty.", "empty")
    >>> report.skipped, report.messages, report.reasons
    (1, ['notes.jsonl, line 3: the text is empty.'], Counter({'empty': 1}))
    """

    read: int = 0
    skipped: int = 0
    messages: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def skip(self, message: str, reason: str = "bad record") -> None:
        """Counts one bad record, and keeps its message when it is among the first 20."""
        self.skipped += 1
        self.reasons[reason] += 1
        if len(self.messages) < MESSAGES_KEPT:
            self.messages.append(message)

    def note(self, message: str) -> None:
        """Keeps a message for the end, among the first 20."""
        if len(self.notes) < MESSAGES_KEPT:
            self.notes.append(message)


class BadRecord(Exception):
    """What is wrong with one record, without its place."""


class BadFile(Exception):
    """Why a file gives no document, without its name.

    Args:
        message: a sentence about this file.
        reason: the kind of fault in a few words, under which it is counted.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


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

    def bad(
        self, message: str, cause: BaseException | None = None, *, reason: str = "bad record", one_of_many: bool = False
    ) -> None:
        """Raises :class:`CorpusError` with ``message``, or counts it.

        Args:
            message: begins with the place.
            cause: the error behind it.
            reason: the kind of fault in a few words.
            one_of_many: whether it is a file of a folder, which never ends the reading of the others.
        """
        if not self._skip_bad and not one_of_many:
            raise CorpusError(f"{message} {self._hint}".rstrip()) from cause
        self.report.skip(message, reason)
