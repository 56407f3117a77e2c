"""Finding id, text and title in the records of one source, and checking their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lexite.corpus.numbering import Numbering
from lexite.corpus.options import BadRecord, ReadOptions
from lexite.errors import CorpusError


class KnownFields(NamedTuple):
    """Field names that are tried when none was chosen, in this order."""

    id: tuple[str, ...]
    text: tuple[str, ...]
    title: tuple[str, ...]


DOCUMENT_FIELDS = KnownFields(
    id=("_id", "id", "docid", "doc_id", "pid"),
    text=("text", "body", "contents", "content", "passage", "abstract"),
    title=("title",),
)
QUERY_FIELDS = KnownFields(id=("_id", "id", "qid", "query_id", "query-id"), text=("text", "query", "question"), title=())

_TITLE_CHECK = 1000  # records after which a title field that never occurred is taken for a mistake
_MISSING = object()
_NOUNS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number with a fraction",
    list: "a list",
    dict: "an object",
    bytes: "not valid UTF-8",
}


class FieldNames(NamedTuple):
    """Names of the fields of one source. Without an id, records are numbered; without a title, titles are empty."""

    id: str | None
    text: str
    title: str | None


class FieldReader:
    """Reads id, text and title of each record of one source.

    A name matches as it is written, else whatever the case of its letters: ``ID`` is an id where there is no ``id``. The
    names are settled by the first record that has a text (the header, in a table) and hold for the whole source: a later
    record that lacks its id or text is bad.

    Args:
        options: names chosen by the user.
        known: names tried for those that were not chosen.
    """

    def __init__(self, options: ReadOptions, known: KnownFields = DOCUMENT_FIELDS) -> None:
        self._options, self._known = options, known
        self._names: FieldNames | None = None
        self._untitled = 0  # records read before the chosen title field occurred for the first time
        self._title_due = options.title_field is not None and bool(known.title)

    def choose(self, columns: Iterable[str]) -> FieldNames:
        """Settles the names by what a record (or a header) holds.

        Raises:
            BadRecord: there is no text field, or a chosen id field is missing.
        """
        options, known = self._options, self._known
        present = list(dict.fromkeys(columns))
        text = _found(present, [options.text_field] if options.text_field else known.text)
        if text is None and not options.text_field:
            raise BadRecord(f"no text field among {_listed(present)}. Name it with --text-field.")
        id = _found(present, [options.id_field] if options.id_field else known.id)
        for name, found, flag in ((options.text_field, text, "--text-field"), (options.id_field, id, "--id-field")):
            if name is not None and found is None:
                raise BadRecord(f"the field {name!r} is missing; there is {_listed(present)}. Choose it with {flag}.")
        title = None
        if known.title:  # the first record may lack it, and later ones have it
            wanted = [options.title_field] if options.title_field else known.title
            title = _found(present, wanted) or wanted[0]
        self._names = FieldNames(id, str(text), title)
        return self._names

    def choose_columns(self, columns: Iterable[str], where: str) -> FieldNames:
        """Settles the names by the header of a table; raises :class:`CorpusError`, since no record can be read without it."""
        present = list(columns)
        try:
            names = self.choose(present)
        except BadRecord as problem:
            raise CorpusError(f"{where}: {problem}") from None
        if self._title_due and names.title not in present:
            raise CorpusError(f"{where}: the field {names.title!r} is missing; there is {_listed(present)}.")
        self._title_due = False
        return names

    def choose_plain_text(self) -> None:
        """Settles the names for plain lines, which have no fields: the text is all there is."""
        self._names = FieldNames(None, "text", None)
        self._title_due = False

    @property
    def reads_queries(self) -> bool:
        """Whether records are queries."""
        return self._known is QUERY_FIELDS

    @property
    def header(self) -> str:
        """Whether a table's first line names its columns, as far as a person said."""
        return self._options.header

    @property
    def chooses_text(self) -> bool:
        """Whether a person named the field of the text."""
        return self._options.text_field is not None

    def is_chosen(self, column: str) -> bool:
        """Whether a person named this field."""
        options = self._options
        return column in (options.id_field, options.text_field, options.title_field)

    def has_text(self, columns: Iterable[str]) -> bool:
        """Whether one of these is a name that a text usually has."""
        return any(column.lower() in self._known.text for column in columns)

    @property
    def names(self) -> FieldNames | None:
        """The names, once they are settled."""
        return self._names

    def read(self, record: Mapping[str, object], numbering: Numbering) -> tuple[str, str, str]:
        """Id, text and title of a record.

        Args:
            record: its fields.
            numbering: gives the id where records have none.

        Raises:
            BadRecord: a field is missing or of the wrong type, or the id is empty.
            CorpusError: the title field that was chosen does not occur in the first 1,000 records.
        """
        names = self._names or self.choose(record)
        text = record.get(names.text, _MISSING)
        if type(text) is not str:
            raise _wrong(names.text, text)
        title = record.get(names.title) if names.title else None
        if title is None:
            title = ""
        elif type(title) is not str:
            raise _wrong(str(names.title), title)
        if self._title_due:
            self._watch_title(str(names.title), record)
        return self._id(names, record, numbering), text, title

    def finish(self, where: str) -> None:
        """Called at the end of a source; raises :class:`CorpusError` when the chosen title field never occurred."""
        if self._title_due and self._untitled:
            raise CorpusError(f"{where}: no record has the field '{self._options.title_field}'. Choose it with --title-field.")

    def _id(self, names: FieldNames, record: Mapping[str, object], numbering: Numbering) -> str:
        if names.id is None:
            late = next((name for name in record if name.lower() in self._known.id), None)
            if late is not None:
                raise BadRecord(f"the record has an id in {late!r}, but the first one had none; give all records one, or none.")
            return numbering.free()
        numbering.passed()
        value = record.get(names.id, _MISSING)
        if type(value) is int:
            return str(value)
        if type(value) is not str:
            raise _wrong(names.id, value, "text or a whole number")
        if not value or value.isspace():
            raise BadRecord(f"the id in {names.id!r} is empty.")
        return value

    def _watch_title(self, name: str, record: Mapping[str, object]) -> None:
        if name in record:
            self._title_due = False
            return
        self._untitled += 1
        if self._untitled >= _TITLE_CHECK:
            raise CorpusError(f"No title field {name!r} in the first {_TITLE_CHECK:,} records. Choose it with --title-field.")


def is_known(column: str) -> bool:
    """Whether this is a name that a field of documents or queries usually has."""
    groups = (*DOCUMENT_FIELDS, *QUERY_FIELDS)
    return any(column.lower() in names for names in groups)


def _found(present: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The first of the wanted names that is there: as it is written, else in other letters, capital or small.

    Raises:
        BadRecord: it is there twice, and only in other letters.
    """
    for name in wanted:
        if name in present:
            return name
    for name in wanted:
        alike = [other for other in present if other.lower() == name.lower()]
        if len(alike) > 1:
            raise BadRecord(f"{_listed(alike)} are all called {name!r}. Give them different names.")
        if alike:
            return alike[0]
    return None


def _wrong(name: str, value: object, wanted: str = "text") -> BadRecord:
    if value is _MISSING:
        return BadRecord(f"the field {name!r} is missing.")
    return BadRecord(f"the field {name!r} is {noun_of(value)}, but must be {wanted}.")


def noun_of(value: object) -> str:
    """What a value of a record is, in words.

    >>> noun_of(None), noun_of([1])
    ('null', 'a list')
    """
    return "text" if type(value) is str else _NOUNS.get(type(value), type(value).__name__)


def _listed(names: Iterable[str]) -> str:
    """Up to eight names in quotes."""
    quoted = [f"{name!r}" for name in names]
    if not quoted:
        return "no field at all"
    return ", ".join(quoted[:8]) + (f" and {len(quoted) - 8} more" if len(quoted) > 8 else "")
