"""lexite: a dense text retriever taken apart into a sparse vocabulary of latent terms that BM25 can index.

Names are loaded on first use, so that ``import lexite`` costs nothing and searching needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lexite.version import __version__ as __version__

if TYPE_CHECKING:
    from lexite.backbone import load_backbone as load_backbone
    from lexite.corpus import Document as Document
    from lexite.corpus import read_documents as read_documents
    from lexite.evaluation import evaluate_collections as evaluate_collections
    from lexite.index import BM25Index as BM25Index
    from lexite.recipes import train as train
    from lexite.sae import SAEConfig as SAEConfig
    from lexite.sae import SparseAutoencoder as SparseAutoencoder
    from lexite.scoring import BM25Config as BM25Config
    from lexite.search import Searcher as Searcher
    from lexite.terms import LatentTermEncoder as LatentTermEncoder

_HOMES = {
    "BM25Config": "lexite.scoring",
    "BM25Index": "lexite.index",
    "Document": "lexite.corpus",
    "LatentTermEncoder": "lexite.terms",
    "SAEConfig": "lexite.sae",
    "Searcher": "lexite.search",
    "SparseAutoencoder": "lexite.sae",
    "evaluate_collections": "lexite.evaluation",
    "load_backbone": "lexite.backbone",
    "read_documents": "lexite.corpus",
    "train": "lexite.recipes",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Loads an exported name from its room on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, loaded or not."""
    return sorted({*globals(), *_HOMES})
