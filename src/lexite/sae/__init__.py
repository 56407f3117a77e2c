"""The sparse autoencoder: configuration, encoding, decoding, files. What training adds lives in ``lexite.training``."""

from lexite.sae.autoencoder import SparseAutoencoder
from lexite.sae.codes import SparseCodes
from lexite.sae.config import SAEConfig

__all__ = ["SAEConfig", "SparseAutoencoder", "SparseCodes"]
