"""Other libraries: their sparse autoencoders read and written and used as vocabularies, mteb, sentence-transformers.

Names are loaded on first use, since the readers need torch. What is for sentence-transformers is in a package of its own,
:mod:`lexite.integrations.sentence_transformers`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.integrations.dictionary_learning import read_dictionary_learning as read_dictionary_learning
    from lexite.integrations.mteb import BM25SearchModel as BM25SearchModel
    from lexite.integrations.saelens import read_saelens as read_saelens
    from lexite.integrations.saelens import write_saelens as write_saelens
    from lexite.integrations.sparsify import read_sparsify as read_sparsify
    from lexite.integrations.sparsify import write_sparsify as write_sparsify
    from lexite.integrations.vocabulary import import_vocabulary as import_vocabulary
    from lexite.integrations.vocabulary import read_sae as read_sae
    from lexite.integrations.vocabulary import vocabulary_from_sae as vocabulary_from_sae

_HOMES = {
    "BM25SearchModel": "mteb",
    "import_vocabulary": "vocabulary",
    "read_dictionary_learning": "dictionary_learning",
    "read_sae": "vocabulary",
    "read_saelens": "saelens",
    "read_sparsify": "sparsify",
    "vocabulary_from_sae": "vocabulary",
    "write_saelens": "saelens",
    "write_sparsify": "sparsify",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.integrations' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.integrations.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
