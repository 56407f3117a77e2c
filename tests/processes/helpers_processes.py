"""Work for other processes, which import this file, and forked children that do not outlive the question."""

from __future__ import annotations

import os
import pickle
import select
import signal
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

LIMIT = 120.0  # seconds for an answer; what hangs would take for ever


def in_child(function: Callable[[], Any]) -> Any:
    """What a function gives in a forked child; an error of the child is an AssertionError here."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = (True, function())
        except BaseException:
            result = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as file:
            pickle.dump(result, file)
        os._exit(0)
    os.close(writer)
    answers = select.poll()  # select() takes no descriptor above 1023, and a long run of tests has more
    answers.register(reader, select.POLLIN | select.POLLHUP)
    with os.fdopen(reader, "rb") as file:
        if not answers.poll(LIMIT * 1000):
            os.kill(child, signal.SIGKILL)
        content = file.read()
    os.waitpid(child, 0)
    assert content, "the child gave no answer in time"
    well, result = pickle.loads(content)
    assert well, result
    return result


def torch_sum() -> float:
    """A sum by loops that torch cuts for its threads, and that a broken pool never ends."""
    return float(torch.arange(3_000_000, dtype=torch.float64).sqrt_().sum())


def encoded(encoder: Any, texts: list[str]) -> tuple[list[int], list[float], float]:
    """Terms and weights of documents, as a worker sends them, and a sum that shows that torch works there."""
    rows = encoder.encode_documents(texts)
    return rows.indices.tolist(), rows.data.tolist(), torch_sum()


_own: dict[str, Any] = {}


def keep(encoder: Any) -> None:
    """Starts a worker with its encoder."""
    _own["encoder"] = encoder


def encoded_by_own(texts: list[str]) -> tuple[list[int], list[float], float]:
    """:func:`encoded` by the worker's encoder."""
    return encoded(_own["encoder"], texts)


def found(searcher: Any, query: str) -> list[tuple[str, float, str]]:
    """Hits as a worker sends them."""
    return [(hit.id, hit.score, hit.passage.text) for hit in searcher.search(query)]


class EncodedTexts(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A data set that encodes each text when it is asked for."""

    def __init__(self, encoder: Any, texts: list[str]) -> None:
        self.encoder, self.texts = encoder, texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.encoder.encode_documents([self.texts[number]]).toarray()[0]
