"""MaxSim as a second stage, against cosines of all pairs of tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from second_stage import PASSAGES, SmallBackend, SmallQueries, StaticOnly, asked, ranked, read_stored, with_decoder

from lexite.backbone.store import StateStore
from lexite.corpus.passages import cut_documents
from lexite.errors import ArgumentError, ConfigError
from lexite.index.config import StoredDocument
from lexite.kernels.atom_products import Levels
from lexite.ranking import Hit
from lexite.sae import SparseAutoencoder
from lexite.sae.normalisation import normalise
from lexite.scoring.formula import inverse_document_frequency
from lexite.search import Answer, Searcher
from lexite.search.strategies.cascade import Cascade
from lexite.search.strategies.maxsim import Decoder, MaxSim
from lexite.search.strategies.stored_states import StoredStates
from lexite.terms import LatentTermEncoder, measure_vocabulary
from lexite.terms.token_decoder import projected

QUERIES = ["milk of the cow", "parse json text", ""]
NAMES = ["d3", "d1", "d2", "d6"]


@pytest.fixture(scope="session")
def stored(documents: Path) -> dict[str, StoredDocument]:
    return read_stored(documents)


@pytest.fixture(scope="session")
def vocabulary(tiny_vocabulary: Path) -> LatentTermEncoder:
    return with_decoder(LatentTermEncoder.from_pretrained(tiny_vocabulary, precision="fp32"))


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in fp32, also where bf16 or int8 is fast."""
    monkeypatch.setattr("lexite.kernels.hardware.fast_bf16", lambda device="cpu": False)
    monkeypatch.setattr("lexite.kernels.hardware.fast_int8", lambda: False)


def question(vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument], texts: Sequence[str] = QUERIES) -> Answer:
    backend = SmallBackend(stored, vocabulary)
    return asked(backend, SmallQueries(vocabulary), texts, [ranked(NAMES) for _ in texts])


def plain_scores(vocabulary: LatentTermEncoder, query: str, document: StoredDocument, *, codes: bool) -> float:
    """The best passage's sum of the largest cosines, each pair of tokens by itself."""
    states = vocabulary.backbone.encode(cut_documents([document], PASSAGES).texts, "document")
    found = states.states
    asked_states = vocabulary.backbone.encode([query], "query").states
    if codes:
        found = vocabulary.sae.decode(vocabulary.codes(states, 4))
        asked_states = normalise(asked_states, vocabulary.sae.config.normalize_activations)[0]
    cosines = torch.nn.functional.cosine_similarity(asked_states[:, None], found[None], dim=2)
    parts = [cosines[:, a:b] for a, b in zip(states.offsets[:-1], states.offsets[1:], strict=True)]
    return max(float(part.max(dim=1).values.sum()) for part in parts)


def alone_scores(answer: Answer) -> list[dict[str, float]]:
    return [{hit.id: hit.score for hit in hits} for hits in answer.rankings]


@pytest.mark.parametrize(
    ("source", "config"),
    [
        ("codes", {}),
        ("codes", {"activation": "abs_topk"}),
        ("codes", {"normalize_activations": "layer_norm"}),
        ("codes", {"normalize_activations": "constant_norm_rescale", "apply_b_dec_to_input": False}),
        ("states", {}),
    ],
)
def test_scores_are_sums_of_the_best_cosines_of_the_best_passage(
    source: Any, config: dict[str, Any], vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    own = with_decoder(vocabulary, **config) if config else vocabulary
    found = MaxSim(source=source, alone=True)(question(own, stored, QUERIES[:2]))
    for query, scores, hits in zip(QUERIES, alone_scores(found), found.rankings, strict=False):
        expected = {name: plain_scores(own, query, stored[name], codes=source == "codes") for name in NAMES}
        assert scores == pytest.approx(expected, abs=2e-4)
        assert [hit.id for hit in hits] == sorted(expected, key=lambda name: -expected[name])
        assert [hit.rank for hit in hits] == [1, 2, 3, 4] and {hit.document for hit in hits} == {0, 1, 2, 3}


def test_a_query_without_a_token_keeps_its_ranking(vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]) -> None:
    for strategy in (MaxSim(), MaxSim(source="states"), MaxSim(alone=True)):
        answer = question(vocabulary, stored)
        found = strategy(answer)
        assert found.rankings[2] == answer.rankings[2] and found.rankings[0] != answer.rankings[0]
    empty = asked(SmallBackend(stored, vocabulary), SmallQueries(vocabulary), ["milk"], [[]])
    assert MaxSim()(empty).rankings == MaxSim(source="states")(empty).rankings == [[]]


def test_fused_scores_are_those_of_both_brought_to_one_scale(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    answer = question(vocabulary, stored, QUERIES[:1])
    new = alone_scores(MaxSim(alone=True)(answer))[0]
    low, high = min(new.values()), max(new.values())
    expected = {hit.id: (hit.score - 16.0) / 3.0 + 0.7 * (new[hit.id] - low) / (high - low) for hit in answer.rankings[0]}
    assert alone_scores(MaxSim(weight=0.7)(answer))[0] == pytest.approx(expected, abs=1e-6)


def test_hits_behind_the_candidates_stay_behind_them(vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]) -> None:
    for alone in (True, False):
        (hits,) = MaxSim(candidates=2, alone=alone)(question(vocabulary, stored, QUERIES[:1])).rankings
        assert {hit.id for hit in hits[:2]} == set(NAMES[:2]) and [hit.id for hit in hits[2:]] == NAMES[2:]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)


def test_a_token_may_count_as_its_latents_are_rare(vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]) -> None:
    measured = vocabulary.replaced(vocabulary=measure_vocabulary(vocabulary, [document.text for document in stored.values()]))
    counts, total = measured.vocabulary.document_counts, measured.vocabulary.n_documents  # type: ignore[union-attr]
    idf = inverse_document_frequency(total, counts, "lucene")
    states = measured.backbone.encode([QUERIES[0]], "query")
    codes = measured.codes(states, measured.k_for("query"))
    values, latents = codes.values.numpy(), codes.indices.numpy()
    expected_weights = (values * idf[latents]).sum(axis=1) / values.sum(axis=1)
    document = measured.sae.decode(measured.codes(measured.backbone.encode([stored["d1"].text], "document"), 4))
    cosines = torch.nn.functional.cosine_similarity(states.states[:, None], document[None], dim=2)
    expected = float((cosines.max(dim=1).values.numpy() * expected_weights).sum())
    backend = SmallBackend({"d1": StoredDocument("d1", "", stored["d1"].text)}, measured, passages_config=None)
    answer = asked(backend, SmallQueries(measured), [QUERIES[0]], [ranked(["d1"])])
    (hits,) = MaxSim(alone=True, token_weights="idf")(answer).rankings
    assert hits[0].score == pytest.approx(expected, abs=2e-4)
    uncounted = dataclasses.replace(answer, encoder=SmallQueries(vocabulary.replaced(vocabulary=None)))
    with pytest.raises(ArgumentError, match="token_weights='none'"):
        MaxSim(token_weights="idf")(uncounted)


def test_special_tokens_of_a_query_are_left_out(vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]) -> None:
    class Kept:
        """A backbone that keeps states of special tokens."""

        def __init__(self, backbone: Any) -> None:
            self.config = dataclasses.replace(backbone.config, special_tokens="keep")
            self.model = backbone.model

    class Framed(SmallQueries):
        def token_states(self, texts: Sequence[str]) -> Any:
            states = self.encoder.backbone.encode(texts, "query")
            cls = vocabulary.backbone.model.tokenizer.cls_token_id  # type: ignore[attr-defined]
            noise = torch.randn(1, states.d_model, generator=torch.Generator().manual_seed(1))
            ids = np.concatenate([[cls], states.token_ids]).astype(np.int32)
            offsets = np.array([0, len(ids)], dtype=np.int64)
            return dataclasses.replace(states, states=torch.cat([noise, states.states]), token_ids=ids, offsets=offsets)

    plain = question(vocabulary, stored, QUERIES[:1])
    framed = dataclasses.replace(plain, encoder=Framed(vocabulary))
    assert alone_scores(MaxSim()(framed)) != alone_scores(MaxSim()(plain))

    class Encoder:
        sae, backbone, name = vocabulary.sae, Kept(vocabulary.backbone), "kept"

    class FramedKept(Framed):
        def token_states(self, texts: Sequence[str]) -> Any:
            return Framed(vocabulary).token_states(texts)

    kept = dataclasses.replace(plain, encoder=FramedKept(Encoder()))  # type: ignore[arg-type]
    assert alone_scores(MaxSim()(kept)) == alone_scores(MaxSim()(plain))


def test_another_decoder_takes_the_place_of_the_vocabularys(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    other = with_decoder(vocabulary, seed=7)
    atoms = torch.randn(other.sae.config.n_latents, other.backbone.d_model, generator=torch.Generator().manual_seed(8))
    decoder = Decoder(atoms.numpy(), np.zeros(other.backbone.d_model, dtype=np.float32))
    (hits,) = MaxSim(alone=True, decoder=decoder)(question(vocabulary, stored, QUERIES[:1])).rankings
    query = vocabulary.backbone.encode(QUERIES[:1], "query").states
    for hit in hits:
        states = vocabulary.backbone.encode(cut_documents([stored[hit.id]], PASSAGES).texts, "document")
        decoded = vocabulary.codes(states, 4).to_dense() @ atoms
        cosines = torch.nn.functional.cosine_similarity(query[:, None], decoded[None], dim=2)
        parts = [cosines[:, a:b] for a, b in zip(states.offsets[:-1], states.offsets[1:], strict=True)]
        assert hit.score == pytest.approx(max(float(part.max(dim=1).values.sum()) for part in parts), abs=2e-4)


def test_without_its_decoder_a_vocabulary_takes_its_token_decoder(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    small = projected(vocabulary.sae.decoder_weight.numpy(), vocabulary.sae.decoder_bias.numpy(), 20)  # type: ignore[union-attr]
    old = vocabulary.sae
    sae = SparseAutoencoder(old.config, old.encoder_weight, old.encoder_bias, None, old.decoder_bias)
    alone = vocabulary.replaced(sae=sae, token_decoder=small)
    answer = question(vocabulary, stored, QUERIES[:1])  # its index has norms by the whole decoder, which do not count
    (hits,) = MaxSim(alone=True)(dataclasses.replace(answer, encoder=SmallQueries(alone))).rankings
    query = vocabulary.backbone.encode(QUERIES[:1], "query").states @ torch.from_numpy(small.projection)
    for hit in hits:
        states = vocabulary.backbone.encode(cut_documents([stored[hit.id]], PASSAGES).texts, "document")
        decoded = vocabulary.sae.decode(vocabulary.codes(states, 4)) @ torch.from_numpy(small.projection)
        cosines = torch.nn.functional.cosine_similarity(query[:, None], decoded[None], dim=2)
        parts = [cosines[:, a:b] for a, b in zip(states.offsets[:-1], states.offsets[1:], strict=True)]
        assert hit.score == pytest.approx(max(float(part.max(dim=1).values.sum()) for part in parts), abs=2e-4)
    given = Decoder(small.atoms, small.bias, small.projection)
    assert alone_scores(MaxSim(alone=True, decoder=given)(answer))[0] == pytest.approx({h.id: h.score for h in hits}, abs=1e-5)
    both = dataclasses.replace(answer, encoder=SmallQueries(vocabulary.replaced(token_decoder=small)))
    assert alone_scores(MaxSim(alone=True)(both)) == alone_scores(MaxSim(alone=True)(answer)), "its own decoder comes first"
    with pytest.raises(ArgumentError, match=r"needs \(48, 20\)"):
        MaxSim(decoder=Decoder(small.atoms[:, :19], small.bias, small.projection))(answer)


def test_norms_that_an_index_does_not_have_are_computed(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    class WithoutNorms(SmallBackend):
        def token_codes(self, hits: Sequence[Hit]) -> Any:
            codes = super().token_codes(hits)
            return dataclasses.replace(codes, norms=np.full_like(codes.norms, np.nan))

    answer = question(vocabulary, stored, QUERIES[:1])
    without = dataclasses.replace(answer, backend=WithoutNorms(stored, vocabulary))
    assert alone_scores(MaxSim()(without))[0] == pytest.approx(alone_scores(MaxSim()(answer))[0], abs=1e-5)


def test_states_that_are_given_are_not_computed_and_others_are_kept(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    answer = question(vocabulary, stored, QUERIES[:1])
    expected = alone_scores(MaxSim(source="states", alone=True)(answer))
    kept: dict[str, Any] = {}
    assert alone_scores(MaxSim(source="states", alone=True, states=kept)(answer)) == expected and set(kept) == set(NAMES)
    silent = dataclasses.replace(answer, backend=SmallBackend({}, vocabulary))  # knows no text
    halves = {name: [passage.astype(np.float16) for passage in passages] for name, passages in kept.items()}
    assert alone_scores(MaxSim(source="states", alone=True, states=kept)(silent)) == expected
    assert alone_scores(MaxSim(source="states", alone=True, states=halves)(silent))[0] == pytest.approx(expected[0], abs=0.01)
    with pytest.raises(ArgumentError, match=r"shape \(3, 2\)"):
        MaxSim(source="states", states=kept | {"d1": [np.ones((3, 2))]})(silent)


def test_states_may_come_from_a_folder(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument], tmp_path: Path
) -> None:
    cut = cut_documents([stored[name] for name in NAMES], PASSAGES)
    ids = [name for name, count in zip(NAMES, np.diff(cut.bounds), strict=True) for _ in range(count)]
    states = vocabulary.backbone.encode(cut.texts, "document")
    info = vocabulary.backbone.info()
    store = StateStore.write(tmp_path / "states", [states], backbone_info=info, kind="document", ids=ids)
    answer = question(vocabulary, stored, QUERIES[:1])
    expected = alone_scores(MaxSim(source="states", alone=True)(answer))
    kept = StoredStates(store)
    assert set(kept) == set(NAMES) and len(kept) == 4 and "d1" in kept and "d5" not in kept
    assert alone_scores(MaxSim(source="states", alone=True, states=kept)(answer))[0] == pytest.approx(expected[0], abs=1e-5)
    with pytest.raises(ArgumentError, match="have no ids"):
        StoredStates(StateStore.write(tmp_path / "other", [states], backbone_info=info, kind="document"))


def test_bf16_changes_little(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = question(vocabulary, stored, QUERIES[:1])
    exact = alone_scores(MaxSim(alone=True)(answer))[0]
    monkeypatch.setattr("lexite.kernels.hardware.fast_bf16", lambda device="cpu": True)
    decoder = Decoder(vocabulary.sae.decoder_weight.numpy(), vocabulary.sae.decoder_bias.numpy())  # type: ignore[union-attr]
    assert alone_scores(MaxSim(alone=True, decoder=decoder)(answer))[0] == pytest.approx(exact, abs=0.05)


def test_atoms_in_int8_are_multiplied_so_where_that_is_fast(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = question(vocabulary, stored, QUERIES[:1])
    atoms, bias = vocabulary.sae.decoder_weight.numpy(), vocabulary.sae.decoder_bias.numpy()  # type: ignore[union-attr]
    steps = np.abs(atoms).max(axis=1) / np.float32(127)
    levels = np.rint(atoms / steps[:, None]).astype(np.int8)
    given = levels * steps[:, None], bias, None, (levels, steps)
    exact = alone_scores(MaxSim(alone=True, decoder=Decoder(*given))(answer))[0]
    monkeypatch.setattr("lexite.kernels.hardware.fast_int8", lambda: True)
    decoder = Decoder(*given)
    assert isinstance(decoder.matrix, Levels)
    assert alone_scores(MaxSim(alone=True, decoder=decoder)(answer))[0] == pytest.approx(exact, abs=0.05)
    assert not isinstance(Decoder(*given[:2]).matrix, Levels)


def test_what_is_lacking_is_said(
    vocabulary: LatentTermEncoder, tiny_vocabulary: Path, stored: dict[str, StoredDocument]
) -> None:
    answer = question(vocabulary, stored, QUERIES[:1])
    assert MaxSim().needs == {"model", "token_codes"} and MaxSim(source="states").needs == {"model"}
    for encoder in (None, StaticOnly()):
        with pytest.raises(ArgumentError, match="Search without static queries"):
            MaxSim()(dataclasses.replace(answer, encoder=encoder))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="these have no texts"):
        MaxSim()(dataclasses.replace(answer, queries=dataclasses.replace(answer.queries, texts=None)))
    with pytest.raises(ArgumentError, match="keeps none of document 'd3'"):
        MaxSim(source="states")(dataclasses.replace(answer, backend=SmallBackend({}, vocabulary)))
    with pytest.raises(ArgumentError, match=r"needs \(48, 32\)"):
        MaxSim(decoder=Decoder(np.ones((47, 32), np.float32), np.ones(32, np.float32)))(answer)
    with pytest.raises(ArgumentError, match="not by late interaction"):
        MaxSim(source="model")(answer)
    without = SmallQueries(vocabulary.replaced(sae=LatentTermEncoder.from_pretrained(tiny_vocabulary).sae))
    with pytest.raises(ArgumentError, match="saved without a decoder.*lexite fit-decoder"):
        MaxSim()(dataclasses.replace(answer, encoder=without))  # type: ignore[arg-type]
    for wrong, message in (
        ({"candidates": 0}, "at least 1"),
        ({"source": "code"}, "choose one of"),
        ({"weight": "x"}, "number"),
    ):
        with pytest.raises(ConfigError, match=message):
            MaxSim(**wrong)  # type: ignore[arg-type]


def test_a_late_interaction_model_scores_passages_itself(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument]
) -> None:
    class Late:
        name = "late"

        def info(self) -> dict[str, str]:
            return {"scoring": "maxsim"}

        def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray[Any, Any]:
            return np.array([[float(len(query) + text.count("e")) for text in documents] for query in queries])

    class Encoder:
        backbone = Late()

    answer = dataclasses.replace(question(vocabulary, stored, QUERIES[:2]), encoder=SmallQueries(Encoder()))  # type: ignore[arg-type]
    found = alone_scores(MaxSim(source="model", alone=True)(answer))
    for query, scores in zip(QUERIES, found, strict=False):
        passages = {name: cut_documents([stored[name]], PASSAGES).texts for name in NAMES}
        assert scores == {name: len(query) + max(text.count("e") for text in own) for name, own in passages.items()}


def test_an_index_keeps_what_codes_are_scored_from(
    vocabulary: LatentTermEncoder, stored: dict[str, StoredDocument], documents: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"vocabulary": vocabulary, "passages": PASSAGES, "static": False}
    with Searcher.build([str(documents)], tmp_path / "with", token_codes=True, **options) as searcher:
        found = searcher.rank(QUERIES[:2], 10, then=[MaxSim(alone=True)])
    assert all(found)
    for query, hits in zip(QUERIES, found, strict=False):
        expected = {hit.id: plain_scores(vocabulary, query, stored[hit.id], codes=True) for hit in hits}
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=0.05)  # codes are kept in 8 bits
    with (
        Searcher.build([str(documents)], tmp_path / "without", **options) as searcher,
        pytest.raises(ArgumentError, match="--token-codes"),
    ):
        searcher.rank(QUERIES[0], then=MaxSim())


def test_it_follows_a_cascade_whose_model_is_loaded(vocabulary: LatentTermEncoder, documents: Path) -> None:
    built = Searcher.build([documents], vocabulary=vocabulary, token_codes=True)
    static = built.search("milk of the cow", then=[Cascade()])
    reranked = built.search("milk of the cow", then=[Cascade(), MaxSim()])
    assert static and {hit.id for hit in reranked} == {hit.id for hit in static}
