"""The evaluation of a vocabulary on judged collections, beside its baselines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lexite.config import to_dict
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError
from lexite.evaluation.baselines import Cut, Surroundings, baselines_of
from lexite.evaluation.cache import StateCache
from lexite.evaluation.chains import Chains
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import LatentSystem
from lexite.evaluation.measures import MeasuredRun, evaluate_run, import_ir_measures
from lexite.evaluation.report import TESTED, THEN, EvaluationReport, Row
from lexite.evaluation.significance import paired_test
from lexite.evaluation.systems import Costs, System, SystemResult
from lexite.evaluation.trec import RunFolder
from lexite.index.side_config import SideDataConfig
from lexite.ranking.rankings import to_run
from lexite.scoring.config import scoring_of
from lexite.scoring.words import LiteralConfig
from lexite.terms.encoder import LatentTermEncoder

if TYPE_CHECKING:
    from lexite.scoring.config import BM25Config
    from lexite.search.strategy import Strategy

logger = logging.getLogger("lexite")
LATENT, WITH_WORDS = "latent", "latent+words"  # the system under test, without and with literal words
STATIC = {LATENT: "static", WITH_WORDS: "static+words"}  # the same index with static queries
DEFAULT_BASELINES = ("dense", "bm25")
LEAST_TOP_K = 100
AUTO = PassageConfig()
EQUAL = "equal"
"""In place of a number of postings or terms: as many as the system under test has."""


def evaluate_collections(
    encoder: LatentTermEncoder | Callable[[], LatentTermEncoder],
    paths: Sequence[str | Path],
    *,
    baselines: Sequence[str] = DEFAULT_BASELINES,
    scoring: BM25Config | Mapping[str, Any] | None = None,
    k_documents: int | None = None,
    k_queries: int | None = None,
    top_k: int = LEAST_TOP_K,
    split: str = "test",
    cache: str | Path | None = None,
    runs_dir: str | Path | None = None,
    options: ReadOptions = ReadOptions(),  # noqa: B008  (frozen)
    show_progress: bool = False,
    literal: LiteralConfig | None = None,
    static: bool = False,
    static_scoring: Mapping[str, Any] | None = None,
    passages: PassageConfig | None = AUTO,
    field_weights: FieldWeights | None = None,
    chains: Mapping[str, Sequence[Strategy]] | None = None,
    side_data: SideDataConfig | None = None,
    postings: float | Literal["equal"] | None = None,
    query_terms: float | Literal["equal"] | None = None,
) -> EvaluationReport:
    """Measures a vocabulary on judged collections.

    Queries without judgements are left out. A query for which a system returns nothing counts as 0. A document whose id equals
    the query's is dropped from the ranking (BEIR's rule).

    Args:
        encoder: the vocabulary, with its backbone; or a function that loads it once the collections have been read and checked.
        paths: BEIR folders; a collection has the name of its folder.
        baselines: ``dense`` (the backbone's own scores, exhaustive), ``bm25`` (words, by bm25s), ``bm25f`` (words of title,
            headings and body), ``sparse:MODEL`` (a ``SparseEncoder``), ``vectors:FOLDER`` (weights of terms from files),
            ``run:FILE`` (a TREC run); ``{collection}`` in a path stands for the collection's name.
        scoring: BM25's numbers: all of them, or some by name in place of the vocabulary's.
        k_documents: latents kept per token of a document; None takes the vocabulary's.
        k_queries: the same for queries.
        top_k: documents ranked per query, at least 100, which R@100 needs.
        split: name of the file of judgements, ``qrels/SPLIT.tsv``.
        cache: a folder where token states and dense vectors are kept, so that the backbone does not run again for another k,
            scoring or sparse autoencoder; None keeps nothing.
        runs_dir: a folder where runs and qrels are written in TREC form, ``COLLECTION.SYSTEM.run`` and ``COLLECTION.qrels``.
        options: how documents are read (field names, whether bad records are skipped).
        show_progress: whether progress is shown on stderr.
        literal: whether literal words are indexed beside the latent terms, and how; the system is then ``latent+words``.
        static: whether the same index is also searched with static queries, through a table of its documents as
            ``lexite index`` keeps it: the system ``static``, or ``static+words``.
        static_scoring: BM25's numbers for static queries, some by name in place of those for all.
        passages: how long texts are cut into passages, as by ``lexite index``; None leaves them whole, as baselines do.
        field_weights: how much title, headings and body count, as by ``lexite index``; None encodes them together, as
            baselines but ``bm25f`` do.
        chains: second stages that are measured over the same index, by name: the system ``latent+words > NAME``. The index then
            keeps what they need, and the paired tests treat each of them as a baseline.
        side_data: how the index keeps what chains need; None keeps vectors in int8.
        postings: baselines with weights (``bm25f``, ``sparse``, ``vectors``) keep the heaviest so many postings per document
            in the mean (:func:`lexite.evaluation.baselines.weights.lightest_cut`); ``"equal"``: as many as the system under
            test has. None keeps all.
        query_terms: the same for terms per query.

    Raises:
        ConfigError: a name of a chain that cannot stand in the name of a file, an unknown baseline, a ``top_k`` below 100, no
            collection, two collections of one name, or static queries of a backbone that cannot have any.
        CorpusError: a collection is missing, holds bad records or no queries, or its qrels name unknown documents.
        MissingExtraError: ir-measures or bm25s is not installed.
        StorageError: the cache, the runs or temporary files cannot be written.
    """
    Chains(chains or {})  # refuses names before anything is read
    made = _checked(baselines, top_k, postings, query_terms)
    import_ir_measures()
    opened = open_collections(paths, split)
    folder = None if runs_dir is None else RunFolder(runs_dir)
    collections = [read_collection(each, options) for each in opened]  # all are checked before the first is run
    encoder = encoder() if not isinstance(encoder, LatentTermEncoder) else encoder
    scoring = scoring_of(scoring, encoder.scoring)
    states = None if cache is None else StateCache(cache, encoder, show_progress)
    tested = LatentSystem(
        encoder,
        scoring,
        k_documents,
        k_queries,
        states,
        show_progress,
        literal,
        static,
        passages,
        field_weights,
        Chains(chains or {}, states),
        side_data,
        static_scoring,
    )
    systems: dict[str, System] = {LATENT if tested.literal is None else WITH_WORDS: tested}
    surroundings = Surroundings(encoder.backbone, states, show_progress)
    systems |= {name: make(surroundings) for name, make in made.items()}
    for system in systems.values():
        if (check := getattr(system, "check", None)) is not None:
            for collection in collections:
                check(collection)
    results: dict[str, dict[str, _Result]] = {}
    for collection in collections:
        results[collection.name] = _evaluate(systems, collection, top_k, folder, postings, query_terms)
    texts = {
        "passages": None if passages is None else to_dict(passages),
        "field_weights": None if field_weights is None else to_dict(field_weights),
        "side_data": to_dict(tested.side_data),
        "baselines": list(baselines),
        "static_scoring": None if static_scoring is None else dict(static_scoring),
        "postings": postings,
        "query_terms": query_terms,
    }
    settings = _settings(encoder, scoring, k_documents, k_queries, top_k, split)
    return _report(
        encoder, results, {**settings, **to_dict(literal or LiteralConfig(literal=False)), "static": static, **texts}
    )


@dataclass(frozen=True)
class _Result:
    """One system on one collection."""

    measured: MeasuredRun
    costs: Costs
    seconds: float
    milliseconds: float | None


def _checked(
    baselines: Sequence[str], top_k: int, postings: float | str | None, query_terms: float | str | None
) -> dict[str, Callable[[Surroundings], System]]:
    """The baselines, when the arguments are in order."""
    if top_k < LEAST_TOP_K:
        raise ConfigError(f"top_k is {top_k}, but R@100 needs at least {LEAST_TOP_K} documents per query.")
    for name, value in (("postings", postings), ("query_terms", query_terms)):
        if isinstance(value, bool) or not (value is None or value == EQUAL or (isinstance(value, (int, float)) and value > 0)):
            raise ConfigError(f"{name} is {value!r}, but must be a number above 0, or '{EQUAL}'.")
    return baselines_of(baselines)


def _evaluate(
    systems: Mapping[str, System],
    collection: JudgedCollection,
    top_k: int,
    folder: RunFolder | None,
    postings: float | str | None,
    query_terms: float | str | None,
) -> dict[str, _Result]:
    if folder is not None:
        folder.write_qrels(collection)
    results: dict[str, _Result] = {}
    for tested, system in systems.items():
        started = time.perf_counter()
        if results and hasattr(system, "cut_to"):
            system = system.cut_to(_cut(next(iter(results.values())).costs, postings, query_terms))
        result = system.run(collection, top_k + 1)  # one more than is kept, for BEIR's rule
        seconds = time.perf_counter() - started
        for name, ranked in _systems(tested, result):
            run = to_run([query.id for query in collection.queries], ranked.rankings, collection.document_ids, top_k)
            if folder is not None:
                folder.write_run(collection, name, run)
            results[name] = _Result(evaluate_run(collection.qrels, run), ranked.costs, seconds, ranked.milliseconds)
            value = results[name].measured.mean[TESTED]
            logger.info("%s: %s has %s %.4f (%.0f seconds)", collection.name, name, TESTED, value, seconds)
    return results


def _cut(tested: Costs, postings: float | str | None, query_terms: float | str | None) -> Cut:
    """How many terms baselines keep; ``equal`` are as many as the system under test has."""
    return Cut(
        tested.postings_per_document if isinstance(postings, str) else postings,
        tested.terms_per_query if isinstance(query_terms, str) else query_terms,
    )


def _systems(name: str, result: SystemResult) -> Iterator[tuple[str, SystemResult]]:
    """A system's result, followed by the results of chains and of static queries where there are some."""
    yield name, result
    for chain, chained in result.chains.items():
        yield f"{name}{THEN}{chain}", chained
    if result.static is not None:
        yield STATIC[name], result.static


def _report(
    encoder: LatentTermEncoder, results: Mapping[str, Mapping[str, _Result]], settings: dict[str, Any]
) -> EvaluationReport:
    differences = {name: _differences(row) for name, row in results.items()}
    baselines = list(next(iter(differences.values())))
    return EvaluationReport(
        vocabulary=encoder.name,
        collections={name: {system: _row(result) for system, result in row.items()} for name, row in results.items()},
        significance={
            name: {baseline: paired_test([values]) for baseline, values in row.items()} for name, row in differences.items()
        },
        mean_significance={baseline: paired_test([row[baseline] for row in differences.values()]) for baseline in baselines},
        per_query={
            name: {system: result.measured.per_query for system, result in row.items()} for name, row in results.items()
        },
        settings=settings,
        seconds={name: {system: round(result.seconds, 3) for system, result in row.items()} for name, row in results.items()},
        milliseconds={
            name: {system: round(result.milliseconds, 3) for system, result in row.items() if result.milliseconds is not None}
            for name, row in results.items()
        },
    )


def _row(result: _Result) -> Row:
    return {**result.measured.mean, **asdict(result.costs)}


def _differences(row: Mapping[str, _Result]) -> dict[str, list[float]]:
    """For each baseline, nDCG@10 of the first system (the one under test) minus nDCG@10 of the baseline, per query."""
    values = {system: result.measured.per_query[TESTED] for system, result in row.items()}
    own = values.pop(next(iter(values)))
    return {baseline: [own[query] - other[query] for query in own] for baseline, other in values.items()}


def _settings(
    encoder: LatentTermEncoder,
    scoring: BM25Config | None,
    k_documents: int | None,
    k_queries: int | None,
    top_k: int,
    split: str,
) -> dict[str, Any]:
    """What the numbers were made with, as JSON values."""
    return {
        "split": split,
        "top_k": top_k,
        "vocabulary_fingerprint": encoder.fingerprint,
        "n_latents": encoder.n_latents,
        "pooling": encoder.terms.pooling,
        "k_documents": encoder.k_for("document", k_documents),
        "k_queries": encoder.k_for("query", k_queries),
        "floor_documents": encoder.terms.floor_documents,
        "floor_queries": encoder.terms.floor_queries,
        "scoring": to_dict(encoder.scoring if scoring is None else scoring),
        "backbone": encoder.backbone.name,
        "backbone_fingerprint": encoder.backbone.fingerprint,
        **{key: getattr(encoder.backbone.config, key) for key in ("long", "query_prompt", "document_prompt")},
        "precision": encoder.backbone.precision,
    }
