"""The two-line use: documents in, questions in, hits out."""

from __future__ import annotations

import dataclasses
import math
import threading
from pathlib import Path

import pytest
from scipy.sparse import csr_array

import lexite
from lexite import Document, Searcher
from lexite.corpus import ReadOptions, ReadReport
from lexite.corpus.passages import PassageConfig
from lexite.errors import ArgumentError, ConfigError, CorpusError, IndexFormatError, LexiteError, StorageError
from lexite.index import BM25Index
from lexite.scoring import BM25Config
from lexite.scoring.rounding import rounded_weights
from lexite.search import Answer, SearchHit
from lexite.search.strategies import Hybrid
from lexite.terms import EncodedQueries, LatentTermEncoder

TEXTS = ["The cow gives milk.", "The moon moves the sea.", "Read a json file.", "The trial of a drug in patients."]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture
def searcher(encoder: LatentTermEncoder, tmp_path: Path) -> Searcher:
    return Searcher.build(texts=TEXTS, path=tmp_path / "i", vocabulary=encoder)


def as_kept(rows: csr_array) -> csr_array:
    """Rows as an index keeps them."""
    return csr_array((rounded_weights(rows.data), rows.indices, rows.indptr), shape=rows.shape)


def ids(hits: list) -> list[str]:
    return [hit.id for hit in hits]


def test_texts_documents_and_files_give_the_same_index(encoder: LatentTermEncoder, documents: Path, tmp_path: Path) -> None:
    read = list(lexite.read_documents(documents))
    built = [
        Searcher.build(given, tmp_path / str(number), vocabulary=encoder)
        for number, given in enumerate(([documents], documents, str(documents), read, iter(read), tuple(read)))
    ]
    for one in built:
        assert list(one.index.ids) == [document.id for document in read]
        assert (one.index.rows() != built[0].index.rows()).nnz == 0
        assert one.index.get("d3").title == "Reading JSON"
    texts = Searcher.build(texts=(document.full_text for document in read), vocabulary=encoder)
    assert list(texts.index.ids) == ["1", "2", "3", "4", "5", "6"]
    latents = texts.index.rows()[:, : encoder.n_latents]
    assert (latents != built[0].index.rows()[:, : encoder.n_latents]).nnz == 0


def test_hits_have_title_passage_and_terms(encoder: LatentTermEncoder, documents: Path, tmp_path: Path) -> None:
    searcher = Searcher.build(documents, tmp_path / "i", vocabulary=encoder)
    hits = searcher.search("parse the json text", top_k=3)
    assert [hit.rank for hit in hits] == [1, 2, 3] and all(isinstance(hit, SearchHit) for hit in hits)
    best = next(hit for hit in hits if hit.id == "d3")
    text = searcher.index.get("d3").text
    assert best.title == "Reading JSON" and text[best.passage.start : best.passage.end] == best.passage.text
    assert any(term.word == "json" and term.label == '"json"' for term in best.terms)
    assert all(term.label == encoder.label(term.term) for term in best.terms if term.word is None)
    ranked = searcher.rank("parse the json text", 3)[0]
    assert [(hit.id, hit.score, hit.rank) for hit in ranked] == [(hit.id, hit.score, hit.rank) for hit in hits]


def test_a_text_gives_hits_and_a_list_gives_lists(searcher: Searcher) -> None:
    alone = searcher.search("milk")
    assert searcher.search(["milk"]) == [alone]
    both = searcher.search(["milk", "the moon"], top_k=2)
    assert [len(hits) for hits in both] == [2, 2] and both[0] == alone[:2]
    assert searcher.search([]) == []
    assert searcher.search("milk", top_k=0) == []
    assert searcher.search(searcher.encode("milk")) == [alone]


def test_the_explanation_is_the_score_with_labels(searcher: Searcher, encoder: LatentTermEncoder) -> None:
    for hit in searcher.search("milk of the cow"):
        tree = searcher.explain("milk of the cow", hit.id)
        assert tree.score == hit.score == math.fsum(part for _, part in tree.leaves())
        assert {term.kind for term in tree.terms} <= {"latent", "word"}
        for term in tree.terms:
            expected = f'"{term.word}"' if term.kind == "word" else encoder.label(term.term)
            assert term.label == expected and f"{term.score:.4f}  {term.kind} {term.label}" in str(tree)
        assert [(t.term, t.contribution) for t in hit.terms] == [(t.term, t.score) for t in tree.terms[:5]]
        assert tree.to_json()["n_documents"] == 4
    with pytest.raises(CorpusError, match="no document 'nowhere'"):
        searcher.explain("milk", "nowhere")


def test_documents_come_and_go(searcher: Searcher, encoder: LatentTermEncoder, tmp_path: Path) -> None:
    assert searcher.add([Document("new", "The cow and the milk and the cheese.")]) == 1
    assert len(searcher) == 5 and "new" in searcher and ids(searcher.search("cheese"))[0] == "new"
    with pytest.raises(CorpusError, match="has a document 'new' already"):
        searcher.add([Document("new", "again")])
    assert searcher.replace([Document("new", "The sun.")]) == 1 and searcher.index.get("new").text == "The sun."
    assert searcher.delete("new") == 1 and "new" not in searcher
    assert searcher.delete(["1", "2"]) == 2 and list(searcher.index.ids) == ["3", "4"]
    with pytest.raises(CorpusError, match="no document '1'"):
        searcher.delete("1")
    assert searcher.delete("1", missing_ok=True) == 0
    fresh = Searcher.build([Document("3", TEXTS[2]), Document("4", TEXTS[3])], tmp_path / "fresh", vocabulary=encoder)
    assert [(h.id, h.score) for h in fresh.search("a drug")] == [(h.id, h.score) for h in searcher.search("a drug")]
    (tmp_path / "more.jsonl").write_text('{"_id": "m", "text": "milk"}\n')
    assert searcher.add(tmp_path / "more.jsonl") == 1
    assert searcher.add(texts=["one more"]) == 1 and list(searcher.index.ids) == ["3", "4", "m", "1"]


def test_what_another_process_commits_is_seen_on_refresh(searcher: Searcher, encoder: LatentTermEncoder) -> None:
    other = Searcher.open(searcher.path, vocabulary=encoder)
    assert not other.refresh()
    searcher.delete("1")
    assert len(other) == 4 and other.refresh() and len(other) == 3


def test_an_index_without_a_path_is_gone_with_its_searcher(encoder: LatentTermEncoder) -> None:
    with Searcher.build(texts=TEXTS, vocabulary=encoder) as searcher:
        folder = searcher.path
        assert folder.is_dir() and len(searcher) == 4
        searcher.delete("4")
        assert "3 documents" in repr(searcher)
    assert not folder.exists() and repr(searcher) == f"Searcher({str(folder)!r}, closed)"
    with pytest.raises(ArgumentError, match="closed"):
        searcher.search("milk")
    searcher.close()
    unclosed = Searcher.build(texts=TEXTS, vocabulary=encoder)
    folder = unclosed.path
    del unclosed
    assert not folder.exists(), "it is removed when nobody holds the searcher any more"


def test_a_searcher_tells_what_it_is(searcher: Searcher) -> None:
    assert repr(searcher) == f"Searcher({str(searcher.path)!r}, 4 documents, tiny and words, model queries)"


def test_static_queries_need_no_model(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.search.queries.load_encoder", lambda *a, **k: pytest.fail("the model is loaded"))
    static = Searcher.open(searcher.path, static=True)
    assert ids(static.search("json"))[0] == "3" and "static queries" in repr(static)
    with pytest.raises(ArgumentError, match="Open it without static"):
        static.add(texts=["more"])
    with pytest.raises(ArgumentError, match="k_queries has no effect"):
        static.search("json", k_queries=2)
    assert static.delete("3") == 1 and ids(static.search("json", 1)) != ["3"]
    with pytest.raises(ArgumentError, match="device can have no effect"):
        Searcher.open(searcher.path, static=True, device="cpu")


def test_scoring_is_said_once_or_each_time(searcher: Searcher, encoder: LatentTermEncoder) -> None:
    plain = searcher.search("milk of the cow")
    flat = searcher.search("milk of the cow", scoring={"k1": 0.0})
    assert [hit.score for hit in flat] != [hit.score for hit in plain]
    opened = Searcher.open(searcher.path, vocabulary=encoder, scoring={"k1": 0.0})
    assert opened.search("milk of the cow") == flat
    whole = dataclasses.replace(searcher.index.scoring, k1=0.0)
    assert searcher.search("milk of the cow", scoring=whole) == flat
    assert opened.explain("milk of the cow", flat[0].id).score == flat[0].score
    assert opened.search("milk of the cow", scoring={"k1": searcher.index.scoring.k1}) == plain
    with pytest.raises(ConfigError, match="k9"):
        searcher.search("milk", scoring={"k9": 1})
    built = Searcher.build(texts=TEXTS, vocabulary=encoder, scoring={"b": 0.1}, terms={"k_documents": 1}, literal=False)
    assert built.index.scoring == BM25Config(**{**dataclasses.asdict(encoder.scoring), "b": 0.1})
    assert built.index.literal is None and built.index.vocabulary.terms_config["k_documents"] == 1


def test_among_and_exclude(searcher: Searcher) -> None:
    everything = searcher.rank("the moon and the milk", 10)[0]
    assert [hit.id for hit in everything if hit.id in ("2", "4")] == ids(
        searcher.search("the moon and the milk", among=["4", "2"])
    )
    assert searcher.rank("the moon", among=["2"])[0][0].score == searcher.rank("the moon", 1, among=["2", "3"])[0][0].score
    assert "2" not in ids(searcher.rank("the moon", exclude=["2"])[0])
    with pytest.raises(CorpusError, match="no document 'x'"):
        searcher.search("the moon", among=["x"])


def test_a_prompt_that_is_meant_is_taken(searcher: Searcher, tiny_vocabulary: Path) -> None:
    prompted = Searcher.open(searcher.path, query_prompt="the cow ")
    assert prompted.encode("milk").deliberate == {"query_prompt"}
    assert prompted.rank("milk") != searcher.rank("milk")
    stranger = LatentTermEncoder.from_pretrained(tiny_vocabulary, query_prompt="the cow ")
    with pytest.raises(IndexFormatError, match="query_prompt None instead of 'the cow '"):
        searcher.index.search(stranger.encode_queries(["milk"]))


def test_queries_that_fit_nowhere_are_refused(searcher: Searcher, other_vocabulary: Path, encoder: LatentTermEncoder) -> None:
    other = LatentTermEncoder.from_pretrained(other_vocabulary)
    with pytest.raises(IndexFormatError, match="vocabulary 'tiny'"):
        searcher.search(other.encode_queries(["milk"]))
    with pytest.raises(IndexFormatError, match="made by the vocabulary 'tiny'"):
        Searcher.open(searcher.path, vocabulary=other)
    rows = encoder.encode_queries(["milk"]).rows
    assert searcher.rank(EncodedQueries(rows)) == searcher.index.search(EncodedQueries(rows)), "nothing is known of these"
    textless = EncodedQueries(rows, fingerprint=encoder.fingerprint, settings={"k_queries": 1})
    with pytest.raises(IndexFormatError, match="k_queries"):
        searcher.search(textless)
    with pytest.raises(ArgumentError, match="encoded already"):
        searcher.search(EncodedQueries(rows), k_queries=3)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda e, p: Searcher.build(vocabulary=e), "in one way"),
        (lambda e, p: Searcher.build([p], texts=["a"], vocabulary=e), "in one way"),
        (lambda e, p: Searcher.build(7, vocabulary=e), "not a int"),
        (lambda e, p: Searcher.build([p, 7], vocabulary=e), "not a int"),
        (lambda e, p: Searcher.build([Document("a", "b"), p], vocabulary=e), "Among documents"),
        (lambda e, p: Searcher.build(texts="one text", vocabulary=e), r"texts=\[text\]"),
        (lambda e, p: Searcher.build(texts=["a", 7], vocabulary=e), "Text 2 is a int"),
        (
            lambda e, p: Searcher.build(["Plants make sugar out of light.\nNothing else."], vocabulary=e),
            "texts=",
        ),
        (lambda e, p: Searcher.build([p / "nowhere"], vocabulary=e), "does not exist"),
        (lambda e, p: Searcher.build(texts=["a"], vocabulary=e, device="cpu"), "loaded already"),
        (lambda e, p: Searcher.build(texts=["a"], vocabulary=e, scoring={"k1": -1}), "k1"),
        (lambda e, p: Searcher.build(texts=["a"], vocabulary=e, profile="small", prefix=2), "too small"),
    ],
)
def test_wrong_arguments_are_explained(call, problem: str, encoder: LatentTermEncoder, tmp_path: Path) -> None:
    with pytest.raises(LexiteError, match=problem):
        call(encoder, tmp_path)


def test_a_build_that_fails_leaves_nothing(encoder: LatentTermEncoder, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(CorpusError, match="twice"):
        Searcher.build([Document("a", "b"), Document("a", "c")], tmp_path / "i", vocabulary=encoder)
    assert not (tmp_path / "i").exists()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(CorpusError, match="twice"):
        Searcher.build([Document("a", "b"), Document("a", "c")], vocabulary=encoder)
    assert not list(tmp_path.iterdir())
    searcher = Searcher.build(texts=["a"], path=tmp_path / "i", vocabulary=encoder)
    with pytest.raises(StorageError, match="exists already"):
        Searcher.build(texts=["b"], path=tmp_path / "i", vocabulary=encoder)
    assert len(Searcher.build(texts=["b", "c"], path=tmp_path / "i", vocabulary=encoder, overwrite=True)) == 2
    assert len(searcher) == 1, "what was opened before stays as it was"


def test_many_threads_search_while_documents_change(searcher: Searcher) -> None:
    problems: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(15):
                hits = searcher.search("milk of the cow", 2)
                assert hits and hits[0].score > 0
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for number in range(4):
        searcher.add([Document(f"t{number}", "milk and more milk")])
    for thread in threads:
        thread.join()
    assert not problems and len(searcher) == 8


def test_an_index_that_recorded_nothing_takes_queries_as_they_come(encoder: LatentTermEncoder) -> None:
    index = BM25Index.in_memory(encoder.encode_documents(TEXTS), list("abcd"))
    assert index.search(encoder.encode_queries(["milk"]))[0]
    with pytest.raises(IndexFormatError, match="does not say where its vocabulary is"):
        Searcher.open(index)


def test_an_encoders_own_prompts_do_not_beat_what_the_index_recorded(
    searcher: Searcher, encoder: LatentTermEncoder, tiny_vocabulary: Path
) -> None:
    prompted = LatentTermEncoder.from_pretrained(tiny_vocabulary, document_prompt="the cow ", query_prompt="the moon ")
    opened = Searcher.open(searcher.path, vocabulary=prompted)
    assert opened.rank("milk") == searcher.rank("milk")
    opened.add([Document("new", "the trial of the drug")])
    rows = opened.index.rows(["new"])[:, : encoder.n_latents]
    assert (rows != as_kept(encoder.encode_documents(["the trial of the drug"]))).nnz == 0
    for changed in ({"document_prompt": "the cow "}, {"long": "truncate"}):
        with pytest.raises(ConfigError, match="recorded .* None, and its documents were read so"):
            Searcher.open(searcher.path, **changed)


def test_a_searcher_follows_what_the_newest_commit_recorded(searcher: Searcher, encoder: LatentTermEncoder) -> None:
    static = Searcher.open(searcher.path, static=True)
    other = Searcher.build(texts=TEXTS, path=searcher.path, vocabulary=encoder, overwrite=True, profile="small", literal=False)
    assert searcher.refresh() and searcher.rank("milk of the cow") == other.rank("milk of the cow")
    searcher.add([Document("new", "the cow and the sea and the moon")])
    other.refresh()
    expected = as_kept(other.queries.encoder.encode_documents(["the cow and the sea and the moon"]))
    assert (searcher.index.rows(["new"]) != expected).nnz == 0
    assert static.refresh()
    assert static.rank("the moon") == Searcher.open(searcher.path, static=True).rank("the moon")


def test_a_closed_searcher_changes_nothing(searcher: Searcher) -> None:
    path = searcher.path
    searcher.close()
    for change in (lambda: searcher.delete("1"), lambda: searcher.add(texts=["more"]), searcher.refresh):
        with pytest.raises(ArgumentError, match="closed"):
            change()
    assert list(BM25Index.open(path).ids) == ["1", "2", "3", "4"]


def test_texts_get_numbers_that_are_free(searcher: Searcher) -> None:
    searcher.delete("2")
    assert searcher.add(texts=["one", "two"]) == 2 and list(searcher.index.ids) == ["1", "3", "4", "2", "5"]
    with pytest.raises(ArgumentError, match="Texts have no ids"):
        searcher.replace(texts=["other"])


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda s: s.search(None), "not a NoneType"),
        (lambda s: s.search(["a", 5]), "is a int"),
        (lambda s: s.search("a", -1), "top_k is -1"),
        (lambda s: s.search("a", "5", then=[without_milk]), "top_k is '5'"),
        (lambda s: s.search("a", foo=1), "no option 'foo'"),
        (lambda s: s.search("a", scoring="x"), "scoring is a str"),
        (lambda s: s.search("a", k_queries="x"), "k is 'x'"),
        (lambda s: s.search("a", floor_queries="x"), "floor is 'x'"),
        (lambda s: s.search(["a", "b"], among=[["1"], [1]]), "Ids are text"),
        (lambda s: s.search("a", among=[1]), "Ids are text, or a list"),
        (lambda s: s.search("a", exclude=[0]), "Ids are text"),
        (lambda s: s.explain("a", 2), "named by its id"),
        (lambda s: s.explain(None, "1"), "not a NoneType"),
        (lambda s: s.delete(12), "Ids are text, or a list of texts, not a int"),
        (lambda s: s.delete(None), "not a NoneType"),
        (lambda s: s.add("word " * 400), "write texts="),
        (lambda s: s.add(""), "empty name"),
        (lambda s: s.add([Document("a", None)]), "must be text"),
        (lambda s: s.search("a", then=[lambda answer: None]), "must give an Answer"),
        (lambda s: s.search("a", then=[7]), "not a int"),
        (lambda s: s.search("a", then=7), "not a int"),
        (lambda s: s.search("a", then="hybrid"), "not a str"),
        (lambda s: s.search("a", then=Hybrid), r"Hybrid is a class, and a strategy is an object of it: Hybrid\(\)"),
        (lambda s: s.search("a", liked=7), "Ids are text, or a list of texts, not a int"),
        (lambda s: s.search("a", liked=[0]), "liked takes ids of documents, which are text, not a int"),
        (lambda s: s.search("a", disliked=[None]), "disliked takes ids of documents, which are text, not a NoneType"),
        (lambda s: s.more_like([1]), "more_like takes ids of documents"),
        (lambda s: s.more_like(None), "More like which documents"),
        (lambda s: s.search("a", then=[lambda answer: answer.with_rankings([["1"]])]), "not a str"),
        (lambda s: s.search(["a", "b"], then=[lambda answer: answer.with_rankings(answer.rankings[:1])]), "1 rankings for 2"),
        (lambda s: Searcher.build(texts=["a"], vocabulary=s.queries.encoder, profile="tiny"), "no profile 'tiny'"),
        (lambda s: Searcher.build(texts=["a"], vocabulary=s.queries.encoder, terms={"foo": 1}), "unknown key 'foo'"),
        (lambda s: Searcher.build(texts=["a"], vocabulary=s.queries.encoder, literal="yes"), "literal is a str"),
        (lambda s: Searcher.build(texts=["a"], scorin={}), "no option 'scorin'"),
        (lambda s: Searcher.open(None), "not by a NoneType"),
    ],
)
def test_what_a_searcher_cannot_take_is_explained(call, problem: str, searcher: Searcher) -> None:
    with pytest.raises(LexiteError, match=problem):
        call(searcher)
    assert list(searcher.index.ids) == ["1", "2", "3", "4"], "nothing was changed"


def test_a_strategy_keeps_the_options_of_the_search(searcher: Searcher) -> None:
    again = [lambda answer: answer.asked_again(answer.queries)]
    for options in ({"among": ["3", "4"]}, {"scoring": {"k1": 0.1}}, {"exclude": ["1"]}):
        plain = searcher.rank("the cow and a drug", 2, **options)
        assert searcher.rank("the cow and a drug", 2, then=again, **options) == plain
    assert searcher.rank("the cow", then=without_milk) == searcher.rank("the cow", then=[without_milk])


def without_milk(answer: Answer) -> Answer:
    """A strategy in one function: documents that say milk are no hits."""
    kept = [[h for h in hits if "milk" not in answer.backend.get(h.id).text] for hits in answer.rankings]
    return answer.with_rankings(kept)


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A strategy with settings: the best documents' texts are asked along with the question."""

    encoder: LatentTermEncoder
    documents: int = 1
    candidates: int = 50

    def __call__(self, answer: Answer) -> Answer:
        texts = [
            " ".join([text, *(answer.backend.get(hit.id).text for hit in hits[: self.documents])])
            for text, hits in zip(answer.queries.texts, answer.rankings, strict=True)
        ]
        return answer.asked_again(self.encoder.encode_queries(texts))


def test_a_strategy_of_ones_own_is_one_function_and_one_line(searcher: Searcher, encoder: LatentTermEncoder) -> None:
    plain = searcher.search("the cow and the moon")
    assert "1" in ids(plain)
    kept = searcher.search("the cow and the moon", then=[without_milk])
    assert ids(kept) == [i for i in ids(plain) if i != "1"] and [hit.rank for hit in kept] == list(range(1, len(kept) + 1))
    expanded = searcher.rank("a drug", 3, then=[Repeated(encoder)])[0]
    best = searcher.rank("a drug", 1)[0][0].id
    assert expanded == searcher.rank(f"a drug {searcher.index.get(best).text}", 3)[0]
    chained = searcher.rank("the cow", 2, then=[Repeated(encoder), without_milk])[0]
    assert "1" not in ids(chained) and len(chained) == 2


def test_a_long_text_is_found_by_what_one_of_its_passages_says(tiny_vocabulary: Path, tmp_path: Path) -> None:
    filler = "\n\n".join("Rain falls on the lake and the wind moves the ship on the sea. " * 6 for _ in range(30))
    long = f"{filler}\n\n## Boiler\n\nTurn the valve to the left.\n\n{filler}"
    documents = [Document("long", long, "Manual"), *(Document(f"d{n}", "A cat drinks milk in the house.") for n in range(9))]
    cut = Searcher.build(documents, tmp_path / "i", vocabulary=tiny_vocabulary, show_progress=False)
    assert cut.index.passages_config == PassageConfig() and cut.index.n_passages > 20 and len(cut) == 10
    hit = cut.search("where is the valve of the boiler", passages_per_hit=2)[0]
    assert (
        hit.id == "long"
        and hit.passage is not None
        and " ".join(long[hit.passage.start : hit.passage.end].split()) == hit.passage.text
    )
    assert hit.passages[0].text == long[hit.passages[0].start : hit.passages[0].end]
    assert "valve" in hit.passages[0].text and "valve" in hit.passage.text and len(hit.passage.text) <= 240
    assert hit.passages[0].score == pytest.approx(hit.score) and len(hit.passages) <= 2
    assert cut.explain("where is the valve of the boiler", "long").score == pytest.approx(hit.score)
    assert [p["start"] for p in hit.to_json()["passages"]] == [p.start for p in hit.passages]
    cut.replace([Document("long", "A short note.")], show_progress=False)
    assert cut.index.n_passages == len(cut) == 10
    whole = Searcher.build(documents, vocabulary=tiny_vocabulary, passages="none", show_progress=False)
    assert whole.index.n_passages == 10 and whole.search("valve of the boiler", passages_per_hit=1)[0].passages[0].text == long
    for wrong in (-1, True, 1.5):
        with pytest.raises(ArgumentError, match="passages_per_hit is"):
            cut.search("valve", passages_per_hit=wrong)
    with pytest.raises(ConfigError, match="'auto', 'none'"):
        Searcher.build(documents, vocabulary=tiny_vocabulary, passages="some", show_progress=False)  # type: ignore[arg-type]


def test_a_snippet_of_a_huge_text_is_looked_for_everywhere(tiny_vocabulary: Path) -> None:
    filler = "Rain falls on the lake and the wind moves the ship on the sea. " * 600
    text = f"{filler} The patient takes a dose of the drug. {filler}"
    for literal in (True, False):
        with Searcher.build(
            texts=[text], vocabulary=tiny_vocabulary, passages="none", literal=literal, show_progress=False
        ) as searcher:
            passage = searcher.search("a dose of the drug for the patient")[0].passage
            assert passage is not None and "patient" in passage.text


def test_a_text_that_is_empty_is_as_bad_as_in_a_file(encoder) -> None:
    for given in ({"texts": ["a", " \n"]}, {"sources": [Document("1", "a"), Document("2", "", title=" ")]}):
        with pytest.raises(CorpusError, match="Document '2': the text is empty. .* leaves bad ones out."):
            Searcher.build(**given, vocabulary=encoder)
        report = ReadReport()
        with Searcher.build(**given, vocabulary=encoder, read=ReadOptions(skip_bad=True), report=report) as searcher:
            assert list(searcher.index.ids) == ["1"] and (report.read, report.skipped) == (1, 1)
            with pytest.raises(CorpusError, match="the text is empty"):
                searcher.add(texts=[""])
    with Searcher.build([Document("1", "", title="only a title")], vocabulary=encoder) as searcher:
        assert len(searcher) == 1


def test_records_without_ids_go_on_behind_the_index(searcher: Searcher, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    assert searcher.add(tmp_path / "more.jsonl") == 2 and list(searcher.index.ids) == ["1", "2", "3", "4", "5", "6"]
    assert searcher.replace(tmp_path / "more.jsonl") == 2 and len(searcher) == 8
