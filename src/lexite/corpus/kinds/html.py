"""HTML: the main text with its headings, read by selectolax."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import decoded, heading, indented, joined, one_line, without_title
from lexite.corpus.kinds.table_lines import Cell, TableLines

_CHARSET = re.compile(
    rb"""<meta[^>]+charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]+encoding\s*=\s*["']([\w.:-]+)""", re.IGNORECASE
)
_NO_TEXT = (
    "script, style, template, noscript, svg, math annotation, iframe, object, canvas, button, select, input, textarea, dialog, "
    "nav, footer, [role=navigation], [role=search], [role=contentinfo], [role=banner], [hidden], [aria-hidden=true], "
    "a.headerlink, a.anchor"
)
_MAIN = ("main", "[role=main]", "article")
_SHARE_OF_MAIN = 0.25  # of the characters of a page that its main part holds at least
_LEVELS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure form header hgroup hr html "
    "legend li main ol optgroup option p section summary table tbody tfoot thead tr ul caption".split()
)
_CELLS = frozenset(("td", "th"))
_INSIDE_LAYOUT = "p, div, table, ul, ol, dl, pre, h1, h2, h3, h4"  # what makes a cell a place on the page, not a datum


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document: the page's title, and what is its main part, without menus and scripts."""
    data = file.read()
    declared = _CHARSET.search(data[:4096])
    page, notes = decoded(data, (declared[1] or declared[2]).decode("ascii", "replace") if declared else None)
    text, title, fields = main_text(page)
    yield Extracted(text, title, fields, notes=notes)


def main_text(page: str) -> tuple[str, str, dict[str, object]]:
    """Text, title and fields of a page."""
    from selectolax.lexbor import LexborHTMLParser

    tree: Any = LexborHTMLParser(page)
    written = tree.css_first("title")
    title = one_line(written.text()) if written else ""
    fields = _described(tree)
    for node in tree.css(_NO_TEXT):
        node.decompose()
    if tree.body is None:
        return "", title, fields
    blocks = _blocks(_main(tree))
    first = next((block for block in blocks if block.startswith("# ")), "")[2:]
    if first and (not title or title.lower().startswith(first.lower()) or title.lower().endswith(first.lower())):
        title = first  # the name of the site, which stands beside it, says nothing about the page
        blocks = without_title(blocks, title) if blocks[0] == f"# {first}" else _without(blocks, f"# {first}")
    return joined(blocks), title, fields


def _without(blocks: list[str], heading_line: str) -> list[str]:
    at = blocks.index(heading_line)
    return blocks[:at] + blocks[at + 1 :]


def _described(tree: Any) -> dict[str, object]:
    """Author, description and keywords, as the head of a page gives them."""
    fields: dict[str, object] = {}
    for node in tree.css("meta[name][content]"):
        name, content = node.attributes["name"].lower(), one_line(node.attributes["content"] or "")
        if content and name in ("author", "description"):
            fields.setdefault(name, content)
        elif content and name == "keywords":
            fields.setdefault(name, [word.strip() for word in content.split(",") if word.strip()])
    language = tree.css_first("html[lang]")
    if language is not None and language.attributes["lang"]:
        fields["lang"] = language.attributes["lang"]
    return fields


def _main(tree: Any) -> Any:
    """The main part of a page: what is marked as such and holds enough of its text, else all of it."""
    body = tree.body
    whole = len(body.text())
    for selector in _MAIN:
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text()) >= _SHARE_OF_MAIN * whole:
            return found[0]
    return body


class _Writer:
    """Collects the blocks of a page. Items of a list and rows of a table follow each other without a blank line."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self._inline: list[str] = []
        self._level = 0
        self._mark = ""  # what the next line begins with, in an item of a list
        self._line_of = ""  # li or tr, where the next line goes on with what is above it
        self._last_line_of = ""
        self._table = TableLines()
        self._cells: list[Cell] = []  # of the row so far; the text of the last is still inline

    def text(self, text: str) -> None:
        """Text within a block."""
        self._inline.append(text)

    def cell(self, columns: int, rows: int) -> None:
        """A cell of a table begins, which spans so many columns and rows."""
        if self._cells:
            self._end_cell()
        else:
            self.flush()  # what stands before the first cell is none
        self._cells.append(Cell("", columns, rows))

    def begin(self, tag: str) -> None:
        """A block begins."""
        self.flush()
        if tag == "table":
            self._end_table()
        if tag in _LEVELS:
            self._level = _LEVELS[tag]
        elif tag in ("li", "tr"):
            self._mark, self._line_of = "- " if tag == "li" else "", tag

    def end(self, tag: str) -> None:
        """A block ends."""
        self.flush()
        if tag in _LEVELS:
            self._level = 0
        elif tag in ("li", "tr"):
            self._mark = self._line_of = ""
        elif tag in ("ul", "ol", "table"):
            self._end_table()
            self._last_line_of = ""

    def code(self, text: str) -> None:
        """A block of code."""
        self.flush()
        if text.strip():
            self._end_table()
            self.blocks.append(indented(text))
            self._last_line_of = ""

    def finished(self) -> list[str]:
        """All blocks."""
        self.flush()
        self._end_table()
        return self.blocks

    def _end_cell(self) -> None:
        self._cells[-1] = self._cells[-1]._replace(text="".join(self._inline))
        self._inline.clear()

    def _end_table(self) -> None:
        if self._table:
            self.blocks.append(self._table.text())
            self._last_line_of = "tr"
        self._table = TableLines()

    def flush(self) -> None:
        """Ends a line."""
        if self._cells:
            self._end_cell()
            self._table.add(self._cells)
            self._cells, self._mark, self._line_of = [], "", ""
            return
        line = one_line("".join(self._inline)) if self._inline else ""
        self._inline.clear()
        if not line:
            return
        self._end_table()
        if self._level:
            self.blocks.append(heading(line, self._level))
            self._last_line_of = ""
            return
        line = f"{self._mark}{line}"
        if self._line_of and self._line_of == self._last_line_of:
            self.blocks[-1] += f"\n{line}"
        else:
            self.blocks.append(line)
        self._last_line_of, self._mark, self._line_of = self._line_of, "", ""


def _blocks(root: Any) -> list[str]:
    """Walks a page without recursion: pages can be nested deeper than Python can call."""
    writer = _Writer()
    node = root
    while node is not None:
        tag, child = node.tag, None
        if tag == "-text":
            writer.text(node.text(deep=False))
        elif tag == "pre":
            writer.code(node.text())
        elif tag == "br":
            writer.text(" ")
        else:
            child = node.child
            if tag in _BLOCKS or tag in _LEVELS:
                writer.begin(tag)
            elif tag in _CELLS:
                if node.css_first(_INSIDE_LAYOUT) is None:
                    writer.cell(_span(node, "colspan"), _span(node, "rowspan"))
                else:
                    writer.flush()
        node = child if child is not None else _next(node, root, writer)
    return writer.finished()


def _span(node: Any, name: str) -> int:
    """How many columns or rows a cell spans."""
    written = (node.attributes.get(name) or "").strip()
    return int(written) if written.isascii() and written.isdigit() and len(written) < 6 else 1


def _next(node: Any, root: Any, writer: _Writer) -> Any:
    """The node that follows one that is done; the blocks that end on the way are written."""
    while node is not None:
        if node.tag in _BLOCKS or node.tag in _LEVELS:
            writer.end(node.tag)
        if node.mem_id == root.mem_id:
            return None
        if node.next is not None:
            return node.next
        node = node.parent
    return None
