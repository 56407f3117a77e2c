"""The types of fields of an index that documents are added to."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from lexite.errors import MissingExtraError
from lexite.index.config import DocumentLike
from lexite.index.field_types import FieldType, joined_schema
from lexite.index.fields import EXTRA, has_arrow

logger = logging.getLogger("lexite")


class GrowingFields:
    """The fields that documents have so far.

    Args:
        types: their types in the last commit, by name; None: fields are not kept.

    Attributes:
        types: their types now.
        kept: whether the fields of more documents are taken.
    """

    def __init__(self, types: Mapping[str, FieldType] | None) -> None:
        self.types, self.kept = types, types is not None

    def joined(self, documents: Sequence[DocumentLike]) -> Mapping[str, FieldType] | None:
        """The types with those of more documents; :attr:`types` stays as it is.

        Without pyarrow a new index goes on without fields, and says so.

        Raises:
            CorpusError: a field has a value of another type than in the documents before.
            MissingExtraError: documents have fields as those before have, and pyarrow is not installed.
        """
        if not self.kept:
            return self.types
        fields = joined = self.types or {}
        for document in documents:
            if document.fields:
                joined = joined_schema(joined, document.fields, document.id)
        if has_arrow() or not any(document.fields for document in documents):
            return joined
        if fields:
            raise MissingExtraError("pyarrow", EXTRA, "Storing the fields of documents")
        self.kept = False
        logger.warning(
            "The documents have fields (%s), which are left out, since the package 'pyarrow' is not installed. To keep them, "
            "run: pip install 'lexite[%s]'",
            ", ".join([*list(joined)[:5], *(["…"] if len(joined) > 5 else [])]),
            EXTRA,
        )
        return fields
