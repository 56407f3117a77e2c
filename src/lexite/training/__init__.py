"""Fitting a sparse autoencoder on a stream of token states."""

from lexite.training.config import TrainingConfig

__all__ = ["TrainingConfig"]
