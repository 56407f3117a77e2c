"""Labels for a vocabulary, from text: names that were tried on passages that they were not made from, kinds, examples."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.passages import PassageConfig, cut_text
from lexite.labelling.config import LabelConfig
from lexite.labelling.contexts import ContextFinder
from lexite.labelling.detection import Detector, Holdings, holdings
from lexite.labelling.earlier import Earlier, with_earlier
from lexite.labelling.evidence import Evidence, EvidenceReader
from lexite.labelling.examples import POOL, choose_examples
from lexite.labelling.firings import Firings, collect_firings
from lexite.labelling.kinds import SEEN, kind_of
from lexite.labelling.maker import LabelMaker
from lexite.labelling.meaning import embedder
from lexite.labelling.naming import (
    Chosen,
    Trial,
    candidate_names,
    choose_names,
    draw_trial,
    key_of,
)
from lexite.labelling.related import related_latents
from lexite.labelling.unfinished import LATENTS_AT_ONCE, Blocks, Unfinished
from lexite.labelling.words import SampleWords, sample_words
from lexite.progress import progress
from lexite.terms.descriptions import KINDS, TRUSTED, Context, Descriptions
from lexite.terms.encoder import LatentTermEncoder
from lexite.terms.labels import WORDS_PER_LABEL
from lexite.terms.vocabulary import Vocabulary

logger = logging.getLogger("lexite")
RELATED = 4
ASKED_AT_ONCE = 16
"""Latents for which a maker is asked before its answers are kept: they may take seconds each."""
_PARTS, _ONLY_EVIDENCE, _EVIDENCE = 10, 3, 7  # of ten documents seven make names, four of them choose, three measure the trust


def label_vocabulary(
    encoder: LatentTermEncoder,
    documents: Iterable[str],
    config: LabelConfig | None = None,
    *,
    source: str = "",
    maker: LabelMaker | None = None,
    kept: Unfinished | None = None,
    show_progress: bool = False,
) -> Vocabulary:
    """Labels the latents of a vocabulary on text. The terms that texts get stay as they are.

    Frequencies stay as they were measured. A vocabulary without any gets those of the passages.

    Args:
        encoder: the vocabulary; ``encoder.replaced(vocabulary=...)`` takes the result.
        documents: texts; a stream, read once, until there are enough tokens.
        config: how much text, and what is kept of it.
        source: what the text is, for people.
        maker: suggests further names, such as a language model; each is tried as the others are.
        kept: what an earlier run has done, and where this one keeps what it does; None keeps nothing.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: there is no text.
        BackboneError: the model fails, or gives NaN.
    """
    config = config or LabelConfig()
    passages = drawn_passages(documents, config)
    firings = collect_firings(
        encoder, passages, n_tokens=config.label_tokens, keeps_states=is_tried, kept=kept, show_progress=show_progress
    )
    return label_firings(encoder, firings, config, source=source, maker=maker, kept=kept, show_progress=show_progress)


def is_tried(document: int) -> bool:
    """Whether names are tried on a document's passages, for which the states of their tokens are kept."""
    return document % _PARTS >= _ONLY_EVIDENCE


def drawn_passages(documents: Iterable[str], config: LabelConfig) -> Iterator[tuple[int, str]]:
    """Passages of documents, drawn without replacement, each with the number of its document."""
    generator, cutting = np.random.default_rng(config.seed), PassageConfig(config.label_words, config.label_words * 5 // 4)
    for number, text in enumerate(documents):
        cuts = cut_text(text, cutting)
        drawn = generator.permutation(len(cuts))[: config.label_passages]
        for place in sorted(drawn.tolist()):
            passage = text[cuts[place].start : cuts[place].end].strip()
            if passage:
                yield number, passage


def label_firings(
    encoder: LatentTermEncoder,
    firings: Firings,
    config: LabelConfig,
    *,
    source: str = "",
    maker: LabelMaker | None = None,
    kept: Unfinished | None = None,
    show_progress: bool = False,
) -> Vocabulary:
    """:func:`label_vocabulary` for firings that were collected already."""
    words = sample_words(firings.token_ids, firings.offsets, firings.passages, encoder.backbone.describe_token)
    held = holdings(firings, encoder.terms.floor_documents)
    part, earlier = firings.documents % _PARTS, Earlier(encoder.vocabulary)
    evidence = _evidence(firings, words, held, part < _EVIDENCE, kept, show_progress)
    finder = ContextFinder(firings, words, held, config.contexts, config.context_words)
    logger.info("Choosing examples.")
    contexts = [earlier.contexts(each, finder.of(each), config.contexts) for each in range(firings.n_latents)]
    candidates = [with_earlier(candidate_names(each), earlier.words(latent)) for latent, each in enumerate(evidence)]
    if maker is not None:
        candidates = _with_suggestions(candidates, contexts, evidence, maker, kept, show_progress)
    logger.info("Trying names on passages that they were not made from.")
    trials, detector = _trials(firings, held, part, config.seed), Detector(words, firings.states)
    embed = embedder(encoder.backbone, firings.states)
    known = {latent: name for latent in range(firings.n_latents) if (name := earlier.name(latent)) is not None}
    chosen = choose_names(candidates, trials, detector, embed, known, kept=kept, show_progress=show_progress)
    unnamed = [latent for latent, name in enumerate(chosen) if not name.trust >= TRUSTED]
    shown = choose_examples(
        [finder.spread(latent, POOL, part < _ONLY_EVIDENCE) for latent in unnamed],
        [trials[latent][0] for latent in unnamed],
        [contexts[latent] for latent in unnamed],
        detector,
        encoder.backbone,
        None if embed is None else firings.states,
        kept=kept,
        show_progress=show_progress,
    )
    labels = [_named(name, own, earlier.words(latent)) for latent, (name, own) in enumerate(zip(chosen, evidence, strict=True))]
    for latent, examples in zip(unnamed, shown, strict=True):
        labels[latent] = examples or evidence[latent].words[:WORDS_PER_LABEL]
    kinds = _kinds(firings, held, evidence, chosen, earlier)
    related = earlier.related(related_latents(held, firings.n_passages, RELATED, kinds == KINDS.index("function")))
    trust = np.array([each.trust for each in chosen], dtype=np.float32)
    described = Descriptions(kinds, trust, related, tuple(contexts), _made(firings, source, maker, earlier))
    return _vocabulary(encoder, firings, held, tuple(labels), described)


def _made(firings: Firings, source: str, maker: LabelMaker | None, earlier: Earlier) -> dict[str, Any]:
    """How labels were made, for the record, with the tokens of earlier labellings, whose words were tried too."""
    before = {"earlier_tokens": earlier.n_tokens} if earlier.n_tokens else {}
    return {
        "n_passages": firings.n_passages,
        "n_tokens": firings.n_tokens,
        **before,
        "source": source,
        "labeller": "statistical" if maker is None else maker.name,
        "trusted_from": TRUSTED,
    }


def _evidence(
    firings: Firings,
    words: SampleWords,
    held: Holdings,
    usable: NDArray[np.bool_],
    kept: Unfinished | None,
    show_progress: bool,
) -> list[Evidence]:
    reader, blocks = EvidenceReader(firings, words, held, usable), Blocks(kept, "evidence", firings.n_latents, LATENTS_AT_ONCE)
    with progress("Looking for names", firings.n_latents, "latents", show_progress) as bar:
        found = blocks.values(lambda start, stop: [asdict(reader.read(latent)) for latent in range(start, stop)], bar)
    return [_as_evidence(values) for values in found]


def _as_evidence(values: Mapping[str, Any]) -> Evidence:
    """Evidence from the JSON values that it was kept as."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return Evidence(**fields)


def _with_suggestions(
    candidates: list[tuple[str, ...]],
    contexts: list[tuple[Context, ...]],
    evidence: list[Evidence],
    maker: LabelMaker,
    kept: Unfinished | None,
    show_progress: bool,
) -> list[tuple[str, ...]]:
    """The candidates with those that a maker suggests before them."""
    blocks = Blocks(kept, "suggestions", len(candidates), ASKED_AT_ONCE)

    def ask(start: int, stop: int) -> list[list[str]]:
        listed = zip(contexts[start:stop], evidence[start:stop], strict=True)
        return [list(maker.suggest(examples, known.words)) if examples else [] for examples, known in listed]

    with progress("Asking for names", len(candidates), "latents", show_progress) as bar:
        suggestions = blocks.values(ask, bar)
    result = []
    for own, suggested in zip(candidates, suggestions, strict=True):
        keys = {key_of(name) for name in suggested}
        result.append((*suggested, *(name for name in own if key_of(name) not in keys)))
    return result


def _trials(firings: Firings, held: Holdings, part: NDArray[np.int64], seed: int) -> list[tuple[Trial | None, Trial | None]]:
    generator, lengths = np.random.default_rng(seed), np.diff(firings.offsets)
    sides = []
    for usable in ((part >= _ONLY_EVIDENCE) & (part < _EVIDENCE), part >= _EVIDENCE):
        numbers = np.flatnonzero(usable)
        sides.append((usable, numbers[np.argsort(lengths[numbers], kind="stable")].astype(np.int32)))
    first, second = sides
    return [
        (draw_trial(held, latent, *first, generator), draw_trial(held, latent, *second, generator))
        for latent in range(firings.n_latents)
    ]


def _kinds(
    firings: Firings, held: Holdings, evidence: list[Evidence], chosen: list[Chosen], earlier: Earlier
) -> NDArray[np.uint8]:
    """The kind of each latent; that which it had where it was hardly seen in the sample, or has its name from before."""
    counts = np.diff(firings.starts)
    kept = np.concatenate([[0], np.cumsum(held.held)])
    holding = kept[held.starts[1:]] - kept[held.starts[:-1]]
    kinds = np.zeros(firings.n_latents, dtype=np.uint8)
    for latent, (own, name) in enumerate(zip(evidence, chosen, strict=True)):
        too_few = not name.trust >= TRUSTED and own.seen < SEEN
        known = earlier.kind(latent, named=name.trust >= TRUSTED) if name.kept or too_few else None
        share = float(holding[latent]) / max(firings.n_passages, 1)
        found = kind_of(int(counts[latent]), own.seen, name.trust, own.lexical, own.function, share, name.name)
        revived = counts[latent] and known == KINDS.index("dead")
        kinds[latent] = found if known is None or revived else known
    return kinds


def _named(chosen: Chosen, evidence: Evidence, earlier: tuple[str, ...]) -> tuple[str, ...]:
    """A name and further words."""
    said, found = set(key_of(chosen.name)), dict[tuple[str, ...], str]()
    for word in (*evidence.words, *earlier, *evidence.topics):
        if not said & set(key_of(word)):
            found.setdefault(key_of(word), word)
    return (chosen.name, *found.values())[:WORDS_PER_LABEL]


def _vocabulary(
    encoder: LatentTermEncoder,
    firings: Firings,
    held: Holdings,
    labels: tuple[tuple[str, ...], ...],
    described: Descriptions,
) -> Vocabulary:
    before = encoder.vocabulary
    if before is not None and before.n_documents:
        return replace(before, labels=labels, described=described)
    kept = np.concatenate([[0], np.cumsum(held.held)])
    counts = (kept[held.starts[1:]] - kept[held.starts[:-1]]).astype(np.int64)
    made: dict[str, Any] = dict(described.made)
    return Vocabulary(
        counts,
        np.diff(firings.starts).astype(np.int64),
        firings.n_passages,
        firings.n_tokens,
        encoder.k_for("document"),
        labels,
        made["source"] or "the passages that it was labelled on",
        described,
    )
