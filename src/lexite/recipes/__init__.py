"""From text, or from an autoencoder that was trained elsewhere, to a finished vocabulary.

Names are loaded on first use, since all of them need torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.recipes.from_sae import import_vocabulary as import_vocabulary
    from lexite.recipes.from_sae import read_sae as read_sae
    from lexite.recipes.from_sae import vocabulary_from_sae as vocabulary_from_sae
    from lexite.recipes.from_text import train as train
    from lexite.recipes.token_decoder import fit_token_decoder as fit_token_decoder

_HOMES = {
    "fit_token_decoder": "token_decoder",
    "import_vocabulary": "from_sae",
    "read_sae": "from_sae",
    "train": "from_text",
    "vocabulary_from_sae": "from_sae",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.recipes' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.recipes.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
