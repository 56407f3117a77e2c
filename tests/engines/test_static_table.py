"""The static table as plain data, and the JavaScript client beside Python."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lexite.cli import main
from lexite.engines.queries import engine_queries
from lexite.engines.routes import route
from lexite.engines.static_table import export_static_table
from lexite.engines.statistics import statistics_of
from lexite.errors import StorageError
from lexite.index import BM25Config, BM25Index
from lexite.search.queries import static_queries_of

CLIENT = Path(__file__).parents[2] / "clients" / "javascript"
ODD = (
    "Straße ΣΊΣΥΦΟΣ 東京へ 7月 हिन्दी ½ ﬁ İstanbul ǅ á naïve [CLS] [MASK] 한국어를 배우다 ភាសាខ្មែរ 👩‍🔬 "
    "x1_y2 the of B12-level ไทย \u3042\ufe0f \ud800 ☃"
).split()


@pytest.fixture(scope="module")
def words_index(tiny_vocabulary: Path, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> BM25Index:
    """The six documents and one of odd words, with literal words and a static table."""
    folder = tmp_path_factory.mktemp("static")
    odd = json.dumps({"_id": "odd", "text": " ".join(word for word in ODD if not "\ud800" <= word[0] <= "\udfff")})
    (folder / "corpus.jsonl").write_text(documents.read_text(encoding="utf-8") + odd + "\n", encoding="utf-8")
    options = ["-o", str(folder / "index"), "--vocabulary", str(tiny_vocabulary)]
    assert main(["-q", "index", str(folder / "corpus.jsonl"), *options]) == 0
    return BM25Index.open(folder / "index")


def test_the_table_is_that_of_the_index(words_index: BM25Index, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    done = export_static_table(words_index, tmp_path / "table")
    facts = json.loads((tmp_path / "table" / "static-table.json").read_text(encoding="utf-8"))
    arrays = load_file(tmp_path / "table" / "table.safetensors")
    table = words_index.static()
    assert table is not None and done.n_pieces == table.n_pieces == len(arrays["bounds"]) - 1
    assert np.array_equal(arrays["values"], table.rows.data) and np.array_equal(arrays["latents"], table.rows.indices)
    words = json.loads((tmp_path / "table" / "words.json").read_text(encoding="utf-8"))
    assert facts["n_latents"] + len(words) == facts["n_terms"] == words_index.n_terms == len(arrays["worth"])
    assert words[0] == words_index.word(words_index.n_latents)
    assert facts["routes"]["saturation"] == {"factor": 1.0, "own_idf": False, "pivot": words_index.scoring.k1}
    assert json.loads((tmp_path / "table" / "folding.json").read_text(encoding="utf-8"))["ß"] == "ss"
    with pytest.raises(StorageError, match="exists already"):
        export_static_table(words_index, tmp_path / "table")
    plus = BM25Config(idf="bm25+")
    export_static_table(words_index, tmp_path / "table", scoring=plus, overwrite=True)
    facts = json.loads((tmp_path / "table" / "static-table.json").read_text(encoding="utf-8"))
    assert "saturation" not in facts["routes"] and "impacts" in facts["routes"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saturation", "frequencies"])
def test_javascript_encodes_a_thousand_queries_as_python_does(name: str, words_index: BM25Index, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (CLIENT / "node_modules" / "@huggingface" / "tokenizers").is_dir():
        pytest.skip("the packages of clients/javascript are not installed: run npm install there")
    export_static_table(words_index, tmp_path / "table")
    generator = random.Random(0)
    known = [words_index.word(term) for term in range(words_index.n_latents, words_index.n_terms)] + ODD
    texts = ["", "   ", "x" * 300, *(" ".join(generator.choices(known, k=generator.randint(1, 12))) for _ in range(997))]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    command = [node, str(CLIENT / "encode.js"), str(tmp_path / "table"), name]
    done = subprocess.run(command, input=lines, capture_output=True, encoding="utf-8", check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    encoded = static_queries_of(words_index).encode(texts)
    ours = engine_queries(words_index, encoded, route(name), statistics_of(words_index))
    for text, theirs, own in zip(texts, found, ours, strict=True):
        assert theirs["terms"] == own.terms.tolist(), text
        assert np.allclose(theirs["weights"], own.weights, rtol=1e-6, atol=0), text
        assert theirs["pivot"] == own.pivot
