"""Looking into vocabularies and corpora: plots of measurements, and analyses of documents by their concepts.

Plots need the extra ``plots``, clusters and maps the extra ``analysis``.
"""

from lexite.analysis.clusters import Clusters, agreement, clusters
from lexite.analysis.comparison import plot_comparison
from lexite.analysis.corpora import Corpus, corpus_of
from lexite.analysis.correlations import Correlations, correlations
from lexite.analysis.differences import Differences, differences
from lexite.analysis.fields import FieldCorrelations, field_correlations
from lexite.analysis.figures import need_matplotlib
from lexite.analysis.plots import Fit, Line, RankCurve, plot_lines, plot_power_law, plot_rank_curves
from lexite.analysis.properties import Property, property_from_examples, property_from_sentence

__all__ = [
    "Clusters",
    "Corpus",
    "Correlations",
    "Differences",
    "FieldCorrelations",
    "Fit",
    "Line",
    "Property",
    "RankCurve",
    "agreement",
    "clusters",
    "corpus_of",
    "correlations",
    "differences",
    "field_correlations",
    "need_matplotlib",
    "plot_comparison",
    "plot_lines",
    "plot_power_law",
    "plot_rank_curves",
    "property_from_examples",
    "property_from_sentence",
]
