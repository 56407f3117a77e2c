from __future__ import annotations

import urllib.parse

from hypothesis import given
from hypothesis import strategies as st

from lexite.evaluation.trec import quote_id

identifiers = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(identifiers)
def test_an_id_is_one_column_and_comes_back(identifier):
    quoted = quote_id(identifier)
    assert quoted.split() == [quoted]
    assert urllib.parse.unquote(quoted) == identifier
