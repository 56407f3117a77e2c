"""Documents and queries of the datasets that the package ir_datasets knows, by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from lexite.corpus.fields import FieldReader
from lexite.corpus.options import DamagedSource
from lexite.corpus.sources import DATASETS, Source
from lexite.errors import CorpusError, MissingExtraError

_WHOLE_TEXT = "default_text"


def read_dataset(source: Source, fields: FieldReader) -> Iterator[tuple[int, dict[str, object]]]:
    """The documents of a dataset, or its queries where ``fields`` reads queries, with their numbers from 1.

    Raises:
        MissingExtraError: ir_datasets is not installed.
        CorpusError: it knows no such dataset, or the dataset has none of what is wanted.
        DamagedSource: it cannot be fetched or read to its end.
    """
    try:
        package: Any = importlib.import_module("ir_datasets")
    except ImportError:
        raise MissingExtraError("ir_datasets", "ir-datasets", f"Reading {source.name}") from None
    name = source.name.removeprefix(DATASETS)
    what = "queries" if fields.reads_queries else "docs"
    try:
        dataset = package.load(name)
    except KeyError:
        raise CorpusError(f"ir_datasets knows no dataset {name!r}. Run: ir_datasets list") from None
    if not getattr(dataset, f"has_{what}")():
        raise CorpusError(f"{source.name} has no {'queries' if what == 'queries' else 'documents'}.")
    number = 0
    try:
        for number, item in enumerate(getattr(dataset, f"{what}_iter")(), 1):
            yield number, _record(item, fields)
    except CorpusError:
        raise
    except Exception as error:  # of the network, of archives, of the dataset's own code
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise DamagedSource(f"{source.name}, after document {number}: cannot be read ({reason.rstrip('.')}).") from error


def _record(item: Any, fields: FieldReader) -> dict[str, object]:
    """What a dataset says about a document, by name. Where no part of it is its text, that is what the dataset calls so."""
    names = getattr(item, "_fields", None) or tuple(getattr(item, "__dataclass_fields__", ()))
    record = {name: list(value) if isinstance(value := getattr(item, name), tuple) else value for name in names}
    if not fields.has_text(record) and not fields.chooses_text and hasattr(item, _WHOLE_TEXT):
        record["text"] = item.default_text()
    return record
