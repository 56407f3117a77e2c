"""Engines that tests need: where one is absent they are skipped with a word, or fail where all must be there."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn

import pytest
from servers import required


def absent(what: str) -> NoReturn:
    """Skips what needs an engine that is not there; with LEXITE_ENGINES_REQUIRED it fails."""
    if required():
        pytest.fail(f"{what}, and LEXITE_ENGINES_REQUIRED lets no engine be absent.")
    pytest.skip(what)


def wanted(module: str, package: str = "") -> Any:
    """A module, if it is installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        absent(f"{package or module} is not installed")
