"""``lexite search`` over a search engine that runs, in place of an index."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.cli.output import WrongUsage
from lexite.search import Searcher
from lexite.search.operators import parse_query

if TYPE_CHECKING:
    from lexite.corpus import Query

_COLLAPSED = re.compile(r"([a-z]+(?:\+https)?):/(?!/)(.+)", re.DOTALL)


def address_in(path: Path) -> str | None:
    """The address of an engine that was given in place of a folder; that of a server has lost one of its two slashes.

    >>> address_in(Path("opensearch://localhost/notes")), address_in(Path("lucene:/tmp/notes")), address_in(Path("notes"))
    ('opensearch://localhost/notes', 'lucene:/tmp/notes', None)
    """
    from lexite.engines.addresses import FOLDERS, is_address

    text = str(path)
    if text.partition(":")[0] in FOLDERS:
        return text if is_address(text) else None
    found = _COLLAPSED.fullmatch(text)
    return f"{found.group(1)}://{found.group(2)}" if found and is_address(text) else None


def refuse_idle(given: Mapping[str, bool]) -> None:
    """Refuses options that have no effect on an engine; raises WrongUsage.

    Args:
        given: by option, whether it was given.
    """
    idle = next((name for name, there in given.items() if there), None)
    if idle is not None:
        raise WrongUsage(f"{idle} needs an index, and an engine is asked here. Leave it out, or name the folder of an index.")


def refuse_operators(queries: Sequence[Query], operators: bool | None) -> None:
    """Refuses typed queries that require or exclude words; raises WrongUsage.

    Args:
        queries: that were typed.
        operators: False where the person said that these characters mean nothing.
    """
    if operators is not False and any(parse_query(query.text).has_operators for query in queries):
        raise WrongUsage(
            "The query requires or excludes words, and an engine does not take that. Write it without + and - before words and "
            "without quotation marks, or give --no-operators."
        )


def engine_searcher(
    address: str, static: bool, vocabulary: str | None, scoring: Mapping[str, Any], model: dict[str, Any]
) -> Searcher:
    """A searcher over the engine at an address."""
    from lexite.engines.addresses import connect
    from lexite.engines.searching import searcher_over
    from lexite.scoring.config import scoring_of

    engine = connect(address)
    searcher = searcher_over(engine, static=static, vocabulary=vocabulary, **model)
    searcher.scoring = scoring_of(scoring, engine.scoring) if scoring else None
    return searcher
