"""An index that nobody holds any more gives its files back at once, without waiting for Python to look for circles."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lexite import Document, Searcher
from lexite.search.strategies import Feedback, Hybrid

OPENED = Path("/proc/self/fd")
pytestmark = pytest.mark.skipif(not OPENED.is_dir(), reason="only Linux tells which files a process has open")


def opened(folder: Path) -> int:
    """How many files of a folder this process has open."""
    names = (os.path.realpath(OPENED / number) for number in os.listdir(OPENED))
    return sum(name.startswith(str(folder.resolve())) for name in names)


@pytest.fixture(scope="module")
def folder(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [
        "milk of the cow",
        "moon over the sea",
        "cheese from milk",
        "ship in the wind",
        "bread with cheese",
        "stars and moon",
    ]
    documents = [Document(f"d{n}", text, fields={"n": n}) for n, text in enumerate(texts)]
    path = tmp_path_factory.mktemp("held") / "index"
    Searcher.build(documents, path, vocabulary=tiny_vocabulary, vectors="int8", token_codes=True, show_progress=False).close()
    return path


@pytest.fixture
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "use",
    [
        lambda searcher: searcher.search("milk"),
        lambda searcher: (searcher.search(["milk", "moon"], where="n > 1", sort="n:desc"), searcher.facets("n")),
        lambda searcher: searcher.search("milk", then=[Feedback(), Hybrid()]),
        lambda searcher: searcher.search("milk", preset="fast"),
        lambda searcher: searcher.explain("milk", "d0"),
        lambda searcher: searcher.more_like("d1"),
        lambda searcher: searcher.label(3),
        lambda searcher: searcher.refresh(),
    ],
    ids=["plain", "fields", "stages", "preset", "explain", "more", "label", "refresh"],
)
@pytest.mark.usefixtures("without_collection")
def test_a_searcher_goes_with_its_files(use: Callable[[Searcher], object], folder: Path) -> None:
    def ask() -> int:
        searcher = Searcher.open(folder)
        use(searcher)
        return opened(folder)

    assert ask() > 5
    assert opened(folder) == 0
