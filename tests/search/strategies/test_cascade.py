"""A cascade: static queries, and the model for unsure ones."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lexite.errors import ArgumentError
from lexite.ranking.hits import Hit
from lexite.scoring.formula import worth_of_terms
from lexite.scoring.words import LiteralConfig
from lexite.search import Searcher
from lexite.search.cascade_queries import CascadeQueries
from lexite.search.strategies import Cascade, Steer
from lexite.search.strategies.cascade import common, sureness

QUERIES = ["how to parse json text", "milk of the cow", "effect of the drug on cancer", "the moon", "zebra"]


@pytest.fixture(scope="module")
def index(documents: Path, tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cascade") / "index"
    with Searcher.build([documents], path, vocabulary=tiny_vocabulary, show_progress=False):
        return path


@pytest.fixture
def cascade(index: Path) -> Iterator[Searcher]:
    with Searcher.open(index, cascade=True) as searcher:
        yield searcher


def with_sureness(searcher: Searcher, value: float) -> Searcher:
    assert isinstance(searcher.queries, CascadeQueries)
    strategies = (dataclasses.replace(searcher.queries.strategies[0], sureness=value),)
    return Searcher(searcher.index, dataclasses.replace(searcher.queries, strategies=strategies))


def rankings(searcher: Searcher, **options) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in hits] for hits in searcher.rank(QUERIES, 4, **options)]


def references(index: Path) -> tuple[list, list]:
    """What static queries find with words at 1, and what the model's find with words at 2."""
    static = rankings(Searcher.open(index, static=True), scoring={"literal_weight": 1.0})
    return static, rankings(Searcher.open(index), scoring={"literal_weight": 2.0})


def test_all_sure_is_static_and_all_unsure_is_the_model(cascade, index):
    static, model = references(index)
    sure, unsure = with_sureness(cascade, 0.0), with_sureness(cascade, 4.0)
    assert rankings(sure) == [own or by_model for own, by_model in zip(static, model, strict=True)]
    assert rankings(unsure) == model


def test_each_query_is_decided_by_its_own_static_ranking(cascade, index):
    """Against the definition: the ceiling is the sum of what all terms of the query are worth."""
    static, model = references(index)
    table = Searcher.open(index, static=True)
    scoring = dataclasses.replace(table.index.scoring, literal_weight=1.0)
    found, n_latents = table.index, table.index.n_latents
    df = found.document_frequency
    worth = worth_of_terms(found.n_documents, df, n_latents, scoring)  # each of these documents is one passage
    numbers = {found.word(term): term for term in range(n_latents, len(df))}
    encoded = table.encode(QUERIES)
    values = []
    for number in range(len(QUERIES)):
        scores = [hit.score for hit in table.rank(encoded[number], 10, scoring=scoring)[0]]
        rows = encoded[number].rows
        words = LiteralConfig().words_of(QUERIES[number])
        ceiling = float((np.array(rows.data) ** 0.75 * worth[rows.indices]).sum())
        ceiling += sum(count**0.75 * worth[numbers[word]] for word, count in words.items() if word in numbers)
        tenth = scores[9] if len(scores) > 9 else 0.0
        first, other = (
            {hit.id for hit in table.rank(encoded[number], 10, scoring={"literal_weight": weight})[0]} for weight in (1.0, 3.25)
        )
        agreement = len(first & other) / max(len(first), 1)
        values.append((scores[0] - tenth) / scores[0] + scores[0] / ceiling + agreement if scores else 0.0)
    for threshold in [*np.array(sorted(values)) + 1e-4]:
        expected = [s if v >= threshold else m for s, m, v in zip(static, model, values, strict=True)]
        assert rankings(with_sureness(cascade, threshold)) == expected


def test_options_for_each_query_stay_with_it(cascade, index):
    exclude = ["d3", "d1", None, "d6", "d2"]
    among = [["d1", "d3"], ["d1", "d2"], ["d5"], ["d6", "d2"], ["d2"]]
    model = Searcher.open(index)
    for options in ({"exclude": exclude}, {"among": among}, {"among": ["d1", "d5"]}):
        expected = rankings(model, scoring={"literal_weight": 2.0}, **options)
        assert rankings(with_sureness(cascade, 4.0), **options) == expected


def test_hits_are_described_and_strategies_follow(cascade):
    seen = []
    hits = with_sureness(cascade, 4.0).search("milk of the cow", 2, then=lambda answer: seen.append(answer) or answer)
    assert hits[0].id == "d1" and hits[0].terms and len(seen) == 1


def test_a_cascade_without_need_loads_no_torch(index):
    program = (
        "import dataclasses, sys; from lexite.search import Searcher; from lexite.search.strategies import Cascade\n"
        f"s = Searcher.open({str(index)!r}, cascade=True)\n"
        "s.queries = dataclasses.replace(s.queries, strategies=(Cascade(sureness=0.0),))\n"
        "assert s.search('milk of the cow') and not s.queries.has_model\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_wrong_use(index, cascade):
    with pytest.raises(ArgumentError, match="needs the model"):
        Searcher.open(index, static=True).rank("milk", then=[Cascade()])
    with pytest.raises(ArgumentError, match="Leave one of them out"):
        Searcher.open(index, static=True, cascade=True)
    queries = dataclasses.replace(cascade.encode(["milk"]), texts=None)
    with pytest.raises(ArgumentError, match="these have no texts"):
        cascade.rank(queries)
    with pytest.raises(ArgumentError, match="these were changed"):
        cascade.rank("milk of the cow", liked=["d1"])
    with pytest.raises(ArgumentError, match="Name it first, and once"):
        Searcher.open(index).rank("milk", then=[Steer(boost=("1",)), Cascade()])
    with pytest.raises(ArgumentError, match="Open it without static"):
        cascade.add(texts=["more"])


def test_a_newer_commit_keeps_the_model(cascade, index):
    rankings(with_sureness(cascade, 4.0))
    newer = cascade.queries.of_newer(cascade.index)
    assert newer.kind == "cascade" and newer.has_model == cascade.queries.has_model
    assert "cascade queries" in repr(cascade)


def test_no_hits_and_few_hits():
    from lexite.index import Explanation

    nothing = Explanation("a", 0.0, 1, 1.0, 1.0, 1.0, 0.0, (), 0.0)
    assert sureness([0.0], nothing, 1.0) == 0.0


def test_the_command_line_asks_in_the_same_way(index, cascade):
    from lexite.cli import main

    for chosen in (["--preset", "cascade"], ["--then", "cascade"], ["--then", "cascade", "--cascade-sureness", "4"]):
        assert main(["-q", "search", str(index), *chosen, "--run", str(index.parent / "x.run"), "milk of the cow"]) == 0
        written = (index.parent / "x.run").read_text(encoding="utf-8").split()
        expected = cascade if "4" not in chosen else with_sureness(cascade, 4.0)
        best = expected.rank("milk of the cow")[0][0]
        assert written[2] == best.id and float(written[4]) == pytest.approx(best.score)
    assert main(["-q", "search", str(index), "--then", "cascade", "--static", "milk"]) != 0


def test_queries_by_the_model_give_the_same_rankings(index, cascade):
    """As in an evaluation, where all queries are encoded before a chain runs."""
    model = Searcher.open(index)
    expected = rankings(cascade)
    assert rankings(model, then=Cascade()) == rankings(model, preset="cascade") == expected
    assert rankings(cascade, preset="cascade") == expected
    by_model = model.rank(model.encode(QUERIES), 4, then=Cascade())
    assert [[(hit.id, hit.score) for hit in hits] for hits in by_model] == expected


def test_a_chain_that_starts_with_a_cascade_spares_the_model(index):
    model, seen = Searcher.open(index), []
    encoder = model.queries
    watched = dataclasses.replace(encoder)
    object.__setattr__(watched, "encode", lambda texts, **how: seen.extend(texts) or encoder.encode(texts, **how))
    searcher = Searcher(model.index, watched)
    searcher.rank(QUERIES, then=Cascade(sureness=0.0))
    assert seen == [
        query for query, hits in zip(QUERIES, Searcher.open(index, static=True).rank(QUERIES), strict=True) if not hits
    ]


def test_a_floor_for_queries_holds_for_the_model_too(index, cascade):
    model = Searcher.open(index)
    found = rankings(with_sureness(cascade, 4.0), floor_queries=0.5)
    assert found == rankings(model, floor_queries=0.5, scoring={"literal_weight": 2.0})


def test_first_ten_in_common():
    hits = [Hit(f"d{number}", 1.0, number + 1, number) for number in range(20)]
    assert common(hits, hits) == 1.0 and common(hits, hits[10:]) == 0.0 and common(hits[:2], hits[1:]) == 0.5


@pytest.mark.parametrize("sureness", [0.0, 1.54, 4.0])
def test_hits_are_explained_by_the_scoring_that_found_them(cascade, sureness):
    """The parts of all terms add up to the score, whichever weight the words had."""
    searcher = with_sureness(cascade, sureness)
    for hits in searcher.search(QUERIES):
        for hit in hits:
            if len(hit.terms) < 5:  # all terms are shown
                assert sum(term.contribution for term in hit.terms) == pytest.approx(hit.score, rel=1e-5)
    found = [hit for hits in searcher.search(QUERIES, then=[Cascade(sureness)]) for hit in hits]
    assert [hit.terms for hit in found] == [hit.terms for hits in searcher.search(QUERIES) for hit in hits]


def test_more_like_a_document_needs_no_cascade(cascade, index):
    expected = Searcher.open(index, static=True).more_like("d1")
    assert expected and cascade.more_like("d1") == expected
    assert isinstance(cascade.queries, CascadeQueries) and not cascade.queries.has_model
