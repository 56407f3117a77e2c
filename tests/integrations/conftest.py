"""Random autoencoders, and the plain meaning of codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

D_MODEL, N_LATENTS, K = 12, 40, 5


@pytest.fixture
def states() -> torch.Tensor:
    """Token states with a mean of their own, so that the bias of the decoder matters."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(64, D_MODEL, generator=generator) * 1.7 + torch.linspace(-1, 1, D_MODEL)


@pytest.fixture
def draw():
    """Draws tensors: ``draw(3, 4, scale=2.0, shift=1.0)``."""
    generator = torch.Generator().manual_seed(11)

    def normal(*shape: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale + shift

    return normal


def write_folder(folder: Path, settings: Any, tensors: dict[str, torch.Tensor], names: tuple[str, str]) -> Path:
    """Writes settings and tensors under the names of a library."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(json.dumps(settings), encoding="utf-8")
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / names[1])
    return folder


@pytest.fixture
def write():
    return write_folder


@pytest.fixture
def same():
    """Compares the codes and reconstructions of an autoencoder with another library's, dense and signed."""

    def compare(sae: Any, states: torch.Tensor, codes: torch.Tensor, reconstructed: torch.Tensor | None = None) -> None:
        with torch.no_grad():
            own = sae.encode(states).to_dense()
            if sae.activation == "abs_topk":  # two terms per latent
                own = own[:, : sae.config.n_latents] - own[:, sae.config.n_latents :]
            assert (codes != 0).any(), "a comparison of nothing"
            torch.testing.assert_close(own, codes.float(), rtol=1e-5, atol=1e-5)
            if reconstructed is not None:
                torch.testing.assert_close(sae.reconstruct(states), reconstructed.float(), rtol=1e-5, atol=1e-5)

    return compare
