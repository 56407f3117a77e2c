"""Documents of a framework in an index, which is built at the first document and changed by later ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lexite.corpus.records import Document
from lexite.errors import ArgumentError, ConfigError
from lexite.index import StoredDocument
from lexite.index.conditions import Condition
from lexite.index.filters import Where
from lexite.integrations.shared.conditions import Conditions
from lexite.kernels.threads import ForkSafeLock
from lexite.search import Searcher

Content = Literal["text", "passage"]
"""What a framework is given of a document that was found: its whole text, or its best passage."""
Translate = Callable[[Conditions], Condition]
"""A framework's filter, as a function from what makes conditions to a condition."""


@dataclass(frozen=True)
class FoundDocument:
    """A document that was found, with what a framework shows of it.

    Attributes:
        stored: id, title, text and fields.
        content: the text to show: the whole, or the best passage.
        score: BM25's, or what the last strategy gave.
        coverage: the share of the query that it covers, from 0 to 1.
    """

    stored: StoredDocument
    content: str
    score: float
    coverage: float


class KeptDocuments:
    """The documents that a framework hands in, searched through a :class:`lexite.Searcher`.

    There may be no index yet: the first documents build it. It may be used from several threads.

    Attributes:
        changing: a lock that is held during changes, and may be held around several.
        own: whether the index was opened or made here, rather than handed in as a searcher.

    Args:
        source: a searcher; the folder of an index, which is made when it is not there; or None for a temporary folder, until
            :meth:`close`.
        static: open the index with its static table, so that no model is loaded. Documents can then be deleted, not added.
        absent_is_null: whether a filter may name a field that no document has (:class:`Conditions`).
        **build: options of :meth:`lexite.Searcher.build` for an index that is made, such as ``vocabulary``. ``vocabulary`` also
            says where the vocabulary of an index that is there lies now.
    """

    def __init__(
        self,
        source: Searcher | str | Path | None = None,
        *,
        static: bool = False,
        absent_is_null: bool = False,
        **build: Any,
    ) -> None:
        if source is not None and not isinstance(source, (Searcher, str, Path)):
            raise ArgumentError(f"Documents lie in a Searcher or in the folder of an index, not in a {type(source).__name__}.")
        if isinstance(source, Searcher) and (build or static):
            raise ConfigError(f"The searcher is open, so {next(iter(build), 'static')} can have no effect. Leave it out.")
        self.static, self.absent_is_null, self.build = static, absent_is_null, dict(build)
        self.path = None if source is None or isinstance(source, Searcher) else Path(source)
        self._searcher = source if isinstance(source, Searcher) else None
        self.own = not isinstance(source, Searcher)
        self.changing = ForkSafeLock(reentrant=True)
        self.searcher  # noqa: B018 - an index that is damaged, or not there where it must be, is said now
        if static and self._searcher is None:
            raise ConfigError("static searches an index that is there. Give its folder, or leave static out.")

    def __reduce__(self) -> tuple[Any, ...]:
        source = self.path if self.own and self.path is not None else self.searcher
        options = {"static": self.static, "absent_is_null": self.absent_is_null, **self.build}
        if isinstance(source, Searcher):  # it brings how it was opened with it
            options = {"absent_is_null": self.absent_is_null}
        return _kept, (source, options)

    @property
    def searcher(self) -> Searcher | None:
        """The searcher; None while there are no documents and no index."""
        if self._searcher is not None:  # without the lock, so that searches do not wait for changes
            return self._searcher
        with self.changing:
            if self._searcher is None and self.path is not None and _has_files(self.path):
                vocabulary = {name: self.build[name] for name in ("vocabulary",) if name in self.build}
                self._searcher = Searcher.open(self.path, static=self.static, **vocabulary)
            return self._searcher

    def __len__(self) -> int:
        searcher = self.searcher
        return 0 if searcher is None else len(searcher)

    def put(self, documents: Sequence[Document], *, replace: bool = True) -> None:
        """Adds documents, all of them or none.

        Args:
            documents: of different ids.
            replace: whether those with the same ids are replaced; else they are refused.

        Raises:
            CorpusError: a document cannot be kept, or its id is there.
        """
        if not documents:
            return
        with self.changing:
            searcher = self.searcher
            if searcher is None:
                options: dict[str, Any] = {"show_progress": False, "store_fields": True, **self.build}
                self._searcher = Searcher.build(list(documents), self.path, **options)
            elif replace:
                searcher.replace(list(documents), show_progress=False)
            else:
                searcher.add(list(documents), show_progress=False)

    def delete(self, ids: Iterable[str]) -> int:
        """Deletes documents; ids that are not there are passed over. Returns how many were deleted."""
        listed = list(dict.fromkeys(ids))
        wrong = next((each for each in listed if not isinstance(each, str)), None)
        if wrong is not None:
            raise ArgumentError(f"A document is named by its id, which is text, not by {wrong!r}.")
        with self.changing:
            searcher = self.searcher
            return 0 if searcher is None or not listed else searcher.delete(listed, missing_ok=True)

    def delete_where(self, where: Where | Translate | None) -> int:
        """Deletes the documents that pass a filter; None: all. Returns how many were deleted."""
        with self.changing:
            return self.delete([document.id for document in self.select(where)])

    def get(self, ids: Iterable[str]) -> list[StoredDocument]:
        """The documents with some ids, in their order; ids that are not there are passed over."""
        searcher = self.searcher
        if searcher is None:
            return []
        backend = searcher.backend
        return [document for document in (backend.get(each) for each in ids) if document is not None]

    def select(self, where: Where | Translate | None = None) -> list[StoredDocument]:
        """All documents that pass a filter, in the order in which they came."""
        searcher = self.searcher
        if searcher is None:
            return []
        index = searcher.index
        return [index.stored(number) for number in index.select(self._condition(where, index.fields)).tolist()]

    def count(self, where: Where | Translate | None = None) -> int:
        """How many documents pass a filter."""
        searcher = self.searcher
        if searcher is None:
            return 0
        index = searcher.index
        return len(index.select(self._condition(where, index.fields)))

    def search(
        self, query: str, top_k: int, *, where: Where | Translate | None = None, content: Content = "text", **options: Any
    ) -> list[FoundDocument]:
        """The best documents for a query.

        Args:
            query: its text.
            top_k: how many at most.
            where: a filter: lexite's own, or a framework's.
            content: what to show of each document.
            **options: as for :meth:`lexite.Searcher.search`.

        Raises:
            ConfigError: ``content`` is something else.
            ArgumentError, FilterError: as :meth:`lexite.Searcher.search`.
        """
        if content not in ("text", "passage"):
            raise ConfigError(f"content is {content!r}, but must be 'text' or 'passage'.")
        searcher = self.searcher
        if searcher is None:
            return []
        backend = searcher.backend
        chosen = self._condition(where, getattr(backend, "fields", {}))
        wanted = 1 if content == "passage" else 0
        found = []
        for hit in searcher.search(query, top_k, where=chosen, passages=False, passages_per_hit=wanted, **options):
            stored = searcher.backend.get(hit.id)
            if stored is None:  # deleted by another thread since it was found
                continue
            shown = hit.passages[0].text if hit.passages else stored.text
            found.append(FoundDocument(stored, shown, hit.score, hit.coverage))
        return found

    def close(self) -> None:
        """Lets the index go, and removes it when it was built without a path. A searcher that was handed in stays open."""
        with self.changing:
            if self.own and self._searcher is not None:
                self._searcher.close()

    def _condition(self, where: Where | Translate | None, types: Mapping[str, Any]) -> Where | None:
        if callable(where):
            return where(Conditions(types, self.absent_is_null))
        return where


def unique(documents: Sequence[Document]) -> list[Document]:
    """The documents with the last of each id, in the order of these.

    >>> [document.text for document in unique([Document("a", "old"), Document("b", "other"), Document("a", "new")])]
    ['other', 'new']
    """
    last = {document.id: place for place, document in enumerate(documents)}
    return [document for place, document in enumerate(documents) if last[document.id] == place]


def _has_files(path: Path) -> bool:
    """Whether a folder holds something, be it an index or what is none."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


def _kept(source: Searcher | Path | None, options: Mapping[str, Any]) -> KeptDocuments:
    return KeptDocuments(source, **options)
