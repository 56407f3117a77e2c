"""Other people's search engines, each with the same documents and questions as an index of lexite.

:mod:`lexite.engines.base` says what an engine is. One file holds one engine, and needs only that engine's own client.
Names are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.engines.addresses import connect as connect
    from lexite.engines.base import Capabilities as Capabilities
    from lexite.engines.base import Engine as Engine
    from lexite.engines.base import EngineHit as EngineHit
    from lexite.engines.live import LiveEngine as LiveEngine
    from lexite.engines.loading import Loaded as Loaded
    from lexite.engines.loading import LoadSettings as LoadSettings
    from lexite.engines.searching import searcher_over as searcher_over

_HOMES = {
    "Capabilities": "base",
    "Engine": "base",
    "EngineHit": "base",
    "LiveEngine": "live",
    "LoadSettings": "loading",
    "Loaded": "loading",
    "connect": "addresses",
    "searcher_over": "searching",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.engines' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.engines.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
