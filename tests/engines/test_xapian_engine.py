"""Xapian: the real library, from the system's packages where Python does not see them by itself."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from congruence import CASES, Case, Kit, begun, beside, named, run, small
from emulated_engines import random_queries
from engine_pages import run_page
from engines_wanted import absent
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.engines.xapian import XapianEngine
from lexite.engines.xapian_filters import key_of, value_bytes
from lexite.errors import EngineError, StorageError

pytestmark = [pytest.mark.engines, pytest.mark.slow]
SYSTEM = "/usr/lib/python3/dist-packages"  # of Debian, whose python3-xapian is built for Debian's Python


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("xapian") is None and SYSTEM not in sys.path:
        sys.path.append(SYSTEM)
    try:
        import xapian  # noqa: F401
    except ImportError as error:
        absent(f"Xapian's Python module is not there ({error}): apt install python3-xapian")
    return tmp_path_factory.mktemp("xapian")


@pytest.fixture(scope="module")
def kit(folder: Path) -> Iterator[Kit]:
    numbers = itertools.count()
    made = Kit(
        lambda **options: XapianEngine(folder / str(next(numbers)), **options),
        0.01,
        no_filters=("like",),
        n_documents=200,
    )
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)


def test_counts_are_right_after_each_change(kit: Kit) -> None:
    documents, rows = small()
    engine = begun(kit.new())
    engine.add(documents, rows)
    left = [number for number in range(200) if number % 3]
    engine.delete([documents[number].id for number in range(200) if not number % 3])
    index = beside([documents[number] for number in left], csr_array(rows[left]))
    names = [f"t{number}" for number in range(200)]
    assert engine.driver.frequencies(names).tolist() == index.document_frequency[:200].tolist()
    assert engine.drift == pytest.approx(index.average_length() / engine.record.average_length - 1, abs=1e-5)


def test_one_process_changes_it_and_others_read(kit: Kit) -> None:
    documents, rows = small(40)
    engine = begun(kit.new())
    engine.add(documents[:30], rows[:30])
    reader = XapianEngine(engine.driver._folder)
    assert len(reader) == 30
    with pytest.raises(EngineError, match="another process changes it"):
        reader.add(documents[30:], rows[30:])
    engine.add(documents[30:], rows[30:])
    reader.forget_counts()
    assert len(reader) == 40 and reader.search(random_queries(3)) == engine.search(random_queries(3))
    reader.close()


def test_the_page_runs(kit: Kit, tmp_path: Path) -> None:
    run_page("xapian", folder=tmp_path / "notes")
    engine = XapianEngine(tmp_path / "notes")
    assert len(engine) == 208
    engine.close()


def test_a_folder_with_something_else_is_left_alone(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(StorageError, match="is not empty"):
        begun(XapianEngine(tmp_path))
    assert (tmp_path / "letter.txt").read_text() == "keep me"


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=2, max_size=5))
def test_whole_numbers_keep_their_order_as_bytes(values: list[int]) -> None:
    assert sorted(values) == sorted(values, key=lambda value: value_bytes(value, "integer"))


@given(st.lists(st.floats(allow_nan=False), min_size=2, max_size=5))
def test_numbers_keep_their_order_as_bytes(values: list[float]) -> None:
    ordered = sorted(values, key=lambda value: value_bytes(value, "number"))
    assert np.all(np.diff(ordered) >= 0) or any(np.isinf(ordered))
    assert sorted(values) == ordered


@given(st.text(max_size=300), st.text(max_size=300))
def test_keys_are_short_and_tell_texts_apart(one: str, other: str) -> None:
    first, second = key_of("D", one), key_of("D", other)
    assert len(first) <= 200 and (first == second) == (one == other)
