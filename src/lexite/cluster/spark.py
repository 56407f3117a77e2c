"""Spark: rows of a data frame into rows of terms, with ``mapInArrow``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lexite.cluster.rows import RowEncoding, encode_table, settings_for
from lexite.cluster.table import PURPOSE
from lexite.errors import ConfigError, MissingExtraError
from lexite.index.fields import arrow

SCHEMA = (
    "id string, passage int, begin bigint, end bigint, title string, text string, fields string, "
    "terms array<int>, weights array<float>, words array<string>, word_weights array<float>, error string"
)


def encode(dataframe: Any, vocabulary: str | Path, **how: Any) -> Any:
    """Encodes the rows of a data frame of Spark.

    Each Python worker loads the vocabulary once, for the first rows that it gets. Every worker needs lexite with the extra
    ``spark``, and the vocabulary under the same name.

    Args:
        dataframe: with a column of ids and one of texts. Other columns become fields.
        vocabulary: a folder that all workers see, or a name on the Hugging Face hub.
        **how: fields of :class:`lexite.cluster.rows.RowEncoding`, such as ``text_column="body"``.

    Returns:
        A data frame, lazy as all of Spark's are: a row for each passage, or one row with an ``error`` for a row that cannot be
        encoded.

    Raises:
        MissingExtraError: pyspark or pyarrow is not installed.
        ConfigError: the data frame has no column of ids or of texts.
    """
    try:
        importlib.import_module("pyspark")
    except ImportError:
        raise MissingExtraError("pyspark", "spark", "Encoding with Spark") from None
    arrow(PURPOSE)
    chosen = RowEncoding(str(vocabulary), **how)
    missing = next((name for name in (chosen.id_column, chosen.text_column) if name not in dataframe.columns), None)
    if missing is not None:
        raise ConfigError(f"There is no column '{missing}'; there is {', '.join(dataframe.columns)}. Name the columns.")
    return dataframe.mapInArrow(rows_encoder(chosen), SCHEMA)


def rows_encoder(how: RowEncoding) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """The function that workers run on the record batches of a partition."""

    def encoded(batches: Iterable[Any]) -> Iterator[Any]:
        pa = arrow(PURPOSE)
        settings = settings_for(how, how.encoder())
        for batch in batches:
            yield from encode_table(pa.Table.from_batches([batch]), how, settings).to_batches()

    return encoded
