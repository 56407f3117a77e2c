"""Labels for a vocabulary: names with a number for whether they can be trusted, kinds, examples, relatives."""

from lexite.labelling.config import LabelConfig
from lexite.labelling.resuming import label_into
from lexite.labelling.run import label_firings, label_vocabulary

__all__ = ["LabelConfig", "label_firings", "label_into", "label_vocabulary"]
