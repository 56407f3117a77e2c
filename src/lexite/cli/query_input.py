"""Queries of the command line, of a file and of a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lexite.cli.arguments import open_queries, report_skipped
from lexite.corpus.options import ReadOptions
from lexite.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from lexite.corpus import Query


def listed_queries(query: list[str] | None, queries: Path | None, read: ReadOptions) -> list[Query]:
    """The queries of the command line and of ``--queries``; none when they are to be asked for."""
    from lexite.corpus import Query

    listed: list[Query] = []
    if queries:
        stream, report = open_queries([str(queries)], read)
        listed = list(stream)
        report_skipped(report)
    if query:
        listed.insert(0, Query("query" if queries else "1", _decoded(" ".join(query))))
    return listed


def piped_queries() -> Iterator[Query]:
    """The queries of standard input, one a line, as they come."""
    from lexite.corpus import Query

    number = 0
    for line in _lines_of_stdin():
        if line.strip():
            number += 1
            yield Query(str(number), line.strip())
    if not number:
        raise CorpusError("Standard input holds no queries. Give one on the command line, or one a line on standard input.")


def _lines_of_stdin() -> Iterator[str]:
    """Lines of standard input, which is UTF-8 whatever the locale says, as files are."""
    from lexite.corpus.streams import not_utf8

    for number, line in enumerate(getattr(sys.stdin, "buffer", sys.stdin), start=1):
        try:
            yield line.decode("utf-8") if isinstance(line, bytes) else line
        except UnicodeDecodeError as problem:
            raise CorpusError(f"Standard input, line {number}: {not_utf8(problem)}") from None


def _decoded(text: str) -> str:
    """The words of the command line; bytes that could not be decoded are kept in them as lone surrogates by Python."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ConfigError("The query is not valid in the encoding of this terminal. Write it in UTF-8.")
    return text
