"""Word's DOCX, read by python-docx."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import heading, joined, one_line, without_title
from lexite.corpus.kinds.office import described, opened, rows

_HEADING = re.compile(r"heading\s*([1-9])", re.IGNORECASE)


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document. Its title is that of its properties, else the paragraph of the style Title, else a first heading."""
    import docx

    document = opened(docx.Document, file, "DOCX")
    title, fields = described(document)
    blocks: list[str] = []
    listed = False
    for part in document.iter_inner_content():
        if not hasattr(part, "style") or hasattr(part, "rows"):
            blocks.append(rows(part))
            listed = False
            continue
        text, style = one_line(part.text), _style(part)
        if not text:
            continue
        level = _HEADING.fullmatch(style)
        if style.lower() == "title":
            title = title if title and not blocks else title or text
            blocks.append(heading(text, 1))
        elif level:
            blocks.append(heading(text, int(level[1])))
        elif style.lower().startswith("list"):
            if listed:
                blocks[-1] += f"\n- {text}"
            else:
                blocks.append(f"- {text}")
            listed = True
            continue
        else:
            blocks.append(text)
        listed = False
    if not title and blocks and blocks[0].startswith("# "):
        title = blocks[0][2:]
    yield Extracted(joined(without_title(blocks, title)), title, fields)


def _style(paragraph: Any) -> str:
    """The name of a paragraph's style; that of the style it rests on, where its own says nothing."""
    style = paragraph.style
    for _ in range(5):
        if style is None:
            return ""
        name = str(style.name or style.style_id or "")
        if _HEADING.fullmatch(name) or name.lower() == "title" or name.lower().startswith("list"):
            return name
        style = style.base_style
    return ""
