"""The order of the rooms, as import-linter checks it: which bad imports it finds in copies of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER, CIRCLES = "A room imports only from the rooms below it in this list", "No circle of imports"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources and the contracts of the package, to be spoiled."""
    shutil.copytree(ROOT / "src" / "lexite", tmp_path / "lexite", ignore=shutil.ignore_patterns("vocabularies", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def linted(folder: Path) -> tuple[int, str]:
    """Exit status and report of import-linter on a copy."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def append(folder: Path, file: str, code: str) -> None:
    path = folder / "lexite" / file
    path.write_text(path.read_text(encoding="utf-8") + code, encoding="utf-8")


def test_the_package_keeps_the_order_and_has_no_circle(copied: Path) -> None:
    status, report = linted(copied)
    assert status == 0, report
    assert f"{ORDER} KEPT" in report and f"{CIRCLES} KEPT" in report


@pytest.mark.parametrize(
    ("file", "code", "broken", "named"),
    [
        ("kernels/keep.py", "\nfrom lexite.terms import encoder\n", ORDER, "lexite.kernels.keep -> lexite.terms.encoder"),
        (
            "index/disk.py",
            "\ndef late():\n    from lexite.search import searcher\n    return searcher\n",
            ORDER,
            "lexite.index.disk -> lexite.search.searcher",
        ),
        (
            "scoring/words.py",
            "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lexite.ranking.hits import Hit\n",
            ORDER,
            "lexite.scoring.words -> lexite.ranking.hits",
        ),
        ("search/labels.py", "\nfrom lexite.search import searcher\n", CIRCLES, "lexite.search"),
        ("progress.py", "\nimport lexite\n", ORDER, "lexite.progress -> lexite"),
    ],
    ids=["at once", "within a function", "for type checkers", "a circle within a room", "through the facade"],
)
def test_a_bad_import_is_found(copied: Path, file: str, code: str, broken: str, named: str) -> None:
    append(copied, file, code)
    status, report = linted(copied)
    assert status == 1
    assert f"{broken} BROKEN" in report and named in report.split("Broken contracts")[1], report


def test_a_room_without_a_place_is_found(copied: Path) -> None:
    (copied / "lexite" / "attic").mkdir()
    (copied / "lexite" / "attic" / "__init__.py").touch()
    status, report = linted(copied)
    assert status == 1 and "attic" in report
