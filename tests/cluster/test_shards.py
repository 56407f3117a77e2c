"""Encoded shards: a pure function of their bytes, and an index from them equal to one of the documents."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexite import Searcher
from lexite.cli import main
from lexite.cluster import Shard, TermsSettings, encode_shard, index_from_terms
from lexite.cluster.table import decoded, encode_documents, whole_documents
from lexite.corpus.passages import PassageConfig
from lexite.corpus.records import Document
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import CorpusError, StorageError
from lexite.index import BM25Index
from lexite.kernels.threads import same_cut_everywhere
from lexite.scoring.words import LiteralConfig
from lexite.terms import LatentTermEncoder

pytest.importorskip("pyarrow")
WORDS = "cat dog bird fish horse cow milk meat bread cheese apple tree river lake sea ship wind rain snow sun".split()
CUT = PassageConfig(10, 15)
QUESTIONS = ["cat on a tree", "ship on the sea", "bread and cheese", "snow word7", "rain wind"]


@pytest.fixture(scope="module")
def encoder(tiny_vocabulary: Path) -> LatentTermEncoder:
    return LatentTermEncoder.from_pretrained(tiny_vocabulary)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    records = []
    for i in range(60):
        words = list(generator.choice(WORDS, size=int(generator.integers(1, 40)))) + [f"word{i % 9}"]
        record: dict[str, Any] = {"_id": f"d{i}", "title": f"Title {WORDS[i % 20]}", "text": ". ".join(words)}
        if i % 3:
            record |= {"year": 1990 + i, "day": f"2024-01-{1 + i % 28:02d}", "tags": ["a", "b"][: i % 2 + 1]}
        records.append(json.dumps(record))
    path.write_text("\n".join(records) + "\n")
    return path


def encode(encoder: LatentTermEncoder, corpus: Path, out: Path, n: int, **how: Any) -> list[Any]:
    return [encode_shard([corpus], out, Shard(number, n), encoder, passages=CUT, **how) for number in range(n)]


def answers(path: Path, encoder: LatentTermEncoder) -> list[list[tuple[str, float]]]:
    with Searcher.open(path, vocabulary=encoder) as searcher:
        return [[(hit.id, hit.score) for hit in searcher.search(question, 100)] for question in QUESTIONS]


def same_table(one: BM25Index, other: BM25Index) -> bool:
    ours, theirs = one.static(), other.static()
    assert ours is not None and theirs is not None
    return (ours.weights != theirs.weights).nnz == 0 and np.array_equal(ours.counts, theirs.counts)


def everything(index: BM25Index) -> list[Any]:
    return [(document, index.fields) for document in index]


@pytest.mark.parametrize("weights", [None, FieldWeights(title=2.0)])
def test_one_shard_gives_the_index_of_the_documents_bit_for_bit(
    encoder: LatentTermEncoder, corpus: Path, tmp_path: Path, weights: FieldWeights | None
) -> None:
    encode(encoder, corpus, tmp_path / "terms", 1, field_weights=weights)
    assert index_from_terms(tmp_path / "terms", tmp_path / "a").documents == 60
    with same_cut_everywhere():  # since another cut into batches is rounded otherwise
        Searcher.build([corpus], tmp_path / "b", vocabulary=encoder, passages=CUT, field_weights=weights, show_progress=False)
    one, other = BM25Index.open(tmp_path / "a", verify=True), BM25Index.open(tmp_path / "b")
    assert everything(one) == everything(other)
    assert one.n_passages == other.n_passages > 60
    for ours, theirs in zip(one.iterate_passages(), other.iterate_passages(), strict=True):
        assert all(
            np.array_equal(getattr(ours, name), getattr(theirs, name)) for name in ("documents", "ordinals", "spans", "lengths")
        )
        assert (ours.rows != theirs.rows).nnz == 0
    assert [one.word(term) for term in range(64, one.n_terms)] == [other.word(term) for term in range(64, other.n_terms)]
    assert same_table(one, other)
    assert answers(tmp_path / "a", encoder) == answers(tmp_path / "b", encoder)
    assert one.select("year >= 2000").tolist() == other.select("year >= 2000").tolist()


def test_many_shards_give_the_same_documents_and_scores(encoder: LatentTermEncoder, corpus: Path, tmp_path: Path) -> None:
    """The model rounds a little otherwise where other texts stand beside a text in its batch; all else is exact."""
    encode(encoder, corpus, tmp_path / "terms", 4)
    index_from_terms(tmp_path / "terms", tmp_path / "a")
    Searcher.build([corpus], tmp_path / "b", vocabulary=encoder, passages=CUT, show_progress=False)
    one, other = BM25Index.open(tmp_path / "a"), BM25Index.open(tmp_path / "b")
    assert everything(one) == everything(other)
    assert np.array_equal(one.document_frequency, other.document_frequency)
    for ours, theirs in zip(answers(tmp_path / "a", encoder), answers(tmp_path / "b", encoder), strict=True):
        assert dict(ours) == pytest.approx(dict(theirs), rel=1e-5)
    ours, theirs = one.static(), other.static()
    assert np.array_equal(ours.counts, theirs.counts)
    assert abs(ours.weights - theirs.weights).max() < 1e-2


def test_a_shard_is_the_same_every_time_and_is_not_made_twice(encoder: LatentTermEncoder, corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    encode(encoder, corpus, first, 3)
    for number in (2, 0, 1):  # in another order
        encode_shard([corpus], second, Shard(number, 3), encoder, passages=CUT)
    assert {p.name for p in first.iterdir()} == {p.name for p in second.iterdir()}
    own = [p.name for p in first.iterdir() if p.name != "static.safetensors"]  # whose metadata have no order
    assert all((second / name).read_bytes() == (first / name).read_bytes() for name in own)
    times = {p.name: p.stat().st_mtime_ns for p in first.iterdir()}
    assert all(report.skipped and report.documents for report in encode(encoder, corpus, first, 3))
    assert {p.name: p.stat().st_mtime_ns for p in first.iterdir()} == times
    (first / "terms-00001-of-00003.parquet").write_bytes(b"damaged")
    assert [report.skipped for report in encode(encoder, corpus, first, 3)] == [True, False, True]


@pytest.mark.slow
def test_a_shard_is_the_same_with_any_number_of_threads(
    encoder: LatentTermEncoder, tiny_vocabulary: Path, corpus: Path, tmp_path: Path
) -> None:
    encode_shard([corpus], tmp_path / "here", Shard(0, 1), encoder, passages=CUT)
    words = ["encode", str(corpus), "-o", str(tmp_path / "there"), "--shard", "0/1", "--passages", "10"]
    script = f"from lexite.cli import main; assert main({['-q', *words, '--vocabulary', str(tiny_vocabulary)]!r}) == 0"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    name = "terms-00000-of-00001.parquet"
    assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_other_settings_and_other_files_are_refused(
    encoder: LatentTermEncoder, other_vocabulary: Path, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "terms"
    encode_shard([corpus], out, Shard(0, 3), encoder, passages=CUT)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    for told, shard, how in (
        ("n_shards (3, not 4)", Shard(0, 4), {"passages": CUT}),
        ("passages (some, not none)", Shard(1, 3), {}),
        ("words of passages (10, not 12)", Shard(1, 3), {"passages": PassageConfig(12, 15)}),
        ("literal (some, not none)", Shard(1, 3), {"passages": CUT, "literal": LiteralConfig(literal=False)}),
        (
            "store_text (True, not False), static (True, not False)",
            Shard(1, 3),
            {"passages": CUT, "store_text": False, "static": False},
        ),
    ):
        with pytest.raises(StorageError) as caught:
            encode_shard([corpus], out, shard, encoder, **how)  # type: ignore[arg-type]
        advice = "Encode with the same settings, or choose another output."
        assert str(caught.value) == f"{out} holds shards that were made otherwise: {told}. {advice}"
    scored = encoder.replaced(scoring=dataclasses.replace(encoder.scoring, k1=0.25))
    with pytest.raises(StorageError) as caught:
        encode_shard([corpus], out, Shard(1, 3), scored, passages=CUT)
    assert f"made otherwise: k1 of scoring ({encoder.scoring.k1}, not 0.25). " in str(caught.value)
    with pytest.raises(StorageError, match="vocabulary 'tiny' .*not 'other'"):
        encode_shard([corpus], out, Shard(1, 3), LatentTermEncoder.from_pretrained(other_vocabulary), passages=CUT)
    more = tmp_path / "more.jsonl"
    more.write_text(corpus.read_text() + '{"_id": "x", "text": "one more"}\n')
    with pytest.raises(StorageError, match="other files"):
        encode_shard([more], out, Shard(1, 3), encoder, passages=CUT)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_folder_with_something_else_is_left_alone(encoder: LatentTermEncoder, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all")
    with pytest.raises(StorageError, match="not empty"):
        encode_shard([corpus], tmp_path, Shard(0, 1), encoder)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_missing_and_damaged_shards_are_named(encoder: LatentTermEncoder, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "terms"
    for number in (0, 3):
        encode_shard([corpus], out, Shard(number, 5), encoder)
    with pytest.raises(StorageError, match=r"3 of 5 shards are missing: 1, 2, 4\."):
        index_from_terms(out, tmp_path / "index")
    encode(encoder, corpus, tmp_path / "whole", 2)
    path = tmp_path / "whole" / "terms-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"X")
    with pytest.raises(StorageError, match=r"terms-00001-of-00002.parquet is not what its record says"):
        index_from_terms(tmp_path / "whole", tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_an_error_leaves_no_half_shard(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"_id": f"d{i}", "text": "cat dog"}) + "\n" for i in range(700)) + "broken\n")
    with pytest.raises(CorpusError, match="line 701"):
        encode_shard([path], tmp_path / "terms", Shard(0, 1), encoder)
    assert not [p for p in (tmp_path / "terms").iterdir() if p.name.startswith(("terms", "shard", "static-", "."))]


def test_a_file_of_a_folder_that_cannot_be_read_is_named_and_the_job_goes_on(
    encoder: LatentTermEncoder, tmp_path: Path
) -> None:
    notes, terms = tmp_path / "notes", tmp_path / "terms"
    notes.mkdir()
    for name in ("a.md", "c.md"):
        (notes / name).write_text(f"The cat of {name} sits in an apple tree by the lake.")
    (notes / "b.md").symlink_to(tmp_path / "nowhere")
    reports = [encode_shard(notes, terms, Shard(number, 2), encoder) for number in range(2)]
    assert sum(report.documents for report in reports) == 2
    assert index_from_terms(terms, tmp_path / "a").documents == 2
    records = [json.loads(path.read_text()) for path in sorted(terms.glob("shard-*.json"))]
    assert sum(record["skipped"] for record in records) == 1
    assert [m for record in records for m in record["skipped_messages"]] == [
        f"{notes / 'b.md'} cannot be read: a symbolic link that leads nowhere."
    ]
    assert all(encode_shard(notes, terms, Shard(number, 2), encoder).skipped for number in range(2))
    with pytest.raises(CorpusError, match=r"b\.md"):
        encode_shard(notes / "b.md", tmp_path / "other", Shard(0, 2), encoder)


def test_an_id_in_two_shards_is_refused_by_name(encoder: LatentTermEncoder, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    lines = [json.dumps({"_id": f"d{i}", "text": "cat dog"}) for i in range(20)] + [json.dumps({"_id": "d3", "text": "cow"})]
    path.write_text("\n".join(lines) + "\n")
    for number in (0, 1):
        encode_shard([path], tmp_path / "terms", Shard(number, 2), encoder)
    with pytest.raises(CorpusError, match="'d3' already"):
        index_from_terms(tmp_path / "terms", tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_what_is_not_kept_is_not_there(encoder: LatentTermEncoder, corpus: Path, tmp_path: Path) -> None:
    encode(encoder, corpus, tmp_path / "terms", 1, store_text=False, static=False, literal=LiteralConfig(literal=False))
    index_from_terms(tmp_path / "terms", tmp_path / "index")
    index = BM25Index.open(tmp_path / "index")
    assert not index.stores_text and index.static() is None and index.literal is None and index.fields
    assert index.stored(0).text == ""


def test_rows_of_arrow_hold_documents_whole(encoder: LatentTermEncoder) -> None:
    documents = [Document(f"d{i}", "cat. " * (3 * i + 1), f"t{i}", fields={"n": i}) for i in range(7)]
    batch = encode_documents(documents, encoder, TermsSettings.of(encoder, passages=CUT))
    small = [batch.slice(start, 2) for start in range(0, batch.num_rows, 2)]
    parts = [decoded(part, encoder.n_latents, {"n": "integer"}, "x") for part in whole_documents(iter(small))]
    assert [document for part in parts for document in part.documents] == documents
    whole = decoded(batch, encoder.n_latents, {"n": "integer"}, "x")
    assert np.array_equal(np.concatenate([part.rows.data for part in parts]), whole.rows.data)


@pytest.mark.slow
def test_the_command_line_builds_from_shards_without_torch(
    tiny_vocabulary: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, index = str(tmp_path / "terms"), str(tmp_path / "index")
    for shard in ("0/2", "1/2", "1/2"):
        words = ["encode", str(corpus), "-o", out, "--shard", shard, "--vocabulary", str(tiny_vocabulary), "--json"]
        assert main(["-q", *words]) == 0
    assert [json.loads(line)["was_there"] for line in capsys.readouterr().out.replace("}\n{", "}\0{").split("\0")] == [
        False,
        False,
        True,
    ]
    script = f"""
import sys
from lexite.cli import main
assert main(["-q", "index", "--from-terms", {out!r}, "-o", {index!r}, "--k1", "1.7"]) == 0
assert not [name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    opened = BM25Index.open(index)
    assert opened.n_documents == 60 and opened.scoring.k1 == 1.7 and opened.has_static
    with Searcher.open(index, static=True) as searcher:
        assert searcher.search("cat on a tree")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "x", "-o", "y.npz", "--passages", "none"], "--passages has no effect without --shard"),
        (["encode", "x", "--shard", "0/2"], "into a folder"),
        (["index", "x", "-o", "y", "--from-terms", "z"], "SOURCES has no effect beside --from-terms"),
        (["index", "-o", "y", "--from-terms", "z", "--vectors", "int8"], "Shards have no side files"),
    ],
)
def test_options_without_effect_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err
