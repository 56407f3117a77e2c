"""Other people's search engines, each with the same documents and questions as an index of lexite.

:mod:`lexite.engines.base` says what an engine is. One file holds one engine, and needs only that engine's own client.
"""

from __future__ import annotations

from lexite.engines.base import Capabilities as Capabilities
from lexite.engines.base import Engine as Engine

__all__ = ["Capabilities", "Engine"]
