"""Which side files an index keeps: what a person chooses, and what the commit point records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lexite.config import option
from lexite.index.side_data import TOKEN_CODES, VECTORS

VectorFormat = Literal["int8", "fp16", "fp32"]
VECTOR_TYPES: Mapping[str, str] = {"int8": "|i1", "fp16": "<f2", "fp32": "<f4"}
"""Number format of vectors -> the type of the numbers in the file."""


@dataclass(frozen=True)
class SideDataConfig:
    """What an index keeps beside its postings for second stages; nothing unless told so.

    Attributes:
        vectors: number format of the dense vectors of passages; None keeps none.
        token_codes: whether the latents of each token are kept.
        token_k: most latents that are kept of a token; None for six, or as many as documents are encoded with where that is
            fewer.
    """

    vectors: VectorFormat | None = option(
        None, "Keep the dense vector of each passage for second stages, in this number format; none by default."
    )
    token_codes: bool = option(False, "Keep the latents of each token for second stages.")
    token_k: int | None = option(
        None, "Most latents to keep of a token (default: 6, or k_documents where that is less).", minimum=1
    )

    @property
    def kinds(self) -> frozenset[str]:
        """What is kept, by the names of :mod:`lexite.index.side_data`."""
        return _kinds(self.vectors is not None, self.token_codes)


@dataclass(frozen=True, slots=True)
class VectorsRecord:
    """Dense vectors as the commit point describes them.

    Attributes:
        format: number format.
        d: numbers of a vector.
    """

    format: VectorFormat
    d: int


@dataclass(frozen=True, slots=True)
class TokenCodesRecord:
    """Token codes as the commit point describes them.

    Attributes:
        k: most latents of a token.
        norms: whether the length of the state that they stand for is kept too: not where the vocabulary has no decoder.
    """

    k: int
    norms: bool


@dataclass(frozen=True, slots=True)
class SideDataRecord:
    """What an index keeps beside its postings, as the commit point describes it.

    Attributes:
        vectors: of passages; None: there are none.
        token_codes: of passages; None: there are none.
    """

    vectors: VectorsRecord | None = None
    token_codes: TokenCodesRecord | None = None

    def __str__(self) -> str:
        """What is kept, for people."""
        vectors, codes = self.vectors, self.token_codes
        parts = [] if vectors is None else [f"vectors of {vectors.d} numbers in {vectors.format}"]
        parts += [] if codes is None else [f"token codes of {codes.k} latents, {'with' if codes.norms else 'without'} lengths"]
        return " and ".join(parts) or "none"

    @property
    def kinds(self) -> frozenset[str]:
        """What is kept, by the names of :mod:`lexite.index.side_data`."""
        return _kinds(self.vectors is not None, self.token_codes is not None)


def side_data_record(value: Mapping[str, Any] | None) -> SideDataRecord | None:
    """What a commit point says.

    Raises:
        KeyError, TypeError, ValueError: it says something that no index has.
    """
    if value is None:
        return None
    vectors, codes = value["vectors"], value["token_codes"]
    record = SideDataRecord(
        None if vectors is None else VectorsRecord(**vectors), None if codes is None else TokenCodesRecord(**codes)
    )
    if record.vectors is not None and (record.vectors.format not in VECTOR_TYPES or not _positive(record.vectors.d)):
        raise ValueError(f"it names vectors of {record.vectors.d!r} numbers in the format {record.vectors.format!r}")
    if record.token_codes is not None and not _positive(record.token_codes.k):
        raise ValueError(f"it names token codes with k {record.token_codes.k!r}")
    return record


def _positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _kinds(vectors: bool, token_codes: bool) -> frozenset[str]:
    return frozenset(name for name, kept in ((VECTORS, vectors), (TOKEN_CODES, token_codes)) if kept)
