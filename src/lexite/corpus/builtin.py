"""The built-in corpus: the documentation of the running Python's standard library.

One document per public module, class, function and method with a docstring, under the name that programs write: ``csv.reader``,
not ``_csv.reader``; ``os.path.join``, not ``posixpath.join``; ``sorted``, not ``builtins.sorted``. Modules written in Python
are parsed, never imported. What is written in C has no source to parse, so a list of harmless modules is imported and
inspected.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import importlib
import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lexite.corpus.records import Document
from lexite.errors import CorpusError

# Harmless to import, and (partly) written in C. Modules that a platform lacks are passed over. readline is missing since its
# import changes the terminal.
_COMPILED_NAMES = """
    array atexit binascii bisect builtins bz2 cmath codecs collections contextvars csv ctypes datetime decimal errno
    faulthandler fcntl functools gc grp hashlib heapq hmac io itertools locale lzma marshal math mmap operator os pickle pwd
    queue random re resource select signal socket sqlite3 ssl statistics struct sys syslog termios threading time tracemalloc
    types typing unicodedata warnings weakref winreg xml.parsers.expat zlib zoneinfo
"""
_COMPILED = frozenset(_COMPILED_NAMES.split())
_PARSED_AGAIN = 3
_SKIPPED_FOLDERS = {"test", "tests", "site-packages", "dist-packages"}
# One reason a paragraph: programs and jokes; drawing toolkits, whose eight hundred methods crowd out the rest; one module for
# each character set; the insides of Python's own tools; and what Python has deprecated and taken out since (PEP 594, PEP 632),
# so that the corpora of two Pythons resemble each other.
_SKIPPED_NAMES = """
    antigravity ensurepip idlelib pydoc_data this turtledemo

    curses tkinter turtle

    encodings

    bdb code codeop compileall modulefinder nturl2path opcode pickletools pkgutil py_compile pyclbr pydoc rlcompleter site
    stringprep symtable tabnanny token tokenize venv zipapp zipimport

    aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib ossaudiodev
    pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
"""
_SKIPPED = frozenset(_SKIPPED_NAMES.split())
# os.path is one of two modules, that of the running system.
_OTHER_SYSTEMS_PATHS = {"posixpath", "ntpath"} - {os.path.__name__}
# Names whose better form no import in the source shows: functions bound to a hidden object, and classes imported on demand.
_KNOWN_AS = {
    "genericpath.": "os.path.",
    "builtins.": "",
    "random.Random.": "random.",
    "multiprocessing.context.BaseContext.": "multiprocessing.",
    "concurrent.futures.process.": "concurrent.futures.",
    "concurrent.futures.thread.": "concurrent.futures.",
}
_FIRST_ARGUMENT = re.compile(r"^\(\$\w+(?:, /)?(?:, |(?=\)))")  # the object itself, which nobody writes


class _Module(NamedTuple):
    """What one source file says, without the module's own name."""

    entries: tuple[tuple[str, str], ...]  # dotted name within the module ("" is the module itself), text
    imports: tuple[tuple[str, str], ...]  # module, name; the name "*" is all of them
    exported: frozenset[str] | None  # __all__, where the file states it in so many words


def builtin_documents() -> Iterator[Document]:
    """The documentation of this Python's standard library, 4,000 to 6,000 documents, sorted by name.

    The id and the title are the dotted name that programs write (``json.dumps``). The text is the docstring; where C keeps
    the signature apart from the docstring, it stands first. Left out are private names, names that a module's ``__all__`` does
    not list, tests, and the modules of ``_SKIPPED_NAMES``. A text that stands under several names is one document, under the
    shortest of them.

    Raises:
        CorpusError: this Python comes without the sources and without the docstrings of its library.
    """
    modules = _parsed_modules(Path(sysconfig.get_path("stdlib")))
    names = {os.path.__name__: "os.path", **_names_in_use(modules)}
    texts: dict[str, str] = {}
    for name, text in _parsed_entries(modules, names):
        texts.setdefault(name, text)
    inspected: set[int] = set()
    for module in sorted(_COMPILED, key=lambda name: (name != "builtins", name)):
        for name, text in _inspected(module, modules, inspected):
            texts.setdefault(_known_as(name, names), text)
    if not texts:
        raise CorpusError("builtin:python: this Python comes without the documentation of its standard library.")
    shortest: dict[str, str] = {}
    for name in sorted(texts, key=lambda name: (len(name), name)):
        shortest.setdefault(texts[name], name)
    for text, name in sorted(shortest.items(), key=lambda item: item[1]):
        yield Document(name, text, name)


# --- what is written in Python


def _parsed_modules(folder: Path) -> dict[str, _Module]:
    """The public modules below the standard library's folder, and the private ones from which they import."""
    files = dict(_python_modules(folder))
    modules: dict[str, _Module] = {}
    waiting = [name for name in files if not _is_private(name) and name not in _OTHER_SYSTEMS_PATHS]
    while waiting:
        name = waiting.pop()
        module = _parsed(name, files[name])
        if module is not None:
            modules[name] = module
            private = {target for target, _ in module.imports if _is_private(target) and target in files}
            waiting += sorted(private - {*modules, *waiting})
    return modules


def _parsed_entries(modules: Mapping[str, _Module], names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names in use and texts of what is public; of inner modules, only what they hand on."""
    inner = {target for module in modules for target, _ in _handed_on(module, modules)}
    for module in sorted(modules):
        exported = modules[module].exported
        for name, text in modules[module].entries:
            first = name.partition(".")[0]
            listed = f"{module}.{first}" in names if module in inner else exported is None or first in exported
            known = _known_as(f"{module}.{name}" if name else module, names)
            if (listed or not name) and not _is_private(known):
                yield known, text


def _python_modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the modules below the standard library's folder."""
    for place, folders, files in os.walk(folder):
        parts = Path(place).relative_to(folder).parts
        top = not parts
        folders[:] = [name for name in folders if _is_wanted(name, top)]
        for file in files:
            stem, suffix = os.path.splitext(file)
            if suffix == ".py" and (_is_wanted(stem, top) or (stem == "__init__" and not top)):
                yield ".".join(parts if stem == "__init__" else (*parts, stem)), Path(place, file)


def _is_wanted(name: str, top: bool) -> bool:
    if top:
        return name in sys.stdlib_module_names and name not in _SKIPPED
    return name not in _SKIPPED_FOLDERS and not name.startswith("__")


def _is_private(module: str) -> bool:
    return any(part.startswith("_") for part in module.split("."))


def _parsed(module: str, source: Path) -> _Module | None:
    try:
        tree = _tree(source)
    except (OSError, SyntaxError, ValueError):
        return None  # a module that this Python cannot parse has no documentation for it
    package = module if source.stem == "__init__" else module.rpartition(".")[0]
    docstring = _cleaned(ast.get_docstring(tree, clean=False))
    entries = ([("", docstring)] if docstring else []) + list(_members("", tree.body))
    return _Module(tuple(entries), tuple(_imports(package, tree.body)), frozenset(_exported(tree.body)) or None)


def _tree(source: Path) -> ast.Module:
    """What a module says.

    Python 3.11 counts how deep it is in a module for all threads together. It refuses the module when another thread parses
    meanwhile, as one does that prints a traceback. So it is asked again.
    """
    for _ in range(_PARSED_AGAIN):
        with contextlib.suppress(SystemError):
            return ast.parse(source.read_bytes(), str(source))
    return ast.parse(source.read_bytes(), str(source))


def _members(prefix: str, body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Classes and functions of a module or class, also those inside ``if`` and ``try``, but not those inside functions."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name.startswith("_"):
                continue
            name = prefix + node.name
            docstring = _cleaned(ast.get_docstring(node, clean=False))
            if docstring:
                yield name, docstring
            if isinstance(node, ast.ClassDef):
                yield from _members(f"{name}.", node.body)
        elif isinstance(node, (ast.If, ast.Try)):
            handlers = node.handlers if isinstance(node, ast.Try) else []
            for branch in (node.body, *(handler.body for handler in handlers), node.orelse):
                yield from _members(prefix, branch)


def _imports(package: str, body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    """``from module import name``, with the module's full name. What a failed import falls back on is left out."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            target = ".".join([*parent, *([node.module] if node.module else [])])
            yield from ((target, alias.name) for alias in node.names if alias.asname in (None, alias.name))
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _imports(package, [*node.body, *node.orelse])


def _exported(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that ``__all__`` is given in so many words, at first or later; what is computed cannot be read."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try)):
            yield from _exported([*node.body, *node.orelse])
            continue
        changed: ast.expr | None = None
        given: ast.expr | None = None
        if isinstance(node, (ast.Assign, ast.AugAssign)):
            changed, given = node.targets[0] if isinstance(node, ast.Assign) else node.target, node.value
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and node.value.args:
            method = node.value.func  # __all__.extend or __all__.append
            changed, given = method.value if isinstance(method, ast.Attribute) else None, node.value.args[0]
        if not (isinstance(changed, ast.Name) and changed.id == "__all__"):
            continue
        if isinstance(given, (ast.List, ast.Tuple, ast.Constant)):
            names = given.elts if isinstance(given, (ast.List, ast.Tuple)) else [given]
            yield from (name.value for name in names if isinstance(name, ast.Constant) and isinstance(name.value, str))


def _names_in_use(modules: Mapping[str, _Module]) -> dict[str, str]:
    """Where a name is defined, to where programs import it from: ``json.decoder.JSONDecoder`` to ``json.JSONDecoder``.

    A module hands on what it imports from private modules, and a package what it imports from its own modules, unless its
    ``__all__`` leaves it out. Of several such places, the one with the shortest path counts.
    """
    found: dict[str, str] = {}
    for module in sorted(modules):
        for target, given in _handed_on(module, modules):
            source = modules[target]
            names = {given}
            if given == "*":
                names = set(source.exported or {name.partition(".")[0] for name, _ in source.entries if name})
            for name in names & (modules[module].exported or names):
                place = f"{module}.{name}"
                known = found.setdefault(f"{target}.{name}", place)
                if place.count(".") < known.count("."):
                    found[f"{target}.{name}"] = place
    return found


def _handed_on(module: str, modules: Mapping[str, _Module]) -> Iterator[tuple[str, str]]:
    """What a public module imports from its inner ones: private modules and, if it is a package, its own."""
    for target, name in modules[module].imports if not _is_private(module) else ():
        if target in modules and (_is_private(target) or target.startswith(f"{module}.")):
            yield target, name


def _known_as(name: str, names: Mapping[str, str]) -> str:
    """The name that programs write for a name or for the class that it belongs to."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        known = names.get(".".join(parts[:length]))
        if known is not None:
            name = ".".join([known, *parts[length:]])
            break
    for start, used in _KNOWN_AS.items():
        if name.startswith(start):
            return used + name.removeprefix(start)
    return name


# --- what is written in C


def _inspected(module: str, modules: Mapping[str, _Module], inspected: set[int]) -> Iterator[tuple[str, str]]:
    """Names and texts of what is written in C in a module, sorted by name; each object once, though it has several names."""
    try:
        imported = importlib.import_module(module)
    except ImportError:
        return
    namespace = vars(imported)
    docstring = _docstring(imported)
    if module not in modules and docstring:
        yield module, docstring
    public = {name: value for name, value in namespace.items() if _is_shown(name, value, namespace, modules)}
    by_name = sorted(public.items(), key=lambda item: (getattr(item[1], "__name__", "") != item[0], item[0]))
    for name, value in by_name:  # an object's own name first: OSError before EnvironmentError
        if id(value) in inspected or (module == "sys" and name.endswith("hook")):  # the program's own hooks
            continue
        inspected.add(id(value))
        text = _text(name, value)
        if text:
            yield f"{module}.{name}", text
        if isinstance(value, type):
            yield from _inspected_members(f"{module}.{name}", value)


def _is_shown(name: str, value: object, namespace: Mapping[str, object], modules: Mapping[str, _Module]) -> bool:
    """Whether a module is where people find an object: made there, or taken from a private module in C."""
    if name.startswith("_") or isinstance(value, enum.EnumMeta) or not (isinstance(value, type) or inspect.isroutine(value)):
        return False
    module = str(namespace["__name__"])
    owner = str(getattr(value, "__module__", None) or module)
    if owner == f"_{module}" or module == "builtins":
        return True
    if owner != module and owner not in ("posix", "nt"):
        compiled = owner.startswith("_") and owner in sys.stdlib_module_names and owner not in modules
        if not compiled:
            return False
    exported = namespace.get("__all__", namespace)
    return isinstance(exported, Iterable) and name in exported


def _inspected_members(prefix: str, owner: type) -> Iterator[tuple[str, str]]:
    for name, value in sorted(vars(owner).items()):
        if not name.startswith("_") and (inspect.isroutine(value) or isinstance(value, (classmethod, staticmethod))):
            text = _text(name, value)
            if text:
                yield f"{prefix}.{name}", text


def _text(name: str, value: object) -> str:
    signature = " ".join((getattr(value, "__text_signature__", None) or "").split())
    return _with_signature(name, _FIRST_ARGUMENT.sub("(", signature), _docstring(value))


def _docstring(value: object) -> str:
    docstring = getattr(value, "__doc__", None)
    return _cleaned(docstring) if isinstance(docstring, str) else ""


def _cleaned(docstring: str | None) -> str:
    return inspect.cleandoc(docstring).strip() if docstring else ""


def _with_signature(name: str, arguments: str, docstring: str) -> str:
    if not docstring or not arguments or docstring.startswith(f"{name}("):
        return docstring
    return f"{name}{arguments}\n\n{docstring}"
