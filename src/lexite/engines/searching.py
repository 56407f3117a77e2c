"""A searcher over a live engine: its record says which vocabulary encodes the queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.errors import ArgumentError, IndexFormatError
from lexite.search.labels import labels_of
from lexite.search.queries import ModelQueries, QueryEncoder, StaticQueries, check_made_by, encoder_of, static_queries_of
from lexite.search.searcher import Searcher
from lexite.terms.queries import SETTINGS

if TYPE_CHECKING:
    from lexite.engines.live import LiveEngine
    from lexite.index import BM25Index
    from lexite.terms import LatentTermEncoder


def searcher_over(
    engine: LiveEngine,
    *,
    static: bool = False,
    index: BM25Index | None = None,
    vocabulary: str | Path | LatentTermEncoder | None = None,
    **model: Any,
) -> Searcher:
    """A searcher that asks an engine.

    Args:
        engine: over a collection that is there.
        static: whether queries are encoded without the model, by a static table.
        index: whose static table is taken; None: that of the vocabulary.
        vocabulary: where the vocabulary is now, or an encoder of it; None looks where it was when the index was built.
        **model: how the model runs, as for ``Searcher.open``.

    Raises:
        ArgumentError: options of the model beside ``static``, or ``index`` without it.
        IndexFormatError: another vocabulary made the collection.
        ModelError, BackboneError: the vocabulary or its model cannot be loaded.
    """
    made_by = engine.vocabulary
    queries: QueryEncoder
    if not static:
        if index is not None:
            raise ArgumentError("index has a static table, which has no effect without static=True. Leave it out.")
        encoder = encoder_of(made_by, vocabulary, **model)
        queries = ModelQueries(encoder, frozenset(model).intersection(SETTINGS))
        return Searcher(engine, queries, encoder.label if encoder.vocabulary else None)
    if model:
        raise ArgumentError(f"static needs no model, so {', '.join(model)} can have no effect. Leave it out.")
    if index is not None:
        check_made_by(made_by, index.vocabulary.name, index.vocabulary.fingerprint)
        return Searcher(engine, static_queries_of(index), labels_of(engine))
    from lexite.terms.static import load_static

    place = str(getattr(vocabulary, "source", vocabulary) or made_by.model)
    if not place:
        raise IndexFormatError(f"{engine.driver.address} does not say where its vocabulary is. Name it: vocabulary=...")
    table, manifest = load_static(place)
    check_made_by(made_by, str(manifest["name"]), str(manifest["fingerprint"]))
    queries = StaticQueries(table, made_by.fingerprint, made_by.terms_config.get("floor_queries", 0.0), place)
    return Searcher(engine, queries, labels_of(engine, place))
