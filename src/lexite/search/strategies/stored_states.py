"""Token states of documents from a folder of them (:class:`lexite.backbone.store.StateStore`), by the ids of the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lexite.backbone.store import StateStore
from lexite.errors import ArgumentError


class StoredStates(Mapping[str, Sequence[NDArray[np.float32]]]):
    """What ``MaxSim(source="states", states=...)`` takes, read from a folder: only what is asked for.

    Args:
        store: states whose texts have the ids of documents. Texts of the same id are passages of one document.

    Raises:
        ArgumentError: the folder has no ids.
    """

    def __init__(self, store: StateStore) -> None:
        ids = store.ids()
        if ids is None:
            raise ArgumentError(
                f"The token states {store.path} have no ids, so documents cannot be found. Write them with ids=...."
            )
        self._store = store
        self._places: dict[str, list[int]] = {}
        for place, identifier in enumerate(ids):
            self._places.setdefault(identifier, []).append(place)

    def __getitem__(self, identifier: str) -> Sequence[NDArray[np.float32]]:
        return [self._store.read(place, place + 1).to_numpy() for place in self._places[identifier]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._places
