"""Rankings: hits, the best of scores, runs and judgements as TREC files."""

from __future__ import annotations

from lexite.ranking.hits import Hit as Hit
from lexite.ranking.rankings import Ranking as Ranking
from lexite.ranking.rankings import Run as Run
from lexite.ranking.trec import read_trec_run as read_trec_run
from lexite.ranking.trec import run_from_hits as run_from_hits
from lexite.ranking.trec import write_trec_qrels as write_trec_qrels
from lexite.ranking.trec import write_trec_run as write_trec_run

__all__ = ["Hit", "Ranking", "Run", "read_trec_run", "run_from_hits", "write_trec_qrels", "write_trec_run"]
