"""What a person hands in as documents: files and folders, documents, or plain texts."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from lexite.corpus.numbering import Numbering
from lexite.corpus.options import Guard, ReadOptions, ReadReport
from lexite.corpus.records import Document
from lexite.errors import ArgumentError, CorpusError

if TYPE_CHECKING:
    from typing import TypeAlias

LONGEST_NAME = 1000  # characters; what is longer is a text
Sources: TypeAlias = "str | Path | Document | Iterable[str | Path | Document]"


def documents_of(
    sources: Sources | None,
    texts: Iterable[str] | None = None,
    read: ReadOptions | None = None,
    report: ReadReport | None = None,
    taken: Container[str] = (),
    held: int = 0,
    field_types: Mapping[str, str] | None = None,
) -> Iterator[Document]:
    """A stream of documents. The first is read at once, so that a wrong source is found before a model is loaded.

    Args:
        sources: files and folders, as :func:`lexite.read_documents` takes them, or documents; one or many.
        texts: plain texts in place of them.
        read: how files are read, and whether documents without a text are skipped.
        report: filled with counts while documents are read.
        taken: ids that texts and records without an id do not get.
        held: how many documents ``taken`` has.
        field_types: types of the fields that an index has already.

    Raises:
        ArgumentError: both or neither are given, or something is of another kind.
        CorpusError: a source cannot be read, or a document has no text.

    >>> [document.id for document in documents_of(None, ["one", "two"])]
    ['1', '2']
    """
    from lexite.corpus import read_documents

    if (sources is None) == (texts is None):
        raise ArgumentError("Give documents in one way: sources (files, folders or documents), or texts=[...].")
    if texts is not None:
        return _begun(_with_text(_numbered(texts, Numbering(taken)), read, report))
    listed = [sources] if isinstance(sources, (str, Path, Document)) else sources
    if not isinstance(listed, Iterable):
        raise ArgumentError(f"Sources are files, folders or documents, not a {type(listed).__name__}.")
    stream = iter(listed)
    first = next(stream, None)
    if isinstance(first, Document):
        return _with_text(_checked(chain([first], stream)), read, report)
    names = list(chain([] if first is None else [first], stream))
    if strange := next((name for name in names if not isinstance(name, (str, Path))), None):
        raise ArgumentError(f"Sources are files, folders or documents, all of one kind, not a {type(strange).__name__}.")
    _refuse_texts([name for name in names if isinstance(name, str)])
    return _begun(
        read_documents(
            [name for name in names if isinstance(name, (str, Path))],
            read,
            report,
            taken=taken,
            held=held,
            field_types=field_types,
        )
    )


def _begun(stream: Iterator[Document]) -> Iterator[Document]:
    """The same stream, with its first document read already."""
    return chain(list(islice(stream, 1)), stream)


def _with_text(documents: Iterable[Document], read: ReadOptions | None, report: ReadReport | None) -> Iterator[Document]:
    """The documents that have a text; one without is bad, as one in a file is."""
    guard = Guard((read or ReadOptions()).skip_bad, report or ReadReport(), "ReadOptions(skip_bad=True) leaves bad ones out.")
    for document in documents:
        if document.full_text.strip():
            guard.report.read += 1
            yield document
        else:
            guard.bad(f"Document '{document.id}': the text is empty.")


def _checked(documents: Iterable[object]) -> Iterator[Document]:
    for document in documents:
        if not isinstance(document, Document):
            raise ArgumentError(f"Among documents there is a {type(document).__name__}. Give documents alone, or files alone.")
        if any(not isinstance(part, str) for part in (document.id, document.title, document.text)):
            raise ArgumentError(f"Id, title and text of document {document.id!r} must be text; an empty one is ''.")
        yield document


def _numbered(texts: Iterable[str], numbering: Numbering) -> Iterator[Document]:
    """Texts as documents, with the first numbers that are free."""
    if isinstance(texts, (str, bytes)):
        raise ArgumentError("texts is one text. Give a list: texts=[text].")
    for place, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise ArgumentError(f"Text {place} is a {type(text).__name__}, not text.")
        yield Document(numbering.free(), text)


def _refuse_texts(names: Iterable[str]) -> None:
    """Says what to do where texts were handed in as files."""
    for name in names:
        if "\n" in name or len(name) > LONGEST_NAME or (" " in name and len(name) > 60 and not Path(name).exists()):
            raise CorpusError(f"'{name[:40]}…' is no file or folder. If these are texts, write texts=[...].")
