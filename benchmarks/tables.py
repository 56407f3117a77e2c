"""Texts with tables: what pairs of words, forms of numbers, rows as passages and scoring each bring to a first stage.

    python benchmarks/tables.py COLLECTION --cache cache --json tables.json

Each line has the parts of the line above and one more; the last three leave one out. All texts are encoded once. A seed
divides the queries in two halves, and both are printed: what is chosen on one can be confirmed on the other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz, vstack

from lexite import LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig, cut_documents
from lexite.evaluation.judged import JudgedCollection, open_collections, read_collection
from lexite.evaluation.latent import to_ranking
from lexite.evaluation.measures import evaluate_run
from lexite.files import write_json
from lexite.index import BM25Index, EncodedQueries
from lexite.ranking.rankings import to_run
from lexite.scoring.config import scoring_of
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import Indexer

TABLE_WORDS = 30
AUTO, ROWS = PassageConfig(), PassageConfig(table_words=TABLE_WORDS)
PAIRS = LiteralConfig(literal_pairs=True)
ALL = LiteralConfig(literal_pairs=True, literal_numbers="normal")
SCORING = {"k1": 1.5, "literal_weight": 4.5}
STEPS: tuple[tuple[str, PassageConfig | None, LiteralConfig, dict[str, float]], ...] = (
    ("whole documents", None, LiteralConfig(), {}),
    ("passages", AUTO, LiteralConfig(), {}),
    ("+ pairs of words", AUTO, PAIRS, {}),
    ("+ forms of numbers", AUTO, ALL, {}),
    ("+ rows of tables", ROWS, ALL, {}),
    ("+ scoring", ROWS, ALL, SCORING),
    ("the last without pairs", ROWS, LiteralConfig(literal_numbers="normal"), SCORING),
    ("the last without numbers", ROWS, PAIRS, SCORING),
    ("the last without rows", AUTO, ALL, SCORING),
)


class Encoded:
    """Raw weights of texts, each encoded once and kept in a folder.

    Args:
        encoder: the vocabulary.
        folder: where they are kept.
    """

    def __init__(self, encoder: LatentTermEncoder, folder: Path) -> None:
        self.encoder, self.folder = encoder, folder
        folder.mkdir(parents=True, exist_ok=True)

    def rows(self, texts: Sequence[str], kind: str) -> csr_array[np.float32]:
        """The rows of some texts, in order."""
        key = hashlib.sha256(json.dumps([kind, list(texts), self.encoder.fingerprint]).encode()).hexdigest()
        path = self.folder / f"{kind}-{key[:16]}.npz"
        if not path.exists():
            encode = self.encoder.encode_documents
            save_npz(path, encode(texts) if kind == "document" else self.encoder.encode_queries(texts).to_csr())
        return csr_array(load_npz(path))


def run(
    collection: JudgedCollection,
    encoded: Encoded,
    passages: PassageConfig | None,
    literal: LiteralConfig,
    scoring: dict[str, float],
) -> tuple[dict[str, float], float]:
    """nDCG@10 of each query, and postings of a document."""
    documents = list(collection.read())
    cut = cut_documents(documents, passages)
    plain = cut_documents(documents, None if passages is None else AUTO)
    texts = set(plain.texts)
    added = [text for text in dict.fromkeys(cut.texts) if text not in texts]
    rows = encoded.rows(plain.texts, "document")
    places = {text: number for number, text in [*enumerate(plain.texts), *enumerate(added, len(plain.texts))]}
    if added:
        rows = csr_array(vstack([rows, encoded.rows(added, "document")], format="csr"))
    weights = csr_array(rows[[places[text] for text in cut.texts]])
    encoder, query_texts = encoded.encoder, collection.query_texts
    settings = encoder.encode_queries(query_texts[:1])
    queries = EncodedQueries(encoded.rows(query_texts, "query"), query_texts, encoder.fingerprint, settings.settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        with Indexer.create(path, encoder, literal=literal, passages=passages, store_text=False, static=False) as indexer:
            indexer.take(documents, weights, cut)
            indexer.commit()
        index = BM25Index.open(path)
        found, scores = index.search_arrays(queries, 101, scoring=scoring_of(scoring, encoder.scoring))
        postings = index.n_postings / index.n_documents
        del index
    rankings = [to_ranking(row, values) for row, values in zip(found, scores, strict=True)]
    measured = evaluate_run(
        collection.qrels, to_run([query.id for query in collection.queries], rankings, collection.document_ids, 100)
    )
    return measured.per_query["nDCG@10"], postings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--cache", required=True, type=Path, help="folder for encoded texts")
    parser.add_argument("--seed", type=int, default=16, help="of the halves of the queries")
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    encoded = Encoded(LatentTermEncoder.from_pretrained(args.vocabulary), args.cache)
    collection = read_collection(open_collections([args.collection], "test")[0], ReadOptions())
    ids = [query.id for query in collection.queries]
    chosen = {ids[number] for number in np.random.default_rng(args.seed).permutation(len(ids))[: len(ids) // 2]}
    results: dict[str, Any] = {}
    print(f"{'nDCG@10':26s}   all   first h. second h. postings")
    for name, passages, literal, scoring in STEPS:
        values, postings = run(collection, encoded, passages, literal, scoring)
        halves = [[value for query, value in values.items() if (query in chosen) is own] for own in (True, False)]
        row = [float(np.mean(some)) for some in (list(values.values()), *halves)]
        results[name] = {"all": row[0], "first_half": row[1], "second_half": row[2], "postings": postings}
        print(f"{name:26s} {row[0]:.4f}  {row[1]:.4f}   {row[2]:.4f}  {postings:8.0f}", flush=True)
    if args.json is not None:
        write_json(args.json, results)


if __name__ == "__main__":
    main()
