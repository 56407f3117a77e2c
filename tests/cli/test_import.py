from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder of the tiny model's width in a folder of SAELens."""
    return write_random(tmp_path_factory.mktemp("saes") / "saelens", 32)


def write_random(path: Path, width: int, **values: object) -> Path:
    from lexite.integrations import write_saelens
    from lexite.sae import SAEConfig, SparseAutoencoder

    generator = torch.Generator().manual_seed(5)
    matrix = torch.nn.functional.normalize(torch.randn(24, width, generator=generator), dim=1)
    config = SAEConfig(d_model=width, n_latents=24, k=3, **values)  # type: ignore[arg-type]
    return write_saelens(SparseAutoencoder(config, matrix, torch.zeros(24), matrix, torch.zeros(width)), path)


@pytest.fixture
def model(tiny_model: Path) -> list[object]:
    return ["--model", tiny_model, "--overlap", "4", "--precision", "fp32"]


def test_import_makes_a_vocabulary_that_indexes(lexite, folder: Path, model, documents: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    words = ["--text", documents, "--licence", "mit", "--name", "other", "--k1", "2", "--json", tmp_path / "s.json"]
    done = lexite("import", folder, "-o", target, *model, *words)
    assert done.status == 0, done.err
    assert done.out == f"Use it: lexite index DOCUMENTS -o my.lexite --vocabulary {target}\n"
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["library"], summary["rule"], summary["k"], summary["n_terms"]) == ("SAELens", "topk", 3, 24)
    assert 0 < summary["l0"] <= 3 and summary["fvu"] > 0 and summary["n_documents"] == 6
    facts = lexite("info", target, "--verify", "--json").json
    assert (facts["name"], facts["details"]["licence"], facts["scoring"]["k1"]) == ("other", "mit", 2.0)
    assert facts["fingerprint"] == summary["fingerprint"]
    assert lexite("index", documents, "-o", tmp_path / "i", "--vocabulary", target).status == 0
    assert lexite("search", tmp_path / "i", "milk of the cow", "--json").json["hits"]
    assert "exists already" in lexite("import", folder, "-o", target, *model).error
    again = lexite("import", folder, "-o", target, *model, "--overwrite", "--json", "-").json
    assert "fvu" not in again and again["fingerprint"] == summary["fingerprint"]


def test_a_licence_is_not_invented(lexite, folder: Path, model, tmp_path: Path) -> None:
    assert lexite("import", folder, "-o", tmp_path / "v", *model).status == 0
    assert lexite("info", tmp_path / "v", "--json").json["details"]["licence"] == "unknown"
    assert "license: unknown" in (tmp_path / "v" / "README.md").read_text()


def test_errors_are_one_line_and_leave_nothing(lexite, folder: Path, model, tmp_path: Path) -> None:
    def fails(path: Path, *words: object) -> str:
        error = lexite("import", path, "-o", tmp_path / "v", *words).error
        assert not (tmp_path / "v").exists()
        return error

    assert "states of width 48, but" in fails(write_random(tmp_path / "wide", 48), *model)
    assert "no-such-model" in fails(folder, "--model", tmp_path / "no-such-model")
    assert "does not exist" in fails(tmp_path / "nothing", *model)
    assert "nothing.jsonl" in fails(folder, *model, "--text", tmp_path / "nothing.jsonl")
    assert "k is 30, but must be between 1 and 24" in fails(folder, *model, "--k-documents", "30")
    assert "States cannot be scaled by 0.0" in fails(folder, *model, "--input-scale", "0")
    scaled = write_random(tmp_path / "scaled", 32, normalize_activations="expected_average_only_in")
    assert "(--text), or the factor itself (--input-scale)" in fails(scaled, *model)
    assert lexite("import", scaled, "-o", tmp_path / "s", *model, "--input-scale", "1").status == 0
    assert "No output was named" in lexite("import", folder, *model).usage
