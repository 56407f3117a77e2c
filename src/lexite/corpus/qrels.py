"""Reading and checking relevance judgements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path

from lexite.corpus.options import Guard, ReadReport
from lexite.corpus.records import Qrels
from lexite.corpus.rows import decoded_lines
from lexite.corpus.sources import Source
from lexite.corpus.streams import open_stream
from lexite.errors import CorpusError

_GRADE_NAMES = {"score", "grade", "relevance", "rel", "label", "judgment", "judgement"}
_SHOWN = 3


def read_qrels(path: str | Path) -> Qrels:
    """Reads relevance judgements: query id -> document id -> grade.

    Two forms are read, plain or compressed: BEIR's (query id, document id, grade, separated by tabs, with or without a header
    line) and TREC's (query id, iteration, document id, grade, separated by tabs or blanks).

    Raises:
        CorpusError: the file is missing or holds no judgement, or a line is malformed or contradicts another one.
    """
    qrels: Qrels = {}
    for place, query, document, grade in _judgements(Path(path)):
        grades = qrels.setdefault(query, {})
        if grades.setdefault(document, grade) != grade:
            raise CorpusError(
                f"{place}: document {document!r} of query {query!r} has grade {grade} here, but {grades[document]} before."
            )
    if not qrels:
        raise CorpusError(f"{path} holds no relevance judgements.")
    return qrels


def check_qrels(qrels: Qrels, document_ids: Iterable[str], path: str | Path) -> None:
    """Checks that every judged document exists.

    Args:
        qrels: judgements, as :func:`read_qrels` gave them.
        document_ids: the ids of the collection; a set or a dict is used as it is.
        path: where ``qrels`` was read from, for the message.

    Raises:
        CorpusError: a judged document is not in the collection; with the line.
    """
    known = document_ids if isinstance(document_ids, (Set, Mapping)) else set(document_ids)
    unknown = list(dict.fromkeys(id for grades in qrels.values() for id in grades if id not in known))
    if not unknown:
        return
    place = next((place for place, _, document, _ in _judgements(Path(path)) if document == unknown[0]), str(path))
    more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
    listed = ", ".join(f"{id!r}" for id in unknown[:_SHOWN]) + more
    raise CorpusError(
        f"{place}: the judgements name documents that the collection does not hold: {listed}. Use the qrels of this collection."
    )


def _judgements(path: Path) -> Iterator[tuple[str, str, str, int]]:
    """Each judgement with its place, query id, document id and grade."""
    if not path.is_file():
        raise CorpusError(f"{path} does not exist." if not path.exists() else f"{path} is not a file.")
    source, guard = Source(str(path), "tsv", path), Guard(False, ReadReport())
    width = 0
    with open_stream(path, str(path)) as stream:
        for number, line in decoded_lines(source, stream.file, guard):
            if not line or line.isspace():
                continue
            columns = [column.strip() for column in line.split("\t")] if "\t" in line else line.split()
            if not width:
                width = _width(columns, source.at(number))
                if columns[-1].lower() in _GRADE_NAMES:
                    continue
            if len(columns) != width or not all(columns):
                found = sum(map(bool, columns))
                raise CorpusError(f"{source.at(number)}: {found} values instead of {width}: {line[:80]!r}.")
            yield source.at(number), columns[0], columns[-2], _grade(columns[-1], source.at(number))


def _width(columns: list[str], place: str) -> int:
    if len(columns) in (3, 4):
        return len(columns)
    raise CorpusError(
        f"{place}: {len(columns)} columns, but a judgement has 3 (query id, document id, grade; separated by tabs) or 4 (TREC)."
    )


def _grade(text: str, place: str) -> int:
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise CorpusError(f"{place}: the grade {text!r} is not a whole number.")
