"""Latent terms: pooling of codes into weights, the encoder that users load and save, labels and frequencies of terms.

Names are loaded on first use, so that an index can read :class:`BM25Config` and labels without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.scoring.config import BM25Config as BM25Config
    from lexite.scoring.transform import apply_transform as apply_transform
    from lexite.scoring.words import LiteralConfig as LiteralConfig
    from lexite.terms.config import TermsConfig as TermsConfig
    from lexite.terms.encoder import LatentTermEncoder as LatentTermEncoder
    from lexite.terms.hub import find_folder as find_folder
    from lexite.terms.manifest import ModelDetails as ModelDetails
    from lexite.terms.manifest import read_manifest as read_manifest
    from lexite.terms.measure import measure_vocabulary as measure_vocabulary
    from lexite.terms.pooling import pool as pool
    from lexite.terms.queries import EncodedQueries as EncodedQueries
    from lexite.terms.saving import add_results as add_results
    from lexite.terms.static import StaticTable as StaticTable
    from lexite.terms.static import load_static as load_static
    from lexite.terms.token_decoder import TokenDecoder as TokenDecoder
    from lexite.terms.vocabulary import Vocabulary as Vocabulary

_HOMES = {
    "EncodedQueries": "terms.queries",
    "BM25Config": "scoring.config",
    "LatentTermEncoder": "terms.encoder",
    "LiteralConfig": "scoring.words",
    "ModelDetails": "terms.manifest",
    "StaticTable": "terms.static",
    "TermsConfig": "terms.config",
    "TokenDecoder": "terms.token_decoder",
    "Vocabulary": "terms.vocabulary",
    "add_results": "terms.saving",
    "apply_transform": "scoring.transform",
    "find_folder": "terms.hub",
    "load_static": "terms.static",
    "measure_vocabulary": "terms.measure",
    "pool": "terms.pooling",
    "read_manifest": "terms.manifest",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.terms' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, loaded or not."""
    return sorted({*globals(), *_HOMES})
