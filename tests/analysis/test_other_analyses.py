"""Correlations, fields, clusters and properties: what was planted is found, and chance gives nothing."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from planted import background, corpus
from scipy.sparse import csr_array

from lexite.analysis import (
    Corpus,
    agreement,
    clusters,
    correlations,
    field_correlations,
    property_from_examples,
    property_from_sentence,
)
from lexite.errors import ArgumentError, MissingExtraError


def test_planted_pairs_are_found_and_independent_concepts_are_not() -> None:
    wrong = 0
    for seed in range(5):
        present = background(1200, 150, seed)
        both = np.random.default_rng(seed).random(1200) < 0.06
        present[both, 20], present[both, 90] = 1, 1
        result = correlations(corpus(present), most=200, alike=True, seed=seed)
        assert result.pairs[0].latents == (20, 90) and result.pairs[0].documents >= both.sum()
        assert result.pairs[0].p <= 0.05 and result.pairs[0].npmi > 0.2
        wrong += result.n_found - 1 + result.chance
    assert wrong <= 3  # of 110,000 pairs; each of ten corpora has one with a probability of .05


def test_pairs_that_share_a_word_are_counted_and_not_given() -> None:
    present = background(600, 30, 1)
    present[:, 5] = present[:, 9] = np.random.default_rng(0).random(600) < 0.1
    some = corpus(present)
    labels = {5: "river bank", 9: "Banks, money"}
    some = Corpus(some.rows, "some", lambda latent: labels.get(latent, str(latent)), some.show)
    assert correlations(some).pairs == () and correlations(some).n_found == 1
    assert correlations(some, alike=True).pairs[0].labels == ("river bank", "Banks, money")


def test_documents_of_different_length_do_not_make_everything_go_together() -> None:
    generator = np.random.default_rng(0)
    length = np.exp(generator.normal(0, 0.9, 2000))
    present = (generator.random((2000, 80)) < np.minimum(0.05 * length, 0.9)[:, None]).astype(np.float32)
    share = present.mean(0)
    naive = ((present.T @ present / 2000) > 1.3 * np.outer(share, share))[np.triu_indices(80, 1)].mean()
    assert naive > 0.5, "most pairs would be found without the correction for length"
    assert correlations(corpus(present)).n_found <= 30  # of 3,160


def test_concepts_of_a_field_are_found_and_shuffled_values_have_none() -> None:
    present = background(900, 100, 4)
    values = np.array(["red", "green", "blue"])[np.random.default_rng(1).integers(0, 3, 900)].tolist()
    blue = np.array([value == "blue" for value in values])
    present[blue, 55] = np.maximum(present[blue, 55], np.random.default_rng(2).random(blue.sum()) < 0.4)
    result = field_correlations(corpus(present), "colour", values)
    best = result.concepts[0]
    assert (best.latent, best.npmi > 0) == (55, True) and {each.latent for each in result.concepts} == {55}
    assert result.values == {value: values.count(value) for value in ("red", "green", "blue")} and result.chance <= 0.4
    numbers = field_correlations(corpus(present), "n", np.where(blue, 5.0, 1.0) + np.arange(900) / 900)
    assert numbers.concepts[0].latent == 55 and numbers.concepts[0].value.startswith(("above", "3", "2", "1"))
    with pytest.raises(ArgumentError, match="No value of 'x'"):
        field_correlations(corpus(present), "x", list(range(900))[:10] + [None] * 890)


def test_planted_clusters_are_found_named_and_better_than_chance(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    present, truth = _groups(3)
    result = agreement(clusters(corpus(present, "mixed"), n_clusters=3), "group", truth.tolist())
    assert result.adjusted_rand is not None and result.adjusted_rand > 0.9 and result.better_than_chance
    assert sorted(cluster.size for cluster in result.clusters) == [80, 80, 80]
    for number, cluster in enumerate(result.clusters):
        group = int(np.bincount(truth[result.assigned == number]).argmax())
        assert cluster.concepts[0] // 10 == group and cluster.shares[0][0] > cluster.shares[0][1]
    assert "Adjusted Rand index with group" in "\n".join(result.lines())
    with pytest.raises(ArgumentError, match="no map"):
        result.plot(tmp_path / "x")


def test_shuffled_rows_have_no_better_clusters() -> None:
    pytest.importorskip("sklearn")
    found = [
        clusters(corpus(background(240, 120, seed)), n_clusters=4, seed=seed, nulls=4).better_than_chance for seed in range(2)
    ]
    assert not any(found)


def test_hdbscan_finds_the_number_of_clusters() -> None:
    pytest.importorskip("hdbscan")
    present, truth = _groups(3)
    result = agreement(clusters(corpus(present), n_clusters=3, method="hdbscan", nulls=1), "group", truth.tolist())
    assert len(result.clusters) == 3 and result.adjusted_rand is not None and result.adjusted_rand > 0.8


def test_a_map_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP itself compiles for two minutes, so that its place is taken by the first two directions."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")

    class Directions:
        def __init__(self, **settings: object) -> None:
            assert settings["random_state"] == 0 and settings["metric"] == "cosine"

        def fit_transform(self, space: np.ndarray) -> np.ndarray:
            return np.linalg.svd(space - space.mean(0), full_matrices=False)[0][:, :2]

    stand_in = types.ModuleType("umap")
    stand_in.UMAP = Directions  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", stand_in)
    present, truth = _groups(3)
    result = clusters(corpus(present), n_clusters=3, nulls=0, map_points=True)
    middles = np.stack([result.points[truth == group].mean(0) for group in range(3)])
    nearest = np.argmin(((result.points[:, None] - middles[None]) ** 2).sum(-1), axis=1)
    assert np.mean(nearest == truth) > 0.95 and not result.better_than_chance, "nothing was shuffled"
    assert all(path.stat().st_size > 1000 for path in result.plot(tmp_path / "map"))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"'umap-learn'.*pip install 'lexite\[analysis\]'"):
        clusters(corpus(present), n_clusters=3, nulls=0, map_points=True)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.utils.extmath", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[analysis\]'"):
        clusters(corpus(background(60, 30, 0)))


def test_too_few_documents_are_refused() -> None:
    small = corpus(background(9, 30, 0))
    for analysis in (clusters, correlations):
        with pytest.raises(ArgumentError):
            analysis(small)  # type: ignore[operator]


def _groups(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents in groups, each with ten latents of its own."""
    generator = np.random.default_rng(0)
    truth = np.repeat(np.arange(n), 80)
    present = (generator.random((80 * n, 10 * n + 60)) < 0.03).astype(np.float32)
    for group in range(n):
        own = generator.random((80, 10)) < 0.7
        present[truth == group, 10 * group : 10 * group + 10] = own
    return present, truth


def test_a_property_is_learned_from_examples_and_finds_the_others() -> None:
    present, truth = _groups(3)
    members = np.flatnonzero(truth == 1)
    result = property_from_examples(corpus(present), members[:15].tolist(), np.flatnonzero(truth != 1)[:25].tolist())
    assert result.auc is not None and result.auc > 0.9 and result.p is not None and result.p < 0.01
    assert all(truth[each.place] == 1 for each in result.documents) and len(result.documents) == 20
    assert not {each.place for each in result.documents} & set(members[:15].tolist())
    assert all(10 <= concept.latent < 20 for concept in result.concepts[:5])


def test_examples_that_have_nothing_in_common_are_no_property() -> None:
    """The p-value is under .05 in as few of 12 draws as it should be."""
    present = background(300, 80, 0)
    small = 0
    for seed in range(12):
        drawn = np.random.default_rng(seed).permutation(300)
        result = property_from_examples(corpus(present), drawn[:15].tolist(), drawn[15:40].tolist(), seed=seed)
        small += result.p is not None and result.p <= 0.05
    assert small <= 3


def test_a_property_of_a_sentence_weighs_rare_concepts_more() -> None:
    present = background(200, 20, 1)
    present[:, 3], present[:, 4] = 1, 0
    present[:5, 4] = 1
    query = csr_array((np.ones(2, np.float32), np.array([3, 4]), np.array([0, 2])), shape=(1, 20))
    result = property_from_sentence(corpus(present), "a sentence", query)
    assert [concept.latent for concept in result.concepts] == [4, 3] and result.auc is None
    assert {each.place for each in result.documents[:5]} == set(range(5))
    with pytest.raises(ArgumentError, match="no concepts"):
        property_from_sentence(corpus(present), "nothing", csr_array((1, 20)))


def test_examples_are_checked() -> None:
    some = corpus(background(50, 20, 0))
    with pytest.raises(ArgumentError, match="3 examples"):
        property_from_examples(some, [1, 2])
    with pytest.raises(ArgumentError, match="as a positive and as a negative"):
        property_from_examples(some, [1, 2, 3], [3, 4, 5])
