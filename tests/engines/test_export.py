"""Exports, read back by plain readers, emulated, stopped, damaged and refused."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_engines import Emulated, memory_index
from scipy.sparse import csr_array
from vespa_stub import tensor

from lexite.corpus import Document
from lexite.corpus.passages import CutDocuments
from lexite.engines import export as export_module
from lexite.engines.export import export_index, read_manifest
from lexite.engines.export_settings import ExportSettings
from lexite.engines.forms import FORMS
from lexite.engines.forms.base import not_unicode
from lexite.engines.requests import request_of
from lexite.engines.statistics import drift_of, load_record, statistics_of
from lexite.errors import ArgumentError, ConfigError, CorpusError, IndexFormatError, QueryError, StorageError
from lexite.index import BM25Index, EncodedQueries, VocabularyInfo

LINES = [name for name in FORMS if name not in ("parquet", "arrow", "ciff")]


def records(name: str, folder: Path) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Id, document and terms of each passage of an export, by a reader that knows the format alone."""
    for path in sorted(folder.glob("part-*")):
        text = path.read_text(encoding="utf-8")
        if name.endswith("bulk"):
            lines = [json.loads(line) for line in text.splitlines()]
            for action, source in zip(lines[::2], lines[1::2], strict=True):
                yield action["index"]["_id"], source["doc"], frequencies(source.get("lexite", {}))
        elif name == "solr":
            for each in json.loads(text):
                yield each["id"], each["doc"], frequencies(each.get("lexite", {}))
        elif name == "postgres":
            for line in text.splitlines():
                cells = line.split("\t")
                inside = cells[-1].partition("}")[0].lstrip("{")
                pairs = [pair.split(":") for pair in inside.split(",")] if inside else []
                yield cells[0], cells[1], {str(int(term) - 1): float(value) for term, value in pairs}
        else:
            for line in text.splitlines():
                each = json.loads(line)
                if name == "qdrant":
                    vector = each["vector"].get("lexite", {"indices": [], "values": []})
                    terms = {str(t): v for t, v in zip(vector["indices"], vector["values"], strict=True)}
                    yield each["payload"]["id"], each["payload"]["doc"], terms
                elif name == "vespa":
                    yield each["fields"]["id"], each["fields"]["doc"], each["fields"]["lexite"]["cells"]
                else:
                    yield each["id"], each["id"], each["vector"]


def frequencies(field: Any) -> dict[str, float]:
    if isinstance(field, dict):
        return field
    return {name: float(count) for name, count in (pair.split("|") for pair in field.split())}


def asked_terms(name: str, body: Any) -> dict[str, float]:
    """Terms and weights of a request, by its own language."""
    if name.endswith("bulk"):
        query = body["query"]
        if "sparse_vector" in query:
            assert query["sparse_vector"]["prune"] is False
            return dict(query["sparse_vector"]["query_vector"])
        features = [clause["rank_feature"] for clause in query["bool"]["should"]]
        return {feature["field"].removeprefix("lexite."): feature["boost"] for feature in features}
    if name == "solr":
        clauses = body["query"]["lucene"]["query"].split(" ")
        return {term.replace("\\", ""): float(boost) for term, boost in (clause.rsplit("^", 1) for clause in clauses)}
    if name == "qdrant":
        return {str(t): w for t, w in zip(body["query"]["indices"], body["query"]["values"], strict=True)}
    if name == "vespa":
        return tensor(body["input.query(lexite)"])
    if name == "postgres":
        inside = body.partition("'{")[2].partition("}")[0]
        return {str(int(t) - 1): float(w) for t, w in (pair.split(":") for pair in inside.split(","))}
    return dict(body["vector"])


@pytest.mark.parametrize("name", LINES)
def test_what_is_written_and_what_is_asked_give_the_ranking(
    name: str, index: BM25Index, queries: EncodedQueries, tmp_path: Path
) -> None:
    settings = ExportSettings(name, part_size=20_000)
    done = export_index(index, tmp_path / "out", settings)
    assert len(done.parts) > 2 and done.n_documents == 300 == done.n_passages
    held = {identifier: terms for identifier, _, terms in records(name, tmp_path / "out")}
    assert list(held) == [f"d{number}" for number in range(300)]
    engine, overlaps = Emulated(done.route.name, held), []
    for query, hits in zip(queries, index.search(queries), strict=True):
        found = request_of(index, EncodedQueries(query.rows, [query.texts[0]] if query.texts else None), settings)
        ranking = engine.search(asked_terms(name, found.body), done.route.pivot(index.scoring))
        overlaps.append(len({hit.id for hit in hits} & {identifier for identifier, _ in ranking}) / max(len(hits), 1))
    assert np.mean(overlaps) >= (0.9 if name == "anserini" else 0.99)
    for file in done.setup:
        text = (tmp_path / "out" / file).read_text(encoding="utf-8")
        assert text and (not file.endswith(".json") or json.loads(text))


def test_a_ciff_is_read_by_its_protocol(index: BM25Index, tmp_path: Path) -> None:
    export_index(index, tmp_path / "out", ExportSettings("ciff"))
    messages = iter(delimited((tmp_path / "out" / "index.ciff").read_bytes()))
    header = fields_of(next(messages))
    assert header[1] == [1] and header[3] == [300] == header[5] and header[2] == header[4]
    lists: dict[str, dict[int, int]] = {}
    for _ in range(header[2][0]):
        posting_list = fields_of(next(messages))
        document, own = 0, {}
        for posting in posting_list[4]:
            parts = fields_of(posting)
            document += parts.get(1, [0])[0]
            own[document] = parts[2][0]
        assert len(own) == posting_list[2][0] and sum(own.values()) == posting_list[3][0]
        lists[posting_list[1][0].decode()] = own
    assert list(lists) == sorted(lists, key=str.encode)
    documents = [fields_of(message) for message in messages]
    assert [record[2][0].decode() for record in documents] == [f"d{number}" for number in range(300)]
    lengths = [sum(own.get(number, 0) for own in lists.values()) for number in range(300)]
    assert [record.get(3, [0])[0] for record in documents] == lengths and header[6] == [sum(lengths)]


def delimited(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length, at = varint_at(data, at)
        yield data[at : at + length]
        at += length


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 128:
            return value, at


def fields_of(message: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = varint_at(message, at)
        if tag & 7 == 0:
            value, at = varint_at(message, at)
        elif tag & 7 == 1:
            value, at = message[at : at + 8], at + 8
        else:
            length, at = varint_at(message, at)
            value, at = message[at : at + length], at + length
        found.setdefault(tag >> 3, []).append(value)
    return found


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_tables_of_arrow(name: str, index: BM25Index, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    done = export_index(index, tmp_path / "out", ExportSettings(name))
    (path,) = [tmp_path / "out" / part.name for part in done.parts]
    table = parquet.read_table(path) if name == "parquet" else pa.ipc.open_file(path).read_all()
    assert table.schema.field("indices").type == pa.list_(pa.int32()) and table.num_rows == 300
    row = table.slice(7, 1).to_pylist()[0]
    assert row["id"] == "d7" and row["indices"] == index.rows(["d7"]).indices.tolist() and max(row["values"]) < 1


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
def test_compressed_parts_hold_the_same(compress: str, index: BM25Index, tmp_path: Path) -> None:
    if compress == "zstd":
        zstandard = pytest.importorskip("zstandard")
    plain = export_index(index, tmp_path / "plain", ExportSettings("qdrant", part_size=100_000))
    packed = export_index(index, tmp_path / "packed", ExportSettings("qdrant", part_size=100_000, compress=compress))
    for one, other in zip(plain.parts, packed.parts, strict=True):
        data = (tmp_path / "packed" / other.name).read_bytes()
        read = gzip.decompress(data) if compress == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress(data)
        assert read == (tmp_path / "plain" / one.name).read_bytes()


def test_an_export_that_was_stopped_goes_on(index: BM25Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, out = ExportSettings("qdrant", part_size=30_000), tmp_path / "out"
    whole = export_index(index, tmp_path / "whole", settings)
    real, calls = export_module._finished, []

    def stopped(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(export_module, "_finished", stopped)
    with pytest.raises(KeyboardInterrupt):
        export_index(index, out, settings)
    monkeypatch.undo()
    assert not read_manifest(out)["complete"] and len(read_manifest(out)["parts"]) == 2
    (out / ".part-00002.jsonl.1.tmp").write_bytes(b"half")
    again = "Export with the same settings, or begin anew with overwrite=True."
    scoring = dataclasses.replace(index.scoring, k1=0.25)
    for told, chosen, scored in (
        ("part_size of settings (30000, not 40000)", ExportSettings("qdrant", part_size=40_000), None),
        (f"k1 of scoring ({index.scoring.k1}, not 0.25)", settings, scoring),
    ):
        with pytest.raises(IndexFormatError) as caught:
            export_index(index, out, chosen, scoring=scored)
        assert str(caught.value) == f"{out} holds an unfinished export with other settings: {told}. {again}"
    with pytest.raises(IndexFormatError, match="another state of the index"):
        export_index(memory_index(200), out, settings)
    done = export_index(index, out, settings)
    assert done.resumed == 2 and done.parts == whole.parts and not list(out.glob(".*"))
    for part in whole.parts:
        assert (out / part.name).read_bytes() == (tmp_path / "whole" / part.name).read_bytes()
    with pytest.raises(StorageError, match="holds a finished export"):
        export_index(index, out, settings)
    assert export_index(index, out, settings, overwrite=True).resumed == 0


def test_a_damaged_part_is_named(index: BM25Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, real = ExportSettings("solr", part_size=30_000), export_module._write_manifest
    monkeypatch.setattr(export_module, "_write_manifest", lambda *a, complete: real(*a, complete=False))
    done = export_index(index, tmp_path, settings)
    monkeypatch.undo()
    data = (tmp_path / done.parts[1].name).read_bytes()
    (tmp_path / done.parts[1].name).write_bytes(data[:-3] + b"xxx")
    with pytest.raises(IndexFormatError, match="part-00001.json is missing or damaged"):
        export_index(index, tmp_path, settings)


def test_other_folders_are_left_alone(index: BM25Index, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="is not empty and holds no export"):
        export_index(index, tmp_path, ExportSettings("qdrant"), overwrite=True)
    with pytest.raises(StorageError, match="is a file"):
        export_index(index, tmp_path / "notes.txt", ExportSettings("qdrant"))


def with_ids(*ids: str) -> BM25Index:
    rows = csr_array(np.ones((len(ids), 2), np.float32))
    return BM25Index.in_memory(rows, list(ids), None, VocabularyInfo("f" * 64, "two", 2))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("opensearch-bulk", "é" * 300, r"'é{40}…': it has 600 bytes, and 512 are the most"),
        ("elasticsearch-bulk", "\ud800", "half of a surrogate pair"),
        ("solr", "x" * 40_000, "40,000 bytes"),
        ("postgres", "a\0b", "holds a NUL"),
        ("vespa", "a\x01b", "a character that Vespa takes nowhere"),
        ("anserini", "a b", "holds a blank"),
    ],
)
def test_ids_that_an_engine_cannot_hold_are_named_and_nothing_is_written(
    name: str, bad: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=message):
        export_index(with_ids("good", bad), tmp_path / "out", ExportSettings(name))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", LINES)
def test_ids_of_every_other_kind_come_back(name: str, tmp_path: Path) -> None:
    ids = ["a/b", "ü", "日本", '"quoted"', "back\\slash", "😀", "x" * 512]
    export_index(with_ids(*ids), tmp_path / "out", ExportSettings(name))
    found = [identifier for identifier, _, _ in records(name, tmp_path / "out")]
    assert [i.replace("\\\\", "\\") if name == "postgres" else i for i in found] == ids
    assert not_unicode("") == "it is empty"


def passages_index(path: Path, ids: tuple[str, ...] = ("a", "b", "c")) -> BM25Index:
    """Documents of 1, 3 and 2 passages, and one that is deleted."""
    texts = ["one two", "red green blue", "sun moon", "gone"]
    spans = np.array([(0, 0), (0, 3), (4, 9), (10, 14), (0, 3), (4, 8), (0, 0)])
    cut = CutDocuments([f"passage {number}" for number in range(7)], np.array([0, 1, 4, 6, 7]), spans)
    documents = [Document(identifier, text, "T") for identifier, text in zip((*ids, "gone"), texts, strict=True)]
    with BM25Index.create(path, VocabularyInfo("f" * 64, "three", 3)) as writer:
        writer.add(documents, csr_array(np.arange(1, 22, dtype=np.float32).reshape(7, 3)), cut)
        writer.commit()
    with BM25Index.writer(path) as writer:
        writer.delete(["gone"])
        writer.commit()
    return BM25Index.open(path)


def test_passages_are_documents_of_their_own_and_deleted_documents_are_not_there(tmp_path: Path) -> None:
    index = passages_index(tmp_path / "i")
    done = export_index(index, tmp_path / "out", ExportSettings("qdrant", part_size=1))
    assert len(done.parts) == 3 == done.n_documents and done.n_passages == 6
    found = list(records("qdrant", tmp_path / "out"))
    assert [(identifier, document) for identifier, document, _ in found] == [
        ("a", "a"), ("b", "b"), ("b#1", "b"), ("b#2", "b"), ("c", "c"), ("c#1", "c")
    ]  # fmt: skip
    points = [
        json.loads(path.read_text(encoding="utf-8").splitlines()[-1]) for path in sorted((tmp_path / "out").glob("part-*"))
    ]
    assert [point["payload"]["text"] for point in points] == ["one two", "blue", "moon"]
    assert points[0]["payload"]["title"] == "T"
    engine = Emulated("impacts", {i: terms for i, _, terms in found}, {i: document for i, document, _ in found})
    query = EncodedQueries(csr_array(np.array([[1, 0, 2]], np.float32)))
    asked = request_of(index, query, ExportSettings("qdrant"))
    assert asked.body["group_by"] == "doc" and asked.target.endswith("/points/query/groups")
    ours = [(hit.id, pytest.approx(hit.score, rel=1e-5)) for hit in index.search(query)[0]]
    assert engine.search(asked_terms("qdrant", asked.body), 0.0) == ours


def test_a_passage_that_would_be_called_like_a_document_is_refused(tmp_path: Path) -> None:
    index = passages_index(tmp_path / "i", ("b#1", "b", "c"))
    with pytest.raises(CorpusError, match="'b#1': a document and a passage of another one would be called so"):
        export_index(index, tmp_path / "out", ExportSettings("qdrant"))
    assert not (tmp_path / "out").exists()


def test_refusals_of_settings(index: BM25Index, queries: EncodedQueries, tmp_path: Path) -> None:
    for settings, message in (
        (ExportSettings("nothing"), "There is no format 'nothing'"),
        (ExportSettings("solr", "impacts"), "solr has no route 'impacts'. It has frequencies"),
        (ExportSettings("qdrant", name="Not a name"), "is no name"),
        (ExportSettings("qdrant", part_size=0), "part_size is 0"),
        (ExportSettings("parquet", compress="gzip"), "compressed inside"),
        (ExportSettings("ciff", text=True), "The index keeps no texts|holds neither texts"),
    ):
        with pytest.raises(ConfigError, match=message):
            export_index(index, tmp_path / "out", settings)
    one = queries[0]
    with pytest.raises(ArgumentError, match="gives 10,000 hits at once"):
        request_of(index, one, ExportSettings("opensearch-bulk"), 10_001)
    with pytest.raises(ArgumentError, match="One query"):
        request_of(index, queries, ExportSettings("solr"))
    with pytest.raises(QueryError, match="filters are not translated"):
        request_of(index, EncodedQueries(one.rows, ["jaguar -car"]), ExportSettings("solr"))


def test_requests_say_how_many_terms_were_cut(index: BM25Index, queries: EncodedQueries) -> None:
    whole = request_of(index, queries[0], ExportSettings("opensearch-bulk", "frequencies"))
    short = request_of(index, queries[0], ExportSettings("opensearch-bulk", "frequencies"), most_terms=3)
    assert short.n_terms == 3 and short.n_cut == whole.n_terms - 3 and len(short.body["query"]["bool"]["should"]) == 3
    assert whole.target.endswith("search_type=dfs_query_then_fetch") and whole.n_cut == 0
    nothing = EncodedQueries(csr_array((1, index.n_latents), dtype=np.float32))
    assert request_of(index, nothing, ExportSettings("opensearch-bulk")).body["query"] == {"match_none": {}}


def test_statistics_say_when_the_ranking_has_moved(index: BM25Index, tmp_path: Path) -> None:
    export_index(index, tmp_path, ExportSettings("qdrant"))
    record = load_record(tmp_path)
    same = drift_of(record, statistics_of(index))
    assert not same.moved and not same.frequencies_changed and same.growth == 0 == same.length
    grown = drift_of(record, statistics_of(memory_index(600)))
    assert grown.moved and grown.growth == 1.0 and "more than 50%" in grown.reasons()[-1]
    scored = drift_of(record, statistics_of(index, dataclasses.replace(index.scoring, k1=0.25, delta=0.5)))
    then = index.scoring
    told = f"The index scores otherwise now: k1 ({then.k1}, now 0.25), delta ({then.delta}, now 0.5)."
    assert scored.moved and scored.scoring_changed and scored.reasons() == [told] and not same.scoring
    text = (tmp_path / "export.json").read_text(encoding="utf-8")
    (tmp_path / "export.json").write_text(text.replace('"n_passages": 300', '"n_passages": 301'), encoding="utf-8")
    with pytest.raises(IndexFormatError, match="checksum is wrong"):
        load_record(tmp_path)
    with pytest.raises(IndexFormatError, match="damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["saturation", "linear"])
def test_elasticsearch_is_sent_what_opensearch_takes_by_the_routes_of_rank_features(
    name: str, index: BM25Index, queries: EncodedQueries, tmp_path: Path
) -> None:
    """The test server of Elasticsearch lacks the module of ``rank_features``; that of OpenSearch runs what is compared here."""
    for to in ("opensearch-bulk", "elasticsearch-bulk"):
        export_index(index, tmp_path / to, ExportSettings(to, name, keep_terms=True))
    ours, theirs = tmp_path / "elasticsearch-bulk", tmp_path / "opensearch-bulk"
    assert json.loads((ours / "index.json").read_text())["mappings"]["properties"]["lexite"] == {"type": "rank_features"}
    for file in ("index.json", "part-00000.ndjson"):
        assert (ours / file).read_bytes() == (theirs / file).read_bytes()
    one = EncodedQueries(queries.rows[[0]], None if queries.texts is None else [queries.texts[0]])
    asked = [request_of(index, one, ExportSettings(to, name)) for to in ("elasticsearch-bulk", "opensearch-bulk")]
    assert asked[0] == asked[1] and "rank_feature" in json.dumps(asked[0].body)
