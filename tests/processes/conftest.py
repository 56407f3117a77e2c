"""Children, and the encoder that they get."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_processes import in_child

from lexite.terms import LatentTermEncoder


@pytest.fixture
def forked() -> Callable[[Callable[[], Any]], Any]:
    """Calls a function in a forked child; skips where processes are not forked."""
    if not hasattr(os, "fork") or sys.platform == "darwin":
        pytest.skip("processes are not forked here")
    return in_child


@pytest.fixture(scope="session")
def loaded(tiny_vocabulary: Path) -> LatentTermEncoder:
    """The tiny vocabulary, loaded from its folder."""
    return LatentTermEncoder.from_pretrained(tiny_vocabulary, precision="fp32")
