"""Vocabularies with their latents in another order, or with only some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lexite.errors import ConfigError

if TYPE_CHECKING:
    from lexite.terms.encoder import LatentTermEncoder


def reordered_encoder(encoder: LatentTermEncoder, order: ArrayLike, *, prefix_size: int | None = None) -> LatentTermEncoder:
    """Does the work of :meth:`LatentTermEncoder.reordered`; ``prefix_size`` says that it is a prefix of its source."""
    import torch

    from lexite.terms.encoder import LatentTermEncoder

    kept = np.ascontiguousarray(order, dtype=np.int64)
    sae = encoder.sae.reordered(torch.from_numpy(kept))
    per_latent = encoder.sae.n_terms // encoder.sae.config.n_latents
    vocabulary = None if encoder.vocabulary is None else encoder.vocabulary.reordered(kept, per_latent)
    whole = len(kept) == encoder.sae.config.n_latents
    # With fewer latents, tokens choose others: a table measured with all of them no longer fits.
    static = encoder.static.reordered(kept, per_latent) if encoder.static is not None and whole else None
    details = encoder.details if whole else replace(encoder.details, results=None)  # measured with all of them
    source = encoder.source if prefix_size is not None else ""
    return LatentTermEncoder(
        encoder.backbone,
        sae,
        encoder.terms,
        encoder.scoring,
        vocabulary,
        details=details,
        source=source,
        prefix_size=prefix_size if source else None,
        static=static,
    )


def prefix_encoder(encoder: LatentTermEncoder, n_latents: int) -> LatentTermEncoder:
    """Does the work of :meth:`LatentTermEncoder.prefix`."""
    most = encoder.sae.config.n_latents
    if not 1 <= n_latents <= most:
        raise ConfigError(f"A prefix of {n_latents} latents cannot be taken: {encoder.name} has {most}. Name 1 to {most}.")
    own = [k for k in (encoder.terms.k_documents, encoder.terms.k_queries) if k is not None]
    if encoder.sae.limited:
        own = [encoder.k_for("document"), encoder.k_for("query")]
    if n_latents < max(own, default=1):
        raise ConfigError(
            f"A prefix of {n_latents} latents is too small: {encoder.name} keeps {max(own)} latents per token. "
            f"Name at least {max(own)}."
        )
    return encoder if n_latents == most else reordered_encoder(encoder, np.arange(n_latents), prefix_size=n_latents)
