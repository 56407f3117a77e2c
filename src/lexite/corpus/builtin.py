"""The built-in corpus: the documentation of the running Python's standard library.

One document per public module, class, function and method with a docstring. Modules written in Python are parsed, never
imported; of those written in C, a list of harmless ones is imported and inspected.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from lexite.corpus.records import Document
from lexite.errors import CorpusError

# Harmless to import, and (partly) written in C. Those that a platform lacks are passed over.
_COMPILED_NAMES = """
    array atexit binascii builtins cmath collections contextvars datetime decimal errno fcntl functools gc grp hashlib io
    itertools marshal math mmap operator os pwd re resource select signal socket sqlite3 struct sys termios time types
    unicodedata weakref winreg zlib zoneinfo
"""
_COMPILED = frozenset(_COMPILED_NAMES.split())
_SKIPPED_FOLDERS = {"test", "tests", "site-packages", "dist-packages"}
_SKIPPED_PACKAGES = {"idlelib", "lib2to3", "turtledemo", "antigravity", "this"}
_OWNERS = {"os": {"posix", "nt"}, "hashlib": {"_hashlib", "_blake2"}}

Entry = tuple[str, str]  # dotted name, docstring


def builtin_documents() -> Iterator[Document]:
    """The documentation of this Python's standard library, 6,000 to 8,000 documents, in the same order every time.

    The id and the title are the dotted name (``json.dumps``), the text is the docstring. Modules come sorted by name, what
    is in them in the order of the source. Names that begin with an underscore are left out.

    Raises:
        CorpusError: this Python comes without the sources and without the docstrings of its library.
    """
    sources = dict(_python_modules(Path(sysconfig.get_path("stdlib"))))
    empty = True
    for module in sorted({*sources, *_COMPILED}):
        seen: set[str] = set()
        for name, docstring in _entries(module, sources.get(module)):
            text = inspect.cleandoc(docstring).strip()
            if text and name not in seen:
                seen.add(name)
                empty = False
                yield Document(name, text, name)
    if empty:
        raise CorpusError("builtin:python: this Python comes without the documentation of its standard library.")


def _entries(module: str, source: Path | None) -> Iterator[Entry]:
    if source is not None:
        yield from _parsed(module, source)
    if module in _COMPILED:
        yield from _inspected(module)


def _python_modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the public modules below the standard library's folder."""
    for place, folders, files in os.walk(folder):
        parts = Path(place).relative_to(folder).parts
        top = not parts
        folders[:] = [name for name in folders if not name.startswith("_") and _is_wanted(name, top)]
        for file in files:
            stem, suffix = os.path.splitext(file)
            if suffix != ".py" or (stem.startswith("_") and stem != "__init__") or not _is_wanted(stem, top):
                continue
            yield ".".join(parts if stem == "__init__" else (*parts, stem)), Path(place, file)


def _is_wanted(name: str, top: bool) -> bool:
    if top:
        return name in sys.stdlib_module_names and name not in _SKIPPED_PACKAGES
    return name not in _SKIPPED_FOLDERS


def _parsed(module: str, source: Path) -> Iterator[Entry]:
    try:
        tree = ast.parse(source.read_bytes(), str(source))
    except (OSError, SyntaxError, ValueError):
        return  # a module that this Python cannot parse has no documentation for it
    docstring = ast.get_docstring(tree, clean=False)
    if docstring:
        yield module, docstring
    yield from _members(module, tree.body)


def _members(prefix: str, body: Iterable[ast.stmt]) -> Iterator[Entry]:
    """Classes and functions of a module or class, also those inside ``if`` and ``try``, but not those inside functions."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name.startswith("_"):
                continue
            name = f"{prefix}.{node.name}"
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                yield name, docstring
            if isinstance(node, ast.ClassDef):
                yield from _members(name, node.body)
        elif isinstance(node, (ast.If, ast.Try)):
            handlers = node.handlers if isinstance(node, ast.Try) else []
            branches = [node.body, *(handler.body for handler in handlers), node.orelse]
            for branch in branches:
                yield from _members(prefix, branch)


def _inspected(module: str) -> Iterator[Entry]:
    """What is written in C in a module, sorted by name."""
    try:
        namespace = vars(importlib.import_module(module))
    except ImportError:
        return
    if module in sys.builtin_module_names and namespace.get("__doc__"):
        yield module, namespace["__doc__"]
    owners = {module, f"_{module}", *_OWNERS.get(module, ())}
    for name, value in sorted(namespace.items()):
        if name.startswith("_") or getattr(value, "__module__", module) not in owners:
            continue
        if module == "sys" and name.endswith("hook"):  # whatever the program has put there
            continue
        if not isinstance(value, type) and not inspect.isroutine(value):
            continue
        docstring = _docstring(value)
        if docstring:
            yield f"{module}.{name}", docstring
        if isinstance(value, type):
            yield from _inspected_members(f"{module}.{name}", value)


def _inspected_members(prefix: str, owner: type) -> Iterator[Entry]:
    for name, value in sorted(vars(owner).items()):
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, (classmethod, staticmethod))):
            docstring = _docstring(value)
            if docstring:
                yield f"{prefix}.{name}", docstring


def _docstring(value: object) -> str | None:
    docstring = getattr(value, "__doc__", None)
    return docstring if isinstance(docstring, str) else None
