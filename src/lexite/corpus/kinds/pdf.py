"""PDF, read by pypdfium2."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import heading, joined, one_line, without_title
from lexite.corpus.options import BadFile

_HYPHEN = re.compile("(?:\x02|\ufffe|\u00ad)\\s*\n?")  # how pdfium writes a hyphen at the end of a line
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_DATE = re.compile(r"D:(\d{4})(\d{2})?(\d{2})?(\d{2})?(\d{2})?(\d{2})?([+-]\d{2})?'?(\d{2})?")
_ENDS = (".", "!", "?", ":", ";", ".)", "”", '."')
_BULLETS = ("• ", "‣ ", "– ", "▪ ", "● ")
_FULL_LINE = 0.75  # of the longest usual line: a shorter one ends its paragraph
_NO_TITLE = re.compile(
    r"untitled.*|.*\.(docx?|pptx?|tex|dvi|indd|qxd|pdf|odt|rtf)|microsoft \w+ - .*|slide \d+|\W*", re.IGNORECASE
)


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document: the text of its pages, with those of its bookmarks that stand in it as headings."""
    import pypdfium2
    from pypdfium2 import PdfiumError

    try:
        document: Any = pypdfium2.PdfDocument(file.read())
    except PdfiumError as error:
        if "password" in str(error).lower():
            raise BadFile("the PDF is encrypted with a password.", "encrypted") from None
        raise BadFile(f"not a readable PDF ({str(error).rstrip('.')}).", "malformed") from None
    described = document.get_metadata_dict(skip_empty=True)
    bookmarks = _bookmarks(document)
    blocks: list[str] = []
    for number in range(len(document)):
        page = document[number]
        blocks.extend(_paragraphs(page.get_textpage().get_text_bounded(), bookmarks.get(number, {})))
        page.close()
    if document and not any(blocks):
        raise BadFile("the PDF holds no text; its pages may be pictures.", "no text")
    title = one_line(described.get("Title", ""))
    title = "" if _NO_TITLE.fullmatch(title) else title
    fields: dict[str, object] = {"pages": len(document)}
    if author := one_line(described.get("Author", "")):
        fields["author"] = author
    if created := _date(described.get("CreationDate", "")):
        fields["created"] = created
    yield Extracted(joined(without_title(blocks, title)), title, fields)


def _bookmarks(document: Any) -> dict[int, dict[str, int]]:
    """By page, the titles of its bookmarks and their levels."""
    found: dict[int, dict[str, int]] = {}
    for bookmark in document.get_toc(max_depth=6):
        place = bookmark.get_dest()
        page = place.get_index() if place is not None else None
        if page is not None:
            found.setdefault(page, {}).setdefault(_alike(bookmark.get_title()), bookmark.level + 1)
    return found


def _alike(line: str) -> str:
    """A line without numbers and case, by which a bookmark is found on its page."""
    return re.sub(r"^[\divxlc.\s]+(?=\D)|[^\w]+", "", line.lower())


def _paragraphs(text: str, headings: dict[str, int]) -> list[str]:
    """The lines of a page as paragraphs. A short line that ends a sentence ends its paragraph."""
    text = _CONTROL.sub("", _HYPHEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    lines = [one_line(line) for line in text.split("\n")]
    lengths = sorted(len(line) for line in lines if line)
    full = _FULL_LINE * lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    blocks: list[str] = []
    open_block = False
    for place, line in enumerate(lines):
        if line.isdecimal() and place in (0, len(lines) - 1):
            continue  # the number of the page
        level = headings.get(_alike(line), 0) if line and headings else 0
        if not line or level:
            open_block = False
            if level:
                blocks.append(heading(line, level))
            continue
        if open_block and not line.startswith(_BULLETS):
            blocks[-1] += f" {line}"
        else:
            blocks.append(line)
        open_block = not (len(line) < full and line.endswith(_ENDS))
    return blocks


def _date(written: str) -> datetime.datetime | None:
    found = _DATE.match(written)
    if not found:
        return None
    year, month, day, hour, minute, second = (int(part) if part else None for part in found.groups()[:6])
    try:
        moment = datetime.datetime(year or 1, month or 1, day or 1, hour or 0, minute or 0, second or 0)
        if found[7]:
            moment -= datetime.timedelta(hours=int(found[7]), minutes=int(f"{found[7][0]}{found[8] or 0}"))
    except (ValueError, OverflowError):
        return None
    return moment
