"""A dense retriever as a source of token states. Importing this room does not import torch; loading a model does.

Names are loaded on first use, so that the command line can read :class:`BackboneConfig` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.backbone.base import Backbone as Backbone
    from lexite.backbone.base import iterate_states as iterate_states
    from lexite.backbone.config import BackboneConfig as BackboneConfig
    from lexite.backbone.config import Kind as Kind
    from lexite.backbone.loading import load_backbone as load_backbone
    from lexite.backbone.loading import read_otherwise as read_otherwise
    from lexite.backbone.locate import default_model_folder as default_model_folder
    from lexite.backbone.precision import fast_bf16 as fast_bf16
    from lexite.backbone.states import TokenStates as TokenStates
    from lexite.backbone.states import concatenate as concatenate
    from lexite.backbone.store import StateStore as StateStore

_HOMES = {
    "Backbone": "base",
    "BackboneConfig": "config",
    "Kind": "config",
    "StateStore": "store",
    "TokenStates": "states",
    "concatenate": "states",
    "default_model_folder": "locate",
    "fast_bf16": "precision",
    "iterate_states": "base",
    "load_backbone": "loading",
    "read_otherwise": "loading",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.backbone' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.backbone.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The exported names, loaded or not."""
    return sorted({*globals(), *_HOMES})
