"""What other processes get by pickle: encoders and indexes by place and settings, results by value."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers_processes import found
from scipy.sparse import csr_array

from lexite.backbone import BackboneConfig
from lexite.errors import ArgumentError, BackboneError, MissingExtraError, ModelError
from lexite.index import BM25Index, VocabularyInfo
from lexite.ranking.hits import Hit
from lexite.sae import SAEConfig
from lexite.scoring import BM25Config
from lexite.scoring.words import LiteralConfig
from lexite.search import Searcher
from lexite.terms import LatentTermEncoder, TermsConfig, measure_vocabulary
from lexite.terms.queries import EncodedQueries
from lexite.terms.reopening import _opened

TEXTS = ["the cat drinks milk", "how to parse a json file", "rain and snow on the lake"]


@pytest.fixture(autouse=True)
def another_process() -> None:
    """Forgets what was opened before, as in the process where a pickle arrives."""
    _opened.cache_clear()


def sent(value):
    """A value as another process gets it."""
    return pickle.loads(pickle.dumps(value))


def same_rows(a: LatentTermEncoder, b: LatentTermEncoder) -> bool:
    pairs = [(one.encode_documents(TEXTS), one.encode_queries(TEXTS).rows) for one in (a, b)]
    return all((x != y).nnz == 0 for x, y in zip(*pairs, strict=True))


def test_an_encoder_is_opened_again_with_its_settings(loaded: LatentTermEncoder) -> None:
    encoder = loaded.replaced(terms=dataclasses.replace(loaded.terms, k_queries=2), scoring=BM25Config(k1=0.5))
    again = sent(encoder)
    assert again.backbone is not encoder.backbone and again.backbone.precision == "fp32"
    assert (again.terms, again.scoring, again.fingerprint) == (encoder.terms, encoder.scoring, encoder.fingerprint)
    assert (again.source, again.name, again.label(3)) == (encoder.source, encoder.name, encoder.label(3))
    assert same_rows(again, encoder)
    assert len(pickle.dumps(encoder)) < 3000, "neither weights nor labels are sent"


def test_an_encoder_reads_texts_as_it_did(tiny_vocabulary: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary, precision="fp32", long="truncate", query_prompt="cat ")
    again = sent(encoder)
    assert again.components.reading == {"long": "truncate", "query_prompt": "cat "} == encoder.components.reading
    assert same_rows(again, encoder)


def test_a_prefix_is_cut_again(loaded: LatentTermEncoder) -> None:
    encoder = loaded.prefix(40)
    again = sent(encoder)
    assert (again.prefix_size, again.n_latents, again.fingerprint) == (40, 40, encoder.fingerprint)
    assert same_rows(again, encoder)
    assert len(pickle.dumps(encoder)) < 3000


@pytest.mark.parametrize("prefix", [None, 40])
def test_what_was_measured_anew_is_sent_along(loaded: LatentTermEncoder, prefix: int | None) -> None:
    measured = measure_vocabulary(loaded, TEXTS, source="three texts")
    encoder = loaded.replaced(vocabulary=measured, details=dataclasses.replace(loaded.details, licence="none"))
    encoder = encoder if prefix is None else encoder.prefix(prefix)
    again = sent(encoder)
    assert again.vocabulary.source == "three texts" and again.details.licence == "none"
    assert again.vocabulary.document_counts.tolist() == encoder.vocabulary.document_counts.tolist()
    assert sent(again).vocabulary.source == "three texts"


def test_a_process_opens_a_vocabulary_once_for_encoders_that_follow_each_other(loaded: LatentTermEncoder) -> None:
    content = pickle.dumps(loaded.encode_queries)  # as executors send a method, with each task
    first, second = pickle.loads(content), pickle.loads(content)
    assert first.__self__.backbone is second.__self__.backbone
    assert sent(loaded.replaced(terms=TermsConfig(k_queries=1))).backbone is first.__self__.backbone


def test_an_encoder_that_was_never_saved_says_what_to_do(loaded: LatentTermEncoder, tmp_path: Path) -> None:
    unsaved = loaded.reordered(np.arange(loaded.n_latents)[::-1])
    with pytest.raises(ModelError, match=r"tiny was never saved, so no other process can open it.*save_pretrained\(FOLDER\)"):
        pickle.dumps(unsaved)
    saved = LatentTermEncoder.from_pretrained(unsaved.save_pretrained(tmp_path / "saved"))
    assert sent(saved).fingerprint == unsaved.fingerprint


def test_an_encoder_with_other_weights_than_saved_says_what_to_do(loaded: LatentTermEncoder, other_vocabulary: Path) -> None:
    other = LatentTermEncoder.from_pretrained(other_vocabulary)
    with pytest.raises(ModelError, match="was changed since it was loaded from .*save_pretrained"):
        pickle.dumps(loaded.replaced(sae=other.sae))


def test_a_vocabulary_that_changed_on_the_way_is_refused(tiny_vocabulary: Path, other_vocabulary: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vocabulary"
    shutil.copytree(tiny_vocabulary, folder)
    content = pickle.dumps(LatentTermEncoder.from_pretrained(folder))
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="does not exist"):
        pickle.loads(content)
    shutil.copytree(other_vocabulary, folder)
    with pytest.raises(ModelError, match=r"vocabulary was changed since the encoder was pickled: its fingerprint is"):
        pickle.loads(content)


def test_copies_of_an_encoder_open_nothing(loaded: LatentTermEncoder) -> None:
    unsaved = loaded.reordered(np.arange(loaded.n_latents)[::-1])
    for other in (copy.copy(unsaved), copy.deepcopy(unsaved)):
        assert other is not unsaved and other.backbone is unsaved.backbone and other.fingerprint == unsaved.fingerprint


def test_an_index_is_opened_again_at_its_newest_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = csr_array(np.array([[0.0, 4.0], [1.0, 1.0]], dtype=np.float32))
    with BM25Index.create("index", VocabularyInfo("f", "v", 2)) as writer:
        writer.add([document("a"), document("b")], rows)
        writer.commit()
    index = BM25Index.open("index")
    content = pickle.dumps(index)
    assert len(content) < 1000
    monkeypatch.chdir("/")
    again = pickle.loads(content)
    assert list(again.ids) == ["a", "b"] and again.path == tmp_path / "index"
    queries = EncodedQueries(csr_array(np.array([[1.0, 2.0]], dtype=np.float32)))
    assert again.search(queries) == index.search(queries)
    with BM25Index.writer(tmp_path / "index") as writer:
        writer.delete(["a"])
        writer.commit()
    assert list(pickle.loads(content).ids) == ["b"], "the newest commit, not the one that was pickled"
    assert list(index.ids) == ["a", "b"]


def document(identifier: str):
    from lexite.corpus import Document

    return Document(identifier, "", "the cat")


def test_an_index_in_memory_is_sent_as_its_arrays() -> None:
    generator = np.random.default_rng(0)
    rows = csr_array(generator.random((30, 20)).astype(np.float32) * (generator.random((30, 20)) < 0.3))
    texts = [TEXTS[number % 3] for number in range(30)]
    index = BM25Index.in_memory(rows, [f"d{n}" for n in range(30)], BM25Config(k1=0.7), texts=texts, literal=LiteralConfig())
    queries = EncodedQueries(rows[:5], texts[:5])
    again = sent(index)
    assert again.search(queries) == index.search(queries)
    assert (again.scoring, again.vocabulary, again.literal, again.n_terms) == (
        index.scoring, index.vocabulary, index.literal, index.n_terms,
    )  # fmt: skip
    assert not any(segment.rows.weights.flags.writeable for segment in again._scorer.segments)


def test_a_writer_is_not_sent(tmp_path: Path) -> None:
    with (
        BM25Index.create(tmp_path / "index", VocabularyInfo("f", "v", 2)) as writer,
        pytest.raises(ArgumentError, match=r"The writer of .*index cannot be sent to another process.*Send the documents"),
    ):
        pickle.dumps(writer)


def test_results_and_settings_are_sent_by_value(loaded: LatentTermEncoder) -> None:
    queries = loaded.encode_queries(TEXTS, k=2)
    again = sent(queries)
    assert (again.rows != queries.rows).nnz == 0
    for name in ("texts", "fingerprint", "settings", "deliberate"):
        assert getattr(again, name) == getattr(queries, name)
    values = [
        Hit("a", 1.5, 1, 0),
        BM25Config(k1=0.1),
        TermsConfig(k_queries=3),
        SAEConfig(4, 8, 2),
        BackboneConfig(long="truncate"),
    ]
    assert sent(values) == values


def test_errors_arrive_as_they_were() -> None:
    for error in (ModelError("a"), BackboneError("b"), MissingExtraError("pyarrow", "parquet", "Reading Parquet")):
        again = sent(error)
        assert type(again) is type(error) and str(again) == str(error)


@pytest.mark.parametrize("static", [False, True])
def test_a_searcher_finds_the_same_where_it_arrives(tiny_index: Path, static: bool) -> None:
    with Searcher.open(tiny_index, static=static, scoring={"k1": 0.8}) as searcher:
        content = pickle.dumps(searcher)
        expected = found(searcher, "milk of the cow")
        labels = [searcher.label(term) for term in range(8)]
    assert expected and len(content) < 6000
    with pickle.loads(content) as again:
        assert found(again, "milk of the cow") == expected
        assert [again.label(term) for term in range(8)] == labels
        assert again.scoring.k1 == 0.8 and again.queries.kind == ("static" if static else "model")


@pytest.mark.slow
def test_a_spawned_process_searches_with_a_searcher(tiny_index: Path) -> None:
    with Searcher.open(tiny_index) as searcher, multiprocessing.get_context("spawn").Pool(1) as pool:
        answer = pool.apply_async(found, (searcher, "milk of the cow"))
        assert answer.get(timeout=300) == found(searcher, "milk of the cow")


def test_a_closed_searcher_is_not_sent(tiny_index: Path) -> None:
    searcher = Searcher.open(tiny_index, static=True)
    searcher.close()
    with pytest.raises(ArgumentError, match="This searcher is closed"):
        pickle.dumps(searcher)
