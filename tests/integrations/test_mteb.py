"""mteb measures what ``lexite eval`` measures, on the same data, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite import BM25Index, LatentTermEncoder
from lexite.errors import ConfigError, CorpusError, MissingExtraError
from lexite.evaluation import evaluate_collections, evaluate_run
from lexite.integrations.mteb import BM25SearchModel, query_text
from lexite.scoring.config import BM25Config
from lexite.scoring.rounding import rounded_weights
from lexite.scoring.words import LiteralConfig
from lexite.terms.config import TermsConfig

pytestmark = pytest.mark.slow  # loading mteb takes several seconds
MAIN = ("ndcg_at_10", "nDCG@10"), ("recall_at_100", "R@100"), ("mrr_at_10", "MRR@10")
WORDS = """cat dog bird fish horse cow milk meat bread cheese apple tree river lake sea ship wind rain snow sun moon star
read write file open close parse json text word list sort search index query number count time date clock heart blood cell
gene protein virus cancer drug dose trial patient risk study effect level rate test sample""".split()


@dataclasses.dataclass(frozen=True)
class Data:
    """A judged collection: documents as (id, title, text), queries as (id, text)."""

    documents: Sequence[tuple[str, str, str]]
    queries: Sequence[tuple[str, str]]
    qrels: Mapping[str, Mapping[str, int]]


@pytest.fixture(scope="module")
def data() -> Data:
    """160 random documents, more than a hundred of which match most queries; those with two of its words are relevant.

    Two documents have the same text, so that they tie, and trec_eval by itself would put the irrelevant one first. The document
    q0 has the id and the text of a query; the query q9 matches nothing, and q8 has nothing relevant.
    """
    random = np.random.default_rng(3)

    def text(length: int) -> str:
        return " ".join(random.choice(WORDS, length))

    documents = [(f"d{i:03d}", text(2) if i % 3 else "", text(int(random.integers(4, 60)))) for i in range(160)]
    queries = [(f"q{i}", text(4)) for i in range(9)]
    documents += [("q0", "", queries[0][1]), *((f"twin{i}", "", f"{queries[1][1]} " * 9) for i in (1, 2))]
    shared = {name: {i: len(set(asked.split()) & set(text.split())) for i, _, text in documents} for name, asked in queries}
    qrels = {name: {document: n for document, n in row.items() if n > 1} for name, row in shared.items()}
    qrels |= {"q1": {"twin1": 1}, "q8": {"d000": 0}, "q9": {"d001": 1}}
    return Data(documents, [*queries, ("q9", "\u200b")], qrels)


@pytest.fixture(scope="module")
def beir(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a BEIR folder."""
    folder = tmp_path_factory.mktemp("mteb") / "random"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": i, "title": title, "text": text} for i, title, text in data.documents]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    (folder / "queries.jsonl").write_text("\n".join(json.dumps({"_id": i, "text": text}) for i, text in data.queries))
    lines = [f"{query}\t{document}\t{grade}" for query, row in data.qrels.items() for document, grade in row.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *lines]))
    return folder


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def mteb() -> Any:
    return pytest.importorskip("mteb")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(scope="module")
def make_task(mteb: Any) -> Callable[..., Any]:
    """Makes a task of mteb out of data in memory."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    def make(name: str, data: Data, top_ranked: Mapping[str, list[str]] | None = None, type: str = "Retrieval") -> Any:
        class Task(AbsTaskRetrieval):  # type: ignore[misc]
            ignore_identical_ids = True
            metadata = TaskMetadata(
                name=name,
                description="Random words.",
                dataset={"path": "none", "revision": "none"},
                type=type,
                category="t2t",
                eval_langs=["eng-Latn"],
                main_score="ndcg_at_10",
            )

            def load_data(self, *args: Any, **kwargs: Any) -> None:
                rows = [{"id": i, "title": title, "text": text} for i, title, text in data.documents]
                split = {
                    "corpus": Dataset.from_list(rows),
                    "queries": Dataset.from_list([{"id": i, "text": text} for i, text in data.queries]),
                    "relevant_docs": {query: dict(row) for query, row in data.qrels.items()},
                    "top_ranked": top_ranked,
                }
                self.dataset, self.data_loaded = {"default": {"test": split}}, True

        return Task()

    return make


@pytest.fixture
def run(mteb: Any, tmp_path: Path) -> Callable[..., tuple[dict[str, float], dict[str, dict[str, float]]]]:
    """Evaluates a model on a task without a cache: mteb's scores, and the rankings it saw."""

    def evaluate(model: BM25SearchModel, task: Any) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        options = {"cache": None, "co2_tracker": False, "show_progress_bar": False, "overwrite_strategy": "always"}
        result = mteb.evaluate(model, task, prediction_folder=tmp_path, **options)
        predicted = json.loads((tmp_path / f"{task.metadata.name}_predictions.json").read_text())
        (tmp_path / f"{task.metadata.name}_predictions.json").unlink()
        return result.task_results[0].scores["test"][0], predicted["default"]["test"]

    return evaluate


def rows(mapping: Sequence[Mapping[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list([dict(row) for row in mapping])


def corpus_of(data: Data) -> Any:
    return rows([{"id": i, "title": title, "text": text} for i, title, text in data.documents])


def queries_of(data: Data) -> Any:
    return rows([{"id": i, "text": text} for i, text in data.queries])


@pytest.fixture
def where(make_task: Callable[..., Any], data: Data) -> dict[str, Any]:
    """What mteb passes to index and search beside the data."""
    kwargs = {"batch_size": 32, "show_progress_bar": False}
    task = make_task("Where", data)
    return {
        "task_metadata": task.metadata,
        "hf_split": "test",
        "hf_subset": "default",
        "encode_kwargs": kwargs,
        "num_proc": None,
    }


@pytest.mark.parametrize("static", [False, True], ids=["model", "static"])
@pytest.mark.parametrize("words", [False, True], ids=["latent", "words"])
def test_scores_are_those_of_lexite_eval(
    encoder: LatentTermEncoder,
    data: Data,
    beir: Path,
    make_task: Callable[..., Any],
    run: Callable[..., Any],
    words: bool,
    static: bool,
) -> None:
    literal = LiteralConfig(literal=words)
    report = evaluate_collections(encoder, [beir], baselines=(), literal=literal, static=static)
    system = ("static" if static else "latent") + ("+words" if words else "")
    expected = report.collections["random"][system]

    model = BM25SearchModel(encoder, literal=words, static_queries=static, texts_per_chunk=64)
    scores, ranked = run(model, make_task("Random", data))

    assert set(ranked) == {query for query, _ in data.queries} and ranked["q9"] == {}
    assert "q0" in ranked["q0"], "the task drops it, not the model"
    ranked["q0"].pop("q0")
    measured = evaluate_run(data.qrels, ranked).mean
    for theirs, ours in MAIN:
        assert measured[ours] == pytest.approx(expected[ours], abs=1e-6)
        assert scores[theirs] == pytest.approx(expected[ours], abs=5.1e-6), "mteb rounds to five places"
    assert 0.1 < expected["nDCG@10"] < 0.9 and 0.1 < expected["R@100"] < 1.0, "a comparison of nothing"


def test_hits_and_scores_are_those_of_the_index(encoder: LatentTermEncoder, data: Data, where: dict[str, Any]) -> None:
    full = [f"{title} {text}".strip() for _, title, text in data.documents]
    texts, scoring = [text for _, text in data.queries], dataclasses.replace(encoder.scoring, k1=0.9, b=0.3)
    weights = encoder.encode_documents(full)
    weights.data = rounded_weights(weights.data)  # as an index on the disk does
    reference = BM25Index.in_memory(weights, [i for i, _, _ in data.documents], scoring, texts=full)
    expected = reference.search(encoder.encode_queries(texts), 20)

    with BM25SearchModel(encoder, scoring={"k1": 0.9, "b": 0.3}) as model:
        model.index(corpus_of(data), **where)
        found = model.search(queries_of(data), top_k=20, **where)
    for (query, _), hits in zip(data.queries, expected, strict=True):
        assert list(found[query]) == [hit.id for hit in hits]
        assert list(found[query].values()) == pytest.approx([hit.score for hit in hits], rel=1e-5)
        assert all(np.diff(np.array(list(found[query].values()), dtype=np.float32)) < 0)
    places = [list(found["q1"]).index(twin) for twin in ("twin1", "twin2")]
    assert places[1] == places[0] + 1 <= 9 and expected[1][places[0]].score == expected[1][places[1]].score


def test_a_task_does_not_see_the_documents_of_another(
    encoder: LatentTermEncoder, data: Data, make_task: Callable[..., Any], run: Callable[..., Any]
) -> None:
    other = dataclasses.replace(data, documents=[(f"other-{i}", title, text) for i, title, text in data.documents[:40]])
    model = BM25SearchModel(encoder)
    run(model, make_task("First", data))
    _, ranked = run(model, make_task("Second", other))
    _, alone = run(BM25SearchModel(encoder), make_task("Second", other))
    assert ranked == alone and {document for row in ranked.values() for document in row} <= {i for i, _, _ in other.documents}


def test_reranking_ranks_the_candidates_alone_in_the_order_of_the_whole_corpus(
    encoder: LatentTermEncoder, data: Data, make_task: Callable[..., Any], run: Callable[..., Any], where: dict[str, Any]
) -> None:
    model = BM25SearchModel(encoder)
    model.index(corpus_of(data), **where)
    everything = model.search(queries_of(data), top_k=1000, **where)
    candidates = {query: list(row)[-12:][::-1] for query, row in everything.items() if query not in ("q2", "q9")}

    found = model.search(queries_of(data), top_k=5, top_ranked=candidates, **where)
    assert {query: list(row) for query, row in found.items()} == {
        query: candidates[query][::-1][:5] if query in candidates else [] for query in everything
    }
    _, ranked = run(model, make_task("Candidates", data, top_ranked=candidates, type="Reranking"))
    assert {query: set(row) for query, row in ranked.items() if row} == {query: set(row) for query, row in candidates.items()}


def test_top_k_leaves_one_more_than_it_says_for_the_document_that_a_task_drops(
    encoder: LatentTermEncoder, data: Data, where: dict[str, Any]
) -> None:
    whole, cut = BM25SearchModel(encoder), BM25SearchModel(encoder, top_k=7)
    for model in (whole, cut):
        model.index(corpus_of(data), **where)
    ranked, short = (model.search(queries_of(data), top_k=1000, **where) for model in (whole, cut))
    assert short == {query: dict(list(row.items())[:8]) for query, row in ranked.items()}
    assert {len(row) for row in cut.search(queries_of(data), top_k=3, **where).values()} == {0, 3}


def test_queries_are_read_as_mteb_gives_them_to_every_model() -> None:
    pytest.importorskip("mteb")
    from mteb._create_dataloaders import _combine_queries_with_instruction_text, _convert_conv_history_to_query

    told = [{"text": "a dog", "instruction": "no cats"}, {"text": "a cat", "instruction": None}]
    assert [query_text(row) for row in told] == list(_combine_queries_with_instruction_text(rows(told))["text"])
    for talk in ([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}], ["a", "b"]):
        for extra in ({}, {"instruction": "c"}):
            with pytest.warns(UserWarning) if isinstance(talk[0], str) else contextlib.nullcontext():
                theirs = _convert_conv_history_to_query({"text": talk, **extra})
            assert query_text({"text": talk, **extra}) == theirs["text"]


@pytest.mark.parametrize("text", [None, [], 3, [{"content": "no role"}]])
def test_a_query_that_is_no_text_is_named(text: Any) -> None:
    with pytest.raises(CorpusError, match="'q7' has no text"):
        query_text({"id": "q7", "text": text})


def test_the_folder_is_there_until_it_is_not_needed(
    encoder: LatentTermEncoder, data: Data, where: dict[str, Any], temporary: Path
) -> None:
    model = BM25SearchModel(encoder)
    model.index(corpus_of(data), **where)
    (first,) = temporary.iterdir()
    model.index(corpus_of(data), **where)
    (second,) = temporary.iterdir()
    assert first != second
    model.search(queries_of(data), top_k=3, **where)
    model.search(queries_of(data), top_k=3, **where)
    model.close()
    model.close()
    assert not list(temporary.iterdir())

    model.index(corpus_of(data), **where)
    assert list(temporary.iterdir())
    del model
    gc.collect()
    assert not list(temporary.iterdir())


def test_an_error_leaves_no_folder(
    encoder: LatentTermEncoder, data: Data, where: dict[str, Any], temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = BM25SearchModel(encoder, texts_per_chunk=50)
    doubled = dataclasses.replace(data, documents=[*data.documents, data.documents[0]])
    with pytest.raises(CorpusError, match="d000"):
        model.index(corpus_of(doubled), **where)
    assert not list(temporary.iterdir())

    encode, calls = model.encoder.encode_documents, iter(range(10))

    def interrupted(texts: Any, **kwargs: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return encode(texts, **kwargs)

    monkeypatch.setattr(model.encoder, "encode_documents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.index(corpus_of(data), **where)
    assert not list(temporary.iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    model.index(corpus_of(data), **where)
    with pytest.raises(CorpusError, match="'nowhere' is to be ranked, but it is not in the corpus"):
        model.search(queries_of(data), top_k=3, top_ranked={"q1": ["d001", "nowhere"]}, **where)
    assert not list(temporary.iterdir())
    with pytest.raises(ConfigError, match="Nothing is indexed"):
        model.search(queries_of(data), top_k=3, **where)


def test_what_cannot_be_is_refused(encoder: LatentTermEncoder, data: Data, where: dict[str, Any], temporary: Path) -> None:
    for options, message in (
        ({"scoring": {"k2": 1.0}}, "k2"),
        ({"scoring": {"b": 1.5}}, "b is 1.5"),
        ({"top_k": 0}, "top_k is 0"),
        ({"texts_per_chunk": 0}, "texts_per_chunk is 0"),
        ({"meta": {"name": "no owner"}}, "organization/model_name"),
        ({"meta": {"nonsense": 1}}, "nonsense"),
    ):
        with pytest.raises(ConfigError, match=message):
            BM25SearchModel(encoder, **options)
    model = BM25SearchModel(encoder)
    with pytest.raises(ConfigError, match="embeddings in int8"):
        model.index(corpus_of(data), **{**where, "encode_kwargs": {"precision": "int8"}})
    with pytest.raises(CorpusError, match="has no text"):
        model.index(rows([{"id": "d1", "image": "x"}]), **where)
    assert not list(temporary.iterdir())


def test_without_mteb_the_command_that_installs_it_is_named(
    encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[mteb\]'"):
        BM25SearchModel(encoder)


def test_it_is_a_search_model_and_nothing_else_to_mteb(mteb: Any, encoder: LatentTermEncoder) -> None:
    from mteb.models import CrossEncoderProtocol, EncoderProtocol, SearchProtocol

    model = BM25SearchModel(encoder)
    assert isinstance(model, SearchProtocol) and not isinstance(model, EncoderProtocol | CrossEncoderProtocol)


def test_facts_about_a_vocabulary(mteb: Any, encoder: LatentTermEncoder) -> None:
    meta = BM25SearchModel(encoder).mteb_model_meta
    assert (meta.name, meta.revision) == ("lexite/tiny", encoder.fingerprint)
    assert (meta.languages, meta.training_datasets, meta.open_weights, meta.adapted_from) == (None,) * 4
    assert meta.license == "apache-2.0" and meta.model_type == ["sparse"] and meta.embed_dim == 64
    weights = list(encoder.backbone.model.parameters())
    assert meta.n_parameters == sum(each.numel() for each in weights) + 64 * 33 + 32
    assert meta.n_embedding_parameters == max(each.numel() for each in weights)
    assert meta.max_tokens == math.inf and meta.experiment_kwargs is None and meta.use_instructions is False

    given = {"name": "me/tiny", "languages": ["deu-Latn"], "training_datasets": {"NQ"}}
    meta = BM25SearchModel(encoder, meta=given).mteb_model_meta
    assert (meta.name, meta.languages, meta.training_datasets) == ("me/tiny", ["deu-Latn"], {"NQ"})


def test_settings_that_change_results_are_named(tiny_vocabulary: Path, mteb: Any) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary, query_prompt="query: ", long="truncate")
    encoder = encoder.replaced(terms=dataclasses.replace(encoder.terms, k_queries=2))
    model = BM25SearchModel(encoder, scoring={"k1": 1.2, "b": 0.75}, literal=False, static_queries=True, top_k=100)
    meta = model.mteb_model_meta
    changed = {"k_queries": 2, "query_prompt": "query: ", "long": "truncate", "k1": 1.2, "literal": False}
    assert meta.experiment_kwargs == {**changed, "static_queries": True, "top_k": 100}
    assert meta.use_instructions is True and meta.max_tokens == 32
    assert encoder.scoring.k1 == 2.5, "the encoder that was given is not changed"

    small = BM25SearchModel(tiny_vocabulary, profile="small", literal=LiteralConfig(literal_stop_words="none"))
    profile = {"k_documents": 4, "k_queries": 3, "floor_documents": 0.03, "floor_queries": 0.125}
    assert small.mteb_model_meta.experiment_kwargs == {**profile, "literal_stop_words": "none"}


def test_a_vocabulary_that_is_in_no_folder_is_compared_with_the_defaults(
    encoder: LatentTermEncoder, tiny_vocabulary: Path, tmp_path: Path, mteb: Any
) -> None:
    unsaved = LatentTermEncoder(encoder.backbone, encoder.sae, TermsConfig(floor_documents=0.0))
    model = BM25SearchModel(unsaved, scoring=BM25Config(b=0.5))
    assert model.mteb_model_meta.experiment_kwargs == {"floor_documents": 0.0, "b": 0.5}

    shutil.copytree(tiny_vocabulary, tmp_path / "moved")
    moved = LatentTermEncoder.from_pretrained(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved")
    floors = {"floor_documents": 0.0, "floor_queries": 0.0}
    assert BM25SearchModel(moved).mteb_model_meta.experiment_kwargs == floors


def test_a_model_without_a_tokenizer_has_no_static_queries(
    encoder: LatentTermEncoder, mteb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(encoder.backbone), "fast_tokenizer", None)
    with pytest.raises(ConfigError, match="can have no static queries"):
        BM25SearchModel(encoder, static_queries=True)


def test_the_cache_keeps_results_of_other_settings_apart(
    encoder: LatentTermEncoder, data: Data, mteb: Any, make_task: Callable[..., Any], tmp_path: Path
) -> None:
    cache = mteb.ResultCache(tmp_path)
    task, options = make_task("Cached", data), {"co2_tracker": False, "show_progress_bar": False}

    def score(model: BM25SearchModel) -> float:
        result = mteb.evaluate(model, task, cache=cache, **options)
        return float(result.task_results[0].scores["test"][0]["ndcg_at_10"])

    usual, flat = score(BM25SearchModel(encoder)), score(BM25SearchModel(encoder, scoring={"idf_power": 0.0, "k1": 50.0}))
    assert usual != flat

    again = BM25SearchModel(encoder, scoring={"idf_power": 0.0, "k1": 50.0})
    again.index = None  # type: ignore[assignment,method-assign]  # would fail if it were called
    assert score(again) == flat


def test_the_default_vocabulary(mteb: Any, make_task: Callable[..., Any], run: Callable[..., Any]) -> None:
    documents = [("rates", "", "The bank raised its interest rates again."), ("otters", "", "Otters live by the river.")]
    data = Data(documents, [("q", "animals near water")], {"q": {"otters": 1}})
    model = BM25SearchModel()
    scores, ranked = run(model, make_task("Otters", data))
    assert list(ranked["q"])[0] == "otters" and scores["ndcg_at_10"] == 1.0

    meta = model.mteb_model_meta
    dense = mteb.get_model_meta("sentence-transformers/all-MiniLM-L6-v2")
    assert (meta.name, meta.adapted_from, meta.experiment_kwargs) == ("lexite/all-minilm-l6-v2-16k", dense.name, None)
    assert (meta.languages, meta.training_datasets) == (["eng-Latn"], dense.training_datasets)
    assert meta.open_weights is True and meta.n_embedding_parameters == dense.n_embedding_parameters
    assert meta.n_parameters == dense.n_parameters + 16384 * 385 + 384
