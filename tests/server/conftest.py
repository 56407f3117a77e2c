"""Indexes to serve, and clients of applications over them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from helpers_server import DOCUMENTS

from lexite import Document, Searcher

if TYPE_CHECKING:
    from fastapi.testclient import TestClient


ANIMALS, CODE = "cat dog bird fish horse cow milk meat".split(), "python module class function json parse string error".split()


@pytest.fixture(scope="session")
def served_index(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with fields, words, vectors, a static table and hostile titles; it is not to be changed."""
    path = tmp_path_factory.mktemp("served") / "notes"
    Searcher.build(DOCUMENTS, path, vocabulary=str(tiny_vocabulary), vectors="int8", show_progress=False).close()
    return path


@pytest.fixture(scope="session")
def sixty(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty documents of two kinds."""
    generator = np.random.default_rng(0)
    made = [
        Document(
            f"d{i}", " ".join(generator.choice(ANIMALS if i % 2 else CODE, 6)), fields={"kind": "ab"[i % 2], "year": 2000 + i}
        )
        for i in range(60)
    ]
    path = tmp_path_factory.mktemp("sixty") / "notes"
    Searcher.build(made, path, vocabulary=str(tiny_vocabulary), show_progress=False).close()
    return path


@pytest.fixture
def own_index(served_index: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(served_index, tmp_path / "notes"))


@pytest.fixture
def client_of() -> Iterator[Callable[..., TestClient]]:
    """Makes a client of an application over one index."""
    pytest.importorskip("fastapi", reason="needs the extra 'server'")
    from fastapi.testclient import TestClient

    from lexite.server.app import create_app
    from lexite.server.config import ServerConfig

    with ExitStack() as stack:

        def make(
            path: Path, *, static: bool = True, writable: bool = False, token: str | None = None, **config: Any
        ) -> TestClient:
            app = create_app(
                {"notes": Searcher.open(path, static=static)},
                ServerConfig(**config),
                writable=writable,
                token=token,
                examples={"notes": ["milk of the cow"]},
            )
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield make


@pytest.fixture
def client(client_of: Callable[..., TestClient], served_index: Path) -> TestClient:
    """A client of the index with static queries."""
    return client_of(served_index)
