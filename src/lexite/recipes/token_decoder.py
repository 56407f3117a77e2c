"""A token decoder for a vocabulary that was saved without its decoder, fitted to text.

With codes F (n, n_latents) and states X (n, d_model) of n tokens, and W the encoder's rows, the atoms D minimise

    ‖X - b - F D‖² + λ ‖D - W A‖²

where A and b are the linear map and the bias that give X back best from F W alone. So a latent that fires seldom, or never,
has the atom that its encoder row says. λ is a share of the median latent's Σ value². The atoms are then projected on their
principal directions (:func:`lexite.terms.token_decoder.projected`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from lexite.backbone import TokenStates, iterate_states
from lexite.corpus import Document
from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.errors import CorpusError, ModelError
from lexite.progress import progress
from lexite.recipes.sample import SAMPLE_CHUNK, limited
from lexite.sae import SparseAutoencoder
from lexite.sae.normalisation import normalise
from lexite.terms.config import DecoderConfig
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.token_decoder import TokenDecoder, projected
from lexite.training.starting import ridge_solution

logger = logging.getLogger("lexite")
HELD_OUT = 10  # one chunk of states in so many is not fitted to: the error is measured on it
COLUMNS_AT_ONCE = 64  # of the atoms; each takes 4 bytes for each token while it is solved for
MAP_RIDGE = 1e-6  # share of the mean Σ square of a column of F W that keeps A defined where there are few tokens
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class FittedDecoder:
    """A token decoder and how well it fits.

    Attributes:
        decoder: the decoder.
        n_tokens: tokens that it was fitted to.
        fvu: Σ‖x - x^‖² / Σ‖x - mean‖² of tokens that it was not fitted to, before the projection; None where there are none.
        kept: share of the atoms' squared lengths that the projection keeps.
    """

    decoder: TokenDecoder
    n_tokens: int
    fvu: float | None
    kept: float


def fit_token_decoder(
    encoder: LatentTermEncoder,
    texts: Iterable[str],
    config: DecoderConfig | None = None,
    *,
    show_progress: bool = False,
) -> FittedDecoder:
    """Fits a token decoder to texts; ``encoder.replaced(token_decoder=...)`` takes it.

    One passage is drawn of each text, so that many texts are seen. The same texts, seed and machine give the same decoder. A
    vocabulary with its decoder needs no fit: ``save_pretrained(encoder_only=True)`` projects that.

    Args:
        encoder: the vocabulary.
        texts: a stream, read once, until there are enough tokens.
        config: how it is fitted.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: there is no text.
        BackboneError: the model fails, or gives NaN.
    """
    chosen = config or DecoderConfig()
    passages = drawn_passages(texts, chosen.seed)
    chunks = iterate_states(encoder.backbone, passages, "document", texts_per_chunk=SAMPLE_CHUNK)
    return fit_to_states(encoder, chunks, chosen, show_progress=show_progress)


def drawn_passages(texts: Iterable[str], seed: int) -> Iterator[str]:
    """One passage of each text, cut as an index cuts them."""
    generator, cutting = np.random.default_rng(seed), PassageConfig()
    for text in texts:
        passages = cut_documents([Document("", text)], cutting).texts
        yield passages[int(generator.integers(len(passages)))]


def fit_to_states(
    encoder: LatentTermEncoder, chunks: Iterable[TokenStates], config: DecoderConfig, *, show_progress: bool = False
) -> FittedDecoder:
    """:func:`fit_token_decoder` for token states that are there already. Every tenth chunk is held out.

    Raises:
        CorpusError: there is no token.
    """
    sae = encoder.sae
    fitted, held = _Sums.empty(sae), _Sums.empty(sae)
    with progress("Fitting the decoder", config.tokens, "tokens", show_progress) as bar:
        for number, chunk in zip(count(1), limited(iter(chunks), config.tokens), strict=False):
            for part in encoder.portions(chunk):
                (fitted if number % HELD_OUT else held).add(encoder, part)
            bar.advance(chunk.n_tokens)
    if not fitted.n_tokens:
        raise CorpusError("There is no text to fit the decoder to.")
    logger.info("Solving for the atoms of %s latents.", f"{sae.config.n_latents:,}")
    atoms, bias = _solved(fitted, sae.encoder_weight.cpu().numpy(), config.ridge)
    decoder = projected(atoms, bias, config.rank)
    kept = float(np.square(decoder.atoms).sum() / max(np.square(atoms).sum(), 1e-30))
    return FittedDecoder(decoder, fitted.n_tokens, held.fvu(atoms, bias) if held.n_tokens else None, kept)


@dataclass
class _Sums:
    """What is kept of tokens: their codes, and sums over their states.

    Attributes:
        codes: F in parts, (n, n_latents) each.
        across: FᵀX, (n_latents, d_model).
        total: Σ x, (d_model,).
        squares: Σ ‖x‖².
        n_tokens: n.
    """

    across: Floats
    total: NDArray[np.float64]
    squares: float = 0.0
    n_tokens: int = 0
    parts: list[csr_array[Any]] = field(default_factory=list)

    @classmethod
    def empty(cls, sae: SparseAutoencoder) -> _Sums:
        """No tokens."""
        size = (sae.config.n_latents, sae.config.d_model)
        return cls(np.zeros(size, dtype=np.float32), np.zeros(size[1]))

    def add(self, encoder: LatentTermEncoder, states: TokenStates) -> None:
        """Takes the tokens of some texts."""
        sae = encoder.sae
        values, indices = encoder.codes(states, encoder.k_for("document")).signed(sae.config.n_latents)
        rows = normalise(states.states.float(), sae.config.normalize_activations)[0].cpu().numpy()
        used = (indices >= 0).cpu().numpy()
        bounds = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        numbers = values.detach().cpu().numpy()[used], indices.cpu().numpy()[used], bounds
        codes = csr_array(numbers, shape=(len(rows), sae.config.n_latents))
        self.parts.append(codes)
        self.across += csr_array(codes.T) @ rows
        self.total += rows.sum(axis=0, dtype=np.float64)
        self.squares += float(np.square(rows).sum(dtype=np.float64))
        self.n_tokens += len(rows)

    def codes(self) -> csr_array[Any]:
        """The codes of all tokens."""
        return csr_array(vstack(self.parts, format="csr"))

    def fvu(self, atoms: Floats, bias: Floats) -> float | None:
        """The fraction of variance unexplained by a decoder; None where the states do not vary."""
        sums, decoded_squares = np.zeros(len(bias)), 0.0
        for codes in self.parts:
            decoded = codes @ atoms + bias
            decoded_squares += float(np.square(decoded).sum(dtype=np.float64))
            sums += decoded.sum(axis=0, dtype=np.float64)
        with_states = float((self.across * atoms).sum(dtype=np.float64) + self.total @ bias)
        variance = self.squares - float(np.square(self.total).sum()) / self.n_tokens
        return (self.squares - 2 * with_states + decoded_squares) / variance if variance > 0 else None


def _solved(sums: _Sums, rows: Floats, ridge: float) -> tuple[Floats, Floats]:
    """The atoms and the bias."""
    codes = sums.codes()
    prior, bias = _linear_map(sums, rows)
    counts = np.asarray(codes.sum(axis=0)).astype(np.float32)
    energies = np.asarray(codes.power(2).sum(axis=0))
    fired = energies[energies > 0]
    weight = ridge * float(np.median(fired)) if len(fired) else 1.0
    atoms, across = prior.copy(), csr_array(codes.T)
    for start in range(0, prior.shape[1], COLUMNS_AT_ONCE):
        part = slice(start, start + COLUMNS_AT_ONCE)
        given = counts[:, None] * bias[part] + across @ (codes @ np.ascontiguousarray(prior[:, part]))
        atoms[:, part] += ridge_solution(codes, sums.across[:, part] - given, weight)
    if not np.isfinite(atoms).all():
        raise ModelError("The atoms of the decoder came out as NaN or infinity. Fit to more tokens, or with a larger ridge.")
    return atoms, bias


def _linear_map(sums: _Sums, rows: Floats) -> tuple[Floats, Floats]:
    """The atoms W A and the bias b with the smallest ‖X - b - F W A‖²."""
    width = rows.shape[1] + 1
    inner = np.zeros((width, width))
    for codes in sums.parts:
        seen = np.concatenate([codes @ rows, np.ones((codes.shape[0], 1), dtype=np.float32)], axis=1).astype(np.float64)
        inner += seen.T @ seen
    outer = np.concatenate([rows.T.astype(np.float64) @ sums.across, sums.total[None]])
    solution = np.linalg.solve(inner + MAP_RIDGE * np.trace(inner) / width * np.eye(width), outer).astype(np.float32)
    return rows @ solution[:-1], solution[-1]
