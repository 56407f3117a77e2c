"""The weight of words for a corpus, chosen by pseudo-queries, beside what each weight is worth to its judged queries.

    python benchmarks/words_weight.py COLLECTION... --cache cache --json words.json
    python benchmarks/words_weight.py --python-docs folder         # makes a stand-in for questions about code, as a collection

A pseudo-query is a sentence of a sampled document, which should be found; of a sentence of more than 40 words, 20 of them.
``in``: the document keeps the sentence. ``removed``: it loses it before the search, as in an inverse cloze task. The weight
with the largest mean reciprocal rank is taken;
a cautious choice takes it where it is better than the default by two standard errors, and the default elsewhere.
The last lines say what the choices are worth: nDCG@10 of the chosen weights less that of the default, 3.25, in the mean of all
collections, of those that choose settings and of those that confirm them, and the least and the most of single ones.

The stand-in is made from the docstrings of Python's standard library: the summary line of a docstring asks for the rest of it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judged_collections import halves_of, indexed_collections, judged_parser, ndcg
from numpy.typing import NDArray

from lexite import Document, LatentTermEncoder, Searcher
from lexite.corpus import builtin_documents
from lexite.evaluation.judged import JudgedCollection
from lexite.files import write_json
from lexite.search.queries import ModelQueries
from lexite.terms.queries import EncodedQueries

WEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.25, 4.0, 5.0, 6.5)
DEFAULT = 3.25
SENTENCE = re.compile(r"[^.!?\n]+[.!?]?")
LONGEST, PIECE = (
    40,
    re.compile(r"(?:\S+\s+){4,19}\S+"),
)  # words; what longer sentences, and texts without full stops, are cut to


def main() -> None:
    parser = judged_parser(__doc__, collections="*")
    parser.add_argument("--sampled", type=int, default=100, help="documents for each seed, of which a sentence is asked")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--python-docs", type=Path, help="write the stand-in for questions about code here")
    args = parser.parse_args()
    if args.python_docs is not None:
        python_docs(args.python_docs)
    if not args.collections:
        return
    encoder = LatentTermEncoder.from_pretrained(args.vocabulary)
    found, worth = dict[str, Any](), dict[str, Any]()
    for collection, index, queries in indexed_collections(encoder, args, changed=True):
        with Searcher(index, ModelQueries(encoder), encoder.label) as searcher:
            found[collection.name] = {
                "nDCG@10": judged(searcher, collection, queries),
                **pseudo(searcher, collection, args.sampled, args.seeds),
            }
        print(collection.name, found[collection.name], flush=True)
        worth = worth_of_choices(found)
        if args.json is not None:
            write_json(args.json, {"collections": found, "worth": worth})
    for name, halves in worth.items():
        print(name, halves)


def judged(searcher: Searcher, collection: JudgedCollection, queries: EncodedQueries) -> dict[str, float]:
    """nDCG@10 of the collection's queries with each weight."""
    values = {}
    for weight in WEIGHTS:
        rankings = searcher.rank(queries, 101, scoring={"literal_weight": weight})
        values[str(weight)] = round(float(ndcg(rankings, collection).mean()), 4)
    return values


def pseudo(searcher: Searcher, collection: JudgedCollection, n_sampled: int, n_seeds: int) -> dict[str, Any]:
    """The mean reciprocal rank of pseudo-queries with each weight, and the weight that each seed chooses."""
    documents, drawn = list(collection.read()), dict[int, list[tuple[str, Document]]]()
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        draws = (drawn_from(documents[place], rng) for place in rng.permutation(len(documents)))
        drawn[seed] = list(itertools.islice((draw for draw in draws if draw), n_sampled))
    found: dict[str, Any] = {"in": {}, "removed": {}}
    for seed, pairs in drawn.items():
        if pairs:
            found["in"][seed] = chosen(searcher, pairs)
    originals = {document.id: document for document in documents}
    for seed, pairs in drawn.items():
        if pairs:
            searcher.replace([shortened for _, shortened in pairs], show_progress=False)
            found["removed"][seed] = chosen(searcher, pairs)
            searcher.replace([originals[shortened.id] for _, shortened in pairs], show_progress=False)
    return found


def drawn_from(document: Document, rng: np.random.Generator) -> tuple[str, Document] | None:
    """A sentence of 5 to 40 words, and the document without it; None where nothing would be left."""
    whole = [match[0].strip() for match in SENTENCE.finditer(document.text)]
    sentences = [piece for each in whole for piece in (PIECE.findall(each) if len(each.split()) > LONGEST else [each])]
    sentences = [sentence for sentence in sentences if len(sentence.split()) >= 5]
    if not sentences:
        return None
    sentence = sentences[int(rng.integers(len(sentences)))]
    rest = document.text.replace(sentence, " ", 1)
    return (sentence, dataclasses.replace(document, text=rest)) if len(rest.split()) >= 5 else None


def chosen(searcher: Searcher, pairs: Sequence[tuple[str, Document]]) -> dict[str, Any]:
    """The weight with the largest mean reciprocal rank; and the cautious one, the default unless another is surely better."""
    queries = searcher.encode([sentence for sentence, _ in pairs])
    ranks = dict[float, NDArray[np.float64]]()
    for weight in WEIGHTS:
        found = searcher.rank(queries, 100, scoring={"literal_weight": weight})
        ranks[weight] = np.array(
            [
                next((1 / hit.rank for hit in hits if hit.id == document.id), 0.0)
                for hits, (_, document) in zip(found, pairs, strict=True)
            ]
        )
    values = {weight: round(float(each.mean()), 4) for weight, each in ranks.items()}
    best = max(values, key=lambda weight: (values[weight], -abs(weight - DEFAULT)))
    gains = ranks[best] - ranks[DEFAULT]
    sure = gains.mean() > 2 * gains.std() / np.sqrt(len(gains))
    return {"weight": best, "cautious": best if sure else DEFAULT, "n": len(pairs), "MRR": values}


def worth_of_choices(found: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """What each way to choose brings over the default, in the mean over collections and over the halves of them.

    ``best`` is the best weight of each collection by its judgements: no choice can bring more. A fixed weight stands beside it.
    """
    values = {name: each["nDCG@10"] for name, each in found.items()}
    ways = {f"fixed {weight}": dict.fromkeys(found, str(weight)) for weight in WEIGHTS}
    ways["best"] = {name: max(each, key=lambda weight: each[weight]) for name, each in values.items()}
    for place in ("in", "removed"):
        for seed in sorted({seed for each in found.values() for seed in each[place]}):
            for rule in ("weight", "cautious"):
                chosen = {name: str(each[place][seed][rule]) for name, each in found.items() if seed in each[place]}
                ways[f"{place}, seed {seed}{', cautious' * (rule == 'cautious')}"] = chosen
    gains = {
        way: {name: values[name][weight] - values[name][str(DEFAULT)] for name, weight in weights.items()}
        for way, weights in ways.items()
    }
    worth = {way: {**halves_of(each), "least": min(each.values()), "most": max(each.values())} for way, each in gains.items()}
    return {way: {name: None if x is None else round(x, 4) for name, x in each.items()} for way, each in worth.items()}


def python_docs(folder: Path, n_queries: int = 400, seed: int = 0) -> None:
    """Writes docstrings as a collection: a summary line of 5 to 25 words asks for the rest of its docstring."""
    documents, rest, queries = list(builtin_documents()), dict[str, str](), dict[str, str]()
    for document in documents:
        parts = [part.strip() for part in re.split(r"\n\s*\n", document.text) if part.strip()]
        signed = len(parts) > 2 and re.match(r"[\w.]+\(", parts[0]) is not None
        summary = parts[int(signed)] if parts else ""
        others = "\n\n".join(part for part in parts if part is not summary)
        if 5 <= len(summary.split()) <= 25 and len(others.split()) >= 12:
            queries[document.id], rest[document.id] = " ".join(summary.split()), others
    asked = {list(queries)[place] for place in np.random.default_rng(seed).permutation(len(queries))[:n_queries]}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [
        {"_id": f"d:{document.id}", **({"title": "", "text": rest[document.id]} if document.id in asked else titled(document))}
        for document in documents
    ]
    lines = [{"_id": f"q:{name}", "text": queries[name]} for name in queries if name in asked]
    for file, records in (("corpus.jsonl", corpus), ("queries.jsonl", lines)):
        (folder / file).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    judgements = "".join(f"q:{name}\td:{name}\t1\n" for name in queries if name in asked)
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judgements, encoding="utf-8")


def titled(document: Document) -> dict[str, str]:
    """Title and text of a document."""
    return {"title": document.title, "text": document.text}


if __name__ == "__main__":
    main()
