"""The indexes that a server answers from: each is a snapshot, and newer commits take its place while requests go on."""

from __future__ import annotations

import functools
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lexite.errors import ConfigError, LexiteError
from lexite.index import BM25Index
from lexite.index.manifest import COMMIT_NAME
from lexite.search import Searcher
from lexite.search.queries import check_made_by, static_queries_of
from lexite.server.concepts import Concepts

logger = logging.getLogger("lexite")
FIRST_QUESTION = "a question that brings the postings into memory"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One opened commit of an index, with what encodes its queries. It is never changed, so any thread may use it.

    Attributes:
        name: of the index.
        searcher: asks it.
        opened: when it was opened, in seconds since the epoch.
    """

    name: str
    searcher: Searcher
    opened: float = field(default_factory=time.time)

    @property
    def index(self) -> BM25Index:
        """The index."""
        return self.searcher.index

    @functools.cached_property
    def static(self) -> Searcher:
        """The same index, asked through its static table.

        Raises:
            IndexFormatError: there is no table.
        """
        if self.searcher.queries.kind == "static":
            return self.searcher
        return Searcher(self.index, static_queries_of(self.index), self.searcher.label, self.searcher.scoring)

    @functools.cached_property
    def concepts(self) -> Concepts:
        """What is known of the latents of the index."""
        return Concepts(self.index, self.searcher.label)

    def warmed(self) -> Snapshot:
        """Itself, after all was read that a later commit might remove, and after a first search with the compiled kernels."""
        importlib.import_module("numba")  # without it, an index answers as in a process that asks one question only
        if self.index.has_static:
            self.static.search(FIRST_QUESTION, 1)
        self.searcher.rank(FIRST_QUESTION, 1)
        if self.index.fields:
            self.index.facets(list(self.index.fields), n_values=1)
        self.searcher.label(0)
        return self


class ServedIndex:
    """An index by name, with the newest snapshot of it.

    Args:
        name: in addresses.
        searcher: the opened index; its folder is watched.
        reloaded: called with the name when a newer commit took the place of an older one.

    Attributes:
        name: in addresses.
        trouble: why the newest commit could not be opened; None where it was.
    """

    def __init__(self, name: str, searcher: Searcher, reloaded: Callable[[str], None] | None = None) -> None:
        self.name, self._reloaded = name, reloaded
        self.trouble: str | None = None
        self._changing = threading.Lock()
        self._seen = _stamp(searcher.path)
        label = functools.lru_cache(maxsize=None)(searcher.label)
        self._snapshot = Snapshot(name, Searcher(searcher.index, searcher.queries, label, searcher.scoring)).warmed()

    @property
    def snapshot(self) -> Snapshot:
        """The newest one. A request takes it once and keeps it to its end."""
        return self._snapshot

    def refresh(self) -> bool:
        """Opens the newest commit, where there is one that was not looked at yet.

        The old snapshot answers until the new one is warm, and where the new one cannot be opened.

        Returns:
            Whether another snapshot took its place.
        """
        if _stamp(self._snapshot.searcher.path) == self._seen:
            return False
        with self._changing:
            return self._reopen()

    def change(self, apply: Callable[[Searcher], int]) -> int:
        """Changes the documents through a searcher of its own, and lets the new state answer.

        Args:
            apply: makes the change and gives the number of documents.
        """
        with self._changing:
            now = self._snapshot.searcher
            number = apply(Searcher(now.index, now.queries, now.label, now.scoring))
            self._reopen()
        return number

    def _reopen(self) -> bool:
        before = self._snapshot.searcher
        if before.path is None:
            return False
        stamp = _stamp(before.path)
        try:
            newest = BM25Index.open(before.path)
            check_made_by(newest.vocabulary, before.index.vocabulary.name, before.index.vocabulary.fingerprint)
            newer = Searcher(newest, before.queries.of_newer(newest), before.label, before.scoring)
            self._snapshot = Snapshot(self.name, newer).warmed()
        except LexiteError as error:
            self.trouble, self._seen = str(error), stamp
            logger.warning("The newest commit of %s cannot be opened; the one before answers on. %s", self.name, error)
            return False
        self._seen, self.trouble = stamp, None
        if self._reloaded is not None:
            self._reloaded(self.name)
        return True


class Indexes(Mapping[str, ServedIndex]):
    """All indexes of a server, by name, watched for newer commits from :meth:`start` to :meth:`stop`.

    Args:
        searchers: opened indexes by name.
        refresh: seconds between two looks.
        reloaded: called with the name of an index when a newer commit took the place of an older one.
    """

    def __init__(
        self, searchers: Mapping[str, Searcher], refresh: float = 1.0, reloaded: Callable[[str], None] | None = None
    ) -> None:
        self._served = {name: ServedIndex(name, searcher, reloaded) for name, searcher in searchers.items()}
        self._refresh = refresh
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    def __getitem__(self, name: str) -> ServedIndex:
        return self._served[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def start(self) -> None:
        """Begins to look for newer commits."""
        self._stopped.clear()
        self._watcher = threading.Thread(target=self._watch, name="lexite-refresh", daemon=True)
        self._watcher.start()

    def stop(self) -> None:
        """Ends looking for them."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)

    def _watch(self) -> None:
        while not self._stopped.wait(self._refresh):
            for served in self._served.values():
                try:
                    served.refresh()
                except Exception:  # a fault of one look must not end all looking
                    logger.exception("Looking for a newer commit of %s failed.", served.name)


def named_indexes(paths: Sequence[Path]) -> dict[str, Path]:
    """Names for the folders of indexes: the last part without its ending, in letters, digits, ``-``, ``_`` and ``.``.

    Raises:
        ConfigError: two have the same name.

    >>> for name, path in named_indexes([Path("a/notes.lexite"), Path("my mail")]).items():
    ...     print(name, path.as_posix())
    notes a/notes.lexite
    my-mail my mail
    """
    named: dict[str, Path] = {}
    for path in paths:
        stem = path.resolve().name.removesuffix(".lexite") or "index"
        name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "-" for letter in stem)
        if name in named:
            raise ConfigError(f"Both {named[name]} and {path} would be called '{name}'. Rename one of the folders.")
        named[name] = path
    return named


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """What changes with each commit of an index, without opening it."""
    try:
        found = (path / COMMIT_NAME).stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_mtime_ns, found.st_ino, found.st_size)
