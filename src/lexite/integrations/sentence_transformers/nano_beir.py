"""``BM25NanoBEIREvaluator``: the thirteen small collections of NanoBEIR, searched by BM25 over sparse embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sentence_transformers.sparse_encoder.evaluation import SparseNanoBEIREvaluator

from lexite.config import to_dict
from lexite.integrations.sentence_transformers.evaluation import (
    BM25InformationRetrievalEvaluator,
    ScoreFunction,
    primary_metric,
    with_bm25,
)
from lexite.integrations.sentence_transformers.similarity import BM25Similarity
from lexite.scoring.config import BM25Config


class BM25NanoBEIREvaluator(SparseNanoBEIREvaluator):
    """Measures a sparse encoder on NanoBEIR by BM25, with the interface and the metrics of ``SparseNanoBEIREvaluator``.

    Each collection is searched with its own statistics, by a :class:`BM25InformationRetrievalEvaluator`. Metrics are named
    ``NanoSciFact_bm25_ndcg@10`` and, over all collections, ``NanoBEIR_mean_bm25_ndcg@10``, which is the primary one. The
    collections are loaded by the library, from the Hugging Face hub or from a folder of the same layout.

    Args:
        dataset_names: short names of collections ("scifact"); None: all thirteen.
        dataset_id: data set on the hub, or the folder of a local copy. The ``configs`` in its README.md list the files of
            ``corpus``, ``queries`` and ``qrels``; each has a split for every collection (``NanoSciFact``).
        mrr_at_k: ranks of MRR.
        ndcg_at_k: ranks of nDCG; the primary metric takes the largest.
        accuracy_at_k: ranks of accuracy.
        precision_recall_at_k: ranks of precision and recall.
        map_at_k: ranks of MAP.
        show_progress_bar: whether to show progress.
        batch_size: texts encoded at once.
        write_csv: whether lines of results are added to CSV files in ``output_path``.
        max_active_dims: terms kept per text; None: as the model does.
        score_functions: further score functions to measure beside BM25, by name.
        main_score_function: name of the score function behind the primary metric; None: BM25.
        aggregate_fn: combines the numbers of all collections into one, such as their mean.
        aggregate_key: name of the combined number in the metrics.
        query_prompts: put before queries: one text, or one for each collection.
        corpus_prompts: put before documents, likewise.
        write_predictions: whether hits are written as JSONL.
        scoring: numbers of BM25; None takes the model's ``scoring`` if it has one, else the defaults.

    Raises:
        ConfigError: ``score_functions`` names one ``bm25``, or ``main_score_function`` names none of them.
        ValueError: by the library: a name is unknown, prompts are missing, or a collection cannot be loaded.
    """

    information_retrieval_class: type[Any] = BM25InformationRetrievalEvaluator

    def __init__(
        self,
        dataset_names: list[str] | None = None,
        dataset_id: str = "sentence-transformers/NanoBEIR-en",
        mrr_at_k: Sequence[int] = (10,),
        ndcg_at_k: Sequence[int] = (10,),
        accuracy_at_k: Sequence[int] = (1, 3, 5, 10),
        precision_recall_at_k: Sequence[int] = (1, 3, 5, 10),
        map_at_k: Sequence[int] = (100,),
        show_progress_bar: bool = False,
        batch_size: int = 32,
        write_csv: bool = True,
        max_active_dims: int | None = None,
        score_functions: Mapping[str, ScoreFunction] | None = None,
        main_score_function: str | None = None,
        aggregate_fn: Callable[[list[float]], Any] = np.mean,
        aggregate_key: str = "mean",
        query_prompts: str | dict[str, str] | None = None,
        corpus_prompts: str | dict[str, str] | None = None,
        write_predictions: bool = False,
        scoring: BM25Config | None = None,
    ) -> None:
        # The library reads only these names: each collection has a BM25Similarity with statistics of its own.
        functions = with_bm25(BM25Similarity(scoring), score_functions)
        primary = primary_metric(functions, main_score_function, ndcg_at_k)
        self._for_each = {
            "score_functions": score_functions,
            "main_score_function": main_score_function,
            "scoring": scoring,
        }
        super().__init__(
            dataset_names=dataset_names,
            dataset_id=dataset_id,
            mrr_at_k=list(mrr_at_k),
            ndcg_at_k=list(ndcg_at_k),
            accuracy_at_k=list(accuracy_at_k),
            precision_recall_at_k=list(precision_recall_at_k),
            map_at_k=list(map_at_k),
            show_progress_bar=show_progress_bar,
            batch_size=batch_size,
            write_csv=write_csv,
            max_active_dims=max_active_dims,
            score_functions=functions,
            aggregate_fn=aggregate_fn,
            aggregate_key=aggregate_key,
            query_prompts=query_prompts,
            corpus_prompts=corpus_prompts,
            write_predictions=write_predictions,
        )
        self.primary_metric = primary
        self.csv_file = f"BM25-{self.csv_file}"

    @property
    def description(self) -> str:
        """Name of the kind of evaluation, for model cards."""
        return "BM25 Nano BEIR"

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card states beside the metrics: the library's values, and how BM25 scored."""
        first: Any = self.evaluators[0]
        return {**super().get_config_dict(), "scoring": to_dict(first.similarity.scoring)}

    def _load_dataset(self, dataset_name: str, **options: Any) -> Any:
        """An evaluator of a collection that the library loads."""
        return super()._load_dataset(dataset_name, **{**options, **self._for_each})
