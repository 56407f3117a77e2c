"""A searcher over several indexes: the answers of one index of all documents."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from lexite import Searcher
from lexite.cli import main
from lexite.corpus import read_documents
from lexite.errors import ArgumentError
from lexite.index import BM25Index
from lexite.index.joining import join_indexes
from lexite.ranking.hits import Hit
from lexite.search.strategies import STRATEGIES
from lexite.terms import LatentTermEncoder

QUESTIONS = ["milk of the cow", "read a file", "gene and virus"]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def folders(encoder: LatentTermEncoder, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two indexes, and the one that they become when they are merged."""
    root, listed = tmp_path_factory.mktemp("several"), list(read_documents(documents))
    paths = [root / "a", root / "b"]
    for path, some in zip(paths, (listed[:2], listed[2:]), strict=True):
        Searcher.build(some, path, vocabulary=encoder, vectors="fp32", token_codes=True, show_progress=False).close()
    join_indexes(paths, root / "all")
    return [*paths, root / "all"]


@pytest.mark.parametrize("static", [False, True])
def test_answers_are_those_of_the_merged_index(encoder: LatentTermEncoder, folders: list[Path], static: bool) -> None:
    several = Searcher.open(folders[:2], vocabulary=encoder, static=static)
    merged = Searcher.open(folders[2], vocabulary=encoder, static=static)
    assert len(several) == len(merged) == 6
    for question in QUESTIONS:
        ours, theirs = several.search(question), merged.search(question)
        assert [hit.to_json() for hit in ours] == [hit.to_json() for hit in theirs] and ours
        assert several.explain(question, ours[0].id) == merged.explain(question, ours[0].id)
    assert [hit.id for hit in pickle.loads(pickle.dumps(several)).search(QUESTIONS[0])] == [
        hit.id for hit in merged.search(QUESTIONS[0])
    ]


@pytest.mark.parametrize("stage", ["feedback", "hybrid", "rescore"])
def test_second_stages_give_the_same(encoder: LatentTermEncoder, folders: list[Path], stage: str) -> None:
    several, merged = (Searcher.open(path, vocabulary=encoder) for path in (folders[:2], folders[2]))
    for question in QUESTIONS:
        ours, theirs = (searcher.search(question, then=[STRATEGIES[stage]()]) for searcher in (several, merged))
        assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in theirs]


def test_side_files_are_those_of_a_build_of_all(
    encoder: LatentTermEncoder, folders: list[Path], documents: Path, tmp_path: Path
) -> None:
    Searcher.build([documents], tmp_path / "w", vocabulary=encoder, vectors="fp32", token_codes=True, show_progress=False)
    whole = BM25Index.open(tmp_path / "w")
    for index in (BM25Index.open_several(folders[:2]), BM25Index.open(folders[2])):
        hits = [Hit(id, 0.0, 1, index.find(id) or 0) for id in whole.ids]
        ours, theirs = index.vectors(hits), whole.vectors(hits)
        np.testing.assert_allclose(ours.vectors, theirs.vectors, atol=1e-5)
        assert np.array_equal(ours.bounds, theirs.bounds)
        codes, wanted = index.token_codes(hits), whole.token_codes(hits)
        assert all(
            np.array_equal(getattr(codes, name), getattr(wanted, name)) for name in ("bounds", "tokens", "entries", "latents")
        )


def test_it_is_not_changed_but_follows_changes(encoder: LatentTermEncoder, folders: list[Path], tmp_path: Path) -> None:
    join_indexes(folders[:1], tmp_path / "c")
    searcher = Searcher.open([tmp_path / "c", folders[1]], vocabulary=encoder)
    with pytest.raises(ArgumentError, match="Only an index in a folder is changed"):
        searcher.delete("d1")
    assert not searcher.refresh()
    with Searcher.open(tmp_path / "c", vocabulary=encoder) as one:
        one.add(texts=["cat and dog"], show_progress=False)
    assert searcher.refresh() and len(searcher) == 7
    with pytest.raises(ArgumentError, match="list of paths"):
        Searcher.open([1, 2])  # type: ignore[list-item]


def test_the_command_line_searches_several(
    folders: list[Path], tiny_vocabulary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def hits(*words: str) -> list[tuple[str, float]]:
        assert main(["-q", "search", *words, "--vocabulary", str(tiny_vocabulary), "--json", QUESTIONS[0]]) == 0
        return [(hit["id"], hit["score"]) for hit in json.loads(capsys.readouterr().out)["hits"]]

    a, b, merged = map(str, folders)
    assert hits(a, "--index", b) == hits(merged) != hits(a)
    assert hits(a, "--index", b, "--static") == hits(merged, "--static")
