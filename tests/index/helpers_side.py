"""Side data of random passages, and what an index should give back for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from lexite.corpus.passages import CutDocuments
from lexite.corpus.records import Document
from lexite.index import BM25Index, VocabularyInfo
from lexite.index.side_config import SideDataRecord, TokenCodesRecord, VectorsRecord
from lexite.index.side_files import SideRows
from lexite.index.side_packing import PackedTokens, pack_tokens, pack_vectors
from lexite.ranking.hits import Hit

N_LATENTS, D, K = 12, 5, 3
VOCABULARY = VocabularyInfo("side", "side", N_LATENTS)


def record_of(number_format: Any = "int8", codes: bool = True, norms: bool = True) -> SideDataRecord:
    vectors = None if number_format is None else VectorsRecord(number_format, D)
    return SideDataRecord(vectors, TokenCodesRecord(K, norms) if codes else None)


@dataclass
class Passage:
    """The side data of a passage as a model would give them."""

    vector: np.ndarray
    values: np.ndarray  # (tokens, K)
    indices: np.ndarray
    norms: np.ndarray


def passages_of(n: int, seed: int) -> list[Passage]:
    """Random passages; some have no token, some tokens no latent."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        tokens = int(rng.integers(0, 5))
        values = -np.sort(-rng.gamma(1.0, 2.0, (tokens, K)).astype(np.float32), axis=1)
        indices = np.stack([rng.permutation(N_LATENTS)[:K] for _ in range(tokens)]) if tokens else np.zeros((0, K))
        unused = np.arange(K) >= rng.integers(0, K + 1, (tokens, 1))
        values[unused], indices[unused] = 0.0, -1
        vector = rng.normal(size=D).astype(np.float32)
        vector /= np.linalg.norm(vector)
        norms = rng.gamma(2.0, 1.0, tokens).astype(np.float16)
        made.append(Passage(vector, values, indices.astype(np.int32), norms))
    return made


def rows_of(passages: Sequence[Passage], record: SideDataRecord) -> SideRows:
    """What a writer takes for passages."""
    vectors = tokens = norms = bounds = None
    if record.vectors is not None:
        stacked = np.stack([p.vector for p in passages]) if passages else np.zeros((0, D), np.float32)
        vectors = pack_vectors(stacked, record.vectors.format)
    if record.token_codes is not None:
        parts = [pack_tokens(p.values, p.indices) for p in passages] or [pack_tokens(np.zeros((0, K)), np.zeros((0, K)))]
        tokens = PackedTokens(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        bounds = np.cumsum([0, *(len(p.values) for p in passages)]).astype(np.int64)
        if record.token_codes.norms:
            norms = np.concatenate([np.zeros(0, np.float16), *(p.norms for p in passages)])
    return SideRows(len(passages), vectors, tokens, norms, bounds)


def batch_of(
    ids: Sequence[str], passages: Sequence[Sequence[Passage]], record: SideDataRecord, seed: int = 0
) -> tuple[list[Document], csr_array, CutDocuments, SideRows]:
    """Documents with their passages, as a writer takes them."""
    flat = [passage for own in passages for passage in own]
    rng = np.random.default_rng(seed)
    weights = csr_array(rng.gamma(1.0, 1.0, (len(flat), N_LATENTS)).astype(np.float32))
    bounds = np.cumsum([0, *map(len, passages)]).astype(np.int64)
    spans = np.stack([np.arange(len(flat)), np.arange(1, len(flat) + 1)], axis=1).astype(np.int64)
    documents = [Document(identifier, f"text of {identifier}") for identifier in ids]
    return documents, weights, CutDocuments(["x"] * len(flat), bounds, spans), rows_of(flat, record)


def hits_of(index: BM25Index, ids: Sequence[str]) -> list[Hit]:
    return [Hit(identifier, 1.0, rank, int(index.find(identifier) or 0)) for rank, identifier in enumerate(ids, start=1)]


def assert_holds(index: BM25Index, expected: dict[str, list[Passage]], record: SideDataRecord) -> None:
    """The side data of each document are those of its passages alone, within the bounds of rounding."""
    ids = list(expected)[::-1]
    assert index.n_documents == len(ids) and index.side_data == record.kinds
    flat = [passage for identifier in ids for passage in expected[identifier]]
    bounds = np.cumsum([0, *(len(expected[identifier]) for identifier in ids)])
    hits = hits_of(index, ids)
    if record.vectors is not None:
        got = index.vectors(hits)
        np.testing.assert_array_equal(got.bounds, bounds)
        tolerance = {"int8": 0.5 / 127 + 1e-6, "fp16": 2.0**-11, "fp32": 0.0}[record.vectors.format]
        wanted = np.array([p.vector for p in flat], dtype=np.float32).reshape(-1, D)
        assert got.vectors.shape == wanted.shape and got.vectors.dtype == np.float32
        assert np.all(np.abs(got.vectors - wanted) <= tolerance * np.abs(wanted).max(axis=1, initial=0.0, keepdims=True))
        streamed = [(n, v) for numbers, vectors in index.all_vectors() for n, v in zip(numbers, vectors, strict=True)]
        names = [index.document_id(int(n)) for n, _ in streamed]
        assert names == [index.document_id(n) for n in sorted(h.document for h in hits) for _ in expected[index.document_id(n)]]
        alone = np.concatenate([np.zeros((0, D)), *(index.vectors(hits_of(index, [i])).vectors for i in dict.fromkeys(names))])
        np.testing.assert_array_equal(np.array([v for _, v in streamed]).reshape(-1, D), alone)
    if record.token_codes is not None:
        codes = index.token_codes(hits)
        np.testing.assert_array_equal(codes.bounds, bounds)
        np.testing.assert_array_equal(np.diff(codes.tokens), [len(p.values) for p in flat])
        wanted_norms = np.concatenate([np.zeros(0), *(p.norms for p in flat)]).astype(np.float32)
        np.testing.assert_array_equal(codes.norms, wanted_norms if record.token_codes.norms else wanted_norms * np.nan)
        token = 0
        for passage in flat:
            for values, indices in zip(passage.values, passage.indices, strict=True):
                entries = slice(int(codes.entries[token]), int(codes.entries[token + 1]))
                got_values = dict(zip(codes.latents[entries].tolist(), codes.values[entries].tolist(), strict=True))
                largest = float(values.max(initial=0.0))
                for latent, value in zip(indices.tolist(), values.tolist(), strict=True):
                    if latent >= 0:
                        bound = largest * (2.0**-11 if value == largest else 0.5 / 255 + 2.0**-10)
                        assert abs(got_values.pop(latent, 0.0) - value) <= bound + 1e-9
                assert not got_values
                token += 1
        assert token == len(codes.entries) - 1
