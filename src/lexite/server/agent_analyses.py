"""Analyses as tools for agents: those of the server, with its limits, each in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lexite.server.schemas import (
    Against,
    ClustersRequest,
    CorrelationsRequest,
    DifferencesRequest,
    Examples,
    Method,
    Most,
    Named,
    NamedPairs,
    NoExamples,
    NumberOfClusters,
    PropertiesRequest,
    Sentence,
    Truth,
    Where,
    WithField,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from lexite.server.analysing import Kind
    from lexite.server.schemas import AnalysisRequest

    Analysed = Callable[[Kind, AnalysisRequest], Awaitable[dict[str, Any]]]

MOST = 10
"""Results of a kind that are given unless more are asked for: an agent reads all of them."""


def add_analyses(tool: Callable[[Any], Any], analysed: Analysed) -> None:
    """Adds the analyses to the tools of a server.

    Args:
        tool: makes a function a tool.
        analysed: makes an analysis.
    """

    @tool
    async def differences(where: Where, against: Against = None, named: Named = False, most: Most = MOST) -> dict[str, Any]:
        """Tells which concepts the documents of a filter have more or less often than others, beyond chance, with examples."""
        return await analysed("differences", DifferencesRequest(where=where, against=against, named=named, most=most))

    @tool
    async def correlations(
        where: Where = None, field: WithField = None, named: NamedPairs = False, most: Most = MOST
    ) -> dict[str, Any]:
        """Tells which concepts occur together more often than by chance; or, with a field, which go with its values."""
        return await analysed("correlations", CorrelationsRequest(where=where, field=field, named=named, most=most))

    @tool
    async def clusters(
        where: Where = None,
        n_clusters: NumberOfClusters = 8,
        method: Method = "kmeans",
        truth: Truth = None,
    ) -> dict[str, Any]:
        """Divides documents into clusters, names them by their concepts, and tells whether they are better than chance."""
        asked = ClustersRequest(where=where, n_clusters=n_clusters, method=method, truth=truth)
        return await analysed("clusters", asked)

    @tool
    async def properties(
        sentence: Sentence = None,
        positive: Examples = [],  # noqa: B006  never changed
        negative: NoExamples = [],  # noqa: B006
        where: Where = None,
        most: Most = MOST,
    ) -> dict[str, Any]:
        """Finds documents that have a property: what a sentence says, or what positive examples have and negative ones lack."""
        asked = PropertiesRequest(sentence=sentence, positive=positive, negative=negative, where=where, most=most)
        return await analysed("properties", asked)
