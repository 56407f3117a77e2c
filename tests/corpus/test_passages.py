"""Cutting of texts into passages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.corpus import Document
from lexite.corpus.passages import Cut, PassageConfig, count_words, cut_documents, cut_text, passages_of
from lexite.errors import ConfigError

SMALL = PassageConfig(words=20, longest_whole=25)
BLOCKS = st.lists(
    st.one_of(
        st.text("ab .!?\n#-", max_size=80),
        st.integers(1, 40).map(lambda n: "word " * n),
        st.integers(1, 6).map(lambda n: "A sentence of six short words. " * n),
        st.sampled_from(
            ["# One", "## Two", "### Three", "#no heading", "- item\n- item", "漢字仮名" * 20, "x" * 700, "\u2028", "\t"]
        ),
    ),
    max_size=12,
)


def paragraph(topic: str, sentences: int) -> str:
    return " ".join(f"Sentence {n} says something about {topic}." for n in range(sentences))


@settings(max_examples=300)
@given(BLOCKS, st.sampled_from(["\n\n", "\n", " "]))
def test_passages_hold_everything_but_white_space_once_and_in_order(blocks: list[str], between: str) -> None:
    text = between.join(blocks)
    cuts = cut_text(text, SMALL)
    assert cuts
    assert all(0 <= a.start <= a.end <= b.start for a, b in zip(cuts, cuts[1:], strict=False)) and cuts[-1].end <= len(text)
    assert re.sub(r"\s", "", "".join(text[cut.start : cut.end] for cut in cuts)) == re.sub(r"\s", "", text)


@settings(max_examples=300)
@given(BLOCKS)
def test_no_passage_is_longer_than_a_quarter_more_but_for_its_headings(blocks: list[str]) -> None:
    text = "\n\n".join(blocks)
    cuts = cut_text(text, SMALL)
    if len(cuts) == 1:
        return
    for cut in cuts:
        without = re.sub(r"(?m)^#{1,6}[ \t].*$", "", text[cut.start : cut.end])
        assert count_words(without) <= SMALL.longest


def test_a_short_text_is_left_whole() -> None:
    text = "\n\n" + "word " * 250 + "\n"
    assert cut_text(text) == [Cut(0, len(text))]
    assert cut_text("") == [Cut(0, 0)]
    assert len(cut_text(text + "more")) == 2


def test_cuts_lie_between_paragraphs_where_lengths_allow_it() -> None:
    paragraphs = [paragraph(topic, 12) for topic in ("tea", "rain", "bread", "iron", "silk")]  # 72 words each
    text = "\n\n".join(paragraphs)
    starts = [cut.start for cut in cut_text(text)]
    assert len(starts) == 3 and all(text[start:].startswith("Sentence 0") for start in starts)


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = paragraph("tea", 100)
    cuts = cut_text(text)
    assert len(cuts) == 4
    assert all(text[cut.start :].startswith("Sentence") and text[cut.end - 1] == "." for cut in cuts)
    assert all(140 <= count_words(text[cut.start : cut.end]) <= 200 for cut in cuts)


def test_lengths_are_even_where_there_are_sentences() -> None:
    for n in range(45, 400, 7):
        text = paragraph("tea", n)
        lengths = [count_words(text[cut.start : cut.end]) for cut in cut_text(text)]
        assert len(lengths) == 1 or (min(lengths) >= 110 and max(lengths) <= 200)


def test_headings_are_carried_into_the_passages_below_them() -> None:
    parts = [
        "# House",
        "## Boiler",
        paragraph("the valve", 90),
        "## Roof",
        paragraph("tiles", 40),
        "# Garden",
        paragraph("hedges", 40),
    ]
    text = "\n\n".join(parts)
    found = [(text[cut.start : cut.start + 8].split("\n")[0], cut.headings) for cut in cut_text(text)]
    assert found[0] == ("# House", ())
    assert ("## Roof", ("House",)) in found and ("# Garden", ()) in found
    within = [headings for begin, headings in found if begin.startswith("Sentence")]
    assert within == [("House", "Boiler")] * 3 + [("House", "Roof"), ("Garden",)]


def test_headings_need_no_blank_lines_around_them() -> None:
    text = "# House\n" + paragraph("the valve", 40) + "\n## Roof ##\n" + paragraph("tiles", 40)
    starts = [(text[cut.start :].split("\n")[0][:8], cut.headings) for cut in cut_text(text)]
    assert ("## Roof ", ("House",)) in starts and starts[-1][1] == ("House", "Roof")


def test_a_heading_of_many_words_is_a_paragraph() -> None:
    text = "# " + "word " * 300 + "\n\n" + paragraph("tea", 100)
    cuts = cut_text(text)
    assert all(cut.headings == () for cut in cuts)
    assert max(count_words(text[cut.start : cut.end]) for cut in cuts) <= PassageConfig().longest


def test_a_heading_is_not_left_at_the_end_of_a_passage() -> None:
    text = "\n\n".join(part for n in range(30) for part in (f"## Section {n}", paragraph(f"topic {n}", 8)))
    for cut in cut_text(text):
        assert not text[cut.start : cut.end].rstrip().splitlines()[-1].startswith("#")


def test_the_text_of_a_passage_has_title_and_headings_before_it() -> None:
    text = "\n\n".join(["# House", paragraph("the valve", 90)])
    cut = cut_documents(
        [Document("1", text, "Manual"), Document("2", "Short.", "Note"), Document("3", " Bare. ")], PassageConfig()
    )
    assert cut.bounds.tolist() == [0, 4, 5, 6]
    assert cut.texts[0].startswith("Manual # House\n\nSentence 0") and cut.texts[1].startswith("Manual House Sentence")
    assert cut.texts[4:] == [Document("2", "Short.", "Note").full_text, Document("3", " Bare. ").full_text]
    assert text[slice(*cut.spans[1].tolist())] in cut.texts[1]


def test_a_part_of_cut_documents_is_what_cutting_the_part_gives() -> None:
    documents = [Document(str(n), paragraph("tea", 1 + 60 * n), f"T{n}") for n in range(5)]
    part, own = cut_documents(documents, SMALL).part(1, 4), cut_documents(documents[1:4], SMALL)
    assert part.texts == own.texts and part.bounds.tolist() == own.bounds.tolist() and part.spans.tolist() == own.spans.tolist()


def test_settings_are_checked() -> None:
    assert passages_of(PassageConfig(100, 300)) == PassageConfig(100, 300) and passages_of(None) is None
    for wrong in ("many", True, 2.5, -3, "", 9):
        with pytest.raises(ConfigError):
            passages_of(wrong)
    with pytest.raises(ConfigError, match="no fewer than a passage"):
        PassageConfig(200, 100)


def test_a_huge_text_takes_time_in_proportion() -> None:
    assert len(cut_text("# a" + " " * 20_000 + "b\n" + "word " * 300)) == 2
    assert len(cut_text("a\n" * 50_000)) > 200
    headings = "# a\n" * 50_000
    assert sum(count_words(headings[cut.start : cut.end]) for cut in cut_text(headings)) == 100_000
    text = paragraph("tea", 60_000)
    assert sum(count_words(text[cut.start : cut.end]) for cut in cut_text(text)) == count_words(text)


def test_a_comment_in_indented_code_is_no_heading() -> None:
    code = "Intro. " * 60 + "\n\n    # a comment\n    run()\n\n    # another\n    run()\n\n" + "More words. " * 200
    assert all(cut.headings == () for cut in cut_text(code))
