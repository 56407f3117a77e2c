"""The analyses of the documents of opened indexes, as the command line and the server ask for them: filters in, results out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.analysis.corpora import Corpus, corpus_of
from lexite.analysis.correlations import Correlations, correlations
from lexite.analysis.differences import Differences, differences
from lexite.analysis.fields import FieldCorrelations, field_correlations
from lexite.analysis.properties import Property, property_from_examples, property_from_sentence
from lexite.errors import ArgumentError
from lexite.scoring.transform import apply_transform
from lexite.wording import escaped, one_line

if TYPE_CHECKING:
    from lexite.index import BM25Index
    from lexite.terms import EncodedQueries

Label = Callable[[int], str]


def differences_within(index: BM25Index, label: Label, where: str, against: str | None = None, **options: Any) -> Differences:
    """What the documents of a filter have more or less often than others.

    Args:
        index: the index.
        label: words for a latent.
        where: the filter.
        against: the filter of the other documents; None takes all that do not pass ``where``.
        **options: as for :func:`lexite.analysis.differences.differences`.
    """
    if against is not None:
        return differences(corpus_of(index, label, where=where), corpus_of(index, label, where=against), **options)
    whole, inside = corpus_of(index, label), np.isin(index.select(None), index.select(where))
    first, second = (whole.part(np.flatnonzero(side), name) for side, name in ((inside, where), (~inside, f"not ({where})")))
    return differences(first, second, **options)


def correlations_within(
    index: BM25Index, label: Label, where: str | None, field: str | None, *, named: bool = False, most: int, seed: int
) -> Correlations | FieldCorrelations:
    """Concepts that occur together, or with the values of a field.

    Args:
        index: the index.
        label: words for a latent.
        where: a filter; None takes all documents.
        field: a stored field; None: concepts are compared with each other.
        named: give only pairs of concepts that have a name.
        most: how many are given.
        seed: of everything random.
    """
    corpus = corpus_of(index, label, where=where)
    if field is None:
        return correlations(corpus, named=named, most=most, seed=seed)
    if named:
        raise ArgumentError("named has no effect on correlations with a field. Leave it out.")
    return field_correlations(corpus, field, values_of(index, field, where), most=most, seed=seed)


def values_of(index: BM25Index, field: str, where: str | None = None) -> list[Any]:
    """The values of a field of the documents that pass a filter.

    Raises:
        ArgumentError: there is no such field.
    """
    if field not in index.fields:
        known = ", ".join(sorted(index.fields)) or "none"
        raise ArgumentError(f"The index has no field '{one_line(field)}'. It has: {escaped(known)}.")
    return [index.stored(int(number)).fields.get(field) for number in index.select(where)]


def property_of_sentence(
    index: BM25Index, label: Label, sentence: str, query: EncodedQueries, where: str | None = None, *, most: int
) -> Property:
    """Documents with a property that a sentence describes.

    Args:
        index: the index.
        label: words for a latent.
        sentence: for people.
        query: the sentence, encoded as queries are.
        where: a filter; None takes all documents.
        most: documents that are given.
    """
    weights = apply_transform(query.to_csr(), index.scoring.query_transform)
    return property_from_sentence(corpus_of(index, label, where=where), sentence, weights, most=most)


def property_of_examples(
    index: BM25Index,
    label: Label,
    positive: Sequence[str],
    negative: Sequence[str] = (),
    where: str | None = None,
    **options: Any,
) -> Property:
    """Documents that are like some and unlike others.

    Args:
        index: the index.
        label: words for a latent.
        positive: ids of documents that have the property.
        negative: ids of documents that do not; none: all others.
        where: a filter; None takes all documents.
        **options: as for :func:`lexite.analysis.properties.property_from_examples`.

    Raises:
        ArgumentError: a document is not among those that are analysed.
    """
    corpus: Corpus = corpus_of(index, label, where=where)
    places = {number: place for place, number in enumerate(index.select(where).tolist())}

    def found(ids: Sequence[str]) -> list[int]:
        numbers = [index.find(identifier) for identifier in ids]
        for identifier, number in zip(ids, numbers, strict=True):
            if number not in places:
                raise ArgumentError(f"No document '{one_line(identifier)}' is among those that are analysed.")
        return [places[number] for number in numbers if number is not None]

    return property_from_examples(corpus, found(positive), found(negative), **options)
