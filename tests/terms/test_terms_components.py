"""The parts of a vocabulary: what is checked when they are put together, and other settings over the same model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite.errors import ConfigError, ModelError
from lexite.terms import BM25Config, LatentTermEncoder, ModelDetails, StaticTable, TermsConfig, Vocabulary, measure_vocabulary
from lexite.terms.components import Components


def a_vocabulary(n_latents: int) -> Vocabulary:
    counts = np.ones(n_latents, dtype=np.int64)
    return Vocabulary(counts, counts, 1, 1, 1, tuple((f"word{number}",) for number in range(n_latents)))


def a_table(n_latents: int) -> StaticTable:
    return StaticTable(csr_array((5, n_latents), dtype=np.float32), np.zeros(5, dtype=np.int64), "{}")


def test_parts_that_fit_are_taken(make_backbone, make_sae):
    parts = Components(make_backbone(), make_sae(), vocabulary=a_vocabulary(64), static=a_table(64))
    assert parts.n_latents == 64
    assert (parts.terms, parts.scoring, parts.details) == (TermsConfig(), BM25Config(), ModelDetails())
    assert (parts.k_for("document"), parts.k_for("query")) == (4, 4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"vocabulary": a_vocabulary(3)}, ModelError, "describes 3 terms, but there are 64"),
        ({"static": a_table(9)}, ModelError, "gives 9 terms, but there are 64"),
        ({"terms": TermsConfig(k_documents=65)}, ConfigError, "k is 65, but must be between 1 and 64"),
        ({"terms": TermsConfig(k_queries=65)}, ConfigError, "k is 65, but must be between 1 and 64"),
    ],
)
def test_parts_that_do_not_fit_are_refused_however_they_come_in(make_backbone, make_sae, changes, error, message):
    parts = Components(make_backbone(), make_sae())
    with pytest.raises(error, match=message):
        Components(make_backbone(), make_sae(), **changes)
    with pytest.raises(error, match=message):
        dataclasses.replace(parts, **changes)
    with pytest.raises(error, match=message):
        LatentTermEncoder.of(parts).replaced(**changes)
    with pytest.raises(error, match=message):
        LatentTermEncoder(parts.backbone, parts.sae, **changes)


def test_an_autoencoder_of_another_width_is_refused(encoder, make_sae):
    with pytest.raises(ModelError, match="states of width 8, but fake gives states of width 12"):
        Components(encoder.backbone, make_sae(d_model=8))
    with pytest.raises(ModelError, match="states of width 8, but fake gives states of width 12"):
        encoder.replaced(sae=make_sae(d_model=8))


def test_k_is_the_one_given_else_the_configured_else_the_trained(make_backbone, make_sae):
    trained = Components(make_backbone(), make_sae(k=5))
    configured = dataclasses.replace(trained, terms=TermsConfig(k_documents=3, k_queries=2))
    assert [trained.k_for(kind) for kind in ("document", "query")] == [5, 5]
    assert [configured.k_for(kind) for kind in ("document", "query")] == [3, 2]
    assert [configured.k_for(kind, 7) for kind in ("document", "query")] == [7, 7]
    with pytest.raises(ConfigError, match="k is 0"):
        configured.k_for("query", 0)


def test_the_floor_is_the_one_given_even_when_that_is_none_at_all(make_backbone, make_sae):
    parts = Components(make_backbone(), make_sae(), TermsConfig(floor_documents=0.1, floor_queries=0.2))
    assert [parts.floor_for(kind) for kind in ("document", "query")] == [0.1, 0.2]
    assert [parts.floor_for(kind, 0.0) for kind in ("document", "query")] == [0.0, 0.0]
    with pytest.raises(ConfigError, match="must be a share"):
        parts.floor_for("query", 1.5)


def test_replacing_shares_the_model_and_leaves_the_original_alone(encoder, texts):
    before = encoder.encode_documents(texts).toarray()
    vocabulary = measure_vocabulary(encoder, texts)
    terms = TermsConfig(pooling="max", k_documents=2, floor_documents=0.2)
    other = encoder.replaced(terms=terms, scoring=BM25Config(k1=1.2), vocabulary=vocabulary, source="here")
    assert other.backbone is encoder.backbone
    assert other.sae is encoder.sae
    assert (other.terms, other.scoring.k1, other.source) == (terms, 1.2, "here")
    assert other.vocabulary is vocabulary
    assert other.details is encoder.details
    assert other.fingerprint != encoder.fingerprint, "pooling decides which terms a text gets"
    assert other.encode_documents(texts).nnz < np.count_nonzero(before)
    assert (encoder.terms.pooling, encoder.vocabulary, encoder.source) == ("sum", None, "")
    assert encoder.scoring == BM25Config()
    np.testing.assert_array_equal(encoder.encode_documents(texts).toarray(), before)


def test_replacing_nothing_gives_an_equal_encoder(encoder, texts):
    same = encoder.replaced()
    assert same is not encoder
    assert same.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(same.encode_documents(texts).toarray(), encoder.encode_documents(texts).toarray())


def test_an_encoder_is_not_configured_by_its_attributes(encoder):
    with pytest.raises(AttributeError):
        encoder.terms = TermsConfig(k_documents=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        encoder.components.terms = TermsConfig(k_documents=1)
    with pytest.raises(TypeError, match="no_such_part"):
        encoder.replaced(no_such_part=1)
