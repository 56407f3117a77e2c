"""Vespa, through pyvespa (``pip install 'lexite[vespa]'``): impacts in a mapped tensor, ranked by their dot product.

Requests are those of Vespa's reference. They were held against a small server that evaluates them, and never against a Vespa,
which is no jar and no package.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lexite.engines.addresses import Address
from lexite.engines.base import Capabilities
from lexite.engines.bulk_clients import shown_address
from lexite.engines.collapsing import FoundPassage, best_documents, in_given_order
from lexite.engines.documents import EngineDocument
from lexite.engines.driver import Counts, Found, PassageParts, Question, Refused, Written, joined_text
from lexite.engines.forms.base import FIELD, Collection, json_line, weights_json
from lexite.engines.forms.vespa import (
    EVERY_PASSAGE,
    MOST_HITS,
    RECORD,
    VespaForm,
    candidates,
    literal_tensor,
    record_of,
    value_of,
)
from lexite.engines.live import LiveEngine
from lexite.engines.queries import EngineQuery
from lexite.engines.record import read_collection_record
from lexite.engines.retrying import Line, Patience
from lexite.engines.security import TLS, Security, security_of, with_password
from lexite.engines.stored_values import span_between
from lexite.engines.vespa_application import Application
from lexite.engines.vespa_client import Refusal, VespaClient, document_name
from lexite.engines.vespa_filters import one_of_texts, quoted, where_yql
from lexite.errors import ConfigError, EngineError
from lexite.index import StoredDocument
from lexite.index.field_types import ID_FIELD, FieldType
from lexite.search.indexing import chunks

RECORD_NAME = "=lexite"
"""What the document of the record is called; no passage is, whatever its id."""
AT_ONCE = 8
"""Requests under way at the same time."""
_IDS_AT_ONCE = 100
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EMPTY: Mapping[FieldType, Any] = {"text": "", "list": [], "boolean": False}  # values that an answer of Vespa lacks
S = TypeVar("S")
T = TypeVar("T")


class VespaDriver:
    """One schema of a Vespa. Arguments are those of :class:`VespaEngine`."""

    engine = "Vespa"

    def __init__(self, client: VespaClient, line: Line, deploy: str | None, n_candidates: int | None, most_hits: int) -> None:
        self.name, self.address, self.form = client.name, line.where, VespaForm()
        self._client, self._line = client, line
        self._application = None
        if deploy is not None:
            server = Line(f"Vespa's config server at {deploy.split('@')[-1]}", line.patience)
            self._application = Application(client, server, deploy)
        self._candidates, self._most_hits = n_candidates, most_hits
        self._pool = ThreadPoolExecutor(AT_ONCE)

    @property
    def capabilities(self) -> Capabilities:
        """It counts frequencies when it is asked for them, and is exact where all that share a term are ranked."""
        return Capabilities(
            exact=self._candidates is None,
            among=True,
            exclude=True,
            fields=True,
            most_hits=self._most_hits,
            word_weights=True,
        )

    def create(self, collection: Collection) -> None:
        """Deploys the schema where a config server is named; else looks whether it is there. Nothing may be in it."""
        if self.read_record() is not None:
            raise EngineError(f"There is a collection at {self.address} already.")
        if self._application is not None:
            self._application.deploy(collection)
            self._application.wait(lambda: self._serves(collection.fields))
        elif not self._serves(collection.fields):
            raise EngineError(
                f"The application at {self.address} has no schema '{self.name}' with the fields of this collection. Add "
                "?deploy=19071 to the address where lexite may make the application. Else put the schema into yours: "
                f"lexite export INDEX --to vespa --name {self.name} -o FOLDER"
            )

    def _serves(self, fields: Iterable[str]) -> bool:
        """Whether the container knows the schema with its fields."""
        try:
            self._try(lambda: self._client.get(RECORD_NAME, [FIELD, RECORD, *fields]))
        except Refusal:
            return False
        return True

    def drop(self) -> None:
        """Removes all documents. The schema stays in the application."""
        if self._serves(()):
            self._remove_found(EVERY_PASSAGE)
            self._line.ask(lambda: self._client.remove(RECORD_NAME))

    def read_record(self) -> Any | None:
        """The document of the record; what passages without one hold was not made by lexite."""
        try:
            found = self._try(lambda: self._client.get(RECORD_NAME, [RECORD]))
        except Refusal:
            return None
        if found is None:
            return {} if self._total(EVERY_PASSAGE) else None
        try:
            return json.loads(found.get(RECORD, ""))
        except ValueError:
            return {}

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Replaces the document of the record."""
        self._line.ask(lambda: self._client.put(RECORD_NAME, {RECORD: json.dumps(record)}))

    def add_fields(self, new: Mapping[str, FieldType]) -> None:
        """Deploys a wider schema; EngineError where that is not allowed."""
        if self._serves(new):
            return
        if self._application is None:
            raise EngineError(
                f"The schema of {self.address} has no field {' and no field '.join(new)}. Add ?deploy=19071 to the address "
                "where lexite made the application. Else add to the schema by hand, and deploy it."
            )
        collection = read_collection_record(self.read_record(), self.address).collection(self.name, str)
        self._application.deploy(dataclasses.replace(collection, fields={**collection.fields, **new}))
        self._application.wait(lambda: self._serves(new))

    def write(self, documents: Sequence[EngineDocument], collection: Collection) -> Written:
        """Writes passages, some at the same time; Vespa has no request for several."""

        def put(document: EngineDocument) -> tuple[int, Refused | None]:
            record = record_of(document, collection)
            size = len(json_line(record))
            try:
                self._try(lambda: self._client.put(document_name(document.id), record))
            except Refusal as refused:
                return size, Refused(document.id, refused.reason)
            return size, None

        done = self._together(put, documents)
        return Written(sum(size for size, _ in done), tuple(refused for _, refused in done if refused is not None))

    def keep_frequencies(self, changes: Mapping[str, int], *, anew: bool) -> None:
        """Nothing: the engine counts."""

    def settle(self) -> None:
        """Nothing: what Vespa has answered for is found."""

    def delete(self, documents: Sequence[str]) -> None:
        """Looks for the passages of documents, and removes them."""
        for ids in chunks([each for each in documents if self.form.id_problem(each) is None], _IDS_AT_ONCE):
            self._remove_found(one_of_texts("doc", ids))

    def _remove_found(self, only: str) -> None:
        while True:
            found = [str(hit["fields"]["id"]) for hit in self._hits(only, MOST_HITS, ["id"])]
            if not found:
                return
            self._together(lambda each: self._line.ask(lambda: self._client.remove(document_name(each))), found)

    def present(self, documents: Sequence[str]) -> set[str]:
        """Looks for the first passages of documents."""
        own = [each for each in documents if self.form.id_problem(each) is None]
        parts = [f"({one_of_texts('doc', ids)} and part = 0)" for ids in chunks(own, _IDS_AT_ONCE)]
        return {str(hit["fields"]["doc"]) for part in parts for hit in self._hits(part, _IDS_AT_ONCE, ["doc"])}

    def counts(self) -> Counts:
        """Three counts, and a mean by grouping."""
        total = self._total(EVERY_PASSAGE)
        if not total:
            return Counts(0, 0, 0)
        mean = f"{_selection(['id'], EVERY_PASSAGE)} | all(group(1) each(output(avg(length))))"
        grouped = self._ask({"yql": mean, "hits": 0, "ranking": "unranked"})
        return Counts(self._total("part = 0"), total, self._total("n_terms > 0"), _mean(grouped))

    def _total(self, only: str) -> int:
        root = self._ask({"yql": _selection(["id"], only), "hits": 0, "ranking": "unranked"})
        return int((root.get("fields") or {}).get("totalCount", 0))

    def frequencies(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Counts the passages of each term, some at the same time."""
        found = self._together(lambda name: self._total(f"terms contains {quoted(name)}"), names)
        return np.array(found, dtype=np.int64)

    def search(self, questions: Sequence[Question], collection: Collection) -> list[list[Found]]:
        """Asks some questions at the same time."""
        return self._together(lambda question: self._answer(question, collection), questions)

    def _answer(self, question: Question, collection: Collection) -> list[Found]:
        if not len(question.query.terms):
            return []
        names = collection.names.of(question.query.terms.tolist())
        weights = weights_json(names, question.query.weights.tolist())
        asked = {"ranking": FIELD, f"input.query({FIELD})": literal_tensor(weights)}
        if question.sort is not None:
            asked["sorting"] = _order(question.sort, collection)

        def ask(n: int) -> list[FoundPassage]:
            most = None if self._candidates is None or question.sort is not None else max(self._candidates, n)
            only = _limited(candidates(weights, most), question, collection)
            hits = self._hits(only, n, ["doc", "n", "part", "begin", "end"], asked)
            return [_passage(hit) for hit in hits if float(hit["relevance"]) > 0]

        cut, most, least = collection.has_passages, self._most_hits, question.min_score
        if question.sort is None:
            return best_documents(ask, question.top_k, has_passages=cut, min_score=least, most=most)
        return in_given_order(ask, question.top_k, has_passages=cut, min_score=least, most=most)

    def parts(self, query: EngineQuery, document: str, collection: Collection) -> list[PassageParts]:
        """Reads the tensors of the document, and multiplies."""
        names = collection.names.of(query.terms.tolist())
        weights = query.weights.tolist()
        found = []
        for fields in self._passages(document, ["part", "begin", "end", "length", FIELD]):
            cells = _cells(fields.get(FIELD))
            parts = {
                place: float(np.float32(weights[place]) * np.float32(cells[name]))
                for place, name in enumerate(names)
                if name in cells
            }
            found.append(PassageParts(span_between(fields), float(fields["length"]), parts))
        return found

    def get(self, document: str, fields: Mapping[str, FieldType]) -> StoredDocument | None:
        """Puts the passages of a document together."""
        passages = self._passages(document, [])
        if not passages:
            return None
        first = passages[0]
        text = joined_text([(span_between(each), str(each.get("text", ""))) for each in passages])
        kinds = {name: fields[name] for name in first.get("has") or () if name in fields}
        values = {name: value_of(first.get(name, _EMPTY.get(kind)), kind) for name, kind in kinds.items()}
        return StoredDocument(document, str(first.get("title", "")), text, values)

    def _passages(self, document: str, columns: Sequence[str]) -> list[Mapping[str, Any]]:
        if self.form.id_problem(document) is not None:
            return []
        hits = self._hits(one_of_texts("doc", [document]), MOST_HITS, columns)
        return sorted((hit["fields"] for hit in hits), key=lambda fields: int(fields["part"]))

    def _hits(
        self, only: str, n: int, columns: Sequence[str], more: Mapping[str, Any] | None = None
    ) -> list[Mapping[str, Any]]:
        """The best hits of what fulfils a condition. No columns: all."""
        body = {
            "yql": _selection(columns, only),
            "hits": n,
            "presentation.format.tensors": "short-value",
            "sorting.degrading": False,
        }
        return list(self._ask({"ranking": "unranked", **body, **(more or {})}).get("children") or [])

    def close(self) -> None:
        """Ends the connection."""
        self._pool.shutdown()
        self._client.close()

    def _ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._line.ask(lambda: self._client.query(body))

    def _together(self, call: Callable[[S], T], values: Sequence[S]) -> list[T]:
        return list(self._pool.map(call, values))

    def _try(self, call: Callable[[], T]) -> T:
        """The answer to a request, tried again where that may help; raises :class:`Refusal` as it is."""

        def send() -> T | Refusal:
            try:
                return call()
            except Refusal as refusal:
                return refusal

        answer = self._line.ask(send)
        if isinstance(answer, Refusal):
            raise answer
        return answer


class VespaEngine(LiveEngine):
    """A schema of a Vespa as a backend of searches.

    Args:
        url: of the container, ``http://127.0.0.1:8080``.
        name: of the schema.
        deploy: address of the config server, ``http://127.0.0.1:19071``, by which schemas are put into an application that
            lexite makes; None: the schema is there.
        candidates: passages of each node that ``wand`` finds for the exact ranking, at least; None: all that share a term with
            the query are ranked, which is exact.
        most_hits: hits that the application gives at once (``maxHits`` of its query profile).
        security: keys and certificates. A user and a password stand in ``url``.
        app: a ``vespa.application.Vespa`` to use in place of ``url`` and ``security``, such as one of Vespa Cloud.
        patience: how often and how long is waited where the server is busy.
        **options: as for :class:`lexite.engines.live.LiveEngine`: ``text``, ``most_terms`` …

    Raises:
        ConfigError: no schema can be called so, or a number is too small.
        MissingExtraError: pyvespa is not installed.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        name: str = "lexite",
        *,
        deploy: str | None = None,
        candidates: int | None = None,
        most_hits: int = MOST_HITS,
        security: Security | None = None,
        app: Any = None,
        patience: Patience | None = None,
        **options: Any,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"A schema of Vespa cannot be called '{name}'. It has letters, digits and underscores, with no digit first."
            )
        for what, given in (("candidates", candidates), ("most_hits", most_hits)):
            if given is not None and given < 1:
                raise ConfigError(f"{what} is {given}, but must be at least 1.")
        client = VespaClient(url, name, security or Security(), app)
        line = Line(shown_address("vespa", client.url if app is not None else url, name), patience)
        super().__init__(VespaDriver(client, line, deploy, candidates, most_hits), **options)


def at_address(address: Address, **options: Any) -> VespaEngine:
    """The engine at ``vespa://HOST:8080/NAME``; ``?deploy=19071`` names the port of its config server."""
    given = address.numbers("deploy", "candidates", "most_hits", besides=(*TLS, "api_key"))
    security, port = security_of(address, key=True), given.pop("deploy", None)
    known = with_password(address)
    if port is not None:
        if not 0 < port < 1 << 16:
            raise ConfigError(f"deploy in the address is {port}, but must be a port, from 1 to 65535.")
        given["deploy"] = dataclasses.replace(known, host=known.host.rpartition("@")[2], port=port, path=()).server(port)
    return VespaEngine(known.server(8080), address.name, security=security, **given, **options)


def _selection(columns: Sequence[str], only: str) -> str:
    return f"select {', '.join(columns) or '*'} from sources * where {only}"


def _limited(found: str, question: Question, collection: Collection) -> str:
    """What is found, but for what the question leaves out."""
    parts = [found]
    if question.where is not None:
        parts.append(where_yql(question.where, collection.fields))
    if question.among is not None:
        parts.append(one_of_texts("doc", question.among))
    if question.exclude is not None and VespaForm().id_problem(question.exclude) is None:
        parts.append(f"!({one_of_texts('doc', [question.exclude])})")
    return " and ".join(parts)


def _order(sort: tuple[str, bool], collection: Collection) -> str:
    """The order of a field; documents without it come last, and those of the same value by score."""
    field, descending = sort
    kind = "text" if field == ID_FIELD else collection.fields[field]
    name = "doc" if field == ID_FIELD else field
    by = f"raw({name})" if kind == "text" else name
    return f"{'-' if descending else '+'}missing({by},last) -[relevance] +n"


def _passage(hit: Mapping[str, Any]) -> FoundPassage:
    fields = hit["fields"]
    score = float(np.float32(hit["relevance"]))
    return FoundPassage(str(fields["doc"]), int(fields["n"]), int(fields["part"]), score, span_between(fields))


def _cells(tensor: Any) -> Mapping[str, float]:
    """The cells of a tensor: in the short form alone, or beside its type."""
    inside = tensor.get("cells", tensor) if isinstance(tensor, Mapping) else {}
    return inside if isinstance(inside, Mapping) else {str(each["address"]["term"]): float(each["value"]) for each in inside}


def _mean(node: Any) -> float | None:
    """The mean in a list of groups."""
    for each in node.get("children") or ():
        found = (each.get("fields") or {}).get("avg(length)")
        found = _mean(each) if found is None else float(found)
        if found is not None:
            return found
    return None
