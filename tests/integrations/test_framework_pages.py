"""The pages on other frameworks run as they stand, and say how a missing one is installed."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "frameworks"
EXTRAS = {  # page and module: extra, import that the framework has
    "langchain": ("langchain", "langchain_core"),
    "llama_index": ("llama-index", "llama_index.core"),
    "haystack": ("haystack", "haystack"),
    "pyterrier": ("pyterrier", "pyterrier"),
    "beir": ("beir", "beir"),
}
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"


def run(page: Path, folder: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs the blocks of a page in a folder, with the tiny vocabulary as the default one."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("lexite.terms.hub.builtin_folder", lambda name="default": vocabulary if name == "default" else None)
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    return names


@pytest.mark.parametrize("module", EXTRAS)
def test_a_page_runs(
    module: str, tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    extra, framework = EXTRAS[module]
    pytest.importorskip(framework, reason=f"{framework} is not installed: pip install 'lexite[{extra}]'")
    page = PAGES / f"{extra}.md"
    run(page, tmp_path, tiny_vocabulary, monkeypatch)
    assert capsys.readouterr().out
    assert f"pip install 'lexite[{extra}]'" in page.read_text(encoding="utf-8")


def test_the_page_for_fastembed_and_txtai_runs(
    tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = run(PAGES / "fastembed-and-txtai.md", tmp_path, tiny_vocabulary, monkeypatch)
    rows = names["encoder"].encode_documents(["Plants make sugar from light."])
    ((indices, values),) = names["embed"](["Plants make sugar from light."])
    assert list(indices) == list(rows.indices) and list(values) == list(rows.data)
    assert capsys.readouterr().out


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_framework_is_answered_with_the_command(module: str) -> None:
    extra, framework = EXTRAS[module]
    top = framework.partition(".")[0]
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {top!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from lexite.errors import MissingExtraError\n"
        "try:\n"
        f"    import lexite.integrations.{module}\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'lexite[{extra}]'" in done.stdout and "which is not installed" in done.stdout


def test_every_page_is_listed() -> None:
    listed = (PAGES / "README.md").read_text(encoding="utf-8")
    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in listed
    assert "frameworks/README.md" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for module in EXTRAS:
        assert importlib.util.find_spec(f"lexite.integrations.{module}") is not None
