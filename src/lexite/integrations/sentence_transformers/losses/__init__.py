"""Losses for training latent terms with ``SparseEncoderTrainer``.

Each takes the model and is called by the trainer with the features of all columns of a batch; each returns its terms by name,
which the trainer adds up and logs one by one. The first column is taken for queries where there are more than one.
"""

from lexite.integrations.sentence_transformers.losses.contrastive import SupervisedContrastiveLoss
from lexite.integrations.sentence_transformers.losses.distillation import DenseDistillationLoss
from lexite.integrations.sentence_transformers.losses.latent_terms import LatentTermsLoss
from lexite.integrations.sentence_transformers.losses.reconstruction import TokenReconstructionLoss

__all__ = ["DenseDistillationLoss", "LatentTermsLoss", "SupervisedContrastiveLoss", "TokenReconstructionLoss"]
