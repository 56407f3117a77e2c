"""Comparing recipes: the same numbers as an evaluation, nothing done twice, and nothing mixed up."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lexite.backbone import BackboneConfig, StateStore, iterate_states, load_backbone
from lexite.errors import BackboneError, ConfigError, CorpusError, LexiteError, ModelError, StorageError
from lexite.evaluation import Comparison, compare_recipes, evaluate_collections
from lexite.evaluation.comparison.recipes import read_recipe
from lexite.evaluation.comparison.records import RunRecord, density_of
from lexite.evaluation.comparison.report import frontier
from lexite.terms import LatentTermEncoder
from lexite.terms.vocabulary import Vocabulary

Write = Callable[..., Path]
COLUMNS = ("nDCG@10", "R@100", "MRR@10", "postings_per_document", "terms_per_query", "bytes_per_document")


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, documents: Path) -> Write:
    """Writes a recipe that takes a moment."""

    def write(stem: str, **changes: Any) -> Path:
        values = {"sources": [str(documents)], "model": str(tiny_model), "precision": "fp32", "overlap": 4, "epochs": 99}
        values |= {"n_latents": 48, "k": 4, "tokens": 600, "batch_tokens": 64, "buffer_tokens": 256, "checkpoint_tokens": 200}
        values |= {"log_tokens": 200, **changes}
        path = tmp_path / f"{stem}.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
        return path

    return write


def test_a_recipe_may_call_a_key_as_its_option_is_called(recipe: Write) -> None:
    for name in ("rule", "sae"):
        read = read_recipe(recipe(name, **{name: "jumprelu"}))
        assert read.configs["sae"].rule == "jumprelu" and "rule" in read.given
    with pytest.raises(ConfigError, match="'sae' and 'rule' are the same key"):
        read_recipe(recipe("both", sae="topk", rule="topk"))


class Killed(BaseException):
    """What a test raises in place of a kill."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the runs that were trained or measured, in order."""
    from lexite.evaluation.comparison import run
    from lexite.recipes import from_text as build

    seen: list[str] = []
    train, measure = build.train, run.evaluate_cuts

    def counted_train(sources: Any, output: Path, **options: Any) -> Any:
        seen.append(f"train {output.name}")
        return train(sources, output, **options)

    def counted_measure(encoder: LatentTermEncoder, collection: Any, *rest: Any, **options: Any) -> Any:
        seen.append(f"measure {encoder.name} {collection.name}")
        return measure(encoder, collection, *rest, **options)

    monkeypatch.setattr(build, "train", counted_train)
    monkeypatch.setattr(run, "evaluate_cuts", counted_measure)
    return seen


def values(comparison: Comparison) -> list[Any]:
    return [(row.recipe, row.k, row.mean, row.collections) for row in comparison.rows]


def test_the_numbers_are_those_of_an_evaluation(recipe: Write, collection: Path, pets: Path, tmp_path: Path) -> None:
    paths = [recipe("wide"), recipe("sum-of-max", pooling="max", k1=3, seed=5, k_queries=2, floor_documents=0.4)]
    compared = compare_recipes(paths, [collection, pets], tmp_path / "out", k=[2, 9, 4])
    assert [(row.recipe, row.k) for row in compared.rows] == [(p.stem, k) for p in paths for k in ("2", "9", "4")]
    assert [run.name for run in compared.runs] == ["wide-seed0", "sum-of-max-seed5"]
    for run in compared.runs:
        encoder = LatentTermEncoder.from_pretrained(tmp_path / "out" / "runs" / run.name)
        assert encoder.fingerprint == run.fingerprint
        for k in (2, 4, 9):  # 9 is more than was trained with
            report = evaluate_collections(encoder, [collection, pets], baselines=[], k_documents=k, k_queries=k)
            row = next(row for row in compared.rows if (row.recipe, row.k) == (run.recipe, str(k)))
            for name, systems in report.collections.items():
                assert {column: row.collections[name][column] for column in COLUMNS} == systems["latent"]
            assert row.mean == pytest.approx({column: report.mean["latent"][column] for column in COLUMNS})


def test_without_k_each_vocabulary_keeps_what_its_recipe_says(recipe: Write, collection: Path, tmp_path: Path) -> None:
    compared = compare_recipes([recipe("a", k_documents=3, k_queries=2, floor_queries=0.5)], [collection], tmp_path / "out")
    (row,) = compared.rows
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "out" / "runs" / "a-seed0")
    assert row.k == "trained"
    assert compared.runs[0].evaluation["tiny"]["k"]["trained"]["k_documents"] == 3
    assert row.collections["tiny"] == evaluate_collections(encoder, [collection], baselines=[]).collections["tiny"]["latent"]
    assert "as trained" in compared.markdown()


@pytest.mark.parametrize("rule", ["jumprelu", "abs_topk", "top_afa"])
def test_other_rules_are_cut_as_an_evaluation_cuts_them(rule: str, recipe: Write, collection: Path, tmp_path: Path) -> None:
    compared = compare_recipes([recipe("a", rule=rule)], [collection], tmp_path / "out", k=[1, 3])
    encoder = LatentTermEncoder.from_pretrained(tmp_path / "out" / "runs" / "a-seed0")
    for row, k in zip(compared.rows, (1, 3), strict=True):
        report = evaluate_collections(encoder, [collection], baselines=[], k_documents=k, k_queries=k)
        assert row.collections["tiny"] == report.collections["tiny"]["latent"]


def test_a_training_from_text_gives_the_same_vocabulary(recipe: Write, collection: Path, tmp_path: Path) -> None:
    from lexite.cli import main

    path = recipe("a", tokens=150, buffer_tokens=128)
    compare_recipes([path], [collection], tmp_path / "out")
    assert main(["-q", "train", "--recipe", str(path), "-o", str(tmp_path / "alone")]) == 0
    folders = [tmp_path / "out" / "runs" / "a-seed0", tmp_path / "alone"]
    assert len({LatentTermEncoder.from_pretrained(folder).fingerprint for folder in folders}) == 1


def test_what_is_done_is_not_done_again(recipe: Write, collection: Path, pets: Path, tmp_path: Path, calls: list[str]) -> None:
    a, b, out = recipe("a"), recipe("b", k=2), tmp_path / "out"
    first = compare_recipes([a], [collection], out, k=[2])
    assert calls == ["train a-seed0", "measure a-seed0 tiny"]
    calls.clear()
    assert values(compare_recipes([a], [collection], out, k=[2])) == values(first)
    assert not calls
    more = compare_recipes([a, b], [collection, pets], out, k=[2, 3], seeds=[0, 1])
    expected = ["measure a-seed0 tiny", "measure a-seed0 pets"]
    for name in ("a-seed1", "b-seed0", "b-seed1"):
        expected += [f"train {name}", f"measure {name} tiny", f"measure {name} pets"]
    assert calls == expected
    assert list(more.runs[0].evaluation["tiny"]["k"]) == ["2", "3"]
    assert more.runs[0].evaluation["tiny"]["k"]["2"] == first.runs[0].evaluation["tiny"]["k"]["2"]
    shutil.move(out, tmp_path / "moved")
    calls.clear()
    compare_recipes([b], [collection], tmp_path / "moved", k=[3])
    assert not calls


def test_seeds_are_gathered_into_a_mean_and_a_spread(recipe: Write, collection: Path, tmp_path: Path) -> None:
    compared = compare_recipes([recipe("a")], [collection], tmp_path / "out", k=[2], seeds=[3, 1, 3])
    (row,) = compared.rows
    qualities = [run.evaluation["tiny"]["k"]["2"]["nDCG@10"] for run in compared.runs]
    assert row.seeds == [3, 1]
    assert row.mean["nDCG@10"] == pytest.approx(statistics.fmean(qualities))
    assert row.spread == pytest.approx(statistics.stdev(qualities))
    assert row.training["fvu"] == pytest.approx(statistics.fmean(run.training["fvu"] for run in compared.runs))


def test_a_comparison_killed_again_and_again_ends_as_if_it_had_not_been(
    recipe: Write, collection: Path, pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> None:
    from lexite.evaluation.comparison import run
    from lexite.recipes import from_text as build
    from lexite.training import run as training

    paths, out = [recipe("a"), recipe("b", seed=2)], tmp_path / "out"
    whole = compare_recipes(paths, [collection, pets], tmp_path / "whole", k=[2, 4])
    deaths: list[tuple[Any, str, int]] = [  # what kills its caller, and at which call
        (training, "save_checkpoint", 2),
        (build, "measured", 1),
        (run, "evaluate_cuts", 2),
        (RunRecord, "save", 1),
        (training, "save_checkpoint", 3),
        (run, "evaluate_cuts", 1),
    ]
    for owner, name, after in deaths:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, dying(getattr(owner, name), after))
            with pytest.raises(Killed):
                compare_recipes(paths, [collection, pets], out, k=[2, 4])
    calls.clear()
    ended = compare_recipes(paths, [collection, pets], out, k=[2, 4])
    assert calls == ["measure b-seed2 tiny", "measure b-seed2 pets"]
    assert values(ended) == values(whole)
    assert [run.fingerprint for run in ended.runs] == [run.fingerprint for run in whole.runs]


def dying(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """The same function, which kills its caller at the call with this number."""
    seen: list[int] = []

    def call(*words: Any, **options: Any) -> Any:
        seen.append(1)
        if len(seen) == after:
            raise Killed
        return function(*words, **options)

    return call


def test_a_changed_recipe_is_refused_or_trained_anew(recipe: Write, collection: Path, tmp_path: Path, calls: list[str]) -> None:
    paths, out = [recipe("a"), recipe("b")], tmp_path / "out"
    compare_recipes(paths, [collection], out)
    calls.clear()
    recipe("b", learning_rate=0.01, checkpoint_tokens=300)
    with pytest.raises(ConfigError, match=r"b\.yaml has changed .*: 0.001 -> 0.01\).*another name.*overwrite=True"):
        compare_recipes(paths, [collection], out)
    assert not calls
    compare_recipes(paths, [collection], out, overwrite=True)
    assert calls == ["train b-seed0", "measure b-seed0 tiny"]
    recipe("a", checkpoint_tokens=100, name="another")  # without a change to the result
    calls.clear()
    compare_recipes(paths, [collection], out)
    assert not calls


def test_what_changes_no_result_changes_no_settings(recipe: Write) -> None:
    plain, named = (read_recipe(recipe("r", **more)).settings(0) for more in ({}, {"name": "x", "literal-weight": 1.0}))
    assert plain == named and "literal_weight" not in plain


def test_a_half_trained_run_of_a_changed_recipe_is_refused(
    recipe: Write, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("lexite.recipes.from_text.measured", lambda *a, **k: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            compare_recipes([recipe("a")], [collection], tmp_path / "out")
    with pytest.raises(ConfigError, match="n_latents: 48 -> 64"):
        compare_recipes([recipe("a", n_latents=64)], [collection], tmp_path / "out")
    compared = compare_recipes([recipe("a", n_latents=64)], [collection], tmp_path / "out", overwrite=True)
    assert compared.runs[0].settings["n_latents"] == 64


def test_a_changed_collection_is_measured_again(recipe: Write, pets: Path, tmp_path: Path, calls: list[str]) -> None:
    path = recipe("a")
    compare_recipes([path], [pets], tmp_path / "out", k=[2])
    with open(pets / "qrels" / "test.tsv", "a", encoding="utf-8") as file:
        file.write("q8\td5\t1\n")
    calls.clear()
    compared = compare_recipes([path], [pets], tmp_path / "out", k=[3])
    assert calls == ["measure a-seed0 pets"]
    assert list(compared.runs[0].evaluation["pets"]["k"]) == ["3"]  # not together with numbers of the old judgements


def test_states_that_are_too_few_are_made_again(
    recipe: Write, collection: Path, documents: Path, tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexite.training.sources.TEXTS_PER_CHUNK", 10)
    lines = documents.read_text(encoding="utf-8").splitlines()
    many = tmp_path / "many.jsonl"
    many.write_text("\n".join(json.dumps({**json.loads(line), "_id": f"{n}"}) for n, line in enumerate(lines * 20)) + "\n")
    small, out = recipe("small", sources=[str(many)], tokens=600), tmp_path / "out"
    compare_recipes([small], [collection], out)
    before = StateStore.open(out / "states").n_tokens
    assert 600 <= before < 900  # whole chunks, and not all of the text
    calls.clear()
    compare_recipes([small, recipe("large", sources=[str(many)], tokens=before + 10)], [collection], out)
    assert before < StateStore.open(out / "states").n_tokens < 1100
    assert calls == ["train large-seed0", "measure large-seed0 tiny"]


def test_states_that_are_there_are_trained_on(
    recipe: Write, collection: Path, documents: Path, tiny_model: Path, tmp_path: Path
) -> None:
    backbone = load_backbone(BackboneConfig(model=str(tiny_model), precision="fp32", overlap=4))
    texts = [json.loads(line)["text"] for line in documents.read_text().splitlines()]
    chunks = iterate_states(backbone, texts, "document")
    StateStore.write(tmp_path / "states", chunks, backbone_info=backbone.info(), kind="document")
    options: dict[str, Any] = {"states": tmp_path / "states", "k": [2]}
    path = recipe("a", sources=None, model=None, overlap=None)
    compared = compare_recipes([path], [collection], tmp_path / "out", **options)
    assert compared.rows[0].mean["postings_per_document"] > 0
    assert not (tmp_path / "out" / "states").exists()
    with pytest.raises(ConfigError, match=r"b\.yaml asks for another model .*overlap: 4 -> 7"):
        compare_recipes([recipe("b", overlap=7)], [collection], tmp_path / "out", **options)
    with pytest.raises(ConfigError, match="on other token states"):
        compare_recipes([recipe("c")], [collection], tmp_path / "out")
    with pytest.raises(ConfigError, match="states=... or sources="):
        compare_recipes([path], [collection], tmp_path / "out", sources=["x"], **options)
    again = compare_recipes([recipe("a")], [collection], tmp_path / "out", k=[2], overwrite=True)
    assert again.runs[0].fingerprint != compared.runs[0].fingerprint  # trained on titles too


def test_states_of_an_unknown_model_cannot_be_compared_on(recipe: Write, collection: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "states.npy", np.ones((300, 32), dtype=np.float32))
    with pytest.raises(BackboneError, match="does not say which model"):
        compare_recipes([recipe("a", sources=None)], [collection], tmp_path / "out", states=tmp_path / "states.npy")
    with pytest.raises(BackboneError, match="do not exist"):
        compare_recipes([recipe("a")], [collection], tmp_path / "out", states=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"learning_rat": 1}, r"b\.yaml: unknown key 'learning_rat'. Did you mean 'learning_rate'"),
        ({"tokens": "many"}, r"b\.yaml: tokens: 'many' is not a count"),
        ({"d_model": 4}, r"b\.yaml: unknown key 'd_model'"),
        ({"k": 100}, r"b\.yaml: k is 100"),
        ({"sources": [3]}, r"b\.yaml: sources is 3"),
        ({"sources": ["other.jsonl"]}, r"b\.yaml has other sources than .*a\.yaml"),
        ({"sources": None}, r"b\.yaml names no sources"),
        ({"overlap": 5}, r"b\.yaml: overlap is 5, but .*a\.yaml has 4"),
        ({"text_field": "title"}, r"b\.yaml: text_field is 'title'"),
    ],
)
def test_a_bad_recipe_is_told_by_its_file(
    changes: dict[str, Any], message: str, recipe: Write, collection: Path, tmp_path: Path, calls: list[str]
) -> None:
    with pytest.raises(ConfigError, match=message):
        compare_recipes([recipe("a"), recipe("b", **changes)], [collection], tmp_path / "out")
    assert not calls and not (tmp_path / "out").exists()


def test_wrong_use_is_told_before_any_work(recipe: Write, collection: Path, tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "other").mkdir()
    a, out = recipe("a"), tmp_path / "out"
    twin = shutil.copy(a, tmp_path / "other" / "a.yaml")
    wrong: list[tuple[type[LexiteError], str, Any, Any, dict[str, Any]]] = [
        (ConfigError, "No recipes", [], [collection], {}),
        (ConfigError, "Two recipes are called 'a'", [a, twin], [collection], {}),
        (ConfigError, "does not exist", [tmp_path / "no.yaml"], [collection], {}),
        (ConfigError, "at least one folder", [a], [], {}),
        (CorpusError, "nowhere does not exist", [a], [tmp_path / "nowhere"], {}),
        (ConfigError, r"a\.yaml: k is 49", [a], [collection], {"k": [2, 49]}),
        (ConfigError, r"a\.yaml: k is 0", [a], [collection], {"k": [0]}),
        (CorpusError, "no qrels/dev.tsv", [a], [collection], {"split": "dev"}),
        (CorpusError, "gone.jsonl", [a], [collection], {"sources": ["gone.jsonl"]}),
    ]
    for kind, message, recipes, collections, options in wrong:
        with pytest.raises(kind, match=message):
            compare_recipes(recipes, collections, out, **options)
    assert not calls and not (out / "runs").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty"):
        compare_recipes([a], [collection], tmp_path / "thesis", overwrite=True)


def test_a_damaged_record_is_told(recipe: Write, collection: Path, tmp_path: Path) -> None:
    path = recipe("a")
    compare_recipes([path], [collection], tmp_path / "out")
    record = tmp_path / "out" / "runs" / "a-seed0" / "record.json"
    for text, message in (
        ("{", "damaged"),
        ("[]", "is not the record"),
        ('{"format": "lexite-comparison-run", "format_version": 1}', "damaged"),
    ):
        record.write_text(text)
        with pytest.raises(ModelError, match=message):
            compare_recipes([path], [collection], tmp_path / "out")


def test_files_of_a_comparison(recipe: Write, collection: Path, pets: Path, tmp_path: Path) -> None:
    compared = compare_recipes([recipe("a"), recipe("b", k=2)], [collection, pets], tmp_path / "out", k=[2, 4])
    compared.write(tmp_path / "out", [tmp_path / "out" / "quality.png"])
    read = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert (read["collections"], read["k"], len(read["rows"]), len(read["runs"])) == (["tiny", "pets"], ["2", "4"], 4, 2)
    assert read == json.loads(json.dumps(compared.to_json()))
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 6 and len({line.count("|") for line in lines}) == 1
    assert "| tiny | pets |" in lines[0] and "![quality](quality.png)" in page
    marked = [(row.recipe, row.k) for row in compared.rows if row.frontier]
    assert page.count("| ▲ |") - 1 == len(marked) == page.count("\n- ")
    assert compared.table().row_count == 4
    record = compared.runs[0]
    assert {"fvu", "l0", "dead_share", "seconds", "tokens_per_second", "zipf_exponent"} <= set(record.training)
    assert {"density_histogram", "decoder_coherence", "zipf_r2_middle"} <= set(record.log)


def test_the_curve_of_densities_is_thinned_but_true() -> None:
    counts = np.concatenate([np.arange(5000, 0, -1), np.zeros(10, dtype=np.int64)])
    vocabulary = Vocabulary(counts, np.random.default_rng(0).permutation(counts), 10, 10_000, 4, ((),) * len(counts))
    density = density_of(vocabulary)
    assert (density["ranks"][0], density["ranks"][-1]) == (1, 5000)
    assert len(density["ranks"]) <= 200 and len(set(density["ranks"])) == len(density["ranks"])
    assert density["values"] == [(5001 - rank) / 10_000 for rank in density["ranks"]]
    law = Vocabulary(counts, (1e9 / np.arange(1, len(counts) + 1)).astype(np.int64), 10, 10**9, 4, ((),) * len(counts))
    assert density_of(law)["zipf_exponent"] == pytest.approx(1, abs=1e-3)
    assert density_of(law)["zipf_scale"] == pytest.approx(1, abs=1e-2)
    dead = Vocabulary(counts * 0, counts * 0, 10, 10, 4, ((),) * len(counts))
    assert density_of(dead)["ranks"] == density_of(dead)["values"] == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_frontier_holds_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    best = frontier(points)
    for number, (cost, quality) in enumerate(points):
        beaten = any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in points)
        assert (number in best) == (not beaten)
