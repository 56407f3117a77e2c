"""How well the labels of a vocabulary tell where its latents fire, on documents that they were not made from.

    python benchmarks/label_quality.py TEXTS... --label-to labelled
    python benchmarks/label_quality.py TEXTS... --vocabulary labelled --before default --json labels.json

Every tenth document is held out; labels are made from the others. Of the held-out passages, a latent's positives are those that
hold it (its weight is not below the floor of documents), its negatives as many passages of like length and of the same source
in which it does not fire. The detection AUC is the share of pairs of a positive and a negative in which the label scores the
positive higher: the share of the label's words that the passage has, by idf, plus the cosine of the dense model. 500 latents
are drawn by seed.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexite.labelling import LabelConfig, label_firings
from lexite.labelling.detection import Detector, auc, holdings, matched_negatives
from lexite.labelling.firings import Firings, collect_firings
from lexite.labelling.run import drawn_passages
from lexite.labelling.words import sample_words
from lexite.terms import LatentTermEncoder
from lexite.terms.vocabulary import Vocabulary

POSITIVES, LEAST = 60, 5
HELD_OUT = 10


def passages(sources: Sequence[str], config: LabelConfig, held_out: bool) -> Iterator[tuple[int, str]]:
    """Passages of the documents that are held out, or of the others, with numbers that tell sources apart."""
    from lexite.corpus import read_documents

    for place, source in enumerate(sources):
        texts = (document.full_text for document in read_documents([source]))
        for number, text in drawn_passages(texts, config):
            if (number % HELD_OUT == HELD_OUT - 1) == held_out:
                yield number * len(sources) + place, text


def mixed(sources: Sequence[str], config: LabelConfig, held_out: bool) -> Iterator[tuple[int, str]]:
    """The passages of all sources in turn, so that a sample has as many of each."""
    streams = [passages([source], config, held_out) for source in sources]
    while streams:
        for place, stream in enumerate(list(streams)):
            item = next(stream, None)
            if item is None:
                streams.remove(stream)
            else:
                yield item[0] * len(sources) + place, item[1]


def read_firings(path: Path) -> Firings:
    values = np.load(path)
    texts = json.loads(path.with_suffix(".json").read_text())
    return Firings(texts, **{name: values[name] for name in values.files})


def write_firings(firings: Firings, path: Path) -> None:
    names = ("documents", "token_ids", "offsets", "starts", "tokens", "values", "vectors")
    np.savez(path, **{name: getattr(firings, name) for name in names})
    path.with_suffix(".json").write_text(json.dumps(list(firings.passages)))


def firings_of(options: argparse.Namespace, encoder: LatentTermEncoder, held_out: bool, n_tokens: int) -> Firings:
    path = Path(options.cache) / f"{'held-out' if held_out else 'others'}.npz" if options.cache else None
    if path is not None and path.exists():
        return read_firings(path)
    found = collect_firings(encoder, mixed(options.texts, LabelConfig(), held_out), n_tokens=n_tokens, show_progress=True)
    if path is not None:
        write_firings(found, path)
    return found


class Measurement:
    """Held-out passages, and what labels are measured with.

    Args:
        encoder: the vocabulary's encoder.
        firings: of held-out passages.
        n_sources: sources of the texts; a document's number modulo this is its source.
        seed: draws latents and passages.
        n_latents: latents that are drawn.
    """

    def __init__(self, encoder: LatentTermEncoder, firings: Firings, n_sources: int, seed: int, n_latents: int) -> None:
        self.encoder, self.firings = encoder, firings
        words = sample_words(firings.token_ids, firings.offsets, firings.passages, encoder.backbone.describe_token)
        self.detector = Detector(words, firings.vectors)
        held = holdings(firings, encoder.terms.floor_documents)
        generator = np.random.default_rng(seed)
        self.latents = np.sort(generator.permutation(encoder.n_latents)[:n_latents])
        lengths, source = np.diff(firings.offsets), firings.documents % n_sources
        by_length = [
            (own := np.flatnonzero(source == each))[np.argsort(lengths[own], kind="stable")].astype(np.int32)
            for each in range(n_sources)
        ]
        self.trials: dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}
        for latent in self.latents.tolist():
            fires, _, kept = held.of(latent)
            positive = fires[kept]
            if len(positive) > POSITIVES:
                positive = np.sort(generator.choice(positive, POSITIVES, replace=False))
            negative = [
                matched_negatives(positive[source[positive] == each], fires, by_length[each], generator)
                for each in range(n_sources)
            ]
            if len(positive) >= LEAST:
                self.trials[latent] = positive, np.concatenate(negative)

    def auc(self, labels: dict[int, str]) -> dict[str, dict[int, float]]:
        """Detection of each label by its words, the dense model, and both."""
        names = sorted(set(labels.values()))
        vectors = dict(zip(names, self.encoder.backbone.dense(names, "document"), strict=True))
        result: dict[str, dict[int, float]] = {"words": {}, "dense": {}, "both": {}}
        for latent, label in labels.items():
            positive, negative = self.trials[latent]
            both = np.concatenate([positive, negative])
            words = self.detector.scores([label], None, both)
            dense = self.detector.cosines(vectors[label][None], both)
            for way, scores in (("words", words), ("dense", dense), ("both", words + dense)):
                result[way][latent] = float(auc(scores[: len(positive)], scores[len(positive) :])[0])
        return result

    def intruders(self, seed: int) -> dict[int, float]:
        """Share of draws in which the passage that does not hold a latent is the least like four that hold it; chance is .2."""
        generator, found = np.random.default_rng(seed), {}
        assert self.firings.vectors is not None
        for latent, (positive, negative) in self.trials.items():
            right = 0
            for _ in range(20):
                drawn = [*generator.choice(positive, 4, replace=False), generator.choice(negative)]
                vectors = self.firings.vectors[drawn].astype(np.float32)
                likeness = vectors @ vectors.T
                right += int(np.argmin(likeness.sum(1) - np.diag(likeness)) == 4)
            found[latent] = right / 20
        return found


def shown(vocabulary: Vocabulary, latent: int) -> str:
    """A label as people see it, without the signs around it."""
    return vocabulary.label(latent).removeprefix("e.g. ").replace("“", "").replace("”", "")


def shared(vocabulary: Vocabulary) -> float:
    """Share of the latents with a name (or, unlabelled, with words) whose name another one has too."""
    described = vocabulary.described
    named = [
        vocabulary.label(latent).casefold()
        for latent in range(vocabulary.n_latents)
        if vocabulary.labels[latent] and (described is None or described.trusted(latent))
    ]
    counts = Counter(named)
    return sum(n for n in counts.values() if n > 1) / max(len(named), 1)


def report(measurement: Measurement, vocabulary: Vocabulary, seed: int) -> dict[str, Any]:
    described, trials = vocabulary.described, measurement.trials
    trusted = {latent for latent in trials if described is not None and described.trusted(latent)}
    whole = {latent: " ".join(vocabulary.labels[latent]) or "nothing" for latent in trials}
    ways = {
        "as shown": measurement.auc({latent: shown(vocabulary, latent) for latent in trials}),
        "all words": measurement.auc(whole),
    }
    intruders = measurement.intruders(seed)

    def mean(values: dict[int, float], chosen: set[int]) -> float | None:
        return round(float(np.mean([values[each] for each in chosen])), 4) if chosen else None

    return {
        "drawn": len(measurement.latents),
        "measured": len(trials),
        "trusted": len(trusted),
        "auc": {name: {way: mean(values, set(trials)) for way, values in found.items()} for name, found in ways.items()},
        "auc_trusted": {name: {way: mean(values, trusted) for way, values in found.items()} for name, found in ways.items()},
        "intruder": mean(intruders, set(trials)),
        "intruder_trusted": mean(intruders, trusted),
        "shared_names": round(shared(vocabulary), 4),
        "kinds": {} if described is None else dict(Counter(described.kind(latent) for latent in range(vocabulary.n_latents))),
        "named": 0 if described is None else sum(described.trusted(latent) for latent in range(vocabulary.n_latents)),
    }


def same_latents(measurement: Measurement, before: Vocabulary, after: Vocabulary) -> dict[str, float]:
    """Means over the latents whose new label is trusted, of both labels."""
    described = after.described
    chosen = [latent for latent in measurement.trials if described is not None and described.trusted(latent)]
    values = [measurement.auc({latent: shown(each, latent) for latent in chosen})["both"] for each in (before, after)]
    return {
        name: round(float(np.mean(list(found.values()))), 4) for name, found in zip(("before", "after"), values, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--vocabulary", default="default")
    parser.add_argument("--before", help="another state of the vocabulary, measured beside it")
    parser.add_argument("--label-to", help="label the vocabulary first, and save it here")
    parser.add_argument("--cache", help="folder for encoded passages")
    parser.add_argument("--tokens", type=int, default=4_000_000)
    parser.add_argument("--held-out-tokens", type=int, default=500_000)
    parser.add_argument("--contexts", type=int, default=LabelConfig().contexts)
    parser.add_argument("--context-words", type=int, default=LabelConfig().context_words)
    parser.add_argument("--latents", type=int, default=500)
    parser.add_argument("--print", type=int, default=100, help="labels to print, drawn by seed")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json")
    options = parser.parse_args()
    encoder = LatentTermEncoder.from_pretrained(options.vocabulary)
    if options.label_to:
        firings = firings_of(options, encoder, False, options.tokens)
        config = LabelConfig(contexts=options.contexts, context_words=options.context_words)
        source = ", ".join(Path(text).name for text in options.texts)
        found = label_firings(encoder, firings, config, source=source, show_progress=True)
        encoder.replaced(vocabulary=found).save_pretrained(options.label_to, overwrite=True, encoder_only=True, dtype="bf16")
        encoder = encoder.replaced(vocabulary=found)
        del firings
    held_out = firings_of(options, encoder, True, options.held_out_tokens)
    measurement = Measurement(encoder, held_out, len(options.texts), options.seed, options.latents)
    vocabulary = encoder.vocabulary
    assert vocabulary is not None
    result: dict[str, Any] = {"tokens_held_out": held_out.n_tokens, "after": report(measurement, vocabulary, options.seed)}
    if options.before:
        before = Vocabulary.load(options.before)
        result["before"] = report(measurement, before, options.seed)
        result["trusted_latents"] = same_latents(measurement, before, vocabulary)
    print(json.dumps(result, indent=1))
    drawn = np.sort(np.random.default_rng(options.seed).permutation(encoder.n_latents)[: options.print])
    for latent in drawn.tolist():
        about = vocabulary.about(latent)
        context = about.contexts[0].marked() if about.contexts else ""
        print(f"| {latent} | {about.label} | {about.kind} | {about.trust if about.trust is not None else '–'} | {context} |")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
