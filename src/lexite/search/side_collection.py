"""Collects what an index keeps beside its postings, while documents are encoded: dense vectors and token codes of passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ArgumentError, BackboneError, ModelError
from lexite.index.side_config import SideDataConfig, SideDataRecord, TokenCodesRecord, VectorsRecord
from lexite.index.side_files import SideRows
from lexite.index.side_packing import LARGEST_HALF, PackedTokens, PackedVectors, pack_tokens, pack_vectors, rounded

if TYPE_CHECKING:
    from lexite.sae import SparseAutoencoder, SparseCodes
    from lexite.terms import LatentTermEncoder

TOKEN_K = 6
"""Latents that are kept of a token unless told otherwise: as good as 8 in a chain of second stages, in a quarter less space."""
TOKENS_AT_ONCE = 1 << 14
"""Tokens whose codes are decoded at once: their states take some 25 MB at width 384."""


def side_data_of(config: SideDataConfig | None, encoder: LatentTermEncoder) -> SideDataRecord | None:
    """What an index will record about the side files that a person asks for; None: it keeps none.

    Args:
        config: what is asked for.
        encoder: the vocabulary of the index.

    Raises:
        ArgumentError: the model has no single vector per text, or ``token_k`` is given without token codes.
        ConfigError: ``token_k`` is more than there are latents.
    """
    if config is None or not config.kinds:
        if config is not None and config.token_k is not None:
            raise ArgumentError("token_k (--token-k) has no effect without token_codes (--token-codes). Leave one of them out.")
        return None
    codes = None
    if config.token_codes:
        k = encoder.k_for("document", config.token_k)
        kept = min(k, TOKEN_K) if config.token_k is None else k
        codes = TokenCodesRecord(kept, encoder.sae.stored_decoder is not None)
    elif config.token_k is not None:
        raise ArgumentError("token_k (--token-k) has no effect without token_codes (--token-codes). Leave one of them out.")
    vectors = None if config.vectors is None else VectorsRecord(config.vectors, _width_of_vectors(encoder))
    return SideDataRecord(vectors, codes)


def _width_of_vectors(encoder: LatentTermEncoder) -> int:
    """Numbers of a dense vector, from one short text; shows at once where the model has none."""
    try:
        return int(encoder.backbone.dense(["a"], "document").shape[1])
    except BackboneError as error:
        raise ArgumentError(
            f"Vectors (--vectors) cannot be kept: {error} Leave them out; --token-codes can be kept."
        ) from error


@dataclass
class SideCollector:
    """Collects the side data of some texts, rounded as they come. It is a sink of ``LatentTermEncoder.encode_documents``.

    Args:
        record: what is wanted.
        sae: the autoencoder, whose decoder says how long the state of a token is.
        wants_vectors: whether vectors come from the encoder; else they are given to :meth:`add_vectors` by the caller.
    """

    record: SideDataRecord
    sae: SparseAutoencoder
    wants_vectors: bool = True
    _vectors: list[PackedVectors] = field(default_factory=list)
    _tokens: list[PackedTokens] = field(default_factory=list)
    _norms: list[NDArray[np.float16]] = field(default_factory=list)
    _sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wants_vectors = self.wants_vectors and self.record.vectors is not None

    @property
    def token_k(self) -> int:
        """Latents kept of each token; 0 for none."""
        return 0 if self.record.token_codes is None else self.record.token_codes.k

    @property
    def _keeps_norms(self) -> bool:
        return self.record.token_codes is not None and self.record.token_codes.norms

    def add_vectors(self, vectors: NDArray[np.float32]) -> None:
        """Takes the dense vectors of some texts.

        Raises:
            ModelError: one holds NaN or infinity.
        """
        assert self.record.vectors is not None
        if not np.isfinite(vectors).all():
            raise ModelError(
                "A dense vector holds NaN or infinity. Try precision='fp32'; if it stays, the weights are damaged."
            )
        self._vectors.append(pack_vectors(vectors, self.record.vectors.format))

    def add_codes(self, codes: SparseCodes, sizes: NDArray[np.int64], *, goes_on: bool) -> None:
        """Takes the codes of the tokens of some texts; see :class:`lexite.terms.encoding.TextSink`."""
        counts = sizes.tolist()
        if goes_on and counts and self._sizes:
            self._sizes[-1] += counts.pop(0)
        self._sizes += counts
        values, indices = codes.values.detach().cpu().numpy(), codes.indices.detach().cpu().numpy()
        for start in range(0, len(values), TOKENS_AT_ONCE):
            part = slice(start, start + TOKENS_AT_ONCE)
            self._tokens.append(pack_tokens(values[part], indices[part]))
            if self._keeps_norms:
                self._norms.append(self._norms_of(codes, values[part], indices[part]))

    def _norms_of(self, codes: SparseCodes, values: NDArray[np.float32], indices: NDArray[np.int32]) -> NDArray[np.float16]:
        """Lengths of the states that codes stand for, as they will come back from the disk."""
        import torch

        kept = rounded(values, indices)
        used = np.where(kept > 0, indices, -1).astype(np.int32)
        device = self.sae.device
        known = replace(codes, values=torch.from_numpy(kept).to(device), indices=torch.from_numpy(used).to(device))
        norms = torch.linalg.vector_norm(self.sae.decode(known), dim=1).cpu().numpy()
        halves: NDArray[np.float16] = np.minimum(norms, LARGEST_HALF).astype(np.float16)
        return halves

    def collected(self) -> SideRows:
        """All that was taken."""
        n_passages = len(self._sizes) if self.token_k else sum(len(part.numbers) for part in self._vectors)
        vectors = None
        if self.record.vectors is not None:
            empty = pack_vectors(np.zeros((0, self.record.vectors.d), np.float32), self.record.vectors.format)
            numbers = np.concatenate([empty.numbers, *(part.numbers for part in self._vectors)])
            scales = [part.scales for part in self._vectors if part.scales is not None]
            vectors = PackedVectors(numbers, None if empty.scales is None else np.concatenate([empty.scales, *scales]))
        if not self.token_k:
            return SideRows(n_passages, vectors)
        none = pack_tokens(np.zeros((0, 1), np.float32), np.zeros((0, 1), np.int32))
        tokens = PackedTokens(*(np.concatenate(parts) for parts in zip(none, *self._tokens, strict=True)))
        bounds = np.concatenate([[0], np.cumsum(self._sizes)]).astype(np.int64)
        norms = np.concatenate([np.zeros(0, np.float16), *self._norms]) if self._keeps_norms else None
        return SideRows(n_passages, vectors, tokens, norms, bounds)


def side_rows_of(record: SideDataRecord, encoder: LatentTermEncoder, texts: Sequence[str]) -> SideRows:
    """The side data of texts, from a pass of the model of their own.

    Args:
        record: what is wanted.
        encoder: the vocabulary.
        texts: of passages.
    """
    collector = SideCollector(record, encoder.sae)
    encoder.encode_documents(texts, sink=collector)
    return collector.collected()
