"""What is looked at before an export writes anything: routes, ids, fields."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from lexite.engines.documents import passage_id, term_names
from lexite.engines.export_settings import ExportSettings
from lexite.engines.forms import Collection, Form
from lexite.engines.forms.base import refuse_fields
from lexite.engines.routes import check_route, route
from lexite.errors import ConfigError, CorpusError
from lexite.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lexite.engines.statistics import Statistics
    from lexite.index import BM25Index

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KEEPS_TERMS = ("opensearch-bulk", "elasticsearch-bulk", "solr")
_SHOWN = 3  # ids of a message
_ID_SHOWN = 40  # characters


def collection_of(index: BM25Index, form: Form, settings: ExportSettings, statistics: Statistics) -> Collection:
    """What a form has to know of an index.

    Args:
        index: the index.
        form: the form.
        settings: of the export.
        statistics: with the scoring.

    Raises:
        ConfigError: the form has no such route, the route cannot express the scoring, the name is no name, or texts or fields
            are wanted where there are none.
        CorpusError: the engine cannot hold a field.
    """
    if not _NAME.fullmatch(settings.name):
        raise ConfigError(f"'{settings.name}' is no name. Use small letters, digits and underscores, a letter first.")
    name = settings.route or form.routes[0]
    chosen = route(name, settings.scale)
    if chosen.name not in form.routes:
        raise ConfigError(f"{settings.to} has no route '{name}'. It has {', '.join(form.routes)}.")
    check_route(chosen, statistics.scoring)
    if settings.text and not index.stores_text:
        raise ConfigError("The index keeps no texts, so none can go along. Leave text=True out.")
    if (settings.text or settings.fields) and not form.holds_texts:
        raise ConfigError(f"{settings.to} holds neither texts nor fields. Leave text=True and fields=True out.")
    if settings.keep_terms and settings.to not in _KEEPS_TERMS:
        raise ConfigError(f"Only {', '.join(_KEEPS_TERMS)} can keep terms apart or not. Leave keep_terms=True out.")
    text = form.holds_texts and (index.stores_text if settings.text is None else settings.text)
    fields = form.holds_texts and settings.fields is not False
    collection = Collection(
        settings.name,
        chosen,
        statistics.scoring,
        term_names(index),
        index.n_terms,
        dict(index.fields) if fields else {},
        text,
        settings.keep_terms,
        index.passages_config is not None or index.n_passages > index.n_documents,
    )
    refuse_fields(form, settings.to, collection)
    return collection


def check_documents(index: BM25Index, form: Form, to: str) -> None:
    """Refuses an index with documents that an engine cannot hold.

    Args:
        index: the index.
        form: the form.
        to: its name.

    Raises:
        CorpusError: there are such; the message names some of them.
    """
    problems = list(islice(_problems(index, form), _SHOWN + 1))
    if problems:
        named = "; ".join(f"'{_short(identifier)}': {problem}" for identifier, problem in problems[:_SHOWN])
        more = "; and more" if len(problems) > _SHOWN else ""
        raise CorpusError(
            f"Documents that {to} cannot hold: {named}{more}. Nothing was written. Give them other ids, or delete them."
        )


def _problems(index: BM25Index, form: Form) -> Iterator[tuple[str, str]]:
    most = form.most_terms_of_document
    for chunk in index.iterate_passages():
        sizes = np.diff(chunk.rows.indptr).tolist()
        derived: list[str] = []
        for number, ordinal, size in zip(chunk.documents.tolist(), chunk.ordinals.tolist(), sizes, strict=True):
            identifier = passage_id(index.document_id(number), ordinal)
            problem = form.id_problem(identifier)
            if problem is not None:
                yield identifier, problem
            elif most is not None and size > most:
                yield identifier, f"it has {counted(size, 'term')}, and {most:,} are the most"
            elif ordinal:
                derived.append(identifier)
        for place in np.flatnonzero(index.ids.find(derived) >= 0).tolist() if derived else ():
            yield derived[place], "a document and a passage of another one would be called so"


def _short(identifier: str) -> str:
    shown = identifier.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _ID_SHOWN else f"{shown[:_ID_SHOWN]}…"
