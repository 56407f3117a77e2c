"""index, add, delete, merge: what they leave in the folder, and what they say."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lexite.cli import main
from lexite.corpus import read_documents
from lexite.index import BM25Index, VocabularyInfo
from lexite.search.queries import encoder_of
from lexite.terms import LatentTermEncoder

LEFT_OUT = {"skipped": 0, "skipped_reasons": {}, "skipped_messages": [], "notes": [], "files_not_read": {}}


def ids(index: Path) -> list[str]:
    return list(BM25Index.open(index).ids)


def jsonl(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_index_says_what_it_did(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    done = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary)
    assert done.status == 0 and done.err == ""
    assert done.out.startswith("6 documents, ") and done.out.endswith(f"Search it: lexite search {tmp_path / 'i'}\n")
    assert ids(tmp_path / "i") == ["d1", "d2", "d3", "d4", "d5", "d6"]


UNREAD = {"without_terms": 0, "without_terms_ids": [], "mostly_unknown": 0, "mostly_unknown_ids": []}


def test_index_json_and_options(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["--k-documents", "2", "--k1", "3", "--no-text", "--json"]
    done = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, *words)
    keys = {"index", "documents", "passages", *LEFT_OUT, *UNREAD, "postings", "bytes", "seconds", "precision"}
    assert set(done.json) == keys
    assert done.json["documents"] == 6 and done.json["skipped"] == 0 and done.json["precision"] == "fp32"
    index = BM25Index.open(tmp_path / "i")
    assert index.scoring.k1 == 3 and index.vocabulary.terms_config["k_documents"] == 2
    assert index.stored(0).text == "" and done.json["postings"] == index.n_postings


def test_a_profile_is_recorded_and_searched_with(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    sizes = {}
    for profile in ("full", "small"):
        path = tmp_path / profile
        assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary, "--profile", profile).status == 0
        index = BM25Index.open(path)
        searching = encoder_of(index.vocabulary)
        sizes[profile] = index.n_postings, searching.encode_queries(["the cat drinks milk on the roof"]).n_terms
        trained = searching.sae.config.k
        expected = (trained, trained, 0.0, 0.0) if profile == "full" else (min(6, trained), 3, 0.03, 0.125)
        keys = ("k_documents", "k_queries", "floor_documents", "floor_queries")
        assert tuple(index.vocabulary.terms_config[key] for key in keys) == expected
    assert sizes["small"][0] <= sizes["full"][0] and sizes["small"][1] < sizes["full"][1]


def test_an_option_wins_over_the_profile(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["--vocabulary", tiny_vocabulary, "--profile", "small", "--floor-documents", "0"]
    assert lexite("index", documents, "-o", tmp_path / "i", *words).status == 0
    recorded = BM25Index.open(tmp_path / "i").vocabulary.terms_config
    assert recorded["floor_documents"] == 0 and recorded["floor_queries"] == 0.125


def test_index_takes_a_recipe(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"sources: [{documents}]\noutput: {tmp_path / 'i'}\nidf: robertson\nk-documents: 3\n")
    assert lexite("index", "--recipe", recipe, "--vocabulary", tiny_vocabulary, "--k1", "2").status == 0
    index = BM25Index.open(tmp_path / "i")
    assert (index.scoring.idf, index.scoring.k1, index.vocabulary.terms_config["k_documents"]) == ("robertson", 2.0, 3)


def test_index_reads_standard_input_and_names_fields(lexite, tiny_vocabulary: Path, tmp_path: Path, monkeypatch) -> None:
    text = '{"nr": "x", "words": "the cat drinks milk"}\n{"nr": "y", "words": "rain on the sea"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    words = ["--id-field", "nr", "--text-field", "words"]
    assert lexite("index", "-", "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, *words).status == 0
    assert ids(tmp_path / "i") == ["x", "y"]


def test_an_index_is_replaced_only_on_request(lexite, own_index: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "new.jsonl", {"_id": "n", "text": "new milk"})
    again = ["index", source, "-o", own_index, "--vocabulary", tiny_vocabulary]
    assert lexite(*again).error == f"{own_index} exists already. Choose another output folder, or replace it with --overwrite."
    assert lexite(*again, "--overwrite").status == 0
    assert ids(own_index) == ["n"]


def test_skipped_records_are_counted_and_named(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    source = tmp_path / "some.jsonl"
    source.write_text('{"_id": "a", "text": "milk"}\nnonsense\n{"_id": "c", "text": "bread"}\n')
    done = lexite("index", source, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--skip-bad", "--json")
    assert done.json["documents"] == 2 and done.json["skipped"] == 1
    assert f"{source}, line 2" in done.err and "1 was skipped (malformed record 1), 2 read" in done.err


def test_add_appends_and_is_found_at_once(lexite, own_index: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "new.jsonl", {"_id": "n1", "text": "a virus in a cell"}, {"_id": "n2", "text": "horse"})
    done = lexite("add", own_index, source, "--json")
    assert done.json == {"index": str(own_index), "added": 2, "replaced": 0, **LEFT_OUT, "documents": 8, **UNREAD}
    hits = json.loads(lexite("search", own_index, "a virus in a cell", "--json", "--top-k", "1").out)["hits"]
    assert [hit["id"] for hit in hits] == ["n1"]


def test_add_encodes_as_the_index_was_encoded(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    path, made_by = tmp_path / "i", ["--vocabulary", tiny_vocabulary, "--k-documents", "1", "--no-literal"]
    assert lexite("index", documents, "-o", path, *made_by).status == 0
    source = jsonl(tmp_path / "same.jsonl", {"_id": "copy", "title": "Animals", "text": "The cat and the dog drink milk."})
    assert lexite("add", path, source).out == f"1 document added; {path} holds 7.\n"
    before, after = tmp_path / "one", jsonl(tmp_path / "b.jsonl", json.loads(source.read_text()))
    assert lexite("index", after, "-o", before, *made_by).status == 0
    grown = BM25Index.open(path).n_postings - BM25Index.open(before).n_postings
    fresh = tmp_path / "fresh"
    assert lexite("index", documents, "-o", fresh, *made_by).status == 0
    assert grown == BM25Index.open(fresh).n_postings


def test_small_terms_are_dropped_alike_by_every_verb(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    index, new = tmp_path / "i", jsonl(tmp_path / "new.jsonl", {"_id": "n", "text": "the cat and the dog drink milk"})
    floor = ["--floor-documents", "0.5"]
    assert lexite("index", documents, "-o", index, "--vocabulary", tiny_vocabulary, "--no-literal", *floor).status == 0
    assert lexite("add", index, new).status == 0
    encoder, opened = LatentTermEncoder.from_pretrained(tiny_vocabulary), BM25Index.open(index)
    assert opened.vocabulary.terms_config["floor_documents"] == 0.5
    texts = [document.full_text for document in read_documents([documents])] + ["the cat and the dog drink milk"]
    assert opened.n_postings == encoder.encode_documents(texts, floor=0.5).nnz < encoder.encode_documents(texts).nnz
    encoded = lexite("encode", documents, "-o", "-", "--vocabulary", tiny_vocabulary, *floor).out.splitlines()
    assert sum(len(json.loads(line)["terms"]) for line in encoded) == encoder.encode_documents(texts[:-1], floor=0.5).nnz
    query = "the cat drinks milk on the sea"
    for static in ([], ["--static"]):
        found = [
            lexite("search", index, query, "--json", *static, *options).json["hits"]
            for options in ([], ["--floor-queries", "0.6"], ["--floor-queries", "1"])
        ]
        scores = [sum(hit["score"] for hit in hits) for hits in found]
        assert scores[0] > scores[1] > scores[2] > 0


def test_eval_drops_small_terms(lexite, collection: Path, tiny_vocabulary: Path) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary, "--baselines", "none", "--no-literal", "--static"]
    words += ["--json", "-"]
    whole, cut = (lexite(*words, *options).json for options in ([], ["--floor-documents", "0.5", "--floor-queries", "0.6"]))
    assert (cut["settings"]["floor_documents"], cut["settings"]["floor_queries"]) == (0.5, 0.6)
    for system in ("latent", "static"):
        for column in ("postings_per_document", "terms_per_query"):
            assert cut["mean"][system][column] < whole["mean"][system][column]


def test_add_refuses_a_known_id_and_replace_takes_it(lexite, own_index: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "new.jsonl", {"_id": "z", "text": "sun"}, {"_id": "d2", "title": "New", "text": "a fish"})
    assert "The index has a document 'd2' already" in lexite("add", own_index, source).error
    assert "z" not in ids(own_index), "none is added when one cannot be"
    assert lexite("add", own_index, source, "--replace").status == 0
    assert sorted(ids(own_index)) == ["d1", "d2", "d3", "d4", "d5", "d6", "z"]
    index = BM25Index.open(own_index)
    assert index.stored(index.find("d2")).title == "New"


def test_delete_all_or_none(lexite, own_index: Path) -> None:
    assert "no document 'd9'" in lexite("delete", own_index, "d1", "d9").error
    assert len(ids(own_index)) == 6
    assert lexite("delete", own_index, "d1", "d5", "--json").json == {"index": str(own_index), "deleted": 2, "documents": 4}
    assert ids(own_index) == ["d2", "d3", "d4", "d6"]
    assert lexite("delete", own_index, "d2").out == f"1 document deleted; {own_index} holds 3.\n"


def test_merge_leaves_one_segment(lexite, own_index: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "new.jsonl", {"_id": "n1", "text": "a virus in a cell"})
    assert lexite("add", own_index, source).status == 0
    assert lexite("delete", own_index, "d1").status == 0
    assert lexite("merge", own_index, "--json").json["documents"] == 6
    facts = BM25Index.open(own_index, verify=True).info()
    assert (facts["n_segments"], facts["n_deleted"]) == (1, 0)
    assert lexite("merge", own_index).out == f"{own_index} holds 6 documents in one segment.\n"


def test_a_moved_vocabulary_is_named(lexite, own_index: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_vocabulary, tmp_path / "moved"))
    source = jsonl(tmp_path / "new.jsonl", {"_id": "n", "text": "sun"})
    assert lexite("add", own_index, source, "--vocabulary", moved).status == 0


@pytest.mark.parametrize("words", [["index", "-o", "x"], ["add", "x"], ["encode"]])
def test_sources_are_asked_for(lexite, words: list[str]) -> None:
    assert lexite(*words).usage.startswith("No documents were named.")


def test_an_output_is_asked_for(lexite, documents: Path) -> None:
    assert lexite("index", documents).usage == "No output was named. Give one with -o."


READ = ["--long", "truncate", "--query-prompt", "query: ", "--document-prompt", "text: "]


def test_how_texts_are_read_is_recorded_and_used_again(lexite, documents: Path, tiny_vocabulary, tmp_path, monkeypatch) -> None:
    path, loaded = tmp_path / "i", []
    assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary, *READ).status == 0
    config = {"long": "truncate", "query_prompt": "query: ", "document_prompt": "text: "}
    numbers = {"k_documents": 4, "k_queries": 4, "floor_documents": 0.0, "floor_queries": 0.0}
    assert BM25Index.open(path).vocabulary.terms_config == {**numbers, **config}
    load = LatentTermEncoder.from_pretrained

    def note(name: str, **given: Any) -> LatentTermEncoder:
        loaded.append({key: value for key, value in given.items() if key != "device"})
        return load(name, **given)

    monkeypatch.setattr(LatentTermEncoder, "from_pretrained", note)
    assert lexite("add", path, jsonl(tmp_path / "n.jsonl", {"_id": "n", "text": "sun"})).status == 0
    assert lexite("search", path, "milk", "--query-prompt", "q: ").status == 0
    assert loaded == [config, {**config, "query_prompt": "q: "}]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_build_that_fails_leaves_no_folder(error, lexite, tiny_vocabulary: Path, tmp_path: Path, monkeypatch) -> None:
    source = tmp_path / "some.jsonl"
    source.write_text('{"_id": "a", "text": "milk"}\nnonsense\n')
    if error:
        monkeypatch.setattr("lexite.search.indexing.index_documents", lambda *a, **k: (_ for _ in ()).throw(error))
    done = lexite("index", source, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary)
    assert done.status == (130 if error else 1) and not (tmp_path / "i").exists()


def test_a_folder_that_another_writer_begins_stays(lexite, tiny_vocabulary: Path, documents: Path, tmp_path: Path) -> None:
    with BM25Index.create(tmp_path / "i", VocabularyInfo("f" * 64, "other", 64)):
        done = lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary)
        assert done.status == 1 and "another writer of this process" in done.error
        assert (tmp_path / "i").exists()


def test_add_skips_known_ids_on_request(lexite, own_index: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "new.jsonl", {"_id": "z", "text": "sun"}, {"_id": "d2", "text": "a fish"})
    assert "--replace" in lexite("add", own_index, source).error
    done = lexite("add", own_index, source, "--skip-bad", "--json")
    message, reason = "The index has a document 'd2' already.", "in the index already"
    left_out = {**LEFT_OUT, "skipped": 1, "skipped_reasons": {reason: 1}, "skipped_messages": [message]}
    assert done.json == {"index": str(own_index), "added": 1, "replaced": 0, **left_out, "documents": 7, **UNREAD}
    assert "has a document 'd2' already" in done.err and "1 was skipped (in the index already 1), 1 read" in done.err


def test_delete_counts_documents_and_not_words(lexite, own_index: Path) -> None:
    assert lexite("delete", own_index, "d1", "d1", "--json").json["deleted"] == 1


def test_the_log_names_model_and_precision(documents: Path, tiny_vocabulary: Path, tmp_path: Path, capsys) -> None:
    assert main(["index", str(documents), "-o", str(tmp_path / "i"), "--vocabulary", str(tiny_vocabulary)]) == 0
    log = capsys.readouterr().err
    assert log.startswith("Model ") and "tiny in fp32 on cpu." in log


def test_add_finds_what_is_wrong_before_it_loads_the_model(
    lexite, own_index: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexite.search.queries.load_encoder", lambda *a, **k: pytest.fail("too early"))
    assert "has a document 'd1' already" in lexite("add", own_index, documents).error
    source = jsonl(tmp_path / "new.jsonl", {"_id": "new", "text": "milk"})
    with BM25Index.writer(own_index):
        assert "is being written" in lexite("add", own_index, source).error
    (tmp_path / "bad.jsonl").write_text("nonsense\n")
    assert "line 1" in lexite("add", own_index, tmp_path / "bad.jsonl").error


def test_records_without_ids_go_on_where_the_index_ends(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    first = jsonl(tmp_path / "a.jsonl", {"text": "the cat"}, {"text": "the dog"})
    second = jsonl(tmp_path / "b.jsonl", {"text": "a fish"}, {"text": "a bird"})
    index = tmp_path / "i"
    assert lexite("index", first, "-o", index, "--vocabulary", tiny_vocabulary).status == 0
    assert lexite("add", index, second).status == 0
    assert ids(index) == ["1", "2", "3", "4"]
    done = lexite("add", index, second, "--replace", "--json")
    assert done.json["documents"] == 6 and ids(index) == ["1", "2", "3", "4", "5", "6"]


def test_folders_are_told_apart_and_what_is_not_read_is_said(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    for folder in ("projA", "projB"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "README.md").write_text(f"# {folder}\n\nText.")
    (tmp_path / "projA" / "empty.md").write_text("")
    (tmp_path / "projA" / "x.png").write_text("")
    words = ["index", tmp_path / "projA", tmp_path / "projB", "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary]
    done = lexite(*words, "--json")
    assert ids(tmp_path / "i") == ["projA/README.md", "projB/README.md"]
    assert done.json["documents"] == 2 and done.json["skipped_reasons"] == {"empty": 1}
    assert done.json["skipped_messages"] == [f"{tmp_path / 'projA' / 'empty.md'}: the text is empty."]
    assert done.json["files_not_read"] == {".png": 1}


def test_what_is_not_read_is_said_in_one_line(
    tiny_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("a.md", "b.png", "c.png", "d.css2", "empty.md"):
        (tmp_path / "notes" / name).write_text("" if name == "empty.md" else "text")
    words = ["index", tmp_path / "notes", "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary]
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr().err
    assert "Not read, since of another kind: 3 files (.png 2, .css2 1).\n" in said
    assert "Warning: 1 was skipped (empty 1), 1 read.\n" in said


def test_fields_are_chosen_on_the_command_line(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "a.jsonl", {"text": "the cat", "year": 2020}, {"text": "the dog", "year": "n/a"})
    words = ["index", source, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary]
    assert "--field-type year=text" in lexite(*words).error
    assert "write NAME=TYPE" in lexite(*words, "--field-type", "year").error
    assert lexite(*words, "--field-type", "year=text", "--field-type", "gone=date").status == 0
    assert lexite(*words, "--overwrite", "--fields", "none").status == 0
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"sources: {source}\nfield_type: [year=text]\nfields: year\n")
    assert lexite("index", "--recipe", recipe, *words[2:], "--overwrite").status == 0
