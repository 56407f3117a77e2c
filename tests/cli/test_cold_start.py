"""What a search imports: a start is as slow as the largest package that it loads without need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sentence_transformers", "datasets", "pandas", "sklearn", "pyarrow", "peft", "matplotlib")
WITHOUT_A_MODEL = (*HEAVY, "torch", "transformers", "scipy", "numba", "huggingface_hub", "yaml")
FILE_READERS = ("lexite.corpus.rows", "lexite.corpus.builtin", "lexite.backbone.loading")


def loaded_by(words: list[str], names: tuple[str, ...]) -> list[str]:
    """Which of some modules a command has loaded when it ends."""
    code = (
        "import sys\nfrom lexite.cli import main\n"
        "status = main(sys.argv[2:])\n"
        "print(*(name for name in sys.argv[1].split(',') if name in sys.modules), sep='\\n', file=sys.stderr)\nsys.exit(status)"
    )
    run = [sys.executable, "-c", code, ",".join(names), *words]
    done = subprocess.run(run, capture_output=True, text=True, env={**os.environ, "COVERAGE_PROCESS_START": ""})
    assert done.returncode == 0 and done.stdout, done.stderr
    return [line for line in done.stderr.split() if line in names]


@pytest.mark.parametrize("options", [[], ["--json"], ["--no-snippets"]])
def test_a_static_search_loads_neither_torch_nor_scipy(options: list[str], own_index: Path) -> None:
    words = ["-q", "search", "--static", *options, str(own_index), "milk", "of", "the", "cow"]
    assert loaded_by(words, (*WITHOUT_A_MODEL, *FILE_READERS)) == []


def test_a_search_through_the_model_loads_no_sentence_transformers(own_index: Path) -> None:
    assert loaded_by(["-q", "search", str(own_index), "milk", "of", "the", "cow"], (*HEAVY, "torch")) == ["torch"]


def test_help_loads_no_numpy() -> None:
    assert loaded_by(["--help"], (*WITHOUT_A_MODEL, "numpy")) == []
    assert loaded_by(["search", "--help"], WITHOUT_A_MODEL) == []
