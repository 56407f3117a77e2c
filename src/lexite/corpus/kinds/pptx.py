"""PowerPoint's PPTX, read by python-pptx."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import heading, joined, one_line, without_title
from lexite.corpus.kinds.office import described, opened, rows


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document: each slide under its title as a heading, with the notes behind it."""
    import pptx

    show = opened(pptx.Presentation, file, "PPTX")
    title, fields = described(show)
    title = "" if title.lower() in ("powerpoint presentation", "presentation") else title
    fields["slides"] = len(show.slides)
    blocks: list[str] = []
    for slide in show.slides:
        top = slide.shapes.title
        written = one_line(top.text) if top is not None and top.has_text_frame else ""
        if written:
            title = title or written
            blocks.append(heading(written, 2))
        for shape in _shapes(slide.shapes):
            if top is None or shape.shape_id != top.shape_id:
                blocks.extend(_texts(shape))
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            blocks.append(one_line(slide.notes_slide.notes_text_frame.text))
    yield Extracted(joined(without_title(blocks, title)), title, fields)


def _shapes(shapes: Iterable[Any]) -> Iterator[Any]:
    """All shapes, those of groups too."""
    waiting = list(shapes)[::-1]
    while waiting:
        shape = waiting.pop()
        if hasattr(shape, "shapes"):
            waiting.extend(list(shape.shapes)[::-1])
        else:
            yield shape


def _texts(shape: Any) -> Iterator[str]:
    if getattr(shape, "has_table", False):
        yield rows(shape.table)
    elif shape.has_text_frame:
        lines = [one_line(paragraph.text) for paragraph in shape.text_frame.paragraphs]
        yield "\n".join(filter(None, lines))
