"""What encodes the queries of an index that is opened: its vocabulary with the model, or a static table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.errors import ArgumentError
from lexite.search.cascade_queries import CascadeQueries
from lexite.search.labels import labels_of
from lexite.search.queries import ModelQueries, QueryEncoder, check_made_by, encoder_of, static_queries_of
from lexite.search.strategies.cascade import Cascade
from lexite.terms.queries import SETTINGS

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.search.strategy import Strategy
    from lexite.terms import LatentTermEncoder


def opened_index(path: object) -> BM25Index:
    """The index that a caller names: by its folder, by the folders of several that are searched as one, or itself.

    Raises:
        ArgumentError: it is none of these.
        IndexFormatError, CorpusError: it cannot be opened.
    """
    from lexite.index import BM25Index

    if isinstance(path, BM25Index):
        return path
    if isinstance(path, (str, Path)):
        return BM25Index.open(path)
    if isinstance(path, (list, tuple)) and all(isinstance(each, (str, Path)) for each in path):
        return BM25Index.open(path[0]) if len(path) == 1 else BM25Index.open_several(path)
    kind = type(path).__name__
    raise ArgumentError(f"An index is opened by the path of its folder, or several by a list of paths, not by a {kind}.")


def queries_and_labels(
    index: BM25Index,
    static: bool,
    vocabulary: str | Path | LatentTermEncoder | None,
    model: dict[str, Any],
    cascade: bool | Strategy | None = False,
) -> tuple[QueryEncoder, Callable[[int], str] | None]:
    """What encodes the queries of an index, and words for its latent terms; arguments and errors as for ``Searcher.open``."""
    if static and cascade:
        raise ArgumentError("static never loads the model, and cascade does for some queries. Leave one of them out.")
    if cascade:
        table = static_queries_of(index, str(getattr(vocabulary, "source", vocabulary) or "") or None)
        steps = (Cascade() if cascade is True else cascade,)
        return CascadeQueries(table, index.vocabulary, vocabulary, model, steps), labels_of(index, table.vocabulary)
    if static:
        if model:
            raise ArgumentError(f"static needs no model, so {', '.join(model)} can have no effect. Leave it out.")
        if isinstance(getattr(vocabulary, "fingerprint", None), str):
            check_made_by(index.vocabulary, getattr(vocabulary, "name", ""), getattr(vocabulary, "fingerprint", ""))
        place = str(getattr(vocabulary, "source", vocabulary) or "") or None
        return static_queries_of(index, place), labels_of(index, place)
    encoder = encoder_of(index.vocabulary, vocabulary, **model)
    queries = ModelQueries(encoder, frozenset(model).intersection(SETTINGS))
    return queries, encoder.label if encoder.vocabulary else None
