"""Long documents: how passages of several lengths rank them, and how ranking changes with the length of texts.

    python benchmarks/long_documents.py collections COLLECTION... --json long.json
    python benchmarks/long_documents.py lengths TEXT.jsonl.xz --seed 0 --json lengths.json

``collections`` ranks BEIR folders whole and in passages (``--passages WORDS-WHOLE``: words of a passage, and of the longest
text that is left whole), with a document's best passage, with shares of the next two added, and with all added up; with
statistics of passages and of documents; and with BM25 (bm25s) over the words of the same passages.

``lengths`` takes articles with titles, cuts them or joins others behind them until each has as many words as asked for, and
ranks these texts for the titles: the same questions at every length.
"""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import parser, report
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, vstack

from lexite import Document, LatentTermEncoder
from lexite.corpus import ReadOptions
from lexite.corpus.passages import PassageConfig, count_words, cut_documents
from lexite.evaluation.judged import open_collections, read_collection
from lexite.evaluation.measures import evaluate_run
from lexite.scoring.formula import average_length, impacts, length_norms, query_factors, saturation_form, worth_of_terms
from lexite.scoring.transform import transform_weights
from lexite.scoring.words import LiteralConfig, literal_words

Scores = NDArray[np.float32]
LENGTHS = (50, 100, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000, 3000, 5000)
ARTICLE_WORDS, TITLE_WORDS = (120, 600), 5  # of the articles that questions are asked of


@dataclass
class Encoded:
    """Raw weights of texts, each of which is encoded once."""

    encoder: LatentTermEncoder
    rows: dict[str, csr_array] = field(default_factory=dict)

    def of(self, texts: Sequence[str]) -> csr_array:
        new = [text for text in dict.fromkeys(texts) if text not in self.rows]
        if new:
            made = self.encoder.encode_documents(new)
            self.rows |= {text: made[[number]] for number, text in enumerate(new)}
        return csr_array(vstack([self.rows[text] for text in texts], format="csr"))


@dataclass(frozen=True)
class Asked:
    """Questions about documents: texts, judgements by the id of each question, and ids of the documents."""

    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    documents: list[Document]


def passage_scores(encoded: Encoded, asked: Asked, texts: Sequence[str], owners: NDArray[np.int64] | None) -> Scores:
    """Scores of all passages, with latent terms and words. ``owners``: statistics are those of the documents they name."""
    encoder, scoring, words = encoded.encoder, encoded.encoder.scoring, LiteralConfig()
    documents, queries = encoded.of(texts), encoder.encode_queries(list(asked.queries.values())).rows
    numbers: dict[str, int] = {}
    of_documents = _words(texts, numbers, words.literal_weight_documents, grow=True)
    of_queries = _words(list(asked.queries.values()), numbers, 1.0, grow=False)
    rows = csr_array(hstack([documents, of_documents], format="csr"))
    asked_rows = csr_array(hstack([csr_array(queries), of_queries], format="csr"))
    tf = transform_weights(rows.data.astype(np.float32), scoring.document_transform)
    lengths = np.add.reduceat(np.append(tf, 0), rows.indptr[:-1]) * (np.diff(rows.indptr) > 0)
    norms = length_norms(lengths.astype(np.float32), average_length(lengths.astype(np.float32)), scoring)
    held = csr_array((np.ones(rows.nnz, np.int64), rows.indices, rows.indptr), shape=rows.shape)
    n_units = len(texts)
    if owners is not None:
        n_units = int(owners[-1]) + 1
        held = (
            csr_array((np.ones(len(owners), np.int64), (owners, np.arange(len(owners)))), shape=(n_units, len(owners))) @ held
        )
        held.data[:] = 1
    worth = worth_of_terms(n_units, np.asarray(held.sum(0)).ravel().astype(np.int64), documents.shape[1], scoring)
    of_terms = impacts(tf, np.repeat(norms, np.diff(rows.indptr)), saturation_form(scoring))
    factors = query_factors(asked_rows.data.astype(np.float32), worth[asked_rows.indices], scoring)
    left = csr_array((factors, asked_rows.indices, asked_rows.indptr), shape=asked_rows.shape)
    right = csr_array((of_terms, rows.indices, rows.indptr), shape=rows.shape)
    return np.asarray((left @ right.T).toarray(), dtype=np.float32)


def _words(texts: Sequence[str], numbers: dict[str, int], weight: float, *, grow: bool) -> csr_array:
    counts = [literal_words(text) for text in texts]
    if grow:
        for count in counts:
            for word in count:
                numbers.setdefault(word, len(numbers))
    places = [
        (row, numbers[word], weight * n) for row, count in enumerate(counts) for word, n in count.items() if word in numbers
    ]
    rows, columns, values = zip(*places, strict=True)
    return csr_array((np.array(values, np.float32), (rows, columns)), shape=(len(texts), len(numbers)))


def lexical_scores(asked: Asked, texts: Sequence[str]) -> Scores:
    """Scores of all passages by bm25s as it comes."""
    import bm25s

    index = bm25s.BM25(method="lucene")
    index.index(bm25s.tokenize(list(texts), show_progress=False), show_progress=False)
    scores = []
    for query in bm25s.tokenize(list(asked.queries.values()), return_ids=False, show_progress=False):
        known = [word for word in query if word in index.vocab_dict]
        scores.append(np.asarray(index.get_scores(known), np.float32) if known else np.zeros(len(texts), np.float32))
    return np.stack(scores)


def of_documents(scores: Scores, bounds: NDArray[np.int64], share: float, most: int) -> Scores:
    """Scores of documents: their best passage, and a share of the next ones, ``most`` of them at most."""
    best = np.maximum.reduceat(scores, bounds[:-1], axis=1)
    if share:
        for document, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
            rest = -np.sort(-scores[:, begin:end], axis=1)[:, 1 : 1 + most]
            best[:, document] += share * rest.sum(axis=1)
    return best


def ndcg(asked: Asked, scores: Scores) -> float:
    ids = [document.id for document in asked.documents]
    run: dict[str, dict[str, float]] = {}
    for query, row in zip(asked.queries, scores, strict=True):
        order = np.argsort(-row, kind="stable")[:101]
        run[query] = {ids[n]: float(row[n]) for n in order.tolist() if row[n] > 0 and ids[n] != query}
    return evaluate_run(asked.qrels, run).mean["nDCG@10"]


def measure(encoded: Encoded, asked: Asked, cutting: PassageConfig | None, *, ways: bool) -> dict[str, float]:
    """nDCG@10 with passages of these lengths, passages and postings of a document."""
    cut = cut_documents(asked.documents, cutting)
    scores = passage_scores(encoded, asked, cut.texts, None)
    found = {"best": ndcg(asked, of_documents(scores, cut.bounds, 0.0, 0))}
    n_documents, n_passages = len(asked.documents), len(cut.texts)
    if ways and n_passages > n_documents:
        found |= {f"share {share}": ndcg(asked, of_documents(scores, cut.bounds, share, 2)) for share in (0.1, 0.3)}
        found["sum"] = ndcg(asked, of_documents(scores, cut.bounds, 1.0, n_passages))
        owners = np.repeat(np.arange(n_documents), np.diff(cut.bounds))
        counted = passage_scores(encoded, asked, cut.texts, owners)
        found["statistics of documents"] = ndcg(asked, of_documents(counted, cut.bounds, 0.0, 0))
    found["BM25"] = ndcg(asked, of_documents(lexical_scores(asked, cut.texts), cut.bounds, 0.0, 0))
    return found | {"passages": n_passages / n_documents, "postings": encoded.of(cut.texts).nnz / n_documents}


def collections(encoded: Encoded, paths: Sequence[str], cuttings: Sequence[str]) -> tuple[list[list[str]], dict[str, float]]:
    rows, figures = [], {}
    for opened in open_collections(paths, "test"):
        read = read_collection(opened, ReadOptions(skip_bad=True))
        queries = {query.id: query.text for query in read.queries}
        asked = Asked(queries, {query: dict(grades) for query, grades in read.qrels.items()}, list(read.read()))
        for name in cuttings:
            cutting = None if name == "none" else PassageConfig(*map(int, name.split("-")))
            found = measure(encoded, asked, cutting, ways=True)
            names = ("best", "share 0.1", "share 0.3", "sum", "statistics of documents", "BM25")
            cells = [f"{found[key]:.4f}" if key in found else "" for key in names]
            rows.append([read.name, name, *cells, f"{found['passages']:.1f}", f"{found['postings']:,.0f}"])
            figures |= {f"{read.name}, {name}, {key}": value for key, value in found.items()}
            print(*rows[-1], sep="\t", flush=True)
    return rows, figures


def articles(path: Path, seed: int) -> Iterator[tuple[str, str]]:
    """Titles and texts, in an order of the seed."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    listed = [(each["title"], each["text"].strip()) for each in read if each.get("title")]
    random.Random(seed).shuffle(listed)
    return iter([(title, text) for title, text in listed if ARTICLE_WORDS[0] <= count_words(text) <= ARTICLE_WORDS[1]])


def of_length(parts: Iterator[tuple[str, str]], first: str, words: int) -> str:
    """A text that begins with an article, and others behind it up to this number of words; all cut between words."""
    text = first
    while count_words(text) < words:
        text = f"{text}\n\n{next(parts)[1]}"
    spaces = [place for place, character in enumerate(text) if character.isspace()]
    low, high = 0, len(spaces)
    while low < high:  # the last blank with no more words before it
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count_words(text[: spaces[middle - 1]]) <= words else (low, middle - 1)
    return text if count_words(text) <= words or not low else text[: spaces[low - 1]]


def lengths(
    encoded: Encoded, path: Path, seed: int, n_documents: int, cuttings: Sequence[str]
) -> tuple[list[list[str]], dict[str, float]]:
    """The same questions at every length. The articles of a text are turned, so that the one that is meant stands anywhere."""
    asked_of = [pair for pair in articles(path, seed) if len(pair[0].split()) >= TITLE_WORDS][:n_documents]
    titles = {title for title, _ in asked_of}
    rows, figures = [], {}
    for words in LENGTHS:
        rest = (pair for pair in articles(path, seed + 1) if pair[0] not in titles)
        turn = random.Random(seed)
        documents = []
        for number, (_, text) in enumerate(asked_of):
            whole = of_length(rest, text, words)
            parts = whole.split("\n\n")
            place = turn.randrange(len(parts))
            documents.append(Document(str(number), "\n\n".join(parts[place:] + parts[:place])))
        queries = {f"q{number}": title for number, (title, _) in enumerate(asked_of)}
        asked = Asked(queries, {f"q{number}": {str(number): 1} for number in range(len(asked_of))}, documents)
        encoded.rows.clear()
        for name in cuttings:
            cutting = None if name == "none" else PassageConfig(*map(int, name.split("-")))
            found = measure(encoded, asked, cutting, ways=False)
            cells = [f"{found[key]:.4f}" for key in ("best", "BM25")]
            rows.append([f"{words:,}", name, *cells, f"{found['passages']:.1f}", f"{found['postings'] / words * 200:,.0f}"])
            figures |= {f"{words} words, {name}, {key}": value for key, value in found.items()}
            print(*rows[-1], sep="\t", flush=True)
    return rows, figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("what", choices=("collections", "lengths"))
    arguments.add_argument("paths", nargs="+", help="BEIR folders, or one .jsonl.xz of articles")
    arguments.add_argument("--passages", nargs="+", default=["none", "160-250"], metavar="WORDS-WHOLE|none")
    arguments.add_argument("--documents", type=int, default=240, help="texts of each length")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--vocabulary", default="default")
    given = arguments.parse_args()
    encoded = Encoded(LatentTermEncoder.from_pretrained(given.vocabulary))
    columns: list[str]
    found: tuple[list[list[str]], dict[str, Any]]
    if given.what == "collections":
        columns = [
            "collection",
            "passages",
            "best",
            "+.1",
            "+.3",
            "sum",
            "df of documents",
            "BM25",
            "passages each",
            "postings",
        ]
        found = collections(encoded, given.paths, given.passages)
    else:
        columns = ["words", "passages", "best", "BM25", "passages each", "postings per 200 words"]
        found = lengths(encoded, Path(given.paths[0]), given.seed, given.documents, given.passages)
    report("Long documents, nDCG@10", columns, found[0], {}, found[1], given.json, "bm25s")


if __name__ == "__main__":
    main()
