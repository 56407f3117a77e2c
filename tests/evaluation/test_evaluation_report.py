from __future__ import annotations

import dataclasses
import io

from rich.console import Console

from lexite.cli.output import print_table
from lexite.evaluation import EvaluationReport, PairedTest


def row(ndcg, postings=100.0, size=800.0):
    return {
        "nDCG@10": ndcg,
        "R@100": 0.9,
        "MRR@10": 0.5,
        "postings_per_document": postings,
        "terms_per_query": 20.5,
        "bytes_per_document": size,
    }


def make(n_collections=1, baselines=("dense", "bm25"), size=800.0):
    tests = {name: PairedTest(0.0512, 0.04, 0.0002, 30) for name in baselines}
    names = ["sci[fi]", "news"][:n_collections]
    systems = {"latent": row(0.7), **{name: row(0.6, 0.0, size) for name in baselines}}
    return EvaluationReport("tiny [v1]", dict.fromkeys(names, systems), dict.fromkeys(names, tests), tests, {})


def text_of(report):
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(report.table())
    return console.file.getvalue()


def test_the_table_holds_the_numbers_the_difference_and_its_p_values():
    text = text_of(make())
    assert "Vocabulary tiny [v1]" in text
    latent, dense, bm25 = (
        next(line for line in text.splitlines() if f" {name} " in line and "." in line) for name in ("latent", "dense", "bm25")
    )
    assert "sci[fi]" in latent and "0.7000" in latent and "20.5" in latent and "800" in latent
    assert "+0.0512" in dense and "0.040" in dense and "<.001" in dense
    assert "100" not in dense  # a dense index has no postings
    assert "+0.0512" in bm25
    assert "mean" not in text


def test_several_collections_end_with_their_mean():
    report = make(2)
    assert report.mean["latent"]["nDCG@10"] == 0.7
    assert text_of(report).count("latent") == 3 + 1  # a heading and three rows
    assert "mean" in text_of(report)


def test_without_baselines_there_is_no_test():
    text = text_of(make(baselines=()))
    assert "t-test" not in text
    assert "0.7000" in text


def test_what_is_not_known_stays_so_in_the_mean():
    report = make(2, size=None)
    assert report.mean["dense"]["bytes_per_document"] is None
    assert report.mean["latent"]["bytes_per_document"] == 800.0


def test_the_best_value_is_bold():
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(make().table())
    lines = console.file.getvalue().splitlines()
    assert any("\x1b[1m0.7000" in line for line in lines)
    assert not any("\x1b[1m0.6000" in line for line in lines)


def timed():
    report = make(baselines=("a system of a long name > hybrid, neighbours, rescore", "bm25"))
    milliseconds = {"sci[fi]": {"latent": 0.4, "latent > hybrid": 12.25}}
    systems = {"latent > hybrid": row(0.71), **report.collections["sci[fi]"]}
    return dataclasses.replace(report, collections={"sci[fi]": systems}, milliseconds=milliseconds)


def test_where_room_is_short_names_are_folded_and_numbers_are_whole():
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(timed().table())
    text = console.file.getvalue()
    assert "…" not in text and "0.7100" in text and "+0.0512" in text and "12.25" in text


def test_into_a_pipe_a_table_is_as_wide_as_it_is(capsys):
    print_table(timed().table())
    assert "a system of a long name > hybrid, neighbours, rescore │" in capsys.readouterr().out
