"""Random autoencoders, the plain meaning of codes, and how tests that are coroutines run."""

from __future__ import annotations

import asyncio
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

D_MODEL, N_LATENTS, K = 12, 40, 5


def pytest_configure(config: pytest.Config) -> None:
    """Names markers of langchain-tests, whose plugins may be turned off."""
    for name in ("benchmark", "vcr"):
        config.addinivalue_line("markers", f"{name}: a marker of langchain-tests")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a coroutine in a loop of its own, so that standard tests of frameworks need no plugin of pytest for it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


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
