"""Routes: how the weights of documents and queries become numbers that an engine turns into lexite's own scores.

With ``tf`` and ``norm`` of :mod:`lexite.scoring.formula`, a term adds ``factor · tf / (tf + k1 · norm_d)`` to a score, where
``norm_d = 1 - b + b · dl / avgdl``. So there are two ways to hold a document:

- as **relative frequencies** ``tfn = tf / norm_d``, in an engine that computes ``weight · f / (f + pivot)`` itself, and
- as **impacts** ``tf · scale / (tf + k1 · norm_d) + delta``, in an engine that computes a dot product.

=============== ============================== ============================= ==================== =========================
route           a document holds               the engine adds               the query's weight   rounding
=============== ============================== ============================= ==================== =========================
``saturation``  tfn                            w · f / (f + k1)              factor               9 significant bits, 0.2%
``linear``      impact                         w · f                         factor               9 significant bits, 0.2%
``frequencies`` max(1, round(S · tfn))         w · idf · f / (f + S · k1)    factor / idf         1 / (2 · S) of tfn
``impacts``     impact                         w · f                         factor               float32
``impacts-idf`` impact                         w · idf · f                   factor / idf         float32
``integers``    max(1, round(S · impact))      w · f                         factor               1 / (2 · S) of an impact
=============== ============================== ============================= ==================== =========================

``idf`` is the one that the engine counts itself, ``log(1 + (N - df + 0.5) / (df + 0.5))``, with an N of documents that have a
term. It cancels, so that lexite's own form and power of the idf hold. ``avgdl`` goes into what documents hold, and so does k1
where they hold impacts.

Lucene's feature fields keep 9 significant bits and cut the others off. The values are rounded to such numbers beforehand, which
halves the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lexite.errors import ConfigError
from lexite.scoring.config import BM25Config
from lexite.scoring.formula import impacts, inverse_document_frequency, saturation_form
from lexite.scoring.transform import transform_weights

RouteName = Literal["saturation", "linear", "frequencies", "impacts", "impacts-idf", "integers"]
Rounding = Literal["feature", "count", "float"]
FREQUENCY_SCALE = 200.0
INTEGER_SCALE = 255.0
MOST_FREQUENCIES = (1 << 31) - 1
"""The frequencies of a document add up to no more than that in Lucene."""
_CUT_BITS = 15  # of a float32, which a feature field does not keep


@dataclass(frozen=True)
class Route:
    """One way of holding documents.

    Attributes:
        name: what it is called.
        saturates: whether the engine saturates relative frequencies; else it takes impacts as they are.
        own_idf: whether the engine multiplies an idf of its own.
        rounding: of the values: ``feature`` keeps 9 significant bits, ``count`` whole numbers, ``float`` float32.
        scale: S, by which values are multiplied before they are rounded to whole numbers.
    """

    name: RouteName
    saturates: bool
    own_idf: bool
    rounding: Rounding
    scale: float = 1.0

    def pivot(self, scoring: BM25Config) -> float:
        """The k1 that the engine is given, where it saturates.

        >>> route("frequencies").pivot(BM25Config(k1=2.5))
        500.0
        """
        return self.scale * scoring.k1


_ROUTES: dict[RouteName, Route] = {
    "saturation": Route("saturation", True, False, "feature"),
    "linear": Route("linear", False, False, "feature"),
    "frequencies": Route("frequencies", True, True, "count", FREQUENCY_SCALE),
    "impacts": Route("impacts", False, False, "float"),
    "impacts-idf": Route("impacts-idf", False, True, "float"),
    "integers": Route("integers", False, False, "count", INTEGER_SCALE),
}
ROUTE_NAMES = tuple(_ROUTES)


def route(name: str, scale: float | None = None) -> Route:
    """The route of a name.

    Args:
        name: one of the table above.
        scale: S of a route that holds whole numbers; None: 200 of ``frequencies``, 255 of ``integers``.

    Raises:
        ConfigError: there is none of this name, or it has no scale.
    """
    found = next((each for each in _ROUTES.values() if each.name == name), None)
    if found is None:
        raise ConfigError(f"There is no route '{name}'. The routes are {', '.join(_ROUTES)}.")
    if scale is None:
        return found
    if found.rounding != "count":
        raise ConfigError(f"The route '{name}' holds no whole numbers, so a scale has no effect. Leave scale=... out.")
    if not 1 <= scale <= 1e6:
        raise ConfigError(f"scale is {scale:g}, but must be from 1 to 1,000,000.")
    return replace(found, scale=float(scale))


def check_route(chosen: Route, scoring: BM25Config) -> None:
    """Refuses a scoring that a route cannot express.

    Raises:
        ConfigError: an engine that saturates frequencies cannot add bm25+'s delta; nor can a feature field have a k1 of 0.
    """
    if chosen.saturates and saturation_form(scoring).delta:
        raise ConfigError(
            f"The route '{chosen.name}' cannot add the delta of bm25+, which the engine knows nothing of. "
            "Take a route that holds impacts, or another form of the idf."
        )
    if chosen.name == "saturation" and not scoring.k1:
        raise ConfigError("The route 'saturation' needs a k1 above 0. Take the route 'linear'.")


def stored_values(
    chosen: Route,
    weights: NDArray[np.float32],
    bounds: NDArray[np.int64],
    lengths: NDArray[np.float32],
    average_length: float,
    scoring: BM25Config,
) -> NDArray[Any]:
    """What documents hold for the terms that they have.

    Args:
        chosen: the route.
        weights: (n,) raw weights, row by row.
        bounds: (n_rows + 1,) where rows begin.
        lengths: (n_rows,) sums of transformed weights.
        average_length: mean of the lengths, which is baked in.
        scoring: k1, b, the form of the idf, the transform of documents.

    Returns:
        (n,) float32, or int64 where the route holds whole numbers; all above 0.

    >>> values = stored_values(
    ...     route("frequencies"), np.float32([1, 3]), np.array([0, 2]), np.float32([4]), 4.0, BM25Config()
    ... )
    >>> values.tolist()
    [200, 600]
    """
    tf = transform_weights(weights, scoring.document_transform)
    sizes = np.diff(bounds)
    relative = np.repeat(1.0 - scoring.b + scoring.b * lengths.astype(np.float64) / (average_length or 1.0), sizes)
    values: NDArray[Any]
    if chosen.saturates:
        values = tf / relative
    else:
        values = impacts(tf, (scoring.k1 * relative).astype(np.float32), saturation_form(scoring))
    if chosen.rounding == "count":
        most = np.repeat(MOST_FREQUENCIES // np.maximum(sizes, 1), sizes)
        return np.clip(np.rint(values.astype(np.float64) * chosen.scale), 1, most).astype(np.int64)
    values = np.maximum(values.astype(np.float32), np.finfo(np.float32).tiny)
    return feature_values(values) if chosen.rounding == "feature" else values


def feature_values(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers of 9 significant bits, as Lucene's feature fields keep them.

    Args:
        values: (n,) positive and normal.

    >>> feature_values(np.float32([1.0, 1.001, 1.003])).tolist()
    [1.0, 1.0, 1.00390625]
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32(1 << (_CUT_BITS - 1))
    return ((bits + half) >> _CUT_BITS << _CUT_BITS).view(np.float32)


def query_weights(
    chosen: Route, factors: NDArray[np.float32], frequencies: NDArray[np.int64], n_filled: int, scoring: BM25Config
) -> NDArray[np.float32]:
    """What the engine is told to multiply each term by.

    Args:
        chosen: the route.
        factors: (n,) of ``BM25Index.query_factors``.
        frequencies: (n,) in how many documents of the engine each of the terms occurs, 1 or more.
        n_filled: documents of the engine that have a term.
        scoring: of the factors.

    Returns:
        (n,) all above 0.
    """
    weights = factors.astype(np.float64)
    if chosen.saturates:
        weights *= float(saturation_form(scoring).scale)
    if chosen.own_idf:
        weights /= inverse_document_frequency(n_filled, frequencies, "lucene")
    return weights.astype(np.float32)
