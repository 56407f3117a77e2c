"""Documents of an index, as the command line shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lexite.cli.field_view import shown_value
from lexite.wording import escaped, one_line

if TYPE_CHECKING:
    from rich.console import Console

    from lexite.corpus.records import FieldValue
    from lexite.index.config import StoredDocument


def fields_to_json(fields: Mapping[str, FieldValue]) -> dict[str, Any]:
    """Fields as JSON values: dates and times as ISO 8601 writes them."""
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in fields.items()}


def document_to_json(document: StoredDocument) -> dict[str, Any]:
    """A document as a JSON object; fields where it has any."""
    fields = {"fields": fields_to_json(document.fields)} if document.fields else {}
    return {"id": document.id, "title": document.title, **fields, "text": document.text}


def print_document(console: Console, document: StoredDocument) -> None:
    """Writes a document for people: title and id, fields, text."""
    from rich.text import Text

    print_heading(console, document, tuple(document.fields))
    if document.text:
        console.print(Text(f"\n{escaped(document.text, lines=True)}\n"))


def print_heading(console: Console, document: StoredDocument, names: Sequence[str]) -> None:
    """Writes title and id of a document, and some of its fields, on a line or two."""
    from rich.text import Text

    title, identifier = one_line(document.title), escaped(document.id)
    head = Text(title or identifier, "bold")
    if title and title != identifier:
        head.append(f"  {identifier}", "dim")
    console.print(head)
    known = [f"{escaped(name)} {shown_value(document.fields[name])}" for name in names if name in document.fields]
    if known:
        console.print(Text("  " + " · ".join(known), "blue"))
