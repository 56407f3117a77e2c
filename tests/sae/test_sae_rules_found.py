"""Rules are found by name, also those of other packages: the example of the documentation is installed and trained."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from lexite.errors import ConfigError
from lexite.sae import SAEConfig
from lexite.sae.objective import ObjectiveConfig
from lexite.sae.rules import make_rule, rule_names
from lexite.training.config import TrainingConfig
from lexite.training.step import TrainingState

PAGE = (Path(__file__).parents[2] / "docs" / "sae-rules.md").read_text(encoding="utf-8")


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, entry: str) -> None:
    """Puts a package with an entry point on the path."""
    info = folder / "half_rule-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-rule\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lexite.rules]\n{entry}\n")
    (folder / "half_rule.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "half_rule", raising=False)


def test_the_page_names_every_rule() -> None:
    assert re.findall(r"^\| `(\w+)` \|.*\| (?:after )?arXiv", PAGE, re.MULTILINE) == rule_names()


def test_the_rule_of_the_page_is_found_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    entry = re.search(r'lexite.rules"\]\n(.*?)\n', PAGE)
    assert code and entry
    assert len(code[1].splitlines()) <= 20
    install(tmp_path, monkeypatch, code[1], entry[1].replace('"', ""))
    assert rule_names()[-1] == "above_half"
    config = TrainingConfig(batch_tokens=64, buffer_tokens=128)
    state = TrainingState(SAEConfig(8, 30, 3, rule="above_half"), config, torch.float32)
    batch = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    errors = [state.step(batch, 0.01).squared_error for _ in range(60)]
    assert errors[-1] < 0.5 * errors[0]
    found = state.gradients(batch)
    values = found.codes.values
    assert bool(((values >= 0.499 * values.amax(1, keepdim=True)) | (values == 0)).all())
    assert state.autoencoder().encode(batch).l0 <= 3


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('too old')", "cannot be loaded: RuntimeError: too old"),
        ("AboveHalf = 3", "not a class derived from"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    install(tmp_path, monkeypatch, code, "above_half = half_rule:AboveHalf")
    with pytest.raises(ConfigError, match=message):
        make_rule(SAEConfig(8, 30, 3, rule="above_half"), ObjectiveConfig())


def test_an_unknown_rule_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown rule 'batchtopk'. Did you mean 'batch_topk'\? There are topk, "):
        make_rule(SAEConfig(rule="batchtopk", d_model=8), ObjectiveConfig())
