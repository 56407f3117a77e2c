"""Static queries on the command line: index, search, add, delete, merge, info, eval."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite.backbone.transformer import TransformerBackbone
from lexite.index import BM25Index, read_trec_run
from lexite.terms import EncodedQueries, LatentTermEncoder, StaticTable
from lexite.terms.measure import measured
from lexite.terms.static_counts import FLOOR

N_LATENTS = 64
MORE = [("m1", "The virus enters the cell; the protein binds a gene. How rare the moon."), ("m2", "zebra milk")]


def jsonl(path: Path, *records: tuple[str, str]) -> Path:
    path.write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text in records), encoding="utf-8")
    return path


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def found(done) -> list[list[tuple[str, float]]]:
    """Ids and scores of each answer."""
    assert done.status == 0, done.err
    return [[(hit["id"], hit["score"]) for hit in answer["hits"]] for answer in lines(done.out)]


def texts_of(documents: Path) -> list[str]:
    return [f"{row['title']} {row['text']}".strip() for row in lines(documents.read_text(encoding="utf-8"))]


@pytest.fixture(scope="session")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(str(tiny_vocabulary))


@pytest.fixture(scope="session")
def with_table(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same vocabulary with a table of other text than the six documents."""
    made = LatentTermEncoder.from_pretrained(str(tiny_vocabulary))
    made = measured(made, made.iterate_states(["milk of the cow and of the dog", "read the json file " * 24], "document"))
    return made.save_pretrained(tmp_path_factory.mktemp("vocabularies") / "with-table")


def dense_sums(encoder: LatentTermEncoder, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """By the definition: for each piece its tokens, and the sum of their codes, token by token."""
    n_pieces = encoder.backbone.fast_tokenizer.get_vocab_size(with_added_tokens=True)
    sums, counts = np.zeros((n_pieces, N_LATENTS)), np.zeros(n_pieces, dtype=int)
    for text in texts:
        states = encoder.backbone.encode([text], "document")
        codes = encoder.codes(states, encoder.k_for("document"))
        for token, piece in enumerate(states.token_ids):
            counts[piece] += 1
            for value, latent in zip(codes.values[token].tolist(), codes.indices[token].tolist(), strict=True):
                sums[piece, latent] += max(value, 0)
    return sums, counts


def assert_means(table: StaticTable | None, means: np.ndarray, counts: np.ndarray) -> None:
    """A table holds these means but for what is small in a row; what is at the floor itself may be rounded either way."""
    assert table is not None
    np.testing.assert_array_equal(table.counts, counts)
    floor = FLOOR * means.max(axis=1, keepdims=True)
    clear = np.abs(means - floor) > 2e-3 * np.maximum(floor, 1e-3)
    np.testing.assert_allclose(table.weights.toarray()[clear], np.where(means >= floor, means, 0)[clear], rtol=2e-3, atol=1e-4)


def means_of(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return sums / np.maximum(counts, 1)[:, None]


def expected_hits(index: BM25Index, encoder: LatentTermEncoder, text: str, top_k: int = 10) -> list[tuple[str, float]]:
    """The search with a query that was summed up by hand."""
    rows, query = index.static().weights.toarray(), np.zeros(N_LATENTS, dtype=np.float32)
    for piece in encoder.backbone.fast_tokenizer.encode(text, add_special_tokens=False).ids:
        query += rows[piece]
    hits = index.search(EncodedQueries(csr_array(query[None])), top_k)[0]
    return [(hit.id, pytest.approx(hit.score, rel=1e-5, abs=1e-6)) for hit in hits]


def test_index_keeps_the_table_of_its_documents(tiny_index: Path, encoder: LatentTermEncoder, documents: Path) -> None:
    sums, counts = dense_sums(encoder, texts_of(documents))
    assert_means(BM25Index.open(tiny_index, verify=True).static(), means_of(sums, counts), counts)


def test_index_moves_the_table_of_the_vocabulary(lexite, with_table: Path, documents: Path, tmp_path: Path) -> None:
    assert lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", with_table).status == 0
    encoder = LatentTermEncoder.from_pretrained(str(with_table))
    sums, counts = dense_sums(encoder, texts_of(documents))
    known = np.minimum(encoder.static.counts, 20)
    assert known.max() == 20 < encoder.static.counts.max()
    total = counts + known
    moved = (sums + known[:, None] * encoder.static.weights.toarray()) / np.maximum(total, 1)[:, None]
    assert_means(BM25Index.open(tmp_path / "i").static(), moved, total)


def test_no_static_keeps_none(lexite, tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("static: false\n")
    for words in (["--no-static"], ["--recipe", tmp_path / "r.yaml"]):
        done = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--overwrite", *words)
        assert done.status == 0, done.err
        assert BM25Index.open(tmp_path / "i").static() is None and not (tmp_path / "i" / "static").exists()


def test_a_round_trip(lexite, own_index: Path, encoder: LatentTermEncoder, documents: Path, tmp_path: Path) -> None:
    query = "the zebra drinks milk"
    assert found(lexite("search", own_index, "--static", query, "--json")) == [
        expected_hits(BM25Index.open(own_index), encoder, query)
    ]
    before = BM25Index.open(own_index).static()
    assert lexite("add", own_index, jsonl(tmp_path / "m.jsonl", *MORE)).status == 0
    after = BM25Index.open(own_index, verify=True)
    sums, counts = dense_sums(encoder, [text for _, text in MORE])
    total = counts + before.counts
    means = (sums + before.counts[:, None] * before.weights.toarray()) / np.maximum(total, 1)[:, None]
    assert_means(after.static(), means, total)
    wanted = expected_hits(after, encoder, query)
    assert found(lexite("search", own_index, "--static", query, "--json")) == [wanted]
    assert "m2" in dict(wanted)

    assert lexite("delete", own_index, "m2").status == 0
    assert lexite("merge", own_index).status == 0
    merged = BM25Index.open(own_index, verify=True)
    np.testing.assert_array_equal(merged.static().counts, total)  # deleted documents stay counted
    (hits,) = found(lexite("search", own_index, "--static", query, "--json"))
    assert "m2" not in dict(hits) and hits == expected_hits(merged, encoder, query)
    assert lexite("add", own_index, "--replace", jsonl(tmp_path / "r.jsonl", ("d1", "zebra"))).status == 0
    assert BM25Index.open(own_index).static().counts.sum() == total.sum() + len("zebra")  # replaced ones too


def test_add_leaves_an_index_without_a_table_as_it_is(lexite, bare_index: Path, tmp_path: Path) -> None:
    assert lexite("add", bare_index, jsonl(tmp_path / "m.jsonl", *MORE)).status == 0
    assert BM25Index.open(bare_index).static() is None


def test_an_error_while_adding_leaves_the_table(lexite, own_index: Path, tmp_path: Path) -> None:
    before = BM25Index.open(own_index).static()
    assert "already" in lexite("add", own_index, jsonl(tmp_path / "m.jsonl", *MORE, ("d1", "again"))).error
    np.testing.assert_array_equal(BM25Index.open(own_index, verify=True).static().counts, before.counts)


@pytest.fixture
def bare_index(tiny_vocabulary: Path, documents: Path, tmp_path: Path, lexite) -> Path:
    """An index without a table, of a vocabulary without one, and of latent terms alone."""
    path, words = tmp_path / "bare.lexite", ["--no-static", "--no-literal"]
    assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary, *words).status == 0
    return path


def test_without_a_table_of_its_own_that_of_the_vocabulary_serves(
    lexite, bare_index: Path, with_table: Path, other_vocabulary: Path, tiny_vocabulary: Path, tmp_path: Path
) -> None:
    words = ["search", bare_index, "--static", "milk", "--json"]
    said = lexite(*words).error
    assert "has no static table, nor can its vocabulary's be taken: The vocabulary tiny has no static table" in said
    assert said.endswith("Search without --static, or index the documents again with it.")
    other = lexite(*words, "--vocabulary", other_vocabulary).error
    assert "The vocabulary other has no static table" in other
    assert "does not exist" in lexite(*words, "--vocabulary", tmp_path / "nowhere").error
    ((first, *_),) = found(lexite(*words, "--vocabulary", with_table))
    table = LatentTermEncoder.from_pretrained(str(with_table)).static
    (hit,) = BM25Index.open(bare_index).search(EncodedQueries(table.encode(["milk"])), 1)[0]
    assert first == (hit.id, pytest.approx(hit.score, rel=1e-5))


def test_a_table_of_another_vocabulary_is_refused(
    lexite, other_vocabulary: Path, bare_index: Path, documents: Path, tmp_path: Path, with_table: Path
) -> None:
    made = LatentTermEncoder.from_pretrained(str(other_vocabulary))
    made = measured(made, made.iterate_states(["milk of the cow"], "document"))
    other = made.save_pretrained(tmp_path / "other")
    said = lexite("search", bare_index, "--static", "milk", "--vocabulary", other).error
    assert "is of another vocabulary" in said and "Name its own with --vocabulary" in said
    prefix = ["--vocabulary", with_table, "--prefix", "32", "--no-static"]
    assert lexite("index", documents, "-o", tmp_path / "p", *prefix).status == 0
    assert "is of another vocabulary" in lexite("search", tmp_path / "p", "--static", "milk").error
    assert lexite("index", documents, "-o", tmp_path / "q", *prefix[:-1]).status == 0
    assert BM25Index.open(tmp_path / "q").static().n_latents == 32
    assert found(lexite("search", tmp_path / "q", "--static", "milk", "--json"))[0]


def test_an_index_that_does_not_know_its_vocabulary(lexite, bare_index: Path, tmp_path: Path) -> None:
    from lexite.index import VocabularyInfo

    with BM25Index.create(tmp_path / "i", VocabularyInfo("f" * 64, "nobody's", N_LATENTS)) as writer:
        writer.commit()
    assert "does not say where its vocabulary is" in lexite("search", tmp_path / "i", "--static", "milk").error


def test_hits_are_shown_with_labels_terms_and_snippets(
    lexite, tiny_vocabulary: Path, encoder: LatentTermEncoder, tmp_path: Path
) -> None:
    filler = "Rain falls on the lake and the wind moves the ship on the sea. " * 12
    text = f"{filler} The patient takes a dose of the drug in the cancer trial. {filler}"
    index, query = tmp_path / "i", ["dose", "of", "the", "drug", "in", "the", "cancer", "trial"]
    words = ["-o", index, "--vocabulary", tiny_vocabulary, "--no-literal", "--passages", "none"]
    assert lexite("index", jsonl(tmp_path / "l.jsonl", ("long", text)), *words).status == 0
    (hit,) = lines(lexite("search", index, "--static", *query, "--json").out)[0]["hits"]
    assert "drug in the cancer trial" in hit["snippet"] and len(hit["snippet"]) <= 240
    assert sum(term["contribution"] for term in hit["terms"]) <= hit["score"] * 1.0001
    assert hit["terms"] and all(term["label"] == encoder.label(term["term"]) for term in hit["terms"])
    first = lines(lexite("search", index, "--static", *query, "--json", "--no-snippets").out)[0]["hits"][0]["snippet"]
    assert first.startswith("Rain falls") and "drug" not in first
    assert hit["terms"][0]["label"] in lexite("search", index, "--static", *query).out


def test_literal_words_are_searched_too(lexite, tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    index = tmp_path / "i"
    assert lexite("index", documents, "-o", index, "--vocabulary", tiny_vocabulary, "--literal").status == 0
    answer = lines(lexite("search", index, "--static", "json", "--json", "--literal-weight", "50").out)[0]
    assert answer["hits"][0]["id"] == "d3" and answer["hits"][0]["terms"][0]["word"] == "json"
    without = lines(lexite("search", index, "--static", "json", "--json", "--literal-weight", "0").out)[0]
    assert all("word" not in term for hit in without["hits"] for term in hit["terms"])


def test_files_pipes_runs_and_scoring(
    lexite, tiny_index: Path, encoder: LatentTermEncoder, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, index = collection / "queries.jsonl", BM25Index.open(tiny_index)
    texts = {row["_id"]: row["text"] for row in lines(queries.read_text())}
    words = ["search", tiny_index, "--static", "--queries", queries]
    answers = lines(lexite(*words, "--json").out)
    assert {answer["id"]: [(hit["id"], hit["score"]) for hit in answer["hits"]] for answer in answers} == {
        query: expected_hits(index, encoder, text) for query, text in texts.items()
    }
    run = ["--top-k", "2", "--run"]
    assert lexite(*words, *run, tmp_path / "run").out == f"3 queries, 6 hits: {tmp_path / 'run'}\n"
    assert lexite(*words, *run, "-").out == (tmp_path / "run").read_text()
    assert {query: list(row) for query, row in read_trec_run(tmp_path / "run").items()} == {
        answer["id"]: [hit["id"] for hit in answer["hits"][:2]] for answer in answers
    }
    plain = found(lexite("search", tiny_index, "--static", "milk", "--json"))
    assert found(lexite("search", tiny_index, "--static", "milk", "--json", "--k1", "0.2")) != plain
    assert found(lexite("search", tiny_index, "--static", "milk", "--json", "--approximate")) == plain
    monkeypatch.setattr(sys, "stdin", io.StringIO("milk\n\n  rain on the lake \n"))
    piped = lexite("search", tiny_index, "--static", "--json")
    assert [answer["query"] for answer in lines(piped.out)] == ["milk", "rain on the lake"]
    assert found(piped)[0] == plain[0]


def test_a_conversation(lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["milk", "漢字", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    done = lexite("search", tiny_index, "--static", "--top-k", "1")
    assert done.status == 0 and "Type a query" in done.out and "  1  " in done.out
    assert "No document shares a term with the query." in done.out


def test_empty_queries_and_unknown_words(lexite, tiny_index: Path, encoder: LatentTermEncoder) -> None:
    for query in ("", "   ", "漢字", "\U0001f600"):
        assert found(lexite("search", tiny_index, "--static", query, "--json")) == [[]]
        assert lexite("search", tiny_index, "--static", query).out == "No document shares a term with the query.\n"
    known = found(lexite("search", tiny_index, "--static", "milk", "--json"))
    assert found(lexite("search", tiny_index, "--static", "漢字 milk", "--json")) == known


def test_a_thousand_queries(lexite, tiny_index: Path, tmp_path: Path) -> None:
    vocabulary = [word for _, text in MORE for word in text.split()] + ["json", "rain", "lake", "trial", "clock"]
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(vocabulary, generator.integers(1, 8))) for _ in range(1000)]
    (tmp_path / "q.txt").write_text("\n".join(texts) + "\n")
    words = ["search", tiny_index, "--static", "--queries", tmp_path / "q.txt", "--top-k", "3", "--run", tmp_path / "run"]
    assert lexite(*words).out.startswith("1,000 queries, ")
    run, index = read_trec_run(tmp_path / "run"), BM25Index.open(tiny_index)
    for number in range(0, 1000, 37):
        (hits,) = index.search(EncodedQueries(index.static().encode([texts[number]])), 3)
        assert list(run[str(number + 1)]) == [hit.id for hit in hits]


def test_what_has_no_place_beside_static(lexite, tiny_index: Path, tmp_path: Path) -> None:
    for option in (["--k-queries", "2"], ["--device", "cpu"], ["--precision", "fp32"], ["--query-prompt", "q: "]):
        said = lexite("search", tiny_index, "--static", "milk", *option).usage
        assert said.startswith("--static needs no model") and said.endswith(f"Leave out {option[0]}.")
    assert "--static" in lexite("search", tiny_index, "--static", "--terms", tmp_path / "t.jsonl").usage


def test_damaged_and_missing_files_are_named(lexite, own_index: Path) -> None:
    (file,) = (own_index / "static").glob("static-*.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for words in (["search", own_index, "--static", "milk"], ["info", own_index, "--verify"]):
        assert f"{file.name} is damaged" in lexite(*words).error
    assert lexite("search", own_index, "milk").status == 0 and lexite("info", own_index).status == 0
    file.unlink()
    assert f"{file.name} is missing" in lexite("search", own_index, "--static", "milk").error


def test_a_damaged_table_is_not_added_to(lexite, own_index: Path, tmp_path: Path) -> None:
    (file,) = (own_index / "static").glob("tokenizer-*.json")
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{file.name} is damaged" in lexite("add", own_index, jsonl(tmp_path / "m.jsonl", *MORE)).error
    assert BM25Index.open(own_index).n_documents == 6


def test_info_says_what_there_is(lexite, tiny_index: Path, bare_index: Path) -> None:
    facts = lexite("info", tiny_index, "--json").json
    table = BM25Index.open(tiny_index).static()
    assert facts["static_table"] is True and facts["bytes_static"] > 0
    assert facts["n_pieces_used"] == np.count_nonzero(table.counts) > 50
    shown = lexite("info", tiny_index).out
    assert "static table " in shown and "n pieces used " in shown and "bytes static " in shown
    facts = lexite("info", bare_index, "--json").json
    assert (facts["static_table"], facts["bytes_static"]) == (False, 0)


def test_a_model_without_a_tokenizer_to_carry_along(
    lexite, tiny_index: Path, tiny_vocabulary: Path, documents: Path, own_index: Path, tmp_path: Path, monkeypatch
) -> None:
    before = BM25Index.open(own_index).static()
    monkeypatch.setattr(TransformerBackbone, "fast_tokenizer", None)
    monkeypatch.setattr(logging.getLogger("lexite"), "info", lambda text, *args: said.append(text % args))
    said: list[str] = []
    assert lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary).status == 0
    assert any("so the index gets no static table" in line for line in said)
    assert BM25Index.open(tmp_path / "i").static() is None
    assert lexite("add", own_index, jsonl(tmp_path / "m.jsonl", *MORE)).status == 0
    assert any("static table stays as it is" in line for line in said)
    np.testing.assert_array_equal(BM25Index.open(own_index).static().counts, before.counts)


@pytest.mark.parametrize("several", [False, True])
def test_no_model_is_loaded(tiny_index: Path, bare_index: Path, with_table: Path, tmp_path: Path, several: bool) -> None:
    (tmp_path / "q.txt").write_text("milk\nmoon and sun\nrain\n" * 5)
    asked = ["--queries", str(tmp_path / "q.txt")] if several else ["milk", "of", "the", "cow"]
    for words in ([str(tiny_index), "--static"], [str(bare_index), "--static", "--vocabulary", str(with_table)]):
        program = (
            "import sys\nfrom lexite.cli import main\n"
            f"status = main(['search', *{words!r}, *{asked!r}, '--json'])\n"
            f"unwanted = ['torch', 'transformers', 'sentence_transformers', *{['numba'][several:]!r}]\n"
            "loaded = [name for name in unwanted if name in sys.modules]\n"
            "sys.exit(status or (f'loaded {loaded}' if loaded else 0))\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[0])["hits"][0]["snippet"]


@pytest.mark.parametrize("cache", [True, False])
def test_eval_with_static_queries(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path, cache: bool) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary, "--baselines", "bm25"]
    words += ["--cache", tmp_path / "cache"] if cache else []
    alone = [*words, "--no-literal", "--json", "-"]
    plain, report = lexite(*alone).json, lexite(*alone, "--static").json
    assert list(report["collections"]["tiny"]) == ["latent", "static", "bm25"]
    assert report["collections"]["tiny"]["latent"] == plain["collections"]["tiny"]["latent"]
    assert (report["settings"]["static"], plain["settings"]["static"]) == (True, False)
    shown = lexite(*words, "--static", "--runs", tmp_path / "runs").out
    assert "latent+words" in shown and "static+words" in shown
    assert (tmp_path / "runs" / "tiny.static+words.run").is_file()


def test_the_examples_of_the_page_run(tiny_vocabulary: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "lexite.terms.hub.builtin_folder", lambda name="default": tiny_vocabulary if name == "default" else None
    )
    page = Path(__file__).parents[2] / "docs" / "static-queries.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(block, {})
    assert len(blocks) == 2 and {line.split()[1] for line in capsys.readouterr().out.splitlines()} == {"a", "b"}
