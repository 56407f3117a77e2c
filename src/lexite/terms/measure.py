"""Measuring a finished vocabulary on a sample of text: how frequent its terms are and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.errors import CorpusError
from lexite.progress import progress
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.labels import LabelCounter
from lexite.terms.pooling import pool_arrays
from lexite.terms.static_counts import StaticCounter, counter_for, table_for
from lexite.terms.vocabulary import Vocabulary

if TYPE_CHECKING:
    from lexite.backbone.states import TokenStates


def measure_vocabulary(
    encoder: LatentTermEncoder,
    texts: Iterable[str],
    *,
    source: str = "",
    k: int | None = None,
    texts_per_chunk: int = TEXTS_PER_CHUNK,
    show_progress: bool = False,
) -> Vocabulary:
    """Measures frequencies and labels of all terms in one pass over a sample of documents, in bounded memory.

    Frequencies are counts over the whole sample; labels are defined by :class:`lexite.terms.labels.LabelCounter`. A few
    thousand documents of general text are enough for most labels; rare terms need more.

    Args:
        encoder: the vocabulary. ``encoder.replaced(vocabulary=...)`` takes the result.
        texts: the sample's texts; a stream is read once.
        source: what the sample is, for people.
        k: latents kept per token; default as for documents.
        texts_per_chunk: texts that go through the model before the next are read.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: there is no text.
        BackboneError: the model fails, or gives NaN.
    """
    states = encoder.iterate_states(texts, "document", texts_per_chunk=texts_per_chunk)
    return measure_states(encoder, states, source=source, k=k, show_progress=show_progress)


def measure_states(
    encoder: LatentTermEncoder,
    chunks: Iterable[TokenStates],
    *,
    source: str = "",
    k: int | None = None,
    static: StaticCounter | None = None,
    show_progress: bool = False,
) -> Vocabulary:
    """:func:`measure_vocabulary` for documents whose token states are there already, or are made as they are asked for.

    ``static`` counts the same codes by word piece, where it is given.
    """
    chosen, n_latents = encoder.k_for("document", k), encoder.n_latents
    document_counts, token_counts = np.zeros(n_latents, dtype=np.int64), np.zeros(n_latents, dtype=np.int64)
    counter = LabelCounter(n_latents, encoder.backbone.describe_token)
    n_documents = n_tokens = 0
    with progress("Measuring the vocabulary", None, "documents", show_progress) as bar:
        for states in (part for chunk in chunks for part in encoder.portions(chunk)):
            codes = encoder.codes(states, chosen)
            values, indices = codes.values.detach().cpu().numpy(), codes.indices.detach().cpu().numpy()
            pooled = pool_arrays(values, indices, states.offsets, n_latents)
            document_counts += np.bincount(pooled.indices, minlength=n_latents)
            token_counts += np.bincount(indices[values > 0], minlength=n_latents)
            counter.add(values, indices, states.token_ids, states.offsets)
            if static is not None:
                static.add(values, indices, states.token_ids)
            n_documents += states.n_texts
            n_tokens += states.n_tokens
            bar.advance(states.n_texts)
    if not n_documents:
        raise CorpusError("There is no text to measure the vocabulary on.")
    return Vocabulary(document_counts, token_counts, n_documents, n_tokens, chosen, counter.labels(), source)


def measured(
    encoder: LatentTermEncoder, chunks: Iterable[TokenStates], *, source: str = "", show_progress: bool = False
) -> LatentTermEncoder:
    """The encoder with frequencies, labels and a static table, all measured in one pass."""
    counter = counter_for(encoder.backbone, encoder.n_latents)
    vocabulary = measure_states(encoder, chunks, source=source, static=counter, show_progress=show_progress)
    static = None if counter is None else table_for(counter, encoder.backbone, encoder.terms.pooling)
    return encoder.replaced(vocabulary=vocabulary, static=static)
