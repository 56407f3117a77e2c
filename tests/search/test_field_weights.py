"""Indexes whose fields have weights: against sums of texts that were encoded one by one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite import Document, Searcher
from lexite.errors import ConfigError, IndexFormatError
from lexite.files import json_checksum
from lexite.index import BM25Index, LiteralConfig
from lexite.scoring.rounding import MANTISSA
from lexite.scoring.transform import drop_small
from lexite.scoring.words import literal_words
from lexite.terms import LatentTermEncoder

LONG = "# Milk\n\n" + "The cow gives milk and meat. " * 30 + "\n\n## Cheese\n\n" + "A cat eats cheese. " * 60
DOCUMENTS = [Document("a", LONG, "Animals"), Document("b", "Rain and snow fall on the lake."), Document("c", "", "Ship")]
WEIGHTS = {"title": 2.0, "headings": 0.5}
ROUNDING = 2.0 ** -(MANTISSA + 1)
"""An index rounds weights so far."""


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


def expected(encoder: LatentTermEncoder, index: BM25Index, passages: list[list[tuple[str, float]]]) -> csr_array:
    """Raw weights of passages whose fields are given: latents, with the encoder's floor on the sums, and words."""
    rows = np.zeros((len(passages), index.n_terms), dtype=np.float64)
    words = {index.word(term): term for term in range(index.n_latents, index.n_terms)}
    for row, fields in zip(rows, passages, strict=True):
        for text, weight in fields:
            row[: index.n_latents] += weight * encoder.encode_documents([text], floor=0.0).toarray()[0]
        latents = csr_array(row[None, : index.n_latents])
        row[: index.n_latents] = drop_small(latents, encoder.floor_for("document")).toarray()[0]
        for text, weight in fields:
            for word, count in literal_words(text).items():
                row[words[word]] += weight * LiteralConfig().literal_weight_documents * count
    return csr_array(rows)


@pytest.mark.parametrize("floor", [0.0, 0.2])
def test_rows_are_sums_over_fields(encoder: LatentTermEncoder, tmp_path: Path, floor: float) -> None:
    options = {"vocabulary": encoder, "terms": {"floor_documents": floor}, "show_progress": False}
    with Searcher.build(DOCUMENTS, tmp_path / "i", field_weights=WEIGHTS, passages="none", **options) as searcher:
        index, own = searcher.index, searcher.queries.encoder  # type: ignore[attr-defined]
        body = "\n\n".join(part.strip() for part in LONG.replace("## Cheese", "# Milk").split("# Milk") if part.strip())
        passages = [[("Animals", 2.0), ("Milk Cheese", 0.5), (body, 1.0)], [(DOCUMENTS[1].text, 1.0)], [("Ship", 2.0)]]
        wanted = expected(own, index, passages)
        np.testing.assert_allclose(index.rows().toarray(), wanted.toarray(), rtol=ROUNDING + 2e-4, atol=1e-5)
        assert index.info()["field_weights"] == {"title": 2.0, "headings": 0.5, "body": 1.0}


def test_later_documents_are_encoded_alike(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    options = {"vocabulary": encoder, "field_weights": WEIGHTS, "show_progress": False}
    with Searcher.build(DOCUMENTS, tmp_path / "whole", **options) as whole:
        with Searcher.build([DOCUMENTS[0], Document("b", "Other words.")], tmp_path / "grown", **options) as grown:
            grown.replace([DOCUMENTS[1]])
            grown.add([DOCUMENTS[2]])
        with Searcher.open(tmp_path / "grown", vocabulary=encoder) as grown:
            for query in ("milk of the cow", "rain on a ship", "animals"):
                hits = [[(hit.id, pytest.approx(hit.score, rel=2 * ROUNDING)) for hit in found] for found in whole.rank(query)]
                assert [[(hit.id, hit.score) for hit in found] for found in grown.rank(query)] == hits
        assert whole.index.n_passages > 3 and whole.index.field_weights == BM25Index.open(tmp_path / "grown").field_weights


def test_a_heavier_title_counts_more(encoder: LatentTermEncoder) -> None:
    documents = [Document("title", "The wind moves the sea.", "Qzwylla"), Document("text", "Qzwylla moves the sea.", "Wind")]
    best = {}
    for weight in (0.2, 5.0):
        options = {"vocabulary": encoder, "field_weights": {"title": weight}, "show_progress": False}
        with Searcher.build(documents, **options) as searcher:
            best[weight] = searcher.search("qzwylla", scoring={"literal_weight": 100})[0].id
    assert best == {0.2: "text", 5.0: "title"}


def test_without_weights_an_index_is_as_it_was(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    with Searcher.build(DOCUMENTS, tmp_path / "i", vocabulary=encoder, show_progress=False) as searcher:
        assert searcher.index.field_weights is None and searcher.index.info()["field_weights"] is None
        before = searcher.rank("milk of the cow")
    file = tmp_path / "i" / "index.json"
    value = json.loads(file.read_text())
    assert value.pop("field_weights") is None
    del value["sha256"]
    file.write_text(json.dumps({**value, "sha256": json_checksum(value)}))  # as written before there were weights
    with Searcher.open(tmp_path / "i", vocabulary=encoder) as older:
        assert older.rank("milk of the cow") == before
    value["field_weights"] = {"title": -1.0}
    file.write_text(json.dumps({**value, "sha256": json_checksum(value)}))
    with pytest.raises(IndexFormatError, match="title"):
        BM25Index.open(tmp_path / "i")


def test_wrong_weights_are_found_before_anything_is_read(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no field 'name'"):
        Searcher.build(["missing.jsonl"], tmp_path / "i", vocabulary=encoder, field_weights={"name": 1.0})


def test_who_writes_weights_without_a_cut_gets_the_words_of_fields(tmp_path: Path) -> None:
    from lexite.corpus.text_fields import FieldWeights
    from lexite.index import VocabularyInfo

    made_by = VocabularyInfo("f" * 64, "none", 4)
    with BM25Index.create(tmp_path / "i", made_by, literal=LiteralConfig(), field_weights=FieldWeights(title=3.0)) as writer:
        writer.add([Document("a", "red house", "red")], csr_array((1, 4), dtype=np.float32))
        writer.commit()
    index = BM25Index.open(tmp_path / "i")
    row = index.rows().toarray()[0]
    assert {index.word(term): row[term] for term in range(4, index.n_terms)} == {"red": 16.0, "house": 4.0}
