"""How well the labels of a vocabulary tell where its latents fire, on documents that they were not made from.

    python benchmarks/label_quality.py TEXTS... --label-to labelled
    python benchmarks/label_quality.py TEXTS... --vocabulary labelled --before default --json labels.json

Every tenth document is held out; labels are made from the others. Of the held-out passages, a latent's positives are those that
hold it (its weight is not below the floor of documents), its negatives as many passages of like length and of the same source
in which it does not fire. The detection AUC is the share of pairs of a positive and a negative in which the label scores the
positive higher. 500 latents are drawn by seed; no kind is left out. Four ways to score are measured:

    words   the share of the label's words that the passage has, by idf
    dense   the cosine of the dense model's vectors of label and passage
    both    the sum of these two
    tokens  the mean over the tokens of a name of the largest cosine with a token of the passage, by the dense model's states,
            and a fifth of "words"; of a label that is examples, the tokens that are marked in them
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lexite.labelling import LabelConfig, label_firings
from lexite.labelling.detection import Detector, auc, holdings, matched_negatives
from lexite.labelling.firings import Firings, collect_firings
from lexite.labelling.meaning import embedder, marked_vectors
from lexite.labelling.run import drawn_passages, is_tried
from lexite.labelling.tokens import TokenVectors
from lexite.labelling.words import sample_words
from lexite.terms import LatentTermEncoder
from lexite.terms.descriptions import FOR_EXAMPLE, KINDS, TRUSTED, Context
from lexite.terms.vocabulary import Vocabulary

POSITIVES, LEAST = 60, 5
HELD_OUT = 10
WAYS = ("words", "dense", "both", "tokens")
BARS = (0.88, 0.9, 0.92, 0.94, 0.96)
MARK = r"\[(.+?)\]"


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


ARRAYS = ("documents", "token_ids", "offsets", "starts", "tokens", "values", "vectors")
STATES = ("rows", "scales", "starts", "mean")


def read_firings(path: Path) -> Firings:
    values = np.load(path)
    texts = json.loads(path.with_suffix(".json").read_text())
    states = TokenVectors(*(values[f"states_{name}"] for name in STATES))
    return Firings(texts, **{name: values[name] for name in ARRAYS}, states=states)


def write_firings(firings: Firings, path: Path) -> None:
    states = {f"states_{name}": getattr(firings.states, name) for name in STATES}
    np.savez(path, **{name: getattr(firings, name) for name in ARRAYS}, **states)
    path.with_suffix(".json").write_text(json.dumps(list(firings.passages)))


def firings_of(options: argparse.Namespace, encoder: LatentTermEncoder, held_out: bool, n_tokens: int) -> Firings:
    path = Path(options.cache) / f"{'held-out' if held_out else 'others'}.npz" if options.cache else None
    if path is not None and path.exists():
        return read_firings(path)
    found = collect_firings(
        encoder,
        mixed(options.texts, LabelConfig(), held_out),
        n_tokens=n_tokens,
        keeps_states=(lambda document: True) if held_out else is_tried,
        show_progress=True,
    )
    if path is not None:
        write_firings(found, path)
    return found


class Measurement:
    """Held-out passages, and what labels are measured with.

    Args:
        encoder: the vocabulary's encoder.
        firings: of held-out passages.
        n_sources: sources of the texts; a document's number modulo this is its source.
        latents: those that are drawn.
        seed: draws passages.
    """

    def __init__(
        self, encoder: LatentTermEncoder, firings: Firings, n_sources: int, latents: np.ndarray[Any, Any], seed: int
    ) -> None:
        assert firings.states is not None
        self.encoder, self.firings, self.latents, self.states = encoder, firings, latents, firings.states
        words = sample_words(firings.token_ids, firings.offsets, firings.passages, encoder.backbone.describe_token)
        self.detector = Detector(words, firings.states)
        held = holdings(firings, encoder.terms.floor_documents)
        generator = np.random.default_rng(seed)
        lengths, source = np.diff(firings.offsets), firings.documents % n_sources
        by_length = [
            (own := np.flatnonzero(source == each))[np.argsort(lengths[own], kind="stable")].astype(np.int32)
            for each in range(n_sources)
        ]
        self.trials: dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}
        self.strong: dict[int, np.ndarray[Any, Any]] = {}
        for latent in latents.tolist():
            fires, weights, kept = held.of(latent)
            positive, weights = fires[kept], weights[kept]
            if len(positive) > POSITIVES:
                chosen = np.sort(generator.choice(len(positive), POSITIVES, replace=False))
                positive, weights = positive[chosen], weights[chosen]
            negative = [
                matched_negatives(positive[source[positive] == each], fires, by_length[each], generator)
                for each in range(n_sources)
            ]
            if len(positive) >= LEAST and any(len(each) > 0 for each in negative):
                self.trials[latent] = positive, np.concatenate(negative)
                self.strong[latent] = weights >= np.median(weights)

    def scores(self, labels: dict[int, str]) -> dict[int, dict[str, np.ndarray[Any, Any]]]:
        """The scores of each latent's passages, the positives first, by each way."""
        plain = {latent: without_signs(label) for latent, label in labels.items()}
        names = sorted(set(plain.values()))
        embed = embedder(self.encoder.backbone, self.states)
        assert embed is not None and self.firings.vectors is not None
        dense = dict(zip(names, self.encoder.backbone.dense(names, "document"), strict=True))
        tokens = dict(zip(names, embed(names), strict=True))
        shown = {latent: examples_of(label) for latent, label in labels.items()}
        listed = [each for latent in labels for each in shown[latent]]
        marked = iter(marked_vectors(self.encoder.backbone, self.states, listed))
        found = {}
        for latent, name in plain.items():
            passages = np.concatenate(self.trials[latent])
            own, total = self.detector.words_of(name, passages)
            words = own / max(total, 1e-9)
            cosines = self.firings.vectors[passages].astype(np.float32) @ dense[name]
            examples = [next(marked) for _ in shown[latent]]
            by_tokens = (
                self.detector.tokens_of(examples, passages).mean(1)
                if examples
                else self.detector.scores([name], [tokens[name]], passages)[:, 0]
            )
            found[latent] = {"words": words, "dense": cosines, "both": words + cosines, "tokens": by_tokens}
        return found

    def auc(self, labels: dict[int, str]) -> dict[str, dict[int, float]]:
        """Detection of each label by each way; "strong" and "weak" have the half of the positives with more or less weight."""
        result: dict[str, dict[int, float]] = {way: {} for way in (*WAYS, "strong", "weak")}
        for latent, scores in self.scores(labels).items():
            n = len(self.trials[latent][0])
            strong = self.strong[latent]
            for way, values in scores.items():
                result[way][latent] = one_auc(values[:n], values[n:])
            tokens = scores["tokens"]
            result["strong"][latent] = one_auc(tokens[:n][strong], tokens[n:])
            if not strong.all():
                result["weak"][latent] = one_auc(tokens[:n][~strong], tokens[n:])
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


def one_auc(positive: np.ndarray[Any, Any], negative: np.ndarray[Any, Any]) -> float:
    return float(auc(positive[:, None], negative[:, None])[0])


def without_signs(label: str) -> str:
    """A label as people see it, without the signs around it."""
    if not label.startswith(FOR_EXAMPLE):
        return label
    return re.sub("[“”]", "", re.sub(MARK, r"\1", label.removeprefix(FOR_EXAMPLE)))


def examples_of(label: str) -> list[Context]:
    """The examples of a label with what is marked in them; none of a name, or where nothing is marked."""
    found = []
    for phrase in re.findall("“(.*?)”(?:, |$)", label) if label.startswith(FOR_EXAMPLE) else ():
        if mark := re.search(MARK, phrase):
            text = phrase[: mark.start()] + mark[1] + phrase[mark.end() :]
            found.append(Context(text, ((mark.start(), mark.start() + len(mark[1])),), 1.0))
    return found


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
    found = measurement.auc({latent: vocabulary.label(latent) for latent in trials})
    whole = measurement.auc({latent: " ".join(vocabulary.labels[latent]) or "nothing" for latent in trials})
    intruders = measurement.intruders(seed)
    groups = {"all": set(trials)}
    if described is not None:
        groups["trusted"] = {latent for latent in trials if described.trusted(latent)}
        groups["examples"] = set(trials) - groups["trusted"]
        groups |= {kind: {latent for latent in trials if described.kind(latent) == kind} for kind in KINDS}
    return {
        "drawn": len(measurement.latents),
        "auc": {
            name: {
                "latents": len(own),
                **{way: mean(values, own) for way, values in found.items()},
                "error": round(float(np.std([found["tokens"][each] for each in own]) / np.sqrt(len(own))), 4),
                "all words": {way: mean(whole[way], own) for way in WAYS},
                "intruder": mean(intruders, own),
            }
            for name, own in groups.items()
            if own
        },
        "shared_names": round(shared(vocabulary), 4),
        "kinds": {} if described is None else dict(Counter(described.kind(latent) for latent in range(vocabulary.n_latents))),
        "named": 0 if described is None else sum(described.trusted(latent) for latent in range(vocabulary.n_latents)),
    }


def mean(values: dict[int, float], chosen: set[int]) -> float | None:
    own = [values[each] for each in chosen if each in values]
    return round(float(np.mean(own)), 4) if own else None


def bars(measurement: Measurement, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """For each bar how many names there would be, and their AUC where it can be measured."""
    described = vocabulary.described
    assert described is not None
    found = measurement.auc({latent: vocabulary.label(latent) for latent in measurement.trials})["tokens"]
    return [
        {
            "bar": bar,
            "names": int((described.trust >= bar - 1e-6).sum()),
            "measured": len(own := {latent for latent in found if described.trust[latent] >= bar - 1e-6}),
            "auc": mean(found, own),
        }
        for bar in BARS
    ]


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
    parser.add_argument("--bar-latents", type=int, default=8000, help="latents whose names show what a bar for trust does")
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
    vocabulary, drawn = encoder.vocabulary, np.random.default_rng(options.seed).permutation(encoder.n_latents)
    assert vocabulary is not None and vocabulary.described is not None
    n_sources = len(options.texts)
    measurement = Measurement(encoder, held_out, n_sources, np.sort(drawn[: options.latents]), options.seed)
    result: dict[str, Any] = {"tokens_held_out": held_out.n_tokens, "after": report(measurement, vocabulary, options.seed)}
    if options.before:
        result["before"] = report(measurement, Vocabulary.load(options.before), options.seed)
    named = np.flatnonzero(vocabulary.described.trust >= TRUSTED)
    many = Measurement(encoder, held_out, n_sources, np.intersect1d(drawn[: options.bar_latents], named), options.seed)
    result["bars"] = bars(many, vocabulary)
    print(json.dumps(result, indent=1))
    for latent in np.sort(drawn[: options.print]).tolist():
        about = vocabulary.about(latent)
        context = about.contexts[0].marked() if about.contexts else ""
        print(f"| {latent} | {about.label} | {about.kind} | {about.trust if about.trust is not None else '–'} | {context} |")
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
