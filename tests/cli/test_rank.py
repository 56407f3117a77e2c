"""lexite rank, and the prefixes that ranked and nested vocabularies are used by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lexite.backbone import StateStore
from lexite.index import BM25Index, VocabularyInfo
from lexite.index.manifest import read_commit, write_commit
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import LatentTermEncoder, ModelDetails, Vocabulary, read_manifest

WIDTH, LATENTS, K = 32, 64, 4


@pytest.fixture(scope="module")
def whole(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny vocabulary with a decoder."""
    return with_decoder(tiny_vocabulary, tmp_path_factory.mktemp("whole") / "whole", "topk")


@pytest.fixture(scope="module")
def signed(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two terms per latent."""
    return with_decoder(tiny_vocabulary, tmp_path_factory.mktemp("signed") / "signed", "abs_topk")


def with_decoder(tiny: Path, path: Path, activation: str) -> Path:
    from lexite.terms import measure_vocabulary

    encoder = LatentTermEncoder.from_pretrained(tiny)
    weights = encoder.sae.encoder_weight
    sae = SparseAutoencoder(
        SAEConfig(WIDTH, LATENTS, K),
        weights,
        encoder.sae.encoder_bias,
        weights / 2,
        encoder.sae.decoder_bias,
        activation=activation,  # type: ignore[arg-type]
        precision="fp32",
    )
    made = LatentTermEncoder(encoder.backbone, sae, details=ModelDetails(name=path.name, results=None))
    texts = ["The cat and the dog drink milk.", "Rain on the sea and the lake."]
    made = made.replaced(vocabulary=measure_vocabulary(made, texts))
    made.save_pretrained(path)
    return path


TEXTS = ["the cow gives milk", "parse a json file", "a trial of the drug"]


@pytest.mark.parametrize("by", ["importance", "density"])
@pytest.mark.parametrize("kind", ["whole", "signed"])
def test_the_ranked_vocabulary_gives_the_same_codes_under_other_numbers(
    lexite, documents: Path, tmp_path: Path, by: str, kind: str, request: pytest.FixtureRequest
) -> None:
    source = request.getfixturevalue(kind)
    done = lexite("rank", source, documents, "-o", tmp_path / "ranked", "--by", by)
    assert done.status == 0, done.err
    facts = json.loads((tmp_path / "ranked" / "importance.json").read_text(encoding="utf-8"))
    order = np.array(facts["latents"])
    assert sorted(order) == list(range(LATENTS)) and facts["by"] == by
    assert (np.diff(facts["values"]) <= 0).all()
    before, after = LatentTermEncoder.from_pretrained(source), LatentTermEncoder.from_pretrained(tmp_path / "ranked")
    terms = np.concatenate([order, order + LATENTS]) if kind == "signed" else order
    one, other = (encoder.encode_documents(TEXTS).toarray() for encoder in (before, after))
    np.testing.assert_allclose(other, one[:, terms], rtol=1e-5)
    assert before.vocabulary is not None and after.vocabulary is not None
    np.testing.assert_array_equal(after.vocabulary.token_counts, before.vocabulary.token_counts[terms])
    assert after.vocabulary.labels == tuple(before.vocabulary.labels[term] for term in terms)
    assert after.name == "ranked" and after.fingerprint != before.fingerprint


def test_an_index_of_the_ranked_vocabulary_ranks_alike(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    lexite("rank", whole, documents, "-o", tmp_path / "ranked")
    runs = []
    for number, vocabulary in enumerate([whole, tmp_path / "ranked"]):
        lexite("index", documents, "-o", tmp_path / f"{number}.lexite", "--vocabulary", vocabulary, "--no-literal")
        done = lexite("search", tmp_path / f"{number}.lexite", "milk of the cow", "--json")
        runs.append([(hit["id"], pytest.approx(hit["score"], rel=1e-4)) for hit in done.json["hits"]])
    assert runs[0] == runs[1] and runs[0]


def test_rank_says_what_it_did(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    done = lexite("rank", whole, documents, "-o", tmp_path / "r", "--tokens", "50", "--json", tmp_path / "s.json")
    assert done.out.startswith(f"64 latents by importance, measured on 50 tokens: {tmp_path / 'r'}\n")
    facts = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert facts["n_tokens"] == 50 and facts["k"] == K and facts["sources"] == [str(documents)]
    assert facts["vocabulary"] == "whole" and facts["fvu"] > 0
    assert set(facts["fit"]) >= {"exponent", "r2", "r2_middle", "n_used"}
    printed = lexite("rank", whole, documents, "-o", tmp_path / "r", "--overwrite", "--json", "-")
    assert printed.json["output"] == str(tmp_path / "r") and printed.json["n_tokens"] > 50


def test_latents_are_cut_right_away(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    assert lexite("rank", whole, documents, "-o", tmp_path / "all").status == 0
    assert lexite("rank", whole, documents, "-o", tmp_path / "cut", "--n-latents", "16").status == 0
    cut, kept = LatentTermEncoder.from_pretrained(tmp_path / "cut"), LatentTermEncoder.from_pretrained(tmp_path / "all")
    assert cut.n_latents == 16 and cut.fingerprint == kept.prefix(16).fingerprint
    facts = json.loads((tmp_path / "cut" / "importance.json").read_text(encoding="utf-8"))
    assert len(facts["latents"]) == len(facts["values"]) == facts["n_latents"] == 16
    assert "importance.json" in read_manifest(tmp_path / "cut")["files"]


def test_states_are_as_good_as_the_texts_they_came_from(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(whole)
    records = [json.loads(line) for line in documents.read_text(encoding="utf-8").splitlines()]
    texts = [f"{record['title']} {record['text']}".strip() for record in records]
    StateStore.write(
        tmp_path / "states",
        encoder.iterate_states(texts, "document"),
        backbone_info=encoder.backbone.info(),
        kind="document",
    )
    for number, source in enumerate([documents, tmp_path / "states"]):
        assert lexite("rank", whole, source, "-o", tmp_path / str(number)).status == 0
    assert read_manifest(tmp_path / "0")["fingerprint"] == read_manifest(tmp_path / "1")["fingerprint"]
    assert "read alone" in lexite("rank", whole, tmp_path / "states", documents, "-o", tmp_path / "x").usage


def test_states_of_another_model_are_refused(lexite, whole: Path, tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(whole)
    info = {**encoder.backbone.info(), "name": "other", "fingerprint": "f" * 64}
    chunks = encoder.iterate_states(["milk"], "document")
    StateStore.write(tmp_path / "states", chunks, backbone_info=info, kind="document")
    assert "holds states of other (ffffffffffff)" in lexite("rank", whole, tmp_path / "states", "-o", tmp_path / "x").error
    assert not (tmp_path / "x").exists()


def test_a_plot_is_drawn(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert lexite("rank", whole, documents, "-o", tmp_path / "r", "--plot", tmp_path / "law.png").status == 0
    assert (tmp_path / "law.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "law.svg").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--n-latents", "0"], "A prefix of 0 latents cannot be taken"),
        (["--n-latents", "65"], "A prefix of 65 latents cannot be taken"),
        (["--n-latents", "3"], "keeps 4 latents per token"),
        (["--tokens", "0"], "no tokens"),
    ],
)
def test_what_cannot_be_is_refused(lexite, whole: Path, documents: Path, tmp_path: Path, words: list[str], said: str) -> None:
    assert said in lexite("rank", whole, documents, "-o", tmp_path / "r", *words).error
    assert not (tmp_path / "r").exists()


def test_counts_are_whole_numbers(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    for option in ("--n-latents", "--tokens"):
        said = lexite("rank", whole, documents, "-o", tmp_path / "r", option, "x").usage
        assert said.startswith(f"{option}: 'x' is not a count")


def test_importance_needs_a_decoder_and_an_output(lexite, tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    error = lexite("rank", tiny_vocabulary, documents, "-o", tmp_path / "r").error
    assert "encoder only" in error and "density" in error
    assert lexite("rank", tiny_vocabulary, documents, "-o", tmp_path / "r", "--by", "density").status == 0
    assert "No output" in lexite("rank", tiny_vocabulary, documents).usage
    assert "No documents" in lexite("rank", tiny_vocabulary, "-o", tmp_path / "r").usage
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "not written by this command" in lexite("rank", tiny_vocabulary, documents, "-o", tmp_path / "mine").error


def test_a_damaged_ranking_is_noticed(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    lexite("rank", whole, documents, "-o", tmp_path / "r")
    (tmp_path / "r" / "importance.json").write_text("{}")
    assert (
        "importance.json is damaged" in lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tmp_path / "r").error
    )


# ------------------------------------------------------------------ prefixes


@pytest.mark.parametrize("kind", ["whole", "signed"])
def test_a_prefix_chooses_among_the_first_latents(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = LatentTermEncoder.from_pretrained(request.getfixturevalue(kind))
    cut = encoder.prefix(20)
    per_latent = 2 if kind == "signed" else 1
    assert cut.n_latents == 20 * per_latent and cut.sae.config.n_latents == 20
    assert cut.vocabulary is not None and encoder.vocabulary is not None
    kept = np.concatenate([np.arange(20) + sign * LATENTS for sign in range(per_latent)])
    np.testing.assert_array_equal(cut.vocabulary.document_counts, encoder.vocabulary.document_counts[kept])
    states = next(encoder.iterate_states(TEXTS, "document")).states.float()
    u = (states - encoder.sae.decoder_bias) @ encoder.sae.encoder_weight[:20].T + encoder.sae.encoder_bias[:20]
    best = (u.abs() if kind == "signed" else u).topk(K, dim=1).indices
    dense = torch.zeros(len(u), 20).scatter_(1, best, u.gather(1, best))
    expected = torch.cat([dense.clamp(min=0), (-dense).clamp(min=0)], dim=1) if kind == "signed" else dense.clamp(min=0)
    torch.testing.assert_close(cut.sae.encode(states).to_dense(), expected)


def test_the_fingerprint_says_which_prefix_it_is(whole: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(whole)
    assert encoder.prefix(LATENTS) is encoder
    prints = {encoder.prefix(n).fingerprint for n in (K, 20, 21, 63, 64)}
    assert len(prints) == 5 and encoder.fingerprint in prints
    again = encoder.prefix(40).prefix(20)
    assert again.fingerprint == encoder.prefix(20).fingerprint
    assert (again.prefix_size, again.source) == (20, encoder.source)


def test_a_saved_prefix_is_a_vocabulary_of_its_own(whole: Path, tmp_path: Path) -> None:
    cut = LatentTermEncoder.from_pretrained(whole).prefix(20)
    loaded = LatentTermEncoder.from_pretrained(cut.save_pretrained(tmp_path / "cut"))
    assert loaded.fingerprint == cut.fingerprint and loaded.prefix_size is None and loaded.n_latents == 20


def test_results_of_the_whole_are_not_those_of_a_part(whole: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(whole)
    encoder = encoder.replaced(details=ModelDetails(name="measured", results={"collections": {}}))
    assert encoder.prefix(20).details.results is None
    assert encoder.reordered(np.arange(LATENTS)[::-1]).details.results == {"collections": {}}


@pytest.mark.parametrize("kind", ["whole", "signed"])
def test_an_index_remembers_its_prefix(
    lexite, documents: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    vocabulary = request.getfixturevalue(kind)
    index, own = tmp_path / "i.lexite", tmp_path / "own.lexite"
    done = lexite("index", documents, "-o", index, "--vocabulary", vocabulary, "--prefix", "24", "--no-literal")
    assert done.status == 0, done.err
    opened = BM25Index.open(index)
    numbers = {"k_documents": K, "k_queries": K, "floor_documents": 0.015, "floor_queries": 0.08}
    assert opened.vocabulary.terms_config == {**numbers, "prefix": 24} and opened.vocabulary.model == str(vocabulary)
    LatentTermEncoder.from_pretrained(vocabulary).prefix(24).save_pretrained(tmp_path / "cut")
    lexite("index", documents, "-o", own, "--vocabulary", tmp_path / "cut", "--no-literal")
    query = ["milk of the cow", "--json"]
    found, expected = lexite("search", index, *query), lexite("search", own, *query)
    assert found.json["hits"] == expected.json["hits"] and found.json["hits"]
    (tmp_path / "new.txt").write_text("a horse drinks milk")
    assert lexite("add", index, tmp_path / "new.txt").status == 0
    moved = lexite("search", index, *query, "--vocabulary", tmp_path / "cut")
    assert len(moved.json["hits"]) == len(lexite("search", index, *query).json["hits"]) > 0


def test_another_vocabulary_is_refused_for_an_index_of_a_prefix(
    lexite, whole: Path, other_vocabulary: Path, documents: Path, tmp_path: Path
) -> None:
    lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", whole, "--prefix", "24")
    assert "is another one" in lexite("search", tmp_path / "i", "milk", "--vocabulary", other_vocabulary).error
    LatentTermEncoder.from_pretrained(whole).prefix(12).save_pretrained(tmp_path / "smaller")
    assert "is another one" in lexite("search", tmp_path / "i", "milk", "--vocabulary", tmp_path / "smaller").error


@pytest.mark.parametrize("kind", ["whole", "signed"])
def test_stored_terms_get_the_labels_of_the_prefix(
    lexite, documents: Path, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    vocabulary = request.getfixturevalue(kind)
    (tmp_path / "q.txt").write_text("milk of the cow\n")
    prefix = ["--vocabulary", vocabulary, "--prefix", "24"]
    lexite("index", documents, "-o", tmp_path / "i", *prefix, "--no-literal")
    encoded = lexite("encode", tmp_path / "q.txt", "--kind", "query", "--raw", "-o", tmp_path / "q.jsonl", *prefix)
    assert encoded.status == 0, encoded.err
    stored = lexite("search", tmp_path / "i", "--terms", tmp_path / "q.jsonl", "--json")
    asked = lexite("search", tmp_path / "i", "milk of the cow", "--json", "--no-snippets")
    assert [(hit["id"], hit["terms"]) for hit in stored.json["hits"]] == [
        (hit["id"], hit["terms"]) for hit in asked.json["hits"]
    ]


def test_encode_gives_the_terms_of_the_prefix(lexite, whole: Path, tmp_path: Path) -> None:
    from scipy.sparse import load_npz

    (tmp_path / "t.txt").write_text("the cow gives milk")
    words = [tmp_path / "t.txt", "-o", tmp_path / "t.npz", "--vocabulary", whole, "--raw"]
    assert lexite("encode", *words, "--prefix", "24").status == 0
    expected = LatentTermEncoder.from_pretrained(whole).prefix(24).encode_documents(["the cow gives milk"])
    np.testing.assert_allclose(load_npz(tmp_path / "t.npz").toarray(), expected.toarray(), rtol=1e-6)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("prefix: 24\n")
    assert lexite("encode", *words, "--recipe", recipe).status == 0
    assert load_npz(tmp_path / "t.npz").shape == (1, 24)


def test_eval_measures_the_prefix(lexite, whole: Path, collection: Path, tmp_path: Path) -> None:
    words = [collection, "--vocabulary", whole, "--baselines", "none", "--json", "-"]
    part, all_of_it = lexite("eval", *words, "--prefix", "8").json, lexite("eval", *words).json
    assert (part["settings"]["n_latents"], all_of_it["settings"]["n_latents"]) == (8, LATENTS)
    assert part["settings"]["vocabulary_fingerprint"] == LatentTermEncoder.from_pretrained(whole).prefix(8).fingerprint


@pytest.mark.parametrize("n", ["0", "-5", "65", "3"])
def test_prefixes_that_cannot_be_are_refused(lexite, whole: Path, documents: Path, tmp_path: Path, n: str) -> None:
    error = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", whole, "--prefix", n).error
    assert error.startswith(f"A prefix of {n} latents") and not (tmp_path / "i").exists()


def test_k_may_not_be_larger_than_the_prefix(lexite, whole: Path, documents: Path, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "i", "--vocabulary", whole, "--prefix", "8", "--k-documents", "9"]
    assert lexite("index", documents, *words).error == "k is 9, but must be between 1 and 8, the number of latents."


def test_indexes_of_before_are_read(lexite, own_index: Path) -> None:
    commit = read_commit(own_index)
    assert "prefix" not in commit.vocabulary.terms_config
    write_commit(own_index, commit)
    assert isinstance(BM25Index.open(own_index).vocabulary, VocabularyInfo)
    assert lexite("search", own_index, "milk", "--json").json["hits"]


def test_statistics_are_cut_and_reordered() -> None:
    some = Vocabulary(np.arange(6), np.arange(6) * 2, 9, 30, 2, tuple((str(term),) for term in range(6)))
    assert some.prefix(2).labels == (("0",), ("1",)) and some.prefix(2).n_tokens == 30
    signed = some.reordered(np.array([2, 0]), terms_per_latent=2)
    assert [words[0] for words in signed.labels] == ["2", "0", "5", "3"]
    assert signed.document_counts.tolist() == [2, 0, 5, 3] and signed.token_counts.tolist() == [4, 0, 10, 6]
    from lexite.errors import ModelError

    for wrong in ([6], [-1]):
        with pytest.raises(ModelError, match="0 to 5"):
            some.reordered(np.array(wrong))
    with pytest.raises(ModelError, match="0 to 2"):
        some.prefix(4, terms_per_latent=2)
