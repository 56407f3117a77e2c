"""``BM25InformationRetrievalEvaluator``: the library's retrieval evaluator, with BM25 over the whole corpus as the score."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from sentence_transformers.util import compute_count_vector

from lexite.config import to_dict
from lexite.errors import ArgumentError, ConfigError, CorpusError
from lexite.files import atomic_write
from lexite.integrations.sentence_transformers.embedding_rows import read_rows
from lexite.integrations.sentence_transformers.preparation import scoring_of
from lexite.integrations.sentence_transformers.similarity import BM25Similarity
from lexite.ranking.rankings import BestSoFar, Ranking
from lexite.scoring.config import BM25Config
from lexite.terms.encoding import stack_rows

BM25_NAME = "bm25"
"""Name of the score function in metrics (``{name}_bm25_ndcg@10``) and in files."""
ScoreFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Hits = list[list[dict[str, Any]]]
_log = logging.getLogger(__name__)


class BM25InformationRetrievalEvaluator(SparseInformationRetrievalEvaluator):
    """Measures a sparse encoder in retrieval by BM25, with the interface of ``SparseInformationRetrievalEvaluator``.

    The corpus is encoded once and kept sparse. Document frequencies and the mean length are counted over the whole corpus, so
    metrics do not depend on ``corpus_chunk_size``. A model with ``encode_csr`` encodes into sparse rows directly.

    A document that shares no term with a query has the score 0 and is no hit: it has no rank and is not among the predictions.
    Equal scores rank by ascending id, as in the library. Metrics, CSV, predictions, sparsity statistics and model card are the
    library's. The CSV's name begins with ``BM25-``, which keeps it apart from the file of the library's own evaluator.

    Args:
        queries: query id -> text.
        corpus: document id -> text.
        relevant_docs: query id -> ids of relevant documents. A query that has none is left out.
        corpus_chunk_size: documents that are encoded, and later scored for all queries, at a time.
        mrr_at_k: ranks of MRR.
        ndcg_at_k: ranks of nDCG; the primary metric takes the largest.
        accuracy_at_k: ranks of accuracy.
        precision_recall_at_k: ranks of precision and recall.
        map_at_k: ranks of MAP.
        show_progress_bar: whether encoding shows its progress.
        batch_size: texts encoded at once.
        name: name of the collection, which the metrics begin with.
        write_csv: whether a line of results is added to a CSV file in ``output_path``.
        max_active_dims: terms kept per text; None: as the model does.
        score_functions: further score functions to measure beside BM25 on the same embeddings, by name.
        main_score_function: name of the score function behind the primary metric; None: BM25.
        query_prompt: put before each query.
        query_prompt_name: name of one of the model's prompts for it.
        corpus_prompt: put before each document.
        corpus_prompt_name: name of one of the model's prompts for it.
        write_predictions: whether the hits are written as JSONL to ``output_path``.
        scoring: numbers of BM25; None takes the model's ``scoring`` if it has one, else the defaults of ``BM25Config``. Its
            transforms are not applied, since embeddings are transformed when they are encoded.

    Attributes:
        similarity: the :class:`BM25Similarity` of the last evaluation, with the statistics of its corpus.

    Raises:
        CorpusError: there are no documents, or no query with a relevant document.
        ConfigError: ``score_functions`` names one ``bm25``, ``main_score_function`` names none of them, or a size is below 1.
    """

    def __init__(
        self,
        queries: dict[str, str],
        corpus: dict[str, str],
        relevant_docs: dict[str, set[str]],
        corpus_chunk_size: int = 50_000,
        mrr_at_k: Sequence[int] = (10,),
        ndcg_at_k: Sequence[int] = (10,),
        accuracy_at_k: Sequence[int] = (1, 3, 5, 10),
        precision_recall_at_k: Sequence[int] = (1, 3, 5, 10),
        map_at_k: Sequence[int] = (100,),
        show_progress_bar: bool = False,
        batch_size: int = 32,
        name: str = "",
        write_csv: bool = True,
        max_active_dims: int | None = None,
        score_functions: Mapping[str, ScoreFunction] | None = None,
        main_score_function: str | None = None,
        query_prompt: str | None = None,
        query_prompt_name: str | None = None,
        corpus_prompt: str | None = None,
        corpus_prompt_name: str | None = None,
        write_predictions: bool = False,
        scoring: BM25Config | None = None,
    ) -> None:
        self.scoring = scoring
        self.similarity = BM25Similarity(scoring)
        self._documents_from: tuple[Any | None, Any | None] = None, None
        self._functions = functions = with_bm25(self.similarity, score_functions)
        primary = primary_metric(functions, main_score_function, ndcg_at_k)
        if corpus_chunk_size < 1:
            raise ConfigError(f"corpus_chunk_size is {corpus_chunk_size}, but must be at least 1.")
        super().__init__(
            queries=queries,
            corpus=corpus,
            relevant_docs=relevant_docs,
            corpus_chunk_size=corpus_chunk_size,
            mrr_at_k=list(mrr_at_k),
            ndcg_at_k=list(ndcg_at_k),
            accuracy_at_k=list(accuracy_at_k),
            precision_recall_at_k=list(precision_recall_at_k),
            map_at_k=list(map_at_k),
            show_progress_bar=show_progress_bar,
            batch_size=batch_size,
            name=name,
            write_csv=write_csv,
            max_active_dims=max_active_dims,
            score_functions=functions,
            query_prompt=query_prompt,
            query_prompt_name=query_prompt_name,
            corpus_prompt=corpus_prompt,
            corpus_prompt_name=corpus_prompt_name,
            write_predictions=write_predictions,
        )
        self.primary_metric = primary
        self.csv_file = f"BM25-{self.csv_file}"
        if not self.corpus:
            raise CorpusError(f"The collection '{name}' has no documents to search.")
        if not self.queries:
            raise CorpusError(
                f"No query of the collection '{name}' has a relevant document. Keys of relevant_docs must be ids of queries."
            )

    @property
    def description(self) -> str:
        """Name of the kind of evaluation, for model cards."""
        return "BM25 Information Retrieval"

    def __call__(
        self,
        model: Any,
        output_path: str | None = None,
        epoch: int = -1,
        steps: int = -1,
        corpus_model: Any | None = None,
        corpus_embeddings: Any | None = None,
    ) -> dict[str, float]:
        """Measures a model.

        Args:
            model: encodes the queries, and the documents unless told otherwise.
            output_path: folder for the CSV file and the predictions; None writes nothing.
            epoch: number of the epoch, for the CSV file, when a training calls; else -1.
            steps: number of steps done, likewise.
            corpus_model: encodes the documents.
            corpus_embeddings: the encoded documents, in the order of the corpus, of any kind that BM25Similarity takes.

        Returns:
            Metric (``{name}_bm25_ndcg@10``) -> value.

        Raises:
            ArgumentError: there are not as many embeddings as documents.
            ModelError: an embedding holds weights that are negative or not finite.
        """
        self._documents_from = corpus_model, corpus_embeddings  # before 6.2, the library does not hand them on
        try:
            metrics: dict[str, float] = super().__call__(model, output_path, epoch, steps)
        finally:
            self._documents_from = None, None
        return metrics

    def compute_all_metrics(
        self,
        model: Any,
        corpus_model: Any | None = None,
        corpus_embeddings: Any | None = None,
        output_path: str | None = None,
    ) -> dict[str, Any]:
        """Encodes, ranks and measures; the evaluator itself calls it, with the arguments of a call.

        Returns:
            Score function -> metric ("ndcg@k") -> k -> value.
        """
        called_with_model, called_with_embeddings = self._documents_from
        corpus_model = called_with_model if corpus_model is None else corpus_model
        corpus_embeddings = called_with_embeddings if corpus_embeddings is None else corpus_embeddings
        encodes_documents = model if corpus_model is None else corpus_model
        documents = self._corpus_rows(encodes_documents, corpus_embeddings)
        scoring = self.scoring or scoring_of(model) or scoring_of(encodes_documents)
        self.similarity = self._functions[BM25_NAME] = self._fit(scoring, documents)
        queries = self.embed_inputs(
            model, self.queries, encode_fn_name="query", prompt_name=self.query_prompt_name, prompt=self.query_prompt
        )
        hits = {name: self._hits(name, queries, documents) for name in self._functions}
        if self.write_predictions and output_path is not None:
            for name in hits:
                self._write_predictions(Path(output_path), name, hits[name])
        _log.info("Queries: %d", len(self.queries))
        _log.info("Corpus: %d\n", len(self.corpus))
        scores: dict[str, Any] = {name: self.compute_metrics([*found]) for name, found in hits.items()}
        for name in self.score_function_names:
            _log.info("Score-Function: %s", name)
            self.output_scores(scores[name])  # type: ignore[no-untyped-call]
        return scores

    def embed_inputs(
        self,
        model: Any,
        sentences: Any,
        encode_fn_name: str | None = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Encodes texts, and counts their terms for the statistics of sparsity.

        Args:
            model: a sparse encoder.
            sentences: the texts.
            encode_fn_name: ``"query"``, ``"document"``, or None for ``encode``.
            prompt_name: name of one of the model's prompts.
            prompt: a prompt itself.
            **kwargs: for the model's ``encode`` functions.

        Returns:
            ``(n, n_terms)`` torch tensor, sparse COO, on the CPU.
        """
        limited = self.max_active_dims is not None or getattr(model, "max_active_dims", None) is not None
        if limited or kwargs or not hasattr(model, "encode_csr"):
            return super().embed_inputs(model, sentences, encode_fn_name, prompt_name, prompt, **kwargs)
        rows = model.encode_csr(
            sentences,
            task=encode_fn_name,
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
        )
        embeddings = read_rows(rows, "texts").to_coo()
        self._record_sparsity(model, embeddings, "corpus" if encode_fn_name == "document" else "query")
        return embeddings

    def _record_sparsity(self, model: Any, embeddings: torch.Tensor, side: str) -> None:
        """Records the sparsity of the rows of queries or documents in the attributes that the library's evaluator reads."""
        for name, value in model.sparsity(embeddings).items():
            self.sparsity_stats[side][name].append(value)
        counts = compute_count_vector(embeddings)
        self.count_vectors[side] = self.count_vectors[side] + counts if side in self.count_vectors else counts
        self.count_lengths[side].append(len(embeddings))

    def get_config_dict(self) -> dict[str, Any]:
        """What a model card states beside the metrics: the library's values, and how BM25 scored."""
        return {**super().get_config_dict(), "scoring": to_dict(self.similarity.scoring)}

    def _corpus_rows(self, model: Any, given: Any | None) -> csr_array[Any]:
        """The encoded corpus as one sparse matrix, in its order."""
        if given is not None:
            rows = read_rows(given, "documents")
            if rows.shape[0] != len(self.corpus):
                raise ArgumentError(f"There are {len(self.corpus)} documents, but corpus_embeddings of {rows.shape[0]}.")
            self._record_sparsity(model, rows.to(torch.device("cpu")).to_coo(), "corpus")
            return rows.to_scipy()
        parts = []
        for first in range(0, len(self.corpus), self.corpus_chunk_size):
            chunk = self.embed_inputs(
                model,
                self.corpus[first : first + self.corpus_chunk_size],
                encode_fn_name="document",
                prompt_name=self.corpus_prompt_name,
                prompt=self.corpus_prompt,
            )
            parts.append(read_rows(chunk, "documents").to_scipy())
        return stack_rows(parts, parts[0].shape[1])

    def _fit(self, scoring: BM25Config | None, documents: csr_array[Any]) -> BM25Similarity:
        similarity = BM25Similarity(scoring)
        for first in range(0, len(self.corpus), self.corpus_chunk_size):
            similarity.partial_fit(documents[first : first + self.corpus_chunk_size])
        return similarity

    def _hits(self, name: str, queries: torch.Tensor, documents: csr_array[Any]) -> Hits:
        """The best documents of each query under a score function, best first; ties by ascending id."""
        by_id = np.array(sorted(range(len(self.corpus_ids)), key=self.corpus_ids.__getitem__))
        at = [self.mrr_at_k, self.ndcg_at_k, self.accuracy_at_k, self.precision_recall_at_k, self.map_at_k]
        kept = BestSoFar(len(self.queries), max(k for ranks in at for k in ranks))
        for first in range(0, len(by_id), self.corpus_chunk_size):
            chunk = documents[by_id[first : first + self.corpus_chunk_size]]
            scores = self._functions[name](queries, read_rows(chunk, "documents").to_coo())
            kept.add(scores.to_dense().float().cpu().numpy())
        ids = [self.corpus_ids[number] for number in by_id]
        return [_named(ranking, ids, only_matches=name == BM25_NAME) for ranking in kept.rankings]

    def _write_predictions(self, folder: Path, name: str, hits: Hits) -> None:
        """Writes a JSON line for each query, as the library does."""
        with atomic_write(folder / self.predictions_file.replace(".jsonl", f"_{name}.jsonl"), "w") as file:
            for query_id, query, results in zip(self.queries_ids, self.queries, hits, strict=True):
                file.write(json.dumps({"query_id": query_id, "query": query, "results": results}) + "\n")


def with_bm25(similarity: BM25Similarity, others: Mapping[str, ScoreFunction] | None) -> dict[str, ScoreFunction]:
    """Score functions by name, BM25 first.

    Raises:
        ConfigError: one of the others has its name.
    """
    if others and BM25_NAME in others:
        raise ConfigError(f"score_functions may not name one '{BM25_NAME}': that is the evaluator's own. Rename it.")
    return {BM25_NAME: similarity, **(others or {})}


def primary_metric(functions: Mapping[str, ScoreFunction], main: Any, ndcg_at_k: Sequence[int]) -> str:
    """Name of the one metric that stands for an evaluation.

    Args:
        functions: the score functions.
        main: name of the main one, as a text or a member of the library's enumeration; None: BM25.
        ndcg_at_k: ranks of nDCG.

    Raises:
        ConfigError: there is no such score function, or no rank.
    """
    name = BM25_NAME if main is None else str(getattr(main, "value", main))
    if name not in functions:
        raise ConfigError(f"main_score_function is '{name}', but the score functions are {', '.join(functions)}.")
    if not ndcg_at_k:
        raise ConfigError("ndcg_at_k is empty, but the primary metric is an nDCG. Give at least one rank.")
    return f"{name}_ndcg@{max(ndcg_at_k)}"


def _named(ranking: Ranking, ids: Sequence[str], *, only_matches: bool) -> list[dict[str, Any]]:
    """Hits as the library has them; ``only_matches`` leaves out documents with a score of 0."""
    pairs = zip(ranking.documents.tolist(), ranking.scores.tolist(), strict=True)
    return [{"corpus_id": ids[number], "score": score} for number, score in pairs if score > 0 or not only_matches]
