from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers_index import VOCABULARY, documents_of, weights_of

from lexite.index import BM25Index

PROGRAM = """
import sys
from lexite.index import BM25Index
# numba loads scipy and yaml by itself
heavy = ["torch", "transformers", "scipy", "numba", "pyarrow", "huggingface_hub", "yaml"]
index = BM25Index.open(sys.argv[1], verify=True)
index.info(), index.stored(0), index.find("b")
assert not [name for name in heavy if name in sys.modules], "opening"
import numpy as np
from lexite.scoring.rows import CSRRows
from lexite.terms import EncodedQueries
one = CSRRows(np.array([0, 2]), np.array([1, 5]), np.array([1.0, 2.0]), (1, 40))
assert index.search(EncodedQueries(one), 3)[0]
loaded = [name for name in heavy if name in sys.modules]
assert not loaded, f"one query: {loaded}"
expected = index.search(EncodedQueries(one), 3)
if sys.argv[2] == "many":
    import lexite.index.scorer
    lexite.index.scorer.LOADING_SECONDS = index._scorer._plain_seconds - 1e-9  # as if the first query had taken as long
    assert index.search(EncodedQueries(one), 3) == expected and "numba" in sys.modules
three = CSRRows(np.arange(4), np.array([1, 5, 5]), np.ones(3), (3, 40))
assert len(index.search(EncodedQueries(three), 3)) == 3
assert "numba" in sys.modules
assert not [name for name in heavy if name in sys.modules and name not in ("numba", "scipy", "yaml")], "searching"
"""


@pytest.mark.parametrize("queries", ["one", "many"])
def test_searching_loads_no_torch_and_one_query_no_numba(tmp_path: Path, queries: str) -> None:
    with BM25Index.create(tmp_path / "i", VOCABULARY) as writer:
        writer.add(documents_of("abcdefgh"), weights_of(8, 1))
        writer.commit()
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "i"), queries], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
