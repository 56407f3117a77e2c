"""The sparse autoencoder: configuration, encoding, decoding, files. What training adds lives in ``lexite.training``.

Names are loaded on first use, so that the configuration can be read without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.sae.autoencoder import SparseAutoencoder as SparseAutoencoder
    from lexite.sae.codes import SparseCodes as SparseCodes
    from lexite.sae.config import SAEConfig as SAEConfig

_HOMES = {"SAEConfig": "config", "SparseAutoencoder": "autoencoder", "SparseCodes": "codes"}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.sae' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.sae.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
