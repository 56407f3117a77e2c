"""A dense retriever as a source of token states. Importing this room does not import torch; loading a model does."""

from lexite.backbone.base import Backbone, iterate_states
from lexite.backbone.config import BackboneConfig, Kind
from lexite.backbone.loading import load_backbone, read_otherwise
from lexite.backbone.locate import default_model_folder
from lexite.backbone.precision import fast_bf16
from lexite.backbone.states import TokenStates, concatenate
from lexite.backbone.store import StateStore

__all__ = [
    "Backbone",
    "BackboneConfig",
    "Kind",
    "StateStore",
    "TokenStates",
    "concatenate",
    "default_model_folder",
    "fast_bf16",
    "iterate_states",
    "load_backbone",
    "read_otherwise",
]
