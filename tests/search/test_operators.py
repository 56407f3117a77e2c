"""Operators in queries: how they are read, and which documents they let pass, against plain code over the texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.corpus.records import Document
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ArgumentError, QueryError
from lexite.index import BM25Index, LiteralConfig, VocabularyInfo
from lexite.index.word_conditions import phrase_finder
from lexite.scoring.words import words_in_order
from lexite.search import Searcher
from lexite.search.operators import ParsedQuery, missing_words, parse_query
from lexite.terms.queries import EncodedQueries

N_LATENTS = 4
MADE_BY = VocabularyInfo("f" * 64, "none", N_LATENTS)


@pytest.mark.parametrize(
    ("typed", "text", "required", "excluded"),
    [
        ("boiler +valve", "boiler valve", ["valve"], []),
        ("boiler -gas", "boiler", [], ["gas"]),
        ('where is the "shut-off valve"', "where is the shut-off valve", ["shut-off valve"], []),
        ('+"a phrase" -"another one" rest', "a phrase rest", ["a phrase"], ["another one"]),
        ("+C++ templates", "C++ templates", ["C++"], []),
        ("+e-mail -e-mail", "e-mail", ["e-mail"], ["e-mail"]),
        ("+5 bolts +ärger", "5 bolts ärger", ["5", "ärger"], []),
        ("“curly quotes” and „deutsche“", "curly quotes and deutsche", ["curly quotes", "deutsche"], []),
        ('"one", -two, three', "one, three", ["one"], ["two,"]),
        ('+"東京 都"', "東京 都", ["東京 都"], []),
    ],
)
def test_operators_are_read(typed: str, text: str, required: list[str], excluded: list[str]) -> None:
    assert parse_query(typed) == ParsedQuery(text, tuple(required), tuple(excluded))


@pytest.mark.parametrize(
    "typed",
    [
        *("C++", "C++ and C#", "at -5 degrees", "-40°C", "-.5", "e-mail", "a - b", "-", "+", "++", "+-x", "-+x", "--option x"),
        *('an unbalanced " mark', '"', '""', '"?!"', '+"open', '5" by 6" screens', 'x " 6" y', "1+1", "+ word", "- word"),
        *("  two  blanks  kept ", "", "_under -_score", "–dash", "+_x"),
    ],
)
def test_what_is_no_operator_is_left_as_it_is(typed: str) -> None:
    assert parse_query(typed) == ParsedQuery(typed)


class WordsAlone:
    """Encodes queries into no latents, so that their words alone score."""

    fingerprint, kind = MADE_BY.fingerprint, "none"

    def encode(self, texts: Sequence[str], *, k_queries: int | None = None, floor_queries: float | None = None):
        return EncodedQueries(csr_array((len(texts), N_LATENTS), dtype=np.float32), list(texts))

    def encode_passages(self, texts: Sequence[str]) -> csr_array:
        return csr_array((len(texts), N_LATENTS), dtype=np.float32)

    def of_newer(self, index: BM25Index) -> WordsAlone:
        return self


def build(
    path: Path,
    documents: Sequence[Document],
    *,
    deleted: Sequence[str] = (),
    n_commits: int = 1,
    store_text: bool = True,
    literal: LiteralConfig | None = None,
    weights: FieldWeights | None = None,
) -> Searcher:
    """A searcher of words alone; long texts are cut into passages of ten words."""
    literal = literal or LiteralConfig()
    with BM25Index.create(
        path, MADE_BY, literal=literal, store_text=store_text, field_weights=weights, overwrite=True
    ) as writer:
        size = max(1, -(-len(documents) // n_commits))
        for first in range(0, len(documents), size):
            some = documents[first : first + size]
            cut = cut_documents(some, PassageConfig(10, 12), weights)
            writer.add(some, csr_array((len(cut.texts), N_LATENTS), dtype=np.float32), cut)
            writer.commit()
        writer.delete(deleted)
        writer.commit()
    return Searcher(BM25Index.open(path), WordsAlone(), str)


def plain_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def plain_has(document: Document, phrase: str) -> bool:
    """Whether a document has a phrase: the words side by side in its title or its text."""
    words = plain_words(phrase)
    for own in (plain_words(document.title), plain_words(document.text)):
        if any(own[n : n + len(words)] == words for n in range(len(own) - len(words) + 1)):
            return True
    return False


WORDS = ["red", "green", "blue", "dark", "the", "of", "b12"]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", ". ", "-", "\n\n", ", "])), max_size=40).map(
    lambda words: "".join(word + gap for word, gap in words)
)
PHRASES = st.lists(st.sampled_from([*WORDS, "unknown"]), min_size=1, max_size=3).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hits_are_the_best_among_what_passes(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    texts = data.draw(st.lists(st.tuples(TEXTS, st.sampled_from(["", "red the blue", "dark"])), min_size=1, max_size=12))
    documents = [Document(f"d{n}", text or "green", title) for n, (text, title) in enumerate(texts)]
    deleted = data.draw(st.lists(st.sampled_from([each.id for each in documents]), unique=True, max_size=2))
    required = data.draw(st.lists(PHRASES, max_size=2))
    excluded = data.draw(st.lists(PHRASES, max_size=2))
    searcher = build(
        tmp_path_factory.mktemp("operators") / "i", documents, deleted=deleted, n_commits=data.draw(st.integers(1, 3))
    )
    passing = [
        each.id
        for each in documents
        if each.id not in deleted
        and all(plain_has(each, phrase) for phrase in required)
        and not any(plain_has(each, phrase) for phrase in excluded)
    ]
    index = searcher.index
    assert [index.document_id(n) for n in index.documents_with(required, excluded).tolist()] == passing
    living = [each for each in documents if each.id not in deleted]
    assert index.missing_words(required) == [
        phrase for phrase in required if not any(plain_has(each, phrase) for each in living)
    ]
    signs = [f'+"{phrase}"' for phrase in required] + [f'-"{phrase}"' for phrase in excluded]
    query = " ".join(["green", *signs, "blue"])
    question = " ".join(["green", *required, "blue"])
    top_k = data.draw(st.integers(1, 5))
    ranked = [(hit.id, hit.score) for hit in searcher.rank(question, 1000)[0] if hit.id in passing]
    (found,) = searcher.rank(query, top_k, operators=True)
    assert [(hit.id, hit.score) for hit in found] == ranked[:top_k]
    among = data.draw(st.lists(st.sampled_from([each.id for each in living]), unique=True)) if living else []
    (found,) = searcher.rank([query], 1000, operators=True, among=[among])
    assert [(hit.id, hit.score) for hit in found] == [hit for hit in ranked if hit[0] in among]


@given(
    words=st.lists(st.text("abé1", min_size=1, max_size=2), min_size=1, max_size=3),
    text=st.text("aAbB1é _-.\n", max_size=12) | st.text("aAbB1 _-.\n", max_size=12),
)
def test_phrases_are_found_as_by_cutting_all_words(words: list[str], text: str) -> None:
    in_order = words_in_order(text)
    expected = any(in_order[n : n + len(words)] == words for n in range(len(in_order) - len(words) + 1))
    assert phrase_finder(words, words_in_order)(text) == expected


@pytest.fixture
def colours(tmp_path: Path) -> Searcher:
    long = "Dark green is a colour of woods. " * 4 + "\n\nBlue seas lie behind the woods. " * 4
    documents = [
        Document("short", "A red house."),
        Document("long", long, "Landscapes, blue and red"),
        Document("other", "A house of red bricks: brick-red."),
    ]
    return build(tmp_path / "i", documents)


def ids(searcher: Searcher, query: str, **options: object) -> set[str]:
    return {hit.id for hit in searcher.search(query, operators=True, **options)}  # type: ignore[call-overload]


def test_a_document_counts_as_a_whole(colours: Searcher) -> None:
    assert colours.index.n_passages > 4
    assert ids(colours, "+seas +colour") == ids(colours, "+seas +landscapes") == {"long"}
    assert ids(colours, "red -seas") == {"short", "other"}
    assert ids(colours, '"blue and red"') == {"long"}
    assert ids(colours, '"and red dark"') == ids(colours, '"red house bricks"') == set()
    assert ids(colours, "+brick-red") == {"other"} and ids(colours, "-brick-red red") == {"short", "long"}


def test_stop_words_count_in_phrases_and_alone(colours: Searcher) -> None:
    assert ids(colours, '"house of red"') == {"other"} and ids(colours, '"house red"') == set()
    assert ids(colours, "red +of") == {"long", "other"} and ids(colours, "red -of") == {"short"}
    assert ids(colours, 'red "is a"') == {"long"}


def test_texts_of_programs_mean_what_they_say(colours: Searcher) -> None:
    assert {hit.id for hit in colours.search("red -seas")} == {"short", "long", "other"}
    assert {hit.id for hit in colours.search("red -seas", operators=False)} == {"short", "long", "other"}


def test_several_queries_have_their_own_operators(colours: Searcher) -> None:
    queries = ["red -seas", "red", '+seas -"red house"']
    found = colours.rank(queries, operators=True)
    assert [{hit.id for hit in hits} for hits in found] == [{"short", "other"}, {"short", "long", "other"}, {"long"}]
    among = colours.rank(queries, operators=True, among=["short", "long"])
    assert [{hit.id for hit in hits} for hits in among] == [{"short"}, {"short", "long"}, {"long"}]
    assert colours.rank(["red"], operators=True) == colours.rank(["red"])


def test_operators_and_filters_together(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    documents = [
        Document(f"d{n}", f"red {'house' if n % 2 else 'roof'} " * (1 + n % 3), fields={"year": 2000 + n}) for n in range(12)
    ]
    searcher = build(tmp_path / "i", documents)
    options = {"operators": True, "where": "year >= 2005"}
    expected = {f"d{n}" for n in range(5, 12) if n % 2}
    assert ids(searcher, "red +house", where="year >= 2005", top_k=20) == expected
    assert ids(searcher, "red -roof", where="year >= 2005", top_k=20) == expected
    (ordered,) = searcher.rank("red +house", 3, sort="year:desc", **options)
    assert [hit.id for hit in ordered] == ["d11", "d9", "d7"]
    (second,) = searcher.rank("red +house", 2, sort="year", offset=2, **options)
    assert [hit.id for hit in second] == ["d9", "d11"]


def test_words_that_no_document_has(colours: Searcher) -> None:
    assert ids(colours, "red +zebra") == set()
    assert missing_words(colours.index, 'red +zebra +house "blue house" -unicorn') == ["zebra", "blue house"]
    assert ids(colours, "red -unicorn") == {"short", "long", "other"}
    assert missing_words(colours.index, "red zebra") == []


def test_a_field_without_weight_is_not_looked_at(tmp_path: Path) -> None:
    documents = [Document("a", "# Green parrot\n\nIt sings.", "Blue bird"), Document("b", "A green parrot sings.", "Birds")]
    everything = build(tmp_path / "i", documents, weights=FieldWeights(title=2.0))
    assert ids(everything, 'sings "green parrot"') == {"a", "b"} and ids(everything, "sings +blue") == {"a"}
    for weights, parrots in ((FieldWeights(title=0, headings=0), {"b"}), (FieldWeights(title=0, body=0), {"a"})):
        searcher = build(tmp_path / f"i{weights.body}", documents, weights=weights)
        assert ids(searcher, 'sings "green parrot"') == parrots
        assert ids(searcher, "sings +blue") == ids(searcher, 'sings "blue bird"') == set()


def test_indexes_without_words_or_texts_say_so(tmp_path: Path) -> None:
    bare = build(tmp_path / "bare", [Document("a", "red house")], literal=LiteralConfig(literal=False))
    with pytest.raises(QueryError, match="no literal words"):
        bare.search("+red", operators=True)
    assert bare.search("red", operators=True) == []
    no_text = build(tmp_path / "no-text", [Document("a", "red house"), Document("b", "red roof")], store_text=False)
    assert ids(no_text, "red +house") == {"a"} and ids(no_text, "red -house") == {"b"}
    assert ids(no_text, '"red zebra"') == set()
    with pytest.raises(QueryError, match=r"keeps no texts .* 'red house'"):
        no_text.search('"red house"', operators=True)


def test_what_cannot_be_read_is_refused(colours: Searcher) -> None:
    with pytest.raises(QueryError, match="'-red -\"dark green\"' only says what is not wanted"):
        colours.search('-red -"dark green"', operators=True)
    with pytest.raises(ArgumentError, match="encoded already"):
        colours.search(colours.encode("red"), operators=True)
    with pytest.raises(ArgumentError, match="not a int"):
        colours.search([7], operators=True)  # type: ignore[list-item]


def test_scripts_without_blanks_and_compounds(tmp_path: Path) -> None:
    documents = [
        Document("tokyo", "私は東京へ行く。"),
        Document("kyoto", "京都は東にある。"),
        Document("korean", "한국에서 왔다."),
        Document("thai", "ภาษาไทยง่าย"),
    ]
    searcher = build(tmp_path / "i", documents)
    assert ids(searcher, "行く +東京") == {"tokyo"} and ids(searcher, "東 -東京") == {"kyoto"}
    assert ids(searcher, "+東") == {"tokyo", "kyoto"} and ids(searcher, '"京都"') == {"kyoto"}
    assert ids(searcher, '"東京へ行く"') == {"tokyo"} and ids(searcher, '"京東"') == set()
    assert ids(searcher, "+한국") == {"korean"} and ids(searcher, "+ภาษาไทย") == {"thai"}
    whole = build(tmp_path / "whole", documents, literal=LiteralConfig(literal_unspaced="whole"))
    assert ids(whole, "+東京") == set() and ids(whole, "+京都は東にある") == {"kyoto"}


def test_parts_of_compounds_are_words_but_no_part_of_phrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"heizungsventil": ("heizung", "ventil")}
    monkeypatch.setattr("lexite.scoring.words.german_parts", lambda word: parts.get(word, ()))
    documents = [Document("a", "Das alte Heizungsventil."), Document("b", "Das alte Ventil.")]
    searcher = build(tmp_path / "i", documents, literal=LiteralConfig(literal_compounds="german"))
    assert ids(searcher, "+ventil") == {"a", "b"} and ids(searcher, "+heizungsventil") == {"a"}
    assert ids(searcher, '"alte ventil"') == {"b"} and ids(searcher, '"alte heizungsventil"') == {"a"}
    assert ids(searcher, "alte -heizung") == {"b"}


def test_pairs_and_forms_of_numbers_are_no_words_of_operators(tmp_path: Path) -> None:
    documents = [Document("a", "The net income was 1,234."), Document("b", "Income, net: 1234.")]
    literal = LiteralConfig(literal_pairs=True, literal_numbers="normal")
    searcher = build(tmp_path / "i", documents, literal=literal)
    assert {"net income", "1234"} <= {searcher.index.word(term) for term in range(N_LATENTS, searcher.index.n_terms)}
    assert BM25Index.open(tmp_path / "i").literal == literal
    assert ids(searcher, '+"net income"') == {"a"} and ids(searcher, '+"income net"') == {"b"}
    assert ids(searcher, "+1,234") == {"a"} and ids(searcher, 'income -"1,234"') == {"b"}


def test_an_index_in_memory_is_asked_for_words_too() -> None:
    texts = ["red house", "red roof", "green house"]
    weights = csr_array((3, N_LATENTS), dtype=np.float32)
    index = BM25Index.in_memory(weights, ["a", "b", "c"], texts=texts)
    assert index.documents_with(["house"], ["green"]).tolist() == [0]
    assert index.missing_words(["roof", "cellar"]) == ["cellar"]
    with pytest.raises(QueryError, match="keeps no texts"):
        index.documents_with(["red house"])
