"""The built-in corpus, held against what inspect says about the same objects."""

from __future__ import annotations

import bz2
import collections
import csv
import hashlib
import inspect
import itertools
import json
import math
import os.path
import pickle
import random
import sqlite3
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import pytest

from lexite.corpus import Document, builtin_documents, read_documents
from lexite.corpus import builtin as module
from lexite.errors import CorpusError


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return {document.id: document for document in builtin_documents()}


def test_documentation_of_the_standard_library(documents: dict[str, Document]):
    assert len(documents) > 4000
    for name, value in {
        "json": json,
        "json.dumps": json.dumps,
        "json.JSONDecoder": json.JSONDecoder,
        "json.JSONDecoder.raw_decode": json.JSONDecoder.raw_decode,
        "int": int,
        "textwrap.dedent": textwrap.dedent,
        "os.path.join": os.path.join,
        "os.path.exists": os.path.exists,
        "random.choice": random.choice,
        "collections.Counter.most_common": collections.Counter.most_common,
    }.items():
        assert documents[name] == Document(name, str(inspect.getdoc(value)).strip(), name)


def test_functions_of_modules_in_c_are_there_under_the_name_that_people_use(documents: dict[str, Document]):
    for name, value in {
        "csv.reader": csv.reader,
        "csv.writer": csv.writer,
        "collections.deque": collections.deque,
        "collections.deque.popleft": collections.deque.popleft,
        "itertools.groupby": itertools.groupby,
        "math.hypot": math.hypot,
        "zlib.compress": zlib.compress,
        "pickle.dump": pickle.dump,
        "sqlite3.connect": sqlite3.connect,
        "sqlite3.Connection.execute": sqlite3.Connection.execute,
        "hashlib.sha256": hashlib.sha256,
        "hashlib.scrypt": hashlib.scrypt,
        "bz2.BZ2Compressor": bz2.BZ2Compressor,
        "time.sleep": time.sleep,
        "str.join": str.join,
        "open": open,
    }.items():
        assert str(inspect.getdoc(value)).strip() in documents[name].text
        assert documents[name].title == name


def test_a_signature_that_c_keeps_apart_stands_before_the_docstring(documents: dict[str, Document]):
    for name, value in {"sorted": sorted, "str.join": str.join, "zlib.compress": zlib.compress}.items():
        line, _, rest = documents[name].text.partition("\n\n")
        assert rest == inspect.getdoc(value)
        written = [part for part in inspect.signature(value).parameters if part != "self"]
        assert line.startswith(f"{value.__name__}(") and line.endswith(")") and all(part in line for part in written)
        assert "$" not in line and "self" not in line


def test_every_object_stands_under_one_name(documents: dict[str, Document]):
    texts = collections.Counter(document.text for document in documents.values())
    assert texts.most_common(1)[0][1] == 1
    other_names = {"_csv.reader", "posixpath.join", "ntpath.join", "builtins.sorted", "io.open", "sqlite3.dbapi2.connect"}
    other_names |= {"json.decoder.JSONDecoder", "random.Random.choice", "IOError", "posix.listdir", "bytearray.upper"}
    assert not other_names & set(documents)
    assert {"OSError", "os.listdir", "bytes.upper"} <= set(documents)


def test_nothing_private_nothing_empty_no_tests(documents: dict[str, Document]):
    assert all(document.text.strip() for document in documents.values())
    assert not [id for id in documents if any(part.startswith("_") for part in id.split("."))]
    packages = {id.partition(".")[0] for id in documents}
    assert not packages & {"test", "idlelib", "lib2to3", "turtledemo", "tkinter", "distutils", "encodings"}
    assert not [id for id in documents if id.startswith("unittest.test.")]


@pytest.mark.slow
def test_order_is_the_same_every_time_and_no_odd_module_is_executed(documents: dict[str, Document]):
    code = (
        "import sys; from lexite.corpus import builtin_documents; ids = [d.id for d in builtin_documents()]; "
        "print(*ids, sep='\\n'); "
        "odd = {'antigravity', 'this', 'turtle', 'tkinter', 'readline', 'idlelib', 'test', 'torch', 'numpy'}; "
        "print(odd & set(sys.modules))"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [*documents, "set()"] == [*sorted(documents), "set()"]


def test_as_a_source(documents: dict[str, Document]):
    first = list(documents.values())[:20]
    assert list(itertools.islice(read_documents(["builtin:python"]), 20)) == first


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of one's own, without modules in C."""
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(module, "_COMPILED", frozenset({"winreg_of_another_system"}))
    return tmp_path


def _names() -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in builtin_documents()]


def test_members_inside_branches_and_bad_files(library: Path):
    (library / "json").mkdir()
    (library / "json" / "__init__.py").write_text(
        'def f():\n    "first"\ntry:\n    class C:\n        "doc of C"\n        async def m(self):\n            "doc of m"\n'
        'except ImportError:\n    def g():\n        "doc of g"\nelse:\n    def f():\n        "second"\n'
        'def _private():\n    "no"\ndef blank():\n    "  "\ndef outer():\n    def inner():\n        "no"\n'
    )
    (library / "csv.py").write_text("not python at all")
    (library / "mine.py").write_text('"not in the standard library"')
    expected = [("json.C", "doc of C"), ("json.C.m", "doc of m"), ("json.f", "first"), ("json.g", "doc of g")]
    assert _names() == expected
    (library / "json" / "__init__.py").unlink()
    with pytest.raises(CorpusError, match="comes without the documentation of its standard library"):
        list(builtin_documents())


def test_a_package_shows_what_it_imports_from_its_inner_modules(library: Path):
    (library / "json").mkdir()
    (library / "json" / "__init__.py").write_text(
        '"package"\n__all__ = ["Decoder", "tools", "wait", "walk"]\nfrom .decoder import Decoder\nfrom json.inner import *\n'
        "from _json import wait, unlisted\ntry:\n    from .fast import walk\nexcept ImportError:\n    from .slow import walk\n"
    )
    (library / "json" / "decoder.py").write_text(
        '"decoder"\nclass Decoder:\n    "class"\n    def decode(self):\n        "method"\ndef helper():\n    "no"\n'
    )
    (library / "json" / "inner.py").write_text('def tools():\n    "star"\n')
    (library / "json" / "slow.py").write_text('def walk():\n    "fallback"\n')
    (library / "json" / "apart.py").write_text('__all__ = ("seen",)\ndef seen():\n    "apart"\ndef unseen():\n    "no"\n')
    (library / "_json.py").write_text('"private"\ndef wait():\n    "from a private module"\ndef unlisted():\n    "no"\n')
    assert _names() == [
        ("json", "package"),
        ("json.Decoder", "class"),
        ("json.Decoder.decode", "method"),
        ("json.apart.seen", "apart"),
        ("json.decoder", "decoder"),
        ("json.slow.walk", "fallback"),
        ("json.tools", "star"),
        ("json.wait", "from a private module"),
    ]


def test_names_that_are_added_to_all_later_are_public(library: Path):
    (library / "json.py").write_text(
        '__all__ = ["a"]\n__all__.extend(["b"])\nif True:\n    __all__.append("c")\n__all__ += ("d",)\n__all__.extend(dir())\n'
        + "".join(f'def {name}():\n    "text of {name}"\n' for name in "abcde")
    )
    (library / "csv.py").write_text('__all__ = dir()\ndef everything():\n    "since nothing can be read"\n')
    expected = [("csv.everything", "since nothing can be read")]
    assert _names() == expected + [(f"json.{name}", f"text of {name}") for name in "abcd"]


def test_a_text_under_several_names_is_one_document_under_the_shortest(library: Path):
    (library / "json.py").write_text('def longer():\n    "same"\ndef short():\n    "same"\ndef other():\n    "other"\n')
    assert _names() == [("json.other", "other"), ("json.short", "same")]


def test_a_module_that_python_fails_to_count_is_parsed_again(monkeypatch: pytest.MonkeyPatch):
    parse, failures = module.ast.parse, [SystemError("AST constructor recursion depth mismatch (before=132, after=77)")]

    def failing(source: bytes, name: str) -> object:
        if name.endswith("textwrap.py") and failures:
            raise failures.pop()
        return parse(source, name)

    monkeypatch.setattr(module.ast, "parse", failing)
    assert "textwrap.dedent" in {document.id for document in builtin_documents()} and not failures
