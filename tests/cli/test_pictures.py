"""The picture of the README shows what the encoder gives."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from lexite import LatentTermEncoder
from lexite.scoring.rounding import MANTISSA

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
THEMES = ("light", "dark")
ROUNDING = 2.0 ** -(MANTISSA + 1)
"""An index rounds weights so far."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sentence_to_postings", FOLDER / "sentence_to_postings.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


def words_of(svg: str) -> list[str]:
    return [text for element in ElementTree.fromstring(svg).iter() if (text := "".join(element.itertext()).strip())]


def picture(theme: str) -> str:
    return (FOLDER / f"sentence_to_postings-{theme}.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_pictures_are_what_the_script_draws(script: ModuleType):
    encoder = LatentTermEncoder.from_pretrained("default", precision="fp32")
    shown = script.numbers(encoder)
    for theme in THEMES:
        assert script.draw(shown, theme) == picture(theme), f"Run docs/pictures/sentence_to_postings.py ({theme})."
    # the numbers, by another way
    sentence = encoder.encode_documents([script.SENTENCES[0]]).toarray()[0]
    assert [term.value for term in shown.terms] == pytest.approx(sorted(sentence, reverse=True)[: script.TERMS], rel=ROUNDING)
    assert shown.n_terms == (sentence > 0).sum()
    everything = encoder.encode_documents(list(script.SENTENCES)).toarray()
    for term, postings in zip(shown.terms, shown.postings, strict=True):
        weights = {number: row[term.latent] for number, row in enumerate(everything, start=1) if row[term.latent]}
        assert dict(postings) == pytest.approx(weights, rel=ROUNDING)
    assert not any(script.QUESTION in script.SENTENCES[document - 1].lower() for document, _ in shown.hits)
    assert encoder.query_terms(script.QUESTION)


def test_pictures_differ_in_colours_alone_and_need_nothing_else():
    assert words_of(picture("light")) == words_of(picture("dark"))
    for theme in THEMES:
        text = picture(theme)
        root = ElementTree.fromstring(text)
        names = [element.tag.rpartition("}")[2] for element in root]
        assert names[:2] == ["title", "desc"] and root.get("role") == "img"
        assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
        assert not set(names) & {"image", "script", "style", "use"}
