"""What requests hold. Limits that a person may set are checked in :mod:`lexite.server.asking`; these are the shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

StageName = Literal["hybrid", "rescore", "maxsim", "neighbours", "cascade", "feedback", "vector-feedback"]
"""Second stages that a request may name. Those that read files or load other models by name are not among them."""
System = Literal["words", "dense"]
Id = Annotated[str, Field(min_length=1, max_length=2000, description="Id of a document, as hits have it.")]
Setting = bool | int | FiniteFloat | str | None
FieldJson = bool | int | FiniteFloat | str | list[str]
MOST_CONCEPTS = 64
"""That one request may boost, and as many that it may mute."""
Concept = Annotated[str, Field(min_length=1, max_length=200)]
Factor = Annotated[FiniteFloat, Field(ge=0, le=100)]


Where = Annotated[str | None, Field(max_length=4000, description="Filter of the documents, as in SQL: year >= 2020.")]
Against = Annotated[str | None, Field(max_length=4000, description="Filter of the others; null: all that do not pass where.")]
Most = Annotated[int, Field(ge=1, le=200, description="Results of a kind that are given.")]
Named = Annotated[bool, Field(description="Give only concepts that have a name.")]
NamedPairs = Annotated[bool, Field(description="Give only pairs of concepts that have a name.")]
WithField = Annotated[str | None, Field(max_length=250, description="With the values of this field, not of concepts.")]
NumberOfClusters = Annotated[int, Field(ge=2, le=100, description="How many.")]
Method = Annotated[Literal["kmeans", "hdbscan"], Field(description="How documents are divided.")]
Truth = Annotated[str | None, Field(max_length=250, description="A field that they are compared with.")]
Sentence = Annotated[str | None, Field(description="What documents should have.")]
Examples = Annotated[list[Id], Field(max_length=1000, description="Ids of examples.")]
NoExamples = Annotated[list[Id], Field(max_length=1000, description="Ids of documents that are none.")]


class Request(BaseModel):
    """What all requests have in common: a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", strict=False)


class Boost(Request):
    """A concept with a factor."""

    concept: Concept = Field(description="Number of a latent, words of its label, or word:solar.")
    factor: Factor = Field(default=2.0, description="0 mutes it, 1 leaves it, 2 doubles it.")


class Steering(Request):
    """Concepts that are moved up or down."""

    boost: list[Boost] = Field(default_factory=list, max_length=MOST_CONCEPTS)
    mute: list[Concept] = Field(default_factory=list, max_length=MOST_CONCEPTS)

    @property
    def moves(self) -> bool:
        """Whether anything is moved."""
        return bool(self.boost or self.mute)


class Stage(Request):
    """A second stage with its settings."""

    name: StageName
    settings: dict[str, Setting] = Field(default_factory=dict, max_length=20)


class Way(Request):
    """How a query is asked: shared by searching and explaining."""

    steering: Steering = Field(default_factory=Steering)
    scoring: dict[str, Setting] = Field(
        default_factory=dict, max_length=20, description="Numbers of BM25, such as literal_weight, in place of the index's."
    )


class Limits(Way):
    """Which hits are wanted."""

    top_k: int = Field(default=10, ge=1, description="Hits of each query.")
    offset: int = Field(default=0, ge=0, description="Hits that are passed over.")
    where: str | None = Field(default=None, max_length=4000, description="Filter over fields, as in SQL: year >= 2020.")
    sort: str | None = Field(default=None, max_length=250, description="Field that hits are sorted by: year, or year:desc.")
    min_score: FiniteFloat | None = None
    min_coverage: FiniteFloat | None = Field(default=None, ge=0, le=1)
    operators: bool = Field(default=False, description='Whether +word, -word and "a phrase" are operators.')
    preset: str | None = Field(default=None, max_length=40, description="A way of searching by name, in place of then.")
    then: list[Stage] = Field(default_factory=list, max_length=6, description="Second stages, in order.")
    snippets: bool = Field(default=True, description="Look for the passage of each hit that matches best.")
    marks: bool = Field(default=False, description="Tell which parts of each passage matched.")


class SearchRequest(Limits):
    """One query."""

    query: str = Field(description="The question.")
    facets: list[Annotated[str, Field(max_length=250)]] = Field(
        default_factory=list, max_length=20, description="Fields whose values are counted among documents that pass where."
    )


class SearchManyRequest(Limits):
    """Several queries."""

    queries: list[str] = Field(min_length=1, description="The questions.")


class ExplainRequest(Way):
    """A query and a document."""

    query: str
    document: Id


class RankingsRequest(Request):
    """A query, and the systems whose rankings are wanted."""

    query: str
    top_k: int = Field(default=10, ge=1)
    where: str | None = Field(default=None, max_length=4000)
    systems: list[System] = Field(default_factory=lambda: list[System](["words", "dense"]), min_length=1, max_length=2)


class TermsRequest(Request):
    """A text to take apart."""

    text: str
    kind: Literal["query", "document"] = "query"


class AnalysisRequest(Request):
    """What all analyses have in common."""

    where: Where = None
    most: Most = 15
    seed: int = Field(default=0, ge=0, le=2**31, description="Of everything random.")


class DifferencesRequest(AnalysisRequest):
    """Documents, and those that they are compared with."""

    against: Against = None
    other: str | None = Field(default=None, max_length=200, description="Index of the others; null: the same one.")
    rate: FiniteFloat = Field(default=0.05, gt=0, le=0.5, description="False discovery rate.")
    named: Named = False


class CorrelationsRequest(AnalysisRequest):
    """Documents whose concepts are counted together."""

    field: WithField = None
    named: NamedPairs = False


class ClustersRequest(AnalysisRequest):
    """Documents that are divided."""

    n_clusters: NumberOfClusters = 8
    method: Method = "kmeans"
    truth: Truth = None


class PropertiesRequest(AnalysisRequest):
    """What documents should have: a sentence, or examples."""

    sentence: Sentence = None
    positive: Examples = []
    negative: NoExamples = []


class DocumentBody(Request):
    """A document to keep."""

    id: Id
    text: str = ""
    title: str = Field(default="", max_length=10_000)
    fields: dict[Annotated[str, Field(max_length=200)], FieldJson] = Field(default_factory=dict, max_length=200)


class DocumentsRequest(Request):
    """Documents to keep."""

    documents: list[DocumentBody] = Field(min_length=1, max_length=1000)


class DeleteRequest(Request):
    """Documents to delete."""

    ids: list[Id] = Field(min_length=1, max_length=1000)


class Problem(BaseModel):
    """What was wrong."""

    code: str = Field(description="A word for programs, such as bad_request.")
    message: str = Field(description="What was wrong, and what to do.")
    field: str | None = Field(default=None, description="Where in the request.")


class ErrorReply(BaseModel):
    """Every answer that is no success."""

    error: Problem


class Counted(BaseModel):
    """How many documents were changed."""

    documents: int


class Reply(BaseModel):
    """An answer whose further keys ``docs/server.md`` describes."""

    model_config = ConfigDict(extra="allow")

    index: str
    generation: int = Field(description="Number of the commit that answered.")


Json = dict[str, Any]
