"""Search: one way from documents to an index, one way from a question to hits.

Names are loaded on first use, so that a part of the room costs only what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.search.results import MatchedPassage as MatchedPassage
    from lexite.search.results import MatchedTerm as MatchedTerm
    from lexite.search.results import SearchHit as SearchHit
    from lexite.search.searcher import Searcher as Searcher
    from lexite.search.snippets import Passage as Passage
    from lexite.search.strategy import Answer as Answer
    from lexite.search.strategy import Strategy as Strategy

_HOMES = {
    "Answer": "strategy",
    "MatchedPassage": "results",
    "MatchedTerm": "results",
    "Passage": "snippets",
    "SearchHit": "results",
    "Searcher": "searcher",
    "Strategy": "strategy",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.search' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.search.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
