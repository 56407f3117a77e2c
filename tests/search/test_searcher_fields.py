"""Fields of documents through a searcher: kept, shown, filtered and sorted by, counted; and pages of hits."""

from __future__ import annotations

import dataclasses
import datetime
import warnings
from pathlib import Path
from typing import Any

import pytest

from lexite import Document, Searcher
from lexite.errors import ArgumentError, FilterError
from lexite.search import Answer
from lexite.terms import LatentTermEncoder

pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")
NOON = datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc)
DOCUMENTS = [
    Document("a", "The cow gives milk.", fields={"year": 2019, "tags": ["farm", "food"], "seen": NOON}),
    Document("b", "Milk and bread and cheese.", fields={"year": 2021, "tags": ["food"], "day": datetime.date(2021, 5, 1)}),
    Document("c", "The moon moves the sea.", fields={"year": 2021}),
    Document("d", "A cow and a horse by the sea."),
]


@pytest.fixture(scope="module")
def searcher(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Searcher:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    return Searcher.build(DOCUMENTS, tmp_path_factory.mktemp("fields") / "i", vocabulary=encoder, show_progress=False)


def ids(hits: list[Any]) -> list[str]:
    return [hit.id for hit in hits]


def test_hits_carry_fields_and_coverage(searcher: Searcher) -> None:
    hits = searcher.search("milk of the cow", 10)
    assert {hit.id: hit.fields for hit in hits} == {
        document.id: document.fields for document in DOCUMENTS if document.id in ids(hits)
    }
    for hit in hits:
        assert hit.coverage == searcher.explain("milk of the cow", hit.id).coverage
        assert 0 < hit.coverage <= 1
    found = {hit.id: hit.to_json() for hit in hits}
    assert found["a"]["fields"] == {"year": 2019, "tags": ["farm", "food"], "seen": "2020-01-01T12:00:00+00:00"}
    assert found["b"]["fields"]["day"] == "2021-05-01" and found["b"]["coverage"] > 0


def test_a_document_covers_its_own_text_in_full(searcher: Searcher) -> None:
    (hit,) = (hit for hit in searcher.search(DOCUMENTS[1].text) if hit.id == "b")
    assert hit.coverage == pytest.approx(1.0)


def test_filters_sorting_and_limits_reach_the_index(searcher: Searcher) -> None:
    everything = searcher.search("milk cow sea moon", 10)
    assert len(everything) == 4
    assert ids(searcher.search("milk cow sea moon", where="year = 2021 and not 'food' in tags or year is null")) == [
        hit.id for hit in everything if hit.id in "d"
    ]
    assert ids(searcher.search("milk cow sea moon", where="tags is null")) == [hit.id for hit in everything if hit.id in "cd"]
    assert ids(searcher.search("milk cow sea moon", sort="_id:desc")) == ["d", "c", "b", "a"]
    least = everything[1].score
    assert ids(searcher.search("milk cow sea moon", min_score=least)) == ids(everything[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert searcher.search("milk cow sea moon", min_score=1e308) == []
        assert ids(searcher.search("milk cow sea moon", min_score=-1e308)) == ids(everything)
    covered = sorted(hit.coverage for hit in everything)[2]
    some = searcher.search("milk cow sea moon", min_coverage=covered)
    assert ids(some) == [hit.id for hit in everything if hit.coverage >= covered]
    assert searcher.rank(["milk", "sea"], where="_id = 'a'") == [
        searcher.rank("milk", where="_id = 'a'")[0],
        searcher.rank("sea", where="_id = 'a'")[0],
    ]


def test_pages_are_parts_of_the_whole_ranking(searcher: Searcher) -> None:
    for options in ({}, {"sort": "year:desc"}, {"where": "year > 2000"}):
        whole = searcher.rank("milk cow sea moon", 10, **options)[0]
        pages = [searcher.rank("milk cow sea moon", 2, offset=offset, **options)[0] for offset in (0, 2, 4)]
        assert [hit for page in pages for hit in page] == whole
        assert [hit.rank for hit in pages[1]] == [3, 4][: len(pages[1])]


def test_a_strategy_sees_what_passes_and_pages_come_after_it(searcher: Searcher) -> None:
    def backwards(answer: Answer) -> Answer:
        assert answer.options["where"] == "year > 2000" and answer.top_k == 2
        turned = [[dataclasses.replace(hit, score=-hit.score) for hit in reversed(hits)] for hits in answer.rankings]
        return answer.with_rankings(turned)

    plain = searcher.rank("milk cow sea moon", where="year > 2000")[0]
    (hit,) = searcher.rank("milk cow sea moon", 1, where="year > 2000", then=backwards, offset=1)[0]
    assert (hit.id, hit.rank) == (plain[-2].id, 2)


def test_facets_of_a_searcher_are_those_of_its_index(searcher: Searcher) -> None:
    assert searcher.facets("tags", where="year < 2020") == searcher.index.facets("tags", where="year < 2020")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"offset": -1}, "offset is -1"),
        ({"offset": 1.5}, "offset is 1.5"),
        ({"min_score": "3"}, "min_score is '3'"),
        ({"min_coverage": True}, "min_coverage is True"),
        ({"sort": "year", "then": [lambda answer: answer]}, "sort can have no effect beside then"),
        ({"filter": "year = 2020"}, "has no option 'filter'.*where, sort"),
        ({"where": 3}, "A filter is an expression"),
    ],
)
def test_options_without_effect_are_refused(searcher: Searcher, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        searcher.search("milk", **options)


def test_an_engine_without_fields_is_not_asked_to_filter(searcher: Searcher) -> None:
    from lexite.engines import Capabilities

    class Engine:
        capabilities = Capabilities()

        def __getattr__(self, name: str) -> Any:
            return getattr(searcher.index, name)

    over = Searcher(Engine(), searcher.queries)  # type: ignore[arg-type]
    assert ids(over.rank("milk")[0]) == ids(searcher.rank("milk")[0])
    with pytest.raises(ArgumentError, match="Engine keeps no fields, so where can have no effect"):
        over.rank("milk", where="year = 2020")


def test_a_wrong_filter_is_one_line(searcher: Searcher) -> None:
    with pytest.raises(FilterError, match=r"no field 'yaer'\. Did you mean 'year'\?"):
        searcher.search("milk", where="yaer = 2020")
