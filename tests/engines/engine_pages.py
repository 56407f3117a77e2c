"""Runs the Python of an engine's page in the documentation, as it stands there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from congruence import fielded_index, small
from emulated_engines import random_queries

_PAGES = Path(__file__).resolve().parents[2] / "docs" / "engines"


def run_page(name: str, **given: Any) -> None:
    """Runs a page, and looks whether its first search gives what the index gives.

    Args:
        name: of the page.
        **given: what its blocks are to find beside ``index``, ``queries``, ``documents`` and ``rows``.
    """
    text = (_PAGES / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks, f"{name}.md has no Python"
    index, queries = fielded_index(), random_queries(3)
    documents, rows = small(10, seed=21)
    new = [dataclasses.replace(each, id=f"new{number}") for number, each in enumerate(documents)]
    scope: dict[str, Any] = {"index": index, "queries": queries, "documents": new, "rows": rows, **given}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{name}.md, block {number}", "exec"), scope)
    expected = index.search(queries, 10)
    for theirs, ours in zip(scope["hits"], expected, strict=True):
        assert {hit.id for hit in theirs} == {hit.id for hit in ours}
