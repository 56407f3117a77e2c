"""``lexite search --effects``: what each second stage changed, for people and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lexite import Searcher
from lexite.cli.effects_view import EffectsView
from lexite.search import Answer
from lexite.search.effects import Effect, Move, TermChange, Watched
from lexite.search.strategies import Feedback, Steer


@pytest.fixture(scope="module")
def index(tiny_vocabulary: Path, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("effects") / "i"
    Searcher.build(documents, path, vocabulary=str(tiny_vocabulary), show_progress=False).close()
    return path


def lines(text: str) -> Iterator[dict[str, Any]]:
    return map(json.loads, text.splitlines())


WORDS = ("--then", "steer", "--steer-mute", "word:milk", "--steer-boost", "word:moon=3", "--effects", "--static")


def test_each_query_has_its_effects(lexite, index: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("milk of the moon\nmilk\n")
    found = list(lines(lexite("search", index, "--queries", tmp_path / "q.txt", *WORDS, "--json").out))
    searcher = Searcher.open(index, static=True)
    for reply in found:
        (step,) = reply["effects"]
        before = [hit.id for hit in searcher.rank(reply["query"])[0]]
        after = [hit["id"] for hit in reply["hits"]]
        changes = {each["word"]: (each["before"], each["after"]) for each in step["terms"] if "word" in each}
        assert step["step"] == "steer" and changes["milk"] == (1.0, 0.0) and changes["moon"][1] > changes["moon"][0]
        wanted = {id: (before.index(id) + 1 if id in before else None, place) for place, id in enumerate(after, start=1)}
        wanted |= {id: (place, None) for place, id in enumerate(before, start=1) if id not in after}
        assert {each["id"]: (each["before"], each["after"]) for each in step["moves"]} == {
            id: ranks for id, ranks in wanted.items() if ranks[0] != ranks[1]
        }
    assert "of" not in {each.get("word") for each in found[0]["effects"][0]["terms"]}, "what stays is not told"


def test_people_see_tables_below_the_hits(lexite, index: Path) -> None:
    shown = lexite("search", index, "milk moon", *WORDS, "--top-k", "3").out
    hits, _, below = shown.partition("steer changed 2 terms of the query:")
    assert "d6" in hits and "before  after  term" in below
    assert ["1.00", "0.00", '"milk"'] in [line.split() for line in below.splitlines()]
    assert "steer moved" in below
    assert "steer" not in lexite("search", index, "milk moon", *WORDS[:-2], "--static").out


def test_a_conversation_shows_those_of_each_query(lexite, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iter(["milk", "the moon", ""])

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: next(asked))
    shown = lexite("search", index, *WORDS).out
    first, second = shown.split("steer changed ")[1:]
    assert first.startswith("2 terms") and '"milk"' in first and second.startswith("1 term ") and '"milk"' not in second


def test_a_long_list_is_cut_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    from lexite.cli.output import console

    step = Watched(Steer(mute=("1",)))
    terms = tuple(TermChange(f"name {n}\x1b", 0.0, 13.0 - n, n) for n in range(13))
    step.found = [Effect(terms, (Move("a", None, 1), Move("b\x1b", 1, None)))]
    EffectsView((step,)).show(console())
    shown = capsys.readouterr().out
    assert "13 terms" in shown and "and 3 more" in shown and r"name 9\x1b (9)" in shown and "name 10" not in shown
    assert [line.split() for line in shown.splitlines()[-2:]] == [["-", "1", "a"], ["1", "-", r"b\x1b"]]
    step.found = [Effect((), ())]
    EffectsView((step,)).show(console())
    assert "steer changed 0 terms of the query." in capsys.readouterr().out


def test_each_step_is_told_against_the_one_before(lexite, index: Path) -> None:
    words = ("--then", "steer,feedback", "--steer-boost", "word:moon=3", "--feedback-documents", "1", "--effects", "--static")
    (reply,) = lines(lexite("search", index, "milk moon", *words, "--json").out)
    steer, feedback = Watched(Steer(boost=("word:moon=3",))), Watched(Feedback(documents=1))
    Searcher.open(index, static=True).search("milk moon", then=[steer, feedback])
    assert reply["effects"] == [
        {"step": "steer", **steer.found[0].to_json()},
        {"step": "feedback", **feedback.found[0].to_json()},
    ]
    moon = {step["step"]: next(each for each in step["terms"] if each.get("word") == "moon") for step in reply["effects"]}
    assert moon["steer"]["after"] == moon["feedback"]["before"]


def test_a_preset_has_effects_and_a_cascade_too(lexite, index: Path) -> None:
    (reply,) = lines(lexite("search", index, "milk moon", "--preset", "cascade", "--effects", "--json").out)
    assert [step["step"] for step in reply["effects"]] == ["cascade"]
    plain = next(lines(lexite("search", index, "milk moon", "--preset", "cascade", "--json").out))
    assert plain["hits"] == reply["hits"] and "effects" not in plain


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("milk", "--effects"), "this search has none. Name some with --then, or a --preset that has some."),
        (("milk", "--effects", "--preset", "fast"), "this search has none"),
        (("milk", "--run", "r.txt", *WORDS), "Leave --run and --terms out"),
        (("--terms", "t.jsonl", "--effects"), "Leave --run and --terms out"),
        (("--like", "d1", *WORDS), "--like stands alone here. Add a query."),
    ],
)
def test_effects_without_what_they_need_are_refused(lexite, index: Path, words: tuple[str, ...], message: str) -> None:
    assert message in lexite("search", index, *words).usage


def test_a_watched_strategy_stands_where_its_own_may(index: Path) -> None:
    searcher = Searcher.open(index, static=True)
    with pytest.raises(TypeError, match="The strategy Hybrid needs"):
        from lexite.search.strategies import Hybrid

        searcher.search("milk", then=[Watched(Hybrid())])
    with pytest.raises(TypeError, match="The strategy backwards gave a str"):

        def backwards(answer: Answer) -> str:
            return "nothing"

        searcher.search("milk", then=[Watched(backwards)])  # type: ignore[arg-type]
    several = Watched(Steer(mute=("word:milk",)))
    searcher.search(["milk", "the moon"], then=several)
    assert [bool(effect.terms) for effect in several.found] == [True, False]
