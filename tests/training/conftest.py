"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from forked_ranks import World


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread for everything: for models this small, waking others takes longer than the work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEXITE_THREADS", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Starts processes, which end with the test."""
    folder = tmp_path / "printed"
    folder.mkdir()
    made = World(folder)
    yield made
    made.end()
