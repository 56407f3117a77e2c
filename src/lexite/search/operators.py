"""Operators in the query of a person: ``+word`` is required, ``-word`` excluded, ``"a phrase"`` required as it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, QueryError
from lexite.index import BM25Index

if TYPE_CHECKING:
    from lexite.index.document_ids import Among
    from lexite.search.strategy import Backend

_OPERATOR = re.compile(
    r"""(?<!\S) (?: (?P<sign>[+-]?) (?: "(?P<straight>(?=\S)[^"]*)" | [“„](?P<curly>(?=\S)[^“”„]*)[”“] )
    | (?P<word_sign>[+-]) (?P<word>[^\W_]\S*) )""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A query without its operators.

    Attributes:
        text: what is encoded: required words and phrases are in it, excluded ones are not.
        required: words and phrases that a document must have.
        excluded: words and phrases that it must not have.
    """

    text: str
    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def has_operators(self) -> bool:
        """Whether something is required or excluded."""
        return bool(self.required or self.excluded)


def parse_query(text: str) -> ParsedQuery:
    """Reads the operators of a query.

    An operator begins at the beginning of the query or after a blank. ``+`` is followed at once by a letter, a digit or a
    quotation mark, ``-`` by a letter or a quotation mark: ``-5``, ``--option``, ``e-mail``, ``C++`` and a lone hyphen are text,
    and so is a quotation mark that no other one closes. What follows a sign reaches to the next blank; where that is several
    words, as in ``+e-mail``, it is a phrase.

    Args:
        text: what a person typed.

    >>> parse_query('boiler +valve -gas "shut off"')
    ParsedQuery(text='boiler valve shut off', required=('valve', 'shut off'), excluded=('gas',))
    >>> parse_query("C++ at -5 degrees")
    ParsedQuery(text='C++ at -5 degrees', required=(), excluded=())
    """
    required: list[str] = []
    excluded: list[str] = []

    def take(match: re.Match[str]) -> str:
        sign, phrase = match["sign"] or match["word_sign"], match["straight"] or match["curly"] or match["word"] or ""
        if not any(map(str.isalnum, phrase)) or (match["word_sign"] == "-" and not phrase[0].isalpha()):
            return match[0]
        (excluded if sign == "-" else required).append(phrase)
        return "" if sign == "-" else phrase

    rest = _OPERATOR.sub(take, text)
    if not required and not excluded:
        return ParsedQuery(text)
    return ParsedQuery(" ".join(rest.split()), tuple(required), tuple(excluded))


def without_operators(index: Backend, texts: Sequence[str], among: Among | None) -> tuple[list[str], Among | None]:
    """Reads the operators of queries, and looks up which documents may be their hits.

    Args:
        index: that is asked.
        texts: the queries.
        among: the only documents that may be hits, whatever the operators say; None for all.

    Returns:
        The texts that are encoded, and the documents that may be hits of each; ``among`` where no query has an operator.

    Raises:
        QueryError: a query only says what is not wanted, or the index has no words.
        ArgumentError: an engine is asked, or a query is no text.
    """
    strange = next((text for text in texts if not isinstance(text, str)), None)
    if strange is not None:
        raise ArgumentError(f"A query is text, not a {type(strange).__name__}.")
    parsed = [parse_query(text) for text in texts]
    if not any(query.has_operators for query in parsed):
        return list(texts), among
    for query, text in zip(parsed, texts, strict=True):
        if not query.text:
            raise QueryError(f"The query '{text}' only says what is not wanted. Add a word that is.")
    if not isinstance(index, BM25Index):
        raise ArgumentError(f"This searcher asks {type(index).__name__}, which knows no operators. Leave operators=True out.")
    given = None if among is None else index.ids.allowed(among, len(parsed))
    everything: NDArray[np.int64] | None = None
    allowed: list[NDArray[np.int64]] = []
    for number, query in enumerate(parsed):
        if query.has_operators:
            found = index.documents_with(query.required, query.excluded)
            allowed.append(found if given is None else np.intersect1d(found, given[number]))
        elif given is not None:
            allowed.append(given[number])
        else:
            everything = index.documents_with() if everything is None else everything
            allowed.append(everything)
    return [query.text for query in parsed], allowed


def missing_words(index: Backend, text: str) -> list[str]:
    """The required words and phrases of a query that no document has."""
    required = parse_query(text).required
    return index.missing_words(required) if required and isinstance(index, BM25Index) else []
