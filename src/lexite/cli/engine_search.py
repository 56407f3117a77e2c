"""``lexite search`` over a search engine that runs, in place of an index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lexite.cli.output import WrongUsage
from lexite.search import Searcher
from lexite.search.operators import parse_query

_COLLAPSED = re.compile(r":/+")


def address_in(path: Path) -> str | None:
    """The address of an engine that was given in place of a folder; a path has lost one of two slashes of a server's.

    >>> address_in(Path("opensearch://localhost/notes")), address_in(Path("qdrant-edge:a/notes")), address_in(Path("notes"))
    ('opensearch://localhost/notes', 'qdrant-edge:a/notes', None)
    """
    from lexite.engines.addresses import is_address, is_local

    text = str(path)
    if not is_address(text):
        return None
    return text if is_local(text) else _COLLAPSED.sub("://", text, count=1)


def refuse_idle(given: Mapping[str, bool]) -> None:
    """Refuses options that have no effect on an engine; raises WrongUsage.

    Args:
        given: by option, whether it was given.
    """
    idle = next((name for name, there in given.items() if there), None)
    if idle is not None:
        raise WrongUsage(f"{idle} needs an index, and an engine is asked here. Leave it out, or name the folder of an index.")


def refuse_operators(query: str, operators: bool | None) -> None:
    """Refuses a typed query that requires or excludes words; raises WrongUsage.

    Args:
        query: that was typed.
        operators: False where the person said that these characters mean nothing.
    """
    if operators is not False and parse_query(query).has_operators:
        raise WrongUsage(
            "The query requires or excludes words, and an engine does not take that. Write it without + and - before words and "
            "without quotation marks, or give --no-operators."
        )


@contextmanager
def engine_searcher(
    address: str, static: bool, vocabulary: str | None, scoring: Mapping[str, Any], model: dict[str, Any]
) -> Iterator[Searcher]:
    """A searcher over the engine at an address, which is let go behind the block."""
    from lexite.engines.addresses import connect
    from lexite.engines.searching import searcher_over
    from lexite.scoring.config import scoring_of

    engine = connect(address)
    try:
        searcher = searcher_over(engine, static=static, vocabulary=vocabulary, **model)
        searcher.scoring = scoring_of(scoring, engine.scoring) if scoring else None
        yield searcher
    finally:
        engine.close()
