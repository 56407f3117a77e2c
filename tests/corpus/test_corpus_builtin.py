"""The built-in corpus, held against what inspect says about the same objects."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import subprocess
import sys
import textwrap
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
        "json.decoder.JSONDecoder": json.JSONDecoder,
        "json.decoder.JSONDecoder.raw_decode": json.JSONDecoder.raw_decode,
        "math.hypot": math.hypot,
        "itertools.groupby": itertools.groupby,
        "builtins.str.join": str.join,
        "builtins.int": int,
        "textwrap.dedent": textwrap.dedent,
    }.items():
        assert documents[name] == Document(name, str(inspect.getdoc(value)).strip(), name)


def test_nothing_private_nothing_empty_no_tests(documents: dict[str, Document]):
    assert all(document.text.strip() for document in documents.values())
    assert not [id for id in documents if any(part.startswith("_") for part in id.split("."))]
    assert not [id for id in documents if id.startswith(("test.", "unittest.test.", "idlelib.", "lib2to3.", "turtledemo."))]


@pytest.mark.slow
def test_order_is_the_same_every_time_and_no_odd_module_is_executed(documents: dict[str, Document]):
    code = (
        "import sys; from lexite.corpus import builtin_documents; ids = [d.id for d in builtin_documents()]; "
        "print(*ids, sep='\\n'); print({'antigravity', 'this', 'turtle', 'tkinter', 'torch', 'numpy'} & set(sys.modules))"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [*documents, "set()"]


def test_as_a_source(documents: dict[str, Document]):
    first = list(documents.values())[:20]
    assert list(itertools.islice(read_documents(["builtin:python"]), 20)) == first


def test_members_inside_branches_and_bad_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "__init__.py").write_text(
        'def f():\n    "first"\ntry:\n    class C:\n        "doc of C"\n        async def m(self):\n            "doc of m"\n'
        'except ImportError:\n    def g():\n        "doc of g"\nelse:\n    def f():\n        "second"\n'
        'def _private():\n    "no"\ndef blank():\n    "  "\ndef outer():\n    def inner():\n        "no"\n'
    )
    (tmp_path / "csv.py").write_text("not python at all")
    (tmp_path / "mine.py").write_text('"not in the standard library"')
    monkeypatch.setattr(module.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(module, "_COMPILED", frozenset({"winreg_of_another_system"}))
    expected = [("json.f", "first"), ("json.C", "doc of C"), ("json.C.m", "doc of m"), ("json.g", "doc of g")]
    assert [(d.id, d.text) for d in builtin_documents()] == expected
    (tmp_path / "json" / "__init__.py").unlink()
    with pytest.raises(CorpusError, match="comes without the documentation of its standard library"):
        list(builtin_documents())
