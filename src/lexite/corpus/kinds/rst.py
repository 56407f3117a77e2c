"""reStructuredText, read by docutils. Directives and roles of Sphinx, which docutils does not know, give their text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any

from lexite.corpus.kinds import Extracted
from lexite.corpus.kinds.decoding import decoded, heading, indented, joined, one_line, without_title
from lexite.corpus.kinds.table_lines import Cell, TableLines
from lexite.corpus.options import BadFile

_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 5,
    "_disable_config": True,
    "smart_quotes": False,
    "doctitle_xform": True,
    "sectsubtitle_xform": False,
    "line_length_limit": 1_000_000,
}
_HIDDEN = frozenset(
    "comment substitution_definition target system_message image raw pending meta footer header decoration problematic".split()
)
_DROPPED = frozenset(
    "toctree index tabularcolumns only-css highlight currentmodule module py:module py:currentmodule include".split()
)
_LINES = frozenset(("literal_block", "doctest_block", "math_block"))
_PARAGRAPHS = frozenset("paragraph term caption attribution rubric subtitle line_block field_name field_body".split())


def extract(file: IO[bytes], name: str) -> Iterator[Extracted]:
    """One document. Its title is the one heading that stands above all others."""
    text, notes = decoded(file.read())
    tree = _tree(text)
    title = one_line(tree.get("title") or "")
    writer = _Writer()
    for child in tree.children:
        writer.write(child, 1)
    blocks = writer.blocks
    if not title and blocks and blocks[0].startswith("# "):
        title = blocks[0][2:]
    yield Extracted(joined(without_title(blocks, title)), title, notes=notes)


def _tree(text: str) -> Any:
    import docutils.core
    import docutils.nodes
    import docutils.utils

    _accept_everything()
    try:
        tree = docutils.core.publish_doctree(text, settings_overrides={**_SETTINGS, "warning_stream": io.StringIO()})
    except docutils.utils.SystemMessage as error:
        raise BadFile(f"docutils cannot read it ({one_line(str(error))[:200]}).", "malformed") from None
    for message in list(tree.findall(docutils.nodes.system_message)):  # what docutils would say is no text of the file
        message.parent.remove(message)
    return tree


def _accept_everything() -> None:
    """Lets docutils read directives and roles that it does not know as what they contain."""
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives, roles

    if getattr(directives, "lexite_accepts", False):
        return
    known_directive, known_role = directives.directive, roles.role

    class Contents(Directive):  # type: ignore[misc]
        """The argument of a directive as a paragraph, and its contents."""

        optional_arguments, final_argument_whitespace, has_content = 1, True, True

        def run(self) -> list[Any]:
            if self.name in _DROPPED:
                return []
            found: list[Any] = []
            if self.arguments:
                found.append(nodes.paragraph("", " ".join(self.arguments)))
            inside = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, inside)
            return [*found, inside]

    class AnyOption(dict[str, Any]):
        """Options of directives, whatever they are called."""

        def __missing__(self, key: str) -> Any:
            return directives.unchanged

        def __bool__(self) -> bool:
            return True

    Contents.option_spec = AnyOption()

    def directive(name: str, *others: Any) -> Any:
        found, messages = known_directive(name, *others)
        return (Contents, []) if found is None or name in _DROPPED else (found, messages)

    def as_text(role: str, rawtext: str, text: str, *others: Any) -> Any:
        shown = text.rsplit("<", 1)[0] if text.endswith(">") and "<" in text else text
        return [nodes.literal(rawtext, shown.strip().lstrip("~!"))], []

    def role(name: str, *others: Any) -> Any:
        found, messages = known_role(name, *others)
        return (as_text, []) if found is None else (found, messages)

    directives.directive, roles.role = directive, role
    directives.lexite_accepts = True


class _Writer:
    """Collects the blocks of a tree of docutils."""

    def __init__(self) -> None:
        self.blocks: list[str] = []

    def write(self, node: Any, level: int, mark: str = "") -> None:
        """The blocks of a node.

        Args:
            node: any.
            level: of a heading that stands here.
            mark: what its first line begins with.
        """
        tag = node.tagname
        if tag in _HIDDEN:
            return
        if tag == "title":
            self._add(heading(node.astext(), level))
        elif tag == "section":
            for child in node.children:
                self.write(child, level + 1)
        elif tag in _LINES:
            self._add(indented(node.astext()))
        elif tag == "tgroup":
            self._add(_table(node))
        elif tag == "list_item":
            self._item(node, level)
        elif tag in _PARAGRAPHS or not hasattr(node, "children") or tag == "#text":
            self._add(mark + one_line(node.astext()))
        else:
            for child in node.children:
                self.write(child, level)

    def _item(self, node: Any, level: int) -> None:
        for place, child in enumerate(node.children):
            if place == 0 and child.tagname == "paragraph":
                self._add(f"- {one_line(child.astext())}", below="item")
            else:
                self.write(child, level)

    def _add(self, block: str, below: str = "") -> None:
        if not block.strip():
            return
        if below and self.blocks and getattr(self, "_last", "") == below:
            self.blocks[-1] += f"\n{block}"
        else:
            self.blocks.append(block)
        self._last = below


def _table(group: Any) -> str:
    """The rows of a table, those of its head first."""
    lines = TableLines()
    for part in group.children:
        for row in part.children if part.tagname in ("thead", "tbody") else ():
            lines.add(
                Cell(_text_of_cell(entry), entry.get("morecols", 0) + 1, entry.get("morerows", 0) + 1) for entry in row.children
            )
    return lines.text()


def _text_of_cell(entry: Any) -> str:
    """What a cell says. Numbers such as ``(5)`` and ``5.`` are lists to docutils, whose items are counted from there."""
    written = []
    for child in entry.children:
        if child.tagname == "enumerated_list" and child.get("enumtype") == "arabic":
            numbered = enumerate(child.children, start=child.get("start", 1))
            written += [f"{child['prefix']}{number}{child['suffix']} {item.astext()}" for number, item in numbered]
        else:
            written.append(child.astext())
    return " ".join(written)
