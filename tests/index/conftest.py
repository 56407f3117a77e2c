from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for the disk: only a loss of power would show it. One test checks that files are flushed in time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
