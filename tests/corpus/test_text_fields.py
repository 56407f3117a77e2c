"""Title, headings and body apart: how texts are split, and how what was encoded is added up."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.corpus.passages import PassageConfig, cut_documents, heading_lines
from lexite.corpus.records import Document
from lexite.corpus.text_fields import FieldTexts, FieldWeights, field_weights_of
from lexite.errors import ConfigError

MANUAL = "# Boiler\n\nIt is below. " + "It hums. " * 8 + "\n\n## Winter\n### Frost ##\nDrain it. " + "Wait a day. " * 8
SMALL = PassageConfig(12, 14)


def fields_of(fields: FieldTexts, passage: int) -> list[tuple[str, float]]:
    own = slice(fields.bounds[passage], fields.bounds[passage + 1])
    return [
        (fields.texts[part], weight)
        for part, weight in zip(fields.parts[own].tolist(), fields.weights[own].tolist(), strict=True)
    ]


def test_a_passage_has_its_title_its_headings_and_the_rest() -> None:
    cut = cut_documents([Document("1", MANUAL, "Manual")], SMALL, FieldWeights(title=2.0, headings=3.0))
    assert cut.fields is not None and len(cut.texts) > 3
    found = [dict(fields_of(cut.fields, passage)) for passage in range(len(cut.texts))]
    assert all(own["Manual"] == 2.0 for own in found)
    assert found[0].keys() - {"Manual", "Boiler"} == {body for body, weight in found[0].items() if weight == 1.0}
    assert found[0]["Boiler"] == 3.0 and next(body for body, weight in found[0].items() if weight == 1.0).startswith("It is")
    assert found[-1]["Boiler Winter Frost"] == 3.0
    bodies = " ".join(body for own in found for body, weight in own.items() if weight == 1.0)
    assert "#" not in bodies and Counter(bodies.split())["Drain"] == 1
    assert cut.fields.texts.count("Manual") == 1  # encoded once


def test_a_field_of_weight_0_is_left_out() -> None:
    documents = [Document("1", MANUAL, "Manual"), Document("2", "  \n", "Only a title")]
    without = cut_documents(documents, None, FieldWeights(headings=0.0)).fields
    assert without is not None and not any("Boiler" in text for text in without.texts)
    alone = cut_documents(documents, None, FieldWeights(title=0.0, headings=0.0)).fields
    assert alone is not None and fields_of(alone, 1) == [] and len(alone.texts) == 1


def test_without_weights_texts_stay_as_they_were() -> None:
    documents = [Document("1", MANUAL, "Manual"), Document("2", "Short.")]
    plain, apart = cut_documents(documents, SMALL), cut_documents(documents, SMALL, FieldWeights())
    assert plain.fields is None and plain.encoded_texts is plain.texts == apart.texts
    assert apart.encoded_texts != plain.texts


def test_headings_stand_at_the_beginning_of_lines() -> None:
    text = "intro\n # no\n# yes\n## too\nbody # no\n\n   \n###### six\n\n####### seven\n\n#tag"
    assert [(line.level, line.words) for line in heading_lines(text)] == [(1, "yes"), (2, "too"), (6, "six")]
    assert [text[line.start : line.end] for line in heading_lines(text)] == ["# yes", "## too", "###### six"]


@given(
    sizes=st.lists(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.25]), max_size=3), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_sums_are_those_of_dense_matrices(sizes: list[list[float]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    n_texts, entries = 5, [weight for own in sizes for weight in own]
    parts = generator.integers(0, n_texts, len(entries))
    bounds = np.cumsum([0, *map(len, sizes)]).astype(np.int64)
    fields = FieldTexts(
        ["x"] * n_texts, bounds, parts.astype(np.int64), np.array(entries, dtype=np.float32), np.array([0, n_texts])
    )
    dense = (generator.random((n_texts, 7)) * (generator.random((n_texts, 7)) < 0.5)).astype(np.float32)
    expected = np.zeros((len(sizes), 7))
    for row, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        for entry in range(begin, end):
            expected[row] += entries[entry] * dense[parts[entry]]
    summed = fields.summed(csr_array(dense))
    np.testing.assert_allclose(summed.toarray(), expected, rtol=1e-6)
    assert summed.dtype == np.float32 and summed.has_sorted_indices
    counts = [{str(term): float(value) for term, value in enumerate(row) if value} for row in dense]
    for row, total in enumerate(fields.summed_counts(counts)):
        np.testing.assert_allclose([total.get(str(term), 0.0) for term in range(7)], expected[row], rtol=1e-6)


def test_a_part_has_the_fields_of_its_documents() -> None:
    documents = [Document(str(n), MANUAL * (n % 2 + 1), f"title {n}") for n in range(5)]
    weights = FieldWeights(title=2.0)
    part, own = cut_documents(documents, SMALL, weights).part(1, 4), cut_documents(documents[1:4], SMALL, weights)
    assert part.fields is not None and own.fields is not None
    assert part.fields.texts == own.fields.texts
    assert all(fields_of(part.fields, n) == fields_of(own.fields, n) for n in range(len(own.texts)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["title"], "'title' is no weight of a field. Write .* title=2"),
        (["title=two"], "'title=two' is no weight"),
        (["title=nan"], "'title=nan' is no weight"),
        (["title=-1"], "weight of the field 'title' is -1.0, but must be 0, or a number from 0.001 to 1,000"),
        (["title=inf"], "is inf, but must be 0"),
        (["title=1e9"], "must be 0, or a number"),
        (["abstract=2"], "no field 'abstract' that can have a weight. There are title, headings, body"),
        (["title=2", "title=3"], "'title' has two weights"),
        (["title=0", "headings=0", "body=0"], "All fields have the weight 0"),
        ({"title": "2"}, "'title' is '2', but must be"),
        ({"title": True}, "'title' is True, but must be"),
        ({3: 1.0}, "no field '3'"),
        (2.0, "field_weights is 2.0, but must be weights by name"),
    ],
)
def test_wrong_weights_are_refused(given: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        field_weights_of(given)


def test_weights_are_read_as_people_write_them() -> None:
    assert field_weights_of(None) is field_weights_of([]) is field_weights_of({}) is None
    assert field_weights_of("body=0.5") == field_weights_of({"body": 0.5}) == FieldWeights(body=0.5)
    assert field_weights_of([" title = 2 "]) == FieldWeights(title=2.0)
