"""The base of live engines, over documents of one process: every case of the congruence suite, without a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from congruence import CASES, Case, Kit, named, run
from memory_driver import MemoryEngine


@pytest.fixture(scope="module", params=["impacts", "saturation", "baked"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    way = request.param

    def make(**options: object) -> MemoryEngine:
        return MemoryEngine("impacts" if way == "baked" else way, way != "baked", **options)

    made = Kit(make, 2**-8 if way == "saturation" else 1e-5, impossible_ids=("é" * 300,), n_documents=200)
    yield made
    made.close()


@pytest.mark.parametrize("case", CASES, ids=named)
def test_it_answers_as_an_index(case: Case, kit: Kit) -> None:
    run(case, kit)
