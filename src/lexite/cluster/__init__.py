"""Encoding where the data is: shards of sources as files of terms, and indexes that are built from them without a model.

Names are loaded on first use, so that building an index from shards loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.cluster.building import index_from_terms as index_from_terms
    from lexite.cluster.settings import TermsSettings as TermsSettings
    from lexite.cluster.shards import ShardReport as ShardReport
    from lexite.cluster.shards import encode_shard as encode_shard
    from lexite.corpus.sharding import Shard as Shard

_HOMES = {
    "Shard": "corpus.sharding",
    "ShardReport": "cluster.shards",
    "TermsSettings": "cluster.settings",
    "encode_shard": "cluster.shards",
    "index_from_terms": "cluster.building",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.cluster' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, loaded or not."""
    return sorted({*globals(), *_HOMES})
