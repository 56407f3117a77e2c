"""Draws how a sentence becomes tokens, latents, terms and postings, with the numbers that the default vocabulary gives.

    python docs/pictures/sentence_to_postings.py

writes ``sentence_to_postings-light.svg`` and ``-dark.svg`` beside this file. The model runs in fp32, so that every machine
draws the same picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from lexite import LatentTermEncoder, Searcher

SENTENCES = (
    "Plants make sugar from light.",
    "Leaves turn sunshine into food.",
    "Bees make honey from nectar.",
    "Sweets are bad for your teeth.",
    "A lamp brightens the dark room.",
    "Insulin lowers glucose in the blood.",
    "Gardens need water and sun.",
    "The tides follow the moon.",
)
QUESTION = "photosynthesis"
LATENTS_PER_TOKEN = 3
TERMS = 5


@dataclass(frozen=True)
class Weighed:
    """A latent with its label and a number: an activation, or a weight."""

    latent: int
    label: str
    value: float


@dataclass(frozen=True)
class Numbers:
    """What the picture shows of the first sentence."""

    tokens: tuple[tuple[str, tuple[Weighed, ...]], ...]  # each with its strongest latents, the best first
    terms: tuple[Weighed, ...]  # the heaviest of the sentence
    postings: tuple[tuple[tuple[int, float], ...], ...]  # of each term: number of the sentence from 1, weight
    n_terms: int
    hits: tuple[tuple[int, float], ...]  # of the question: number of the sentence, score


def numbers(encoder: LatentTermEncoder) -> Numbers:
    """Encodes the first sentence, indexes all of them, and asks the question.

    Args:
        encoder: the vocabulary.
    """
    states = encoder.backbone.encode([SENTENCES[0]], "document")
    codes = encoder.codes(states, encoder.k_for("document"))
    values, latents = codes.values.float().cpu().numpy(), codes.indices.cpu().numpy()
    tokens = []
    for row, token in enumerate(states.token_ids):
        best = np.argsort(-values[row], kind="stable")[:LATENTS_PER_TOKEN]
        strongest = (_weighed(encoder, latents[row, slot], values[row, slot]) for slot in best)
        tokens.append((encoder.backbone.describe_token(int(token)), tuple(strongest)))
    with Searcher.build(texts=SENTENCES, vocabulary=encoder, literal=False, show_progress=False) as searcher:
        rows = searcher.index.rows().toarray()
        hits = searcher.rank([QUESTION], top_k=3)[0]
    heaviest = np.argsort(-rows[0], kind="stable")[:TERMS]
    return Numbers(
        tokens=tuple(tokens),
        terms=tuple(_weighed(encoder, term, rows[0, term]) for term in heaviest),
        postings=tuple(
            tuple((int(row) + 1, float(rows[row, term])) for row in np.nonzero(rows[:, term])[0]) for term in heaviest
        ),
        n_terms=int(np.count_nonzero(rows[0])),
        hits=tuple((int(hit.id), float(hit.score)) for hit in hits),
    )


def _weighed(encoder: LatentTermEncoder, latent: int, value: float) -> Weighed:
    return Weighed(int(latent), encoder.label(int(latent)), float(value))


# --- the drawing

WIDTH, HEIGHT, MARGIN = 900, 580, 24
POSTINGS_AT = 470
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Helvetica, Arial, sans-serif"
THEMES: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "text": "#1f2328",
        "quiet": "#59636e",
        "line": "#d1d9e0",
        "box": "#f3f5f7",
        "latents": ("#cf2a6d", "#b06f00", "#5b8c00", "#12805c", "#c2571a"),
    },
    "dark": {
        "text": "#f0f6fc",
        "quiet": "#9198a1",
        "line": "#3d444d",
        "box": "#1b2129",
        "latents": ("#ff7eb6", "#f2b33d", "#a9d14b", "#3fcf9a", "#ff9e64"),
    },
}
DESCRIPTION = (
    "The sentence '{sentence}' is cut into tokens. Each token activates a few latents; the latent of sugar answers to several "
    "tokens. Added up over the sentence they are terms with weights. An index holds for each term the documents that have it."
)


def draw(shown: Numbers, theme: str) -> str:
    """The picture as SVG.

    Args:
        shown: the numbers.
        theme: ``light`` or ``dark``.
    """
    look = THEMES[theme]
    colours = {term.latent: colour for term, colour in zip(shown.terms, look["latents"], strict=True)}
    description = escape(DESCRIPTION.format(sentence=SENTENCES[0]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-labelledby="title description" font-family="{FONT}" font-size="13" fill="{look["text"]}">',
        '<title id="title">From a sentence to postings</title>',
        f'<desc id="description">{description}</desc>',
        *_tokens(shown, look, colours),
        *_terms(shown, look, colours),
        *_documents(shown, look),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _heading(x: float, y: float, step: str, name: str, explanation: str, quiet: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:g}"><tspan font-weight="600" font-size="15">{step} {name}</tspan>'
        f'<tspan dx="9" fill="{quiet}">{escape(explanation)}</tspan></text>'
    )


def _tokens(shown: Numbers, look: Mapping[str, Any], colours: dict[int, str]) -> Iterator[str]:
    """Steps 1 and 2: each token with its strongest latents below it."""
    quiet, gap = look["quiet"], 10
    column = (WIDTH - 2 * MARGIN + gap) / len(shown.tokens)
    width = column - gap
    strongest = max(latent.value for _, latents in shown.tokens for latent in latents)
    yield _heading(MARGIN, 24, "1", "Tokens", f"of the sentence “{SENTENCES[0]}”, each read in its context", quiet)
    yield _heading(
        MARGIN, 110, "2", "Latents", "that each token activates, the three strongest; same colour, same latent", quiet
    )
    for number, (token, latents) in enumerate(shown.tokens):
        x = MARGIN + number * column
        middle = x + width / 2
        yield (
            f'<rect x="{x:.1f}" y="38" width="{width:.1f}" height="32" rx="7" fill="none" '
            f'stroke="{look["text"]}" stroke-width="1.3"/>'
        )
        yield f'<text x="{middle:.1f}" y="59.5" text-anchor="middle" font-size="17" font-weight="600">{escape(token)}</text>'
        for row, latent in enumerate(latents):
            y = 122 + 29 * row
            colour = colours.get(latent.latent)
            long = max(7.0, width * latent.value / strongest)
            yield f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="25" rx="5" fill="{look["box"]}"/>'
            yield (
                f'<rect x="{x:.1f}" y="{y}" width="{long:.1f}" height="25" rx="5" fill="{colour or quiet}" '
                f'fill-opacity="{0.38 if colour else 0.16}"/>'
            )
            weight = f'fill="{look["text"]}" font-weight="600"' if colour else f'fill="{quiet}"'
            yield f'<text x="{x + 8:.1f}" y="{y + 17}" {weight}>{escape(_short(latent.label, 15))}</text>'
            yield f'<text x="{x + width - 7:.1f}" y="{y + 17}" text-anchor="end" {weight}>{latent.value:.1f}</text>'


def _terms(shown: Numbers, look: Mapping[str, Any], colours: dict[int, str]) -> Iterator[str]:
    """Steps 3 and 4: the heaviest terms, each with its postings beside it."""
    quiet, label_width, heaviest = look["quiet"], 164, shown.terms[0].value
    yield _heading(MARGIN, 250, "3", "Terms", f"sums over the tokens, the heaviest of {shown.n_terms}", quiet)
    yield _heading(POSTINGS_AT, 250, "4", "Postings", "documents that hold the term, with its weight", quiet)
    bar = POSTINGS_AT - MARGIN - label_width - 90
    for row, (term, postings) in enumerate(zip(shown.terms, shown.postings, strict=True)):
        y, colour = 264 + 32 * row, colours[term.latent]
        long = bar * term.value / heaviest
        yield f'<text x="{MARGIN}" y="{y + 18}" font-weight="600">{escape(_short(term.label, 22))}</text>'
        yield f'<rect x="{MARGIN + label_width}" y="{y + 3}" width="{long:.1f}" height="20" rx="4" fill="{colour}"/>'
        yield f'<text x="{MARGIN + label_width + long + 8:.1f}" y="{y + 18}">{term.value:.1f}</text>'
        yield (
            f'<path d="M {POSTINGS_AT - 34} {y + 13} h 20 m -5 -4 l 5 4 l -5 4" fill="none" stroke="{quiet}" '
            'stroke-width="1.4" stroke-linecap="round" stroke-linejoin="round"/>'
        )
        for place, (document, weight) in enumerate(postings):
            x = POSTINGS_AT + 80 * place
            yield (
                f'<rect x="{x}" y="{y}" width="72" height="26" rx="6" fill="{colour}" fill-opacity="0.14" '
                f'stroke="{colour}" stroke-width="{2 if document == 1 else 1}"/>'
            )
            yield f'<text x="{x + 11}" y="{y + 18}" font-weight="700" fill="{colour}">{document}</text>'
            yield f'<text x="{x + 63}" y="{y + 18}" text-anchor="end">{weight:.1f}</text>'


def _documents(shown: Numbers, look: Mapping[str, Any]) -> Iterator[str]:
    """The sentences behind the numbers, and a question that shares no word with the sentences it finds."""
    half = len(SENTENCES) // 2
    yield f'<path d="M {MARGIN} 438 H {WIDTH - MARGIN}" stroke="{look["line"]}"/>'
    for number, sentence in enumerate(SENTENCES, start=1):
        x, y = (MARGIN if number <= half else POSTINGS_AT), 462 + 21 * ((number - 1) % half)
        weight, colour = (600, look["text"]) if number == 1 else (400, look["quiet"])
        yield f'<text x="{x}" y="{y}" font-weight="700">{number}</text>'
        yield f'<text x="{x + 18}" y="{y}" font-weight="{weight}" fill="{colour}">{escape(sentence)}</text>'
    found = ", ".join(f"{document}" for document, _ in shown.hits[:-1]) + f" and {shown.hits[-1][0]}"
    yield (
        f'<text x="{MARGIN}" y="562" font-size="14">A question becomes terms in the same way: '
        f'<tspan font-weight="700">{escape(QUESTION)}</tspan> finds <tspan font-weight="700">{found}</tspan>, '
        "though none of them has the word.</text>"
    )


def _short(label: str, width: int) -> str:
    """The first words of a label, as many as fit; where the first, or an example, is too long, its beginning."""
    words: Sequence[str] = label.removeprefix("e.g. ").split(", ")
    fitting = [", ".join(words[:n]) for n in range(1, len(words) + 1) if len(", ".join(words[:n])) <= width]
    return fitting[-1] if fitting else f"{words[0][: width - 1].rstrip()}…"


def main() -> None:
    """Writes both pictures beside this file."""
    shown = numbers(LatentTermEncoder.from_pretrained("default", precision="fp32"))
    for theme in THEMES:
        place = Path(__file__).with_name(f"sentence_to_postings-{theme}.svg")
        place.write_text(draw(shown, theme), encoding="utf-8")


if __name__ == "__main__":
    main()
