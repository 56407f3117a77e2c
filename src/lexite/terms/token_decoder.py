"""From the latents of a token back to its state, in few dimensions: what MaxSim needs of a vocabulary without its decoder.

A decoder has an atom for each latent, a row as wide as a state. Similarities of tokens need less: the atoms are projected on
the directions in which they are longest, P, and so is a query's token. With value_l the activations of a token and D the atoms,

    Pᵀ x^ = Pᵀ b + Σ value_l · Pᵀ D_l

Projected atoms are kept in 4 bits with a scale for each. Reading them needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError, ModelError
from lexite.files import atomic_write, storage_errors

FILE_NAME = "token_decoder.safetensors"
FORMAT_VERSION = "1"
RANK = 128
"""Directions that are kept of a state, where it has more."""
LEVELS = 7  # of each sign, in 4 bits
_SHARES = np.linspace(0.5, 1.0, 11, dtype=np.float32)  # of an atom's largest number, tried as the largest that is told apart
_ATOMS_AT_ONCE = 4096
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TokenDecoder:
    """A decoder in few dimensions.

    Attributes:
        projection: (d_model, r) float32, orthonormal columns, what takes a state into these dimensions.
        atoms: (n_latents, r) float32.
        bias: (r,) float32.
        levels: the atoms as they are kept, (n_latents, r) int8 and the step of each, (n_latents,) float32; their product is
            exactly the atoms. None where atoms were not rounded.

    Raises:
        ModelError: their shapes do not fit together.
    """

    projection: Floats
    atoms: Floats
    bias: Floats
    levels: tuple[NDArray[np.int8], Floats] | None = None

    def __post_init__(self) -> None:
        widths = {self.projection.shape[-1], self.atoms.shape[-1], self.bias.shape[-1]}
        if (self.projection.ndim, self.atoms.ndim, self.bias.ndim) != (2, 2, 1) or len(widths) > 1:
            shapes = ", ".join(str(array.shape) for array in (self.projection, self.atoms, self.bias))
            raise ModelError(f"A token decoder has a projection, atoms and a bias of one width, but these have {shapes}.")
        if self.levels is not None and (self.levels[0].shape, self.levels[1].shape) != (self.atoms.shape, self.atoms.shape[:1]):
            raise ModelError(
                f"The levels of a token decoder have the shape {self.levels[0].shape}, its atoms {self.atoms.shape}."
            )

    @property
    def d_model(self) -> int:
        """Width of a token state."""
        return int(self.projection.shape[0])

    @property
    def n_latents(self) -> int:
        """Number of atoms."""
        return int(self.atoms.shape[0])

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return int(self.atoms.shape[1])

    def reordered(self, order: NDArray[np.int64]) -> TokenDecoder:
        """The decoder of the same latents in another order, or of some of them: latent ``order[i]`` becomes latent i."""
        levels = None if self.levels is None else (self.levels[0][order], self.levels[1][order])
        return replace(self, atoms=np.ascontiguousarray(self.atoms[order]), levels=levels)

    def rounded(self) -> TokenDecoder:
        """What :meth:`load` gives after :meth:`save`. Rounded once, it stays as it is."""
        codes, scales = _packed(self.atoms)
        projection = self.projection.astype(np.float16).astype(np.float32)
        return TokenDecoder._of(projection, _levels(codes, scales, self.rank), self.bias.astype(np.float32))

    def save(self, folder: str | Path) -> list[str]:
        """Writes ``token_decoder.safetensors`` into a folder that exists; gives the file's name.

        Raises:
            StorageError: it cannot be written.
        """
        from safetensors.numpy import save

        codes, scales = _packed(self.atoms)
        arrays: dict[str, NDArray[Any]] = {
            "projection": self.projection.astype(np.float16),
            "atoms": codes,
            "scales": scales,
            "bias": self.bias,
        }
        content = save(arrays, metadata={"format_version": FORMAT_VERSION})
        with atomic_write(Path(folder) / FILE_NAME) as file, storage_errors(folder):
            file.write(content)
        return [FILE_NAME]

    @classmethod
    def _of(cls, projection: Floats, levels: tuple[NDArray[np.int8], Floats], bias: Floats) -> TokenDecoder:
        """The decoder whose atoms are multiples of steps."""
        return cls(projection, levels[0] * levels[1][:, None], bias, levels)

    @classmethod
    def load(cls, folder: str | Path) -> TokenDecoder:
        """Reads what :meth:`save` wrote.

        Raises:
            ModelError: it is missing, damaged, or of a newer format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = Path(folder) / FILE_NAME
        try:
            content = path.read_bytes()
            arrays = load(content)
            facts = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
        except FileNotFoundError:
            raise ModelError(f"{path} does not exist. Copy the whole folder again.") from None
        except (OSError, ValueError, KeyError, SafetensorError) as problem:
            raise ModelError(f"{path} is damaged: {problem}.") from problem
        if facts.get("format_version") != FORMAT_VERSION:
            version = facts.get("format_version")
            raise ModelError(
                f"{path} has format version {version}; this lexite reads {FORMAT_VERSION}. Install a newer lexite."
            )
        try:
            levels = _levels(arrays["atoms"], arrays["scales"], len(arrays["bias"]))
            decoder = cls._of(arrays["projection"].astype(np.float32), levels, arrays["bias"].astype(np.float32))
        except (KeyError, ValueError, ModelError) as problem:
            raise ModelError(f"{path} is damaged: {problem}.") from problem
        if not all(np.isfinite(array).all() for array in (decoder.projection, decoder.atoms, decoder.bias)):
            raise ModelError(f"{path} is damaged: it holds NaN or infinity.")
        return decoder


def projected(atoms: Floats, bias: Floats, rank: int = RANK) -> TokenDecoder:
    """A decoder in the directions in which its atoms are longest: those of the largest eigenvalues of DᵀD.

    No other directions lose less of the atoms' squared lengths, each atom counted once however often its latent fires.

    Args:
        atoms: (n_latents, d_model) the rows of the decoder.
        bias: (d_model,) its bias.
        rank: how many directions; all where a state is no wider.

    Raises:
        ConfigError: the rank is less than 1.
    """
    if rank < 1:
        raise ConfigError(f"The rank of a token decoder is {rank}, but must be at least 1.")
    wide = atoms.astype(np.float64)
    directions = np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :rank]  # the largest first
    projection = np.ascontiguousarray(directions, dtype=np.float32)
    signs = np.where(projection[np.abs(projection).argmax(axis=0), np.arange(projection.shape[1])] < 0, -1.0, 1.0)
    projection *= signs.astype(np.float32)  # which sign a library gives is chance
    return TokenDecoder(projection, atoms.astype(np.float32) @ projection, bias.astype(np.float32) @ projection)


def _packed(atoms: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Atoms in 4 bits, two numbers a byte, (n, ⌈r / 2⌉), and the scale of each.

    The scale is the one, of eleven, with the smallest squared error. Numbers beyond its seventh step are kept as that.
    """
    n, rank = atoms.shape
    codes, scales = np.zeros((n, rank + rank % 2), dtype=np.int8), np.zeros(n, dtype=np.float16)
    for start in range(0, n, _ATOMS_AT_ONCE):
        part = slice(start, start + _ATOMS_AT_ONCE)
        codes[part, :rank], scales[part] = _rounded(atoms[part])
    levels = (codes + 8).astype(np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or(levels[:, 0::2], levels[:, 1::2] << 4).astype(np.uint8)
    return packed, scales


def _rounded(atoms: Floats) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Atoms as multiples, from -7 to 7, of the scale of each that rounds it best."""
    largest = np.abs(atoms).max(axis=1, initial=0.0)
    best = np.full(len(atoms), np.inf, dtype=np.float32)
    codes, scales = np.zeros(atoms.shape, dtype=np.int8), np.zeros(len(atoms), dtype=np.float16)
    for share in _SHARES[::-1]:  # at equal errors the largest stays, so that what was rounded stays as it is
        tried = (largest * share / LEVELS).astype(np.float16)
        steps = np.where(tried > 0, tried, 1.0).astype(np.float32)[:, None]
        levels = np.clip(np.rint(atoms / steps), -LEVELS, LEVELS)
        errors = np.square(levels * steps - atoms).sum(axis=1)
        better = errors < best
        best[better], codes[better], scales[better] = errors[better], levels[better].astype(np.int8), tried[better]
    return codes, scales


def _levels(halves: NDArray[np.uint8], scales: NDArray[np.float16], rank: int) -> tuple[NDArray[np.int8], Floats]:
    """The atoms of what :func:`_packed` gave, as multiples and steps; raises ValueError where it gave no such thing."""
    if halves.dtype != np.uint8 or halves.ndim != 2 or halves.shape != (len(scales), (rank + 1) // 2):
        raise ValueError("its atoms do not fit its rank")
    codes = np.empty((len(halves), 2 * halves.shape[1]), dtype=np.int8)
    codes[:, 0::2], codes[:, 1::2] = halves & 15, halves >> 4
    codes -= 8
    return np.ascontiguousarray(codes[:, :rank]), scales.astype(np.float32)
