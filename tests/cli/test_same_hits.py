"""The same question of the same index has the same answer from Python and from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lexite import Searcher
from lexite.index import BM25Index
from lexite.terms import LatentTermEncoder

QUESTION = "how to parse the text of a json file and drink milk"
BUILDS = {
    "default": [],
    "small": ["--profile", "small"],
    "full": ["--profile", "full"],
    "no-literal": ["--no-literal"],
    "k": ["--k-documents", "2", "--floor-documents", "0.2"],
    "prompts": ["--query-prompt", "read the table: ", "--document-prompt", "milk "],
}


def shell_hits(lexite, index: Path, *options: str) -> list[dict]:
    done = lexite("search", index, QUESTION, "--json", *options)
    assert done.status == 0, done.err
    return json.loads(done.out)["hits"]


def python_hits(searcher: Searcher) -> list[dict]:
    return [hit.to_json() for hit in searcher.search(QUESTION)]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("static", [False, True], ids=["model", "static"])
def test_python_and_shell_agree(
    build: str, static: bool, lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path
) -> None:
    words = ["-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, *BUILDS[build]]
    assert lexite("index", documents, *words).status == 0
    hits = shell_hits(lexite, tmp_path / "i", *(["--static"] if static else []))
    assert len(hits) > 3
    with Searcher.open(tmp_path / "i", static=static) as searcher:
        assert python_hits(searcher) == hits
        assert searcher.queries.kind == ("static" if static else "model")


def test_a_prefix_agrees(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--prefix", "24"]
    assert lexite("index", documents, *words).status == 0
    searcher = Searcher.open(tmp_path / "i")
    assert searcher.index.n_latents == 24 and python_hits(searcher) == shell_hits(lexite, tmp_path / "i")


@pytest.mark.parametrize("profile", ["small", "full", None])
def test_an_index_that_python_built_is_the_shells(
    profile, lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path
) -> None:
    searcher = Searcher.build([documents], tmp_path / "p", vocabulary=tiny_vocabulary, profile=profile)
    words = ["-o", tmp_path / "s", "--vocabulary", tiny_vocabulary, *([] if profile is None else ["--profile", profile])]
    assert lexite("index", documents, *words).status == 0
    ours, theirs = searcher.index, BM25Index.open(tmp_path / "s")
    assert ours.vocabulary == theirs.vocabulary and ours.literal == theirs.literal and ours.scoring == theirs.scoring
    assert (ours.rows() != theirs.rows()).nnz == 0
    assert shell_hits(lexite, tmp_path / "p") == shell_hits(lexite, tmp_path / "s") == python_hits(searcher)


def test_the_vocabularys_own_settings_do_not_slip_in(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    """Queries of an encoder that was just loaded are refused by an index that recorded another way, not searched."""
    words = ["-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--profile", "small"]
    assert lexite("index", documents, *words).status == 0
    index, encoder = BM25Index.open(tmp_path / "i"), LatentTermEncoder.from_pretrained(tiny_vocabulary)
    with pytest.raises(Exception, match=r"k_queries 3 instead of 4, floor_queries 0\.125 instead of 0\.0"):
        index.search(encoder.encode_queries([QUESTION]))
    meant = encoder.encode_queries([QUESTION], k=4, floor=0.0)
    assert index.search(meant)[0], "what is named is meant"
    with Searcher.open(index, vocabulary=encoder) as searcher:
        again = searcher.rank(encoder.encode_queries([QUESTION]))
        assert again == searcher.rank(QUESTION), "a searcher encodes again, as recorded"
        deliberate = searcher.rank(QUESTION, k_queries=4, floor_queries=0.0)
        assert deliberate == index.search(meant) != again
