"""Side files of an index from texts to second stages, against the dense model and the autoencoder alone."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lexite.cli import main
from lexite.corpus import Document
from lexite.corpus.passages import cut_documents
from lexite.engines import Capabilities
from lexite.errors import ArgumentError, ConfigError
from lexite.index import BM25Index
from lexite.index.side_config import SideDataConfig
from lexite.ranking.hits import Hit
from lexite.sae import SparseAutoencoder
from lexite.search import Searcher
from lexite.search.queries import ModelQueries
from lexite.search.strategy import Answer, check_needs
from lexite.terms import LatentTermEncoder
from tiny_collection import DOCUMENTS, QUERIES

LONG = "The cat reads the text of the json file. The dog and the bird sort the list by the key. " * 8
TEXTS = [*(Document(i, text, title=title) for i, title, text in DOCUMENTS), Document("long", LONG, title="Long")]
QUERY_TEXTS = [text for _, text in QUERIES]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> LatentTermEncoder:
    """The tiny vocabulary with a decoder."""
    tiny = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    sae, atoms = tiny.sae, torch.randn(tiny.n_latents, tiny.backbone.d_model, generator=torch.Generator().manual_seed(3))
    whole = SparseAutoencoder(sae.config, sae.encoder_weight, sae.encoder_bias, atoms, sae.decoder_bias)
    path = tiny.replaced(sae=whole).save_pretrained(tmp_path_factory.mktemp("vocabularies") / "whole")
    return LatentTermEncoder.from_pretrained(path)


def hits_of(index: BM25Index, ids: Sequence[str]) -> list[Hit]:
    return [Hit(identifier, 1.0, rank, int(index.ids.numbers([identifier])[0])) for rank, identifier in enumerate(ids, 1)]


def assert_as_alone(index: BM25Index, encoder: LatentTermEncoder, documents: Sequence[Document], k: int = 4) -> None:
    """Vectors are the dense model's, and codes the autoencoder's, for the passages of each document alone."""
    hits = hits_of(index, [document.id for document in documents])
    vectors, codes = index.vectors(hits), index.token_codes(hits)
    atoms, bias = encoder.sae.decoder_weight, encoder.sae.decoder_bias
    assert index.n_documents == len(documents) and atoms is not None
    cut = cut_documents(documents, index.passages_config)
    np.testing.assert_array_equal(vectors.bounds, cut.bounds)
    np.testing.assert_array_equal(codes.bounds, cut.bounds)
    assert np.abs(vectors.vectors - encoder.backbone.dense(cut.texts, "document")).max() <= 0.5 / 127 + 1e-4
    states = encoder.backbone.encode(cut.texts, "document")
    np.testing.assert_array_equal(codes.tokens, states.offsets)
    own = encoder.sae.encode(states.states, k)
    got, kept = (np.zeros((states.n_tokens, encoder.n_latents), dtype=np.float32) for _ in range(2))
    got[np.repeat(np.arange(states.n_tokens), np.diff(codes.entries)), codes.latents] = codes.values
    rows, slots = np.nonzero(own.values.numpy() > 0)
    kept[rows, own.indices.numpy()[rows, slots]] = own.values.numpy()[rows, slots]
    assert np.all(np.abs(got - kept) <= kept.max(axis=1, keepdims=True) / 255 + 1e-4)
    decoded = torch.from_numpy(got) @ atoms + bias
    np.testing.assert_allclose(codes.norms, decoded.norm(dim=1), rtol=2e-3)


@pytest.mark.parametrize("passages", [20, "none"])
def test_documents_have_what_the_models_give_through_every_change(
    passages: Any, encoder: LatentTermEncoder, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"vocabulary": encoder, "passages": passages, "show_progress": False}
    with Searcher.build(TEXTS[:4], tmp_path / "index", vectors="int8", token_codes=True, **options) as searcher:
        assert_as_alone(searcher.index, encoder, TEXTS[:4])
        searcher.add(TEXTS[4:], show_progress=False)
        assert_as_alone(searcher.index, encoder, TEXTS)
        changed = [Document("d2", LONG + " It rains."), TEXTS[3]]
        searcher.replace(changed, show_progress=False)
        searcher.delete("d5")
        left = [d for d in TEXTS if d.id not in ("d2", "d4", "d5")] + changed
        assert_as_alone(searcher.index, encoder, left)
        assert main(["-q", "merge", str(tmp_path / "index")]) == 0
        searcher.refresh()
        assert searcher.index.n_segments == 1
        assert_as_alone(searcher.index, encoder, left)
        searcher.index.verify()


def test_terms_are_the_same_with_side_files_and_without(encoder: LatentTermEncoder) -> None:
    plain = Searcher.build(TEXTS, vocabulary=encoder, passages=20, show_progress=False)
    kept = Searcher.build(TEXTS, vocabulary=encoder, passages=20, vectors="fp32", token_codes=True, show_progress=False)
    wide = Searcher.build(TEXTS, vocabulary=encoder, passages=20, token_codes=True, token_k=7, show_progress=False)
    with plain, kept, wide:
        for other in (kept, wide):
            assert (plain.index.rows() != other.index.rows()).nnz == 0
            assert plain.rank(QUERY_TEXTS) == other.rank(QUERY_TEXTS)
        assert (plain.index.static() is None) == (kept.index.static() is None)
        assert wide.index.side_data == {"token_codes"}
        codes = wide.index.token_codes(hits_of(wide.index, ["d1"]))
        assert 4 < np.diff(codes.entries).max() <= 7


def test_fields_that_are_encoded_apart_leave_side_data_those_of_passages(encoder: LatentTermEncoder) -> None:
    options: dict[str, Any] = {"vocabulary": encoder, "passages": 20, "show_progress": False}
    with Searcher.build(TEXTS, field_weights={"title": 2.0}, vectors="int8", token_codes=True, **options) as searcher:
        assert_as_alone(searcher.index, encoder, TEXTS)


def test_sync_keeps_side_files_in_step(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text(f"The {name} and the cat drink milk.")
    options: dict[str, Any] = {"vectors": "int8", "token_codes": True, "show_progress": False}
    with Searcher.build([folder], tmp_path / "index", vocabulary=encoder, **options) as searcher:
        (folder / "a.txt").write_text("The wind moves the ship on the sea.")
        (folder / "b.txt").unlink()
        (folder / "c.txt").write_text("Time is read from a clock.")
        searcher.sync([folder], show_progress=False)
        stored = list(searcher.index)
        assert len(stored) == 2
        assert_as_alone(searcher.index, encoder, [Document(d.id, d.text, title=d.title) for d in stored])


def test_a_huge_text_that_is_read_in_parts_has_one_vector(encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexite.terms.chunks.CHARACTERS_PER_PART", 100)
    document = Document("one", LONG)
    options: dict[str, Any] = {"vectors": "int8", "token_codes": True, "passages": "none", "show_progress": False}
    with Searcher.build([document], vocabulary=encoder, **options) as searcher:
        hits = hits_of(searcher.index, ["one"])
        dense = encoder.backbone.dense([LONG], "document")
        np.testing.assert_allclose(searcher.index.vectors(hits).vectors, dense, atol=0.01)
        codes = searcher.index.token_codes(hits)
        assert codes.bounds.tolist() == [0, 1] and codes.tokens.tolist() == [
            0,
            encoder.backbone.encode([LONG], "document").n_tokens,
        ]


def test_queries_are_encoded_once_for_all_stages(encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, runs = ModelQueries(encoder), list[int]()
    backbone: Any = encoder.backbone
    run = backbone._run
    monkeypatch.setattr(backbone, "_run", lambda sequences, *rest: (runs.append(len(sequences)), run(sequences, *rest))[1])
    encoded = queries.encode(QUERY_TEXTS)
    assert sum(runs) == len(QUERY_TEXTS)
    vectors, states = queries.dense(encoded.texts or ()), queries.token_states(QUERY_TEXTS)
    assert sum(runs) == len(QUERY_TEXTS)
    monkeypatch.setattr(backbone, "_run", run)
    assert (encoded.to_csr() != encoder.encode_queries(QUERY_TEXTS).to_csr()).nnz == 0
    assert torch.equal(states.states, backbone.encode(QUERY_TEXTS, "query").states)
    np.testing.assert_allclose(vectors, backbone.dense(QUERY_TEXTS, "query"), atol=2e-5)
    assert queries.dense(QUERY_TEXTS) is vectors
    arrived = pickle.loads(pickle.dumps(queries))
    np.testing.assert_allclose(arrived.dense(QUERY_TEXTS[:1]), vectors[:1], atol=2e-5)


def test_the_codes_of_a_query_are_computed_once_for_all_stages(
    encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, runs, encode = ModelQueries(encoder), list[int | None](), encoder.sae.encode
    monkeypatch.setattr(encoder.sae, "encode", lambda states, k=None: (runs.append(k), encode(states, k))[1])
    k = encoder.k_for("query")
    fewer = queries.encode(QUERY_TEXTS, k_queries=1)
    codes = queries.token_codes(QUERY_TEXTS)
    assert (queries.encode(QUERY_TEXTS).to_csr() != encoder.encode_queries(QUERY_TEXTS).to_csr()).nnz == 0
    assert runs == [k, k], "one for all of these, and one for encode_queries"
    assert (fewer.to_csr() != encoder.encode_queries(QUERY_TEXTS, k=1).to_csr()).nnz == 0
    states = encoder.backbone.encode(QUERY_TEXTS, "query")
    assert codes.values.shape == (states.n_tokens, k)
    assert torch.equal(codes.values, encode(states.states, k).values)
    more = queries.encode(QUERY_TEXTS, k_queries=k + 1)
    assert (more.to_csr() != encoder.encode_queries(QUERY_TEXTS, k=k + 1).to_csr()).nnz == 0
    assert torch.equal(queries.token_codes(QUERY_TEXTS).values, codes.values), "as many latents as queries have"


def test_threads_get_the_vectors_of_their_own_queries(encoder: LatentTermEncoder) -> None:
    queries, wrong = ModelQueries(encoder), list[str]()
    texts = [f"{text} {number}" for number in range(4) for text in QUERY_TEXTS]
    expected = {text: encoder.backbone.dense([text], "query")[0] for text in texts}

    def ask(some: list[str]) -> None:
        for text in some:
            queries.encode([text])
            if np.abs(queries.dense([text])[0] - expected[text]).max() > 2e-5:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(texts[start::6],)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Needy:
    """A strategy that needs something, and says so."""

    def __init__(self, *needs: str) -> None:
        self.needs = frozenset(needs)

    def __call__(self, answer: Answer) -> Answer:
        for need in self.needs:
            hits = answer.rankings[0]
            {"vectors": answer.backend.vectors, "token_codes": answer.backend.token_codes}.get(need, list)(hits)
        return answer


def test_a_strategy_that_lacks_something_is_refused_before_anything_is_searched(
    tiny_index: Path, encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = Searcher.open(tiny_index, vocabulary=encoder)
    assert searcher.rank("milk", then=[Needy("model")])
    monkeypatch.setattr(BM25Index, "search", lambda *_, **__: pytest.fail("searched"))
    with pytest.raises(ArgumentError, match=r"Needy needs dense vectors.*lexite index --vectors int8"):
        searcher.rank("milk", then=[Needy("vectors", "token_codes")])
    with pytest.raises(ArgumentError, match=r"Needy needs token codes.*lexite index --token-codes"):
        searcher.search("milk", then=[Needy("token_codes")])
    static = Searcher.open(tiny_index, static=True, vocabulary=encoder.source)
    with pytest.raises(ArgumentError, match=r"Needy needs the model.*Leave --static out"):
        static.rank("milk", then=[Needy("model")])
    for ask in (static.queries.dense, static.queries.token_states):
        with pytest.raises(ArgumentError, match=r"the model.*Leave --static out"):
            ask(["milk"])


def test_an_engine_says_in_its_capabilities_what_it_keeps(encoder: LatentTermEncoder) -> None:
    class Engine:
        capabilities = Capabilities()

    class Keeping:
        capabilities = Capabilities(side_data=frozenset({"vectors"}))

    needy: Any = Needy("vectors")
    with pytest.raises(ArgumentError, match="Engine keeps none"):
        check_needs([needy], Engine(), ModelQueries(encoder))  # type: ignore[arg-type]
    check_needs([needy], Keeping(), ModelQueries(encoder))  # type: ignore[arg-type]


def test_a_model_without_vectors_refuses_them_by_the_name_of_the_option(
    encoder: LatentTermEncoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lexite.backbone.scoring import MaxSimScorer

    monkeypatch.setattr(encoder.backbone, "scorer", MaxSimScorer("maxsim"))
    with pytest.raises(ArgumentError, match=r"--vectors.*no single vector per text"):
        Searcher.build(TEXTS, tmp_path / "index", vocabulary=encoder, vectors="int8", show_progress=False)
    assert not (tmp_path / "index").exists()
    with Searcher.build(TEXTS, vocabulary=encoder, token_codes=True, show_progress=False) as searcher:
        assert searcher.index.side_data == {"token_codes"} and searcher.rank("milk")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vectors": "int4"}, "choose one of int8, fp16, fp32"),
        ({"token_k": 3}, "token_k .*no effect without token_codes"),
        ({"token_codes": True, "token_k": 65}, "between 1 and 64"),
        ({"token_codes": True, "token_k": 0}, "at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], words: str, encoder: LatentTermEncoder) -> None:
    with pytest.raises((ArgumentError, ConfigError), match=words):
        Searcher.build(TEXTS, vocabulary=encoder, show_progress=False, **options)


def test_a_vocabulary_without_decoder_keeps_codes_without_norms(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path / "small", encoder_only=True)
    options: dict[str, Any] = {"vocabulary": tmp_path / "small", "token_codes": True, "show_progress": False}
    with Searcher.build(TEXTS[:3], tmp_path / "index", **options) as searcher:
        codes = searcher.index.token_codes(hits_of(searcher.index, ["d1", "d2"]))
        assert np.isnan(codes.norms).all() and len(codes.norms) == codes.tokens[-1] and len(codes.values)
        assert not list((tmp_path / "index").rglob("code_norms.bin"))


def test_the_command_line_builds_adds_to_and_describes_side_files(
    documents: Path, tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    path = str(tmp_path / "index")
    words = ["--vocabulary", str(tiny_vocabulary), "--vectors", "fp16", "--token-codes", "--token-k", "2"]
    assert main(["-q", "index", str(documents), "-o", path, *words]) == 0
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"_id": "new", "text": "The sun and the moon."}) + "\n")
    assert main(["-q", "add", path, str(more)]) == 0
    capsys.readouterr()
    assert main(["info", path, "--verify", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["side_data"]
    assert facts["vectors"] == {"format": "fp16", "d": 32, "bytes": 7 * 64, "bytes_per_document": 64}
    assert facts["token_codes"]["k"] == 2 and facts["token_codes"]["bytes"] > 0
    assert main(["info", path]) == 0
    shown = capsys.readouterr().out
    assert "side data" in shown and "bytes per document" in shown
    assert main(["-q", "index", str(documents), "-o", path + "2", "--vocabulary", str(tiny_vocabulary), "--token-k", "2"]) == 1
    assert "--token-codes" in capsys.readouterr().err


def test_evaluation_takes_side_data_from_kept_states(encoder: LatentTermEncoder, collection: Path, tmp_path: Path) -> None:
    from lexite.corpus.collection import open_collection
    from lexite.corpus.options import ReadOptions
    from lexite.evaluation.cache import StateCache
    from lexite.evaluation.judged import read_collection
    from lexite.evaluation.latent import LatentSystem

    judged = read_collection(open_collection(collection, "test"), ReadOptions())
    config, cut = SideDataConfig(vectors="fp32", token_codes=True), None
    indexes = []
    for number, cache in enumerate((None, StateCache(tmp_path / "cache", encoder), StateCache(tmp_path / "cache", encoder))):
        system = LatentSystem(encoder, cache=cache, passages=cut, side_data=config)
        indexes.append(system.indexed(tmp_path / str(number), judged))
    hits = hits_of(indexes[0], [i for i, _, _ in DOCUMENTS])
    for other in indexes[1:]:
        np.testing.assert_allclose(other.vectors(hits).vectors, indexes[0].vectors(hits).vectors, atol=2e-5)
        for name in ("bounds", "tokens", "entries", "latents"):
            np.testing.assert_array_equal(getattr(other.token_codes(hits), name), getattr(indexes[0].token_codes(hits), name))
