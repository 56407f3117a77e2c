"""What a document is: equal by all of its parts, hashable and picklable whatever its fields hold."""

from __future__ import annotations

import datetime
import pickle

import pytest

from lexite.corpus import Document

FIELDS = {"year": 2020, "tags": ["law", "tax"], "due": datetime.date(2024, 2, 29), "open": True, "share": 0.5}


def test_fields_are_given_by_name_and_empty_by_default():
    assert Document("1", "text", "title").fields == {}
    assert Document("1", "text", fields=FIELDS).fields["tags"] == ["law", "tax"]
    with pytest.raises(TypeError):
        Document("1", "text", "title", FIELDS)  # type: ignore[misc]


def test_documents_are_hashable_whatever_their_fields_hold():
    assert len({Document("1", "text", fields=FIELDS), Document("1", "text", fields=dict(FIELDS))}) == 1
    assert Document("1", "text", fields=FIELDS) != Document("1", "text")
    assert Document("1", "text").fields is not Document("1", "text").fields


def test_documents_survive_pickling():
    document = Document("1", "text", "title", fields=FIELDS)
    assert pickle.loads(pickle.dumps(document)) == document
