"""Documents that are put together of encoded pieces, and the ways to search that are timed on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from combined_documents import build_combined
from timed_ways import STATES, MadeStates, chains_in, chains_of, ways_of

from lexite import Document, LatentTermEncoder, Searcher
from lexite.index import BM25Index, Hit
from lexite.search.strategies import Hybrid, MaxSim
from lexite.search.strategies.feedback import Feedback

PIECES = ["plants breathe at night", "the sea rises", "bread needs time", "birds sing in the morning", "rain falls on the hill"]


def at(document: int) -> Hit:
    return Hit("", 0.0, 1, document)


@pytest.fixture(scope="module")
def made(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("combined") / "index"
    build_combined(path, LatentTermEncoder.from_pretrained(tiny_vocabulary), PIECES, 30, "best", seed=0)
    return path


def test_a_document_has_all_that_its_pieces_have(made: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    rng, index = np.random.default_rng(0), BM25Index.open(made)
    sizes = rng.integers(2, 5, 30).tolist()
    parts = [rng.choice(len(PIECES), size, replace=False).tolist() for size in sizes]
    documents = [Document(str(number), piece) for number, piece in enumerate(PIECES)]
    with Searcher.build(
        documents,
        tmp_path / "pieces",
        vocabulary=tiny_vocabulary,
        vectors="int8",
        token_codes=True,
        terms={"floor_documents": 0},
    ) as searcher:
        for document, own in enumerate(parts):
            found, expected = index.token_codes([at(document)]), searcher.index.token_codes([at(piece) for piece in own])
            for name in ("entries", "latents", "values", "norms"):
                np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
            mean = searcher.index.vectors([at(piece) for piece in own]).vectors.sum(axis=0)
            direction = mean / np.linalg.norm(mean)
            np.testing.assert_allclose(index.vectors([at(document)]).vectors[0], direction, atol=0.01)


def test_every_way_is_searched(made: Path, tiny_vocabulary: Path) -> None:
    index = BM25Index.open(made)
    searcher, chains, states = Searcher.open(index, vocabulary=tiny_vocabulary), chains_of("best"), MadeStates(index, width=32)
    assert list(chains)[:4] == ["first stage", "+ hybrid", "+ maxsim", "+ neighbours"]
    assert [type(step).__name__ for step in chains["without maxsim"]] == ["Hybrid", "Neighbours"]
    assert {name for name in chains if name.endswith(STATES)} == {f"maxsim alone{STATES}", f"+ neighbours{STATES}"}
    decoded = ("+ maxsim", "+ neighbours", "without hybrid", "maxsim alone")  # the vocabulary has no decoder for codes
    for way in ways_of({k: v for k, v in chains.items() if k not in decoded}, index, states, compared=True).values():
        assert way(searcher, searcher.encode("the sea rises")) is not None
    assert states.bytes_per_document >= 5 * 32 * 2


def test_chains_are_read_from_a_file(tmp_path: Path) -> None:
    named = {"both": [["hybrid", {"weight": 2.0}], ["maxsim", {}]], "again": [["feedback", {"documents": 3}]]}
    (tmp_path / "chains.json").write_text(json.dumps(named), encoding="utf-8")
    assert chains_in(tmp_path / "chains.json") == {"both": [Hybrid(weight=2.0), MaxSim()], "again": [Feedback(documents=3)]}
