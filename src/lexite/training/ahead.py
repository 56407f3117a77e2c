"""Reading ahead: while a run trains, a thread of its own reads the next texts and sends them through the model.

On CUDA the model works in a stream of its own, so that it fills what the training leaves idle. Reading further than what is
used would change nothing: a run counts the texts that it has used, and goes on behind these.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Iterator

import torch

from lexite.training.sources import Chunk

LONGEST_WAIT = 60.0  # seconds for the end of the thread, which may be reading what does not come
CHUNKS = 2  # that wait, beside the one in the making


class ReadAhead:
    """Chunks of an iterator, some of which are made before they are asked for.

    Args:
        chunks: makes them; it is called in the thread alone.
        device: an accelerator on which they are made or used.

    Attributes:
        quiet: while this lock is held, the thread makes nothing. Whoever uses the source's model or tokenizer holds it.
    """

    def __init__(self, chunks: Iterator[Chunk], device: torch.device) -> None:
        self._waiting: queue.Queue[tuple[Chunk | None, torch.cuda.Event | None, BaseException | None]] = queue.Queue(CHUNKS)
        self._stopped = threading.Event()
        self.quiet = threading.Lock()
        self._ended = False
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))  # the model's weights were made there
        self._thread = threading.Thread(target=self._make, args=(chunks,), name="lexite-read-ahead", daemon=True)
        self._thread.start()

    def _make(self, chunks: Iterator[Chunk]) -> None:
        own_stream = contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        try:
            with own_stream:
                while not self._stopped.is_set():
                    with self.quiet:
                        made = next(chunks, None)
                        chunk = None if made is None else dataclasses.replace(made, states=made.states.to(self._device))
                    self._hand_over((chunk, None if self._stream is None else self._stream.record_event(), None))
                    if chunk is None:
                        return
        except BaseException as error:  # raised again where the chunk is asked for
            self._hand_over((None, None, error))

    def _hand_over(self, item: tuple[Chunk | None, torch.cuda.Event | None, BaseException | None]) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=0.1)
                return

    def __iter__(self) -> ReadAhead:
        return self

    def __next__(self) -> Chunk:
        if self._ended:
            raise StopIteration
        chunk, ready, error = self._waiting.get()
        if error is not None or chunk is None:
            self._ended = True
            raise error or StopIteration
        if ready is not None:
            here = torch.cuda.current_stream(self._device)
            here.wait_event(ready)
            chunk.states.record_stream(here)  # its memory was taken in the other stream, and is not given back before here
        return chunk

    def close(self) -> None:
        """Ends the thread, once the chunk in the making is done."""
        self._stopped.set()
        self._thread.join(timeout=LONGEST_WAIT)
