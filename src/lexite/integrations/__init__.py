"""Other libraries: their sparse autoencoders as vocabularies, mteb, sentence-transformers, frameworks for retrieval.

Names are loaded on first use, since the readers need torch. What is for sentence-transformers is in a package of its own,
:mod:`lexite.integrations.sentence_transformers`; what is for LangChain, LlamaIndex, Haystack, PyTerrier and beir in modules of
their own, ``lexite.integrations.langchain`` and so on, which need that framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lexite.integrations.mteb import BM25SearchModel as BM25SearchModel
    from lexite.recipes.from_sae import import_vocabulary as import_vocabulary
    from lexite.recipes.from_sae import read_sae as read_sae
    from lexite.recipes.from_sae import vocabulary_from_sae as vocabulary_from_sae
    from lexite.sae.formats.dictionary_learning import read_dictionary_learning as read_dictionary_learning
    from lexite.sae.formats.saelens import read_saelens as read_saelens
    from lexite.sae.formats.saelens import write_saelens as write_saelens
    from lexite.sae.formats.sparsify import read_sparsify as read_sparsify
    from lexite.sae.formats.sparsify import write_sparsify as write_sparsify

_HOMES = {
    "BM25SearchModel": "integrations.mteb",
    "import_vocabulary": "recipes.from_sae",
    "read_dictionary_learning": "sae.formats.dictionary_learning",
    "read_sae": "recipes.from_sae",
    "read_saelens": "sae.formats.saelens",
    "read_sparsify": "sae.formats.sparsify",
    "vocabulary_from_sae": "recipes.from_sae",
    "write_saelens": "sae.formats.saelens",
    "write_sparsify": "sae.formats.sparsify",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Loads an exported name from its file on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lexite.integrations' has no attribute {name!r}")
    value = getattr(import_module(f"lexite.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
