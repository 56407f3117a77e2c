"""Vocabularies with their latents in another order, or with only some of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from lexite.errors import ConfigError
from lexite.terms.components import MEASURED, Components


def reordered(parts: Components, order: ArrayLike, *, prefix_size: int | None = None) -> Components:
    """The parts of :meth:`LatentTermEncoder.reordered`; ``prefix_size`` says that they are a prefix of their source."""
    import torch

    kept = np.ascontiguousarray(order, dtype=np.int64)
    n_latents = parts.sae.config.n_latents
    per_latent, whole = parts.sae.n_terms // n_latents, len(kept) == n_latents
    source = parts.source if prefix_size is not None else ""
    chosen = replace(
        parts,
        sae=parts.sae.reordered(torch.from_numpy(kept)),
        vocabulary=None if parts.vocabulary is None else parts.vocabulary.reordered(kept, per_latent),
        # With fewer latents, tokens choose others: results and a table that were measured with all of them no longer fit.
        details=parts.details if whole else replace(parts.details, results=None),
        static=parts.static.reordered(kept, per_latent) if parts.static is not None and whole else None,
        token_decoder=None if parts.token_decoder is None else parts.token_decoder.reordered(kept),
        source=source,
        prefix_size=prefix_size if source else None,
    )
    if parts.loaded is None:
        return chosen
    # Of a part that is the source's, the source's prefix has what is chosen here.
    same = [name for name in ("sae", *MEASURED) if getattr(parts, name) is getattr(parts.loaded, name)]
    return replace(chosen, loaded=replace(parts.loaded, **{name: getattr(chosen, name) for name in same}))


def prefix_of(parts: Components, n_latents: int) -> Components:
    """The parts of :meth:`LatentTermEncoder.prefix`."""
    most, name = parts.sae.config.n_latents, parts.details.name
    if not 1 <= n_latents <= most:
        raise ConfigError(f"A prefix of {n_latents} latents cannot be taken: {name} has {most}. Name 1 to {most}.")
    own = [k for k in (parts.terms.k_documents, parts.terms.k_queries) if k is not None]
    if parts.sae.limited:
        own = [parts.k_for("document"), parts.k_for("query")]
    if n_latents < max(own, default=1):
        raise ConfigError(
            f"A prefix of {n_latents} latents is too small: {name} keeps {max(own)} latents per token. "
            f"Name at least {max(own)}."
        )
    return parts if n_latents == most else reordered(parts, np.arange(n_latents), prefix_size=n_latents)
