"""Kinds of files that are documents, and which file reads each.

A new kind is a module here and a line in :data:`KINDS`. The module has one function, ``extract(file, name)``: it gets the open
file, already decompressed, and the file's name, and yields an :class:`Extracted` for each document. What is wrong with the
whole file is raised as :class:`lexite.corpus.options.BadFile`.

**Headings.** Whatever the kind, a heading in a text is a Markdown line of its own (``## Heading``), and a blank line stands
between paragraphs. The title is not repeated in the text. What cuts texts into passages relies on that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Protocol, cast


@dataclass(frozen=True, slots=True)
class Extracted:
    """A document as it was found in a file.

    Args:
        text: with headings as Markdown lines.
        title: empty when there is none.
        fields: what else the file says about it.
        part: which of the file's documents it is, where a file may hold several; it becomes a part of the id.
        notes: what is worth telling, such as characters that were replaced.
    """

    text: str
    title: str = ""
    fields: dict[str, object] = field(default_factory=dict)
    part: str = ""
    notes: tuple[str, ...] = ()


class Extract(Protocol):
    """What the module of a kind offers."""

    def __call__(self, file: IO[bytes], name: str) -> Iterator[Extracted]:
        """The documents of a file."""
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Args:
        name: for people, and for the table.
        module: the file of this package that reads it.
        suffixes: endings of the names, in small letters.
        needs: the package without which it cannot be read; empty for none.
        apart: whether it is read in a process of its own, which has limits. Only what is as good as read already is not.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    needs: str = ""
    apart: bool = True

    def extract(self, file: IO[bytes], name: str) -> Iterator[Extracted]:
        """The documents of a file of this kind."""
        read = cast(Extract, import_module(f"lexite.corpus.kinds.{self.module}").extract)
        return read(file, name)

    def is_available(self) -> bool:
        """Whether the package that reads it is installed."""
        return not self.needs or _is_installed(self.needs)


CODE = (
    ".py .pyi .js .mjs .cjs .jsx .ts .tsx .vue .svelte .java .kt .kts .scala .groovy .clj .c .h .cc .cpp .cxx .hh .hpp .hxx "
    ".m .mm .cs .fs .vb .go .rs .swift .zig .nim .d .rb .php .pl .pm .lua .r .jl .dart .hs .ml .mli .ex .exs .erl .elm .lisp "
    ".scm .el .tcl .sh .bash .zsh .fish .ps1 .bat .sql .css .scss .sass .less .proto .graphql .tf .cmake .mk .gradle .yaml "
    ".yml .toml .ini .cfg .conf"
).split()

KINDS: tuple[Kind, ...] = (
    Kind("text", "text", (".txt", ".text"), apart=False),
    Kind("Markdown", "markdown", (".md", ".markdown"), apart=False),
    Kind("code", "text", tuple(CODE), apart=False),
    Kind("HTML", "html", (".html", ".htm", ".xhtml"), needs="selectolax"),
    Kind("reStructuredText", "rst", (".rst", ".rest"), needs="docutils"),
    Kind("PDF", "pdf", (".pdf",), needs="pypdfium2"),
    Kind("DOCX", "docx", (".docx",), needs="docx"),
    Kind("PPTX", "pptx", (".pptx",), needs="pptx"),
    Kind("e-mail", "mail", (".eml",)),
    Kind("mbox", "mbox", (".mbox", ".mbx")),
)
BY_SUFFIX: dict[str, Kind] = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


def kind_of(suffix: str) -> Kind | None:
    """The kind of files whose names have this ending (:func:`lexite.corpus.sources.content_suffix`)."""
    return BY_SUFFIX.get(suffix)


def is_compressed(path: Path) -> bool:
    """Whether the name says so."""
    from lexite.corpus.streams import COMPRESSIONS

    return path.suffix.lower() in COMPRESSIONS


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
