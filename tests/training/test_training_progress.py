"""What a run tells while it works: on a terminal, in a log, and after a stop."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lexite import progress as bars
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.training.config import TrainingConfig
from lexite.training.run import train_autoencoder
from lexite.training.sources import Chunk

CONFIG = TrainingConfig(tokens=600, batch_tokens=50, buffer_tokens=200, checkpoint_tokens=300)


class Watched:
    """Twenty chunks of fifty states; ``look`` is called before each is made."""

    repeatable, identity = True, ["watched"]

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        self.look = look

    def chunks(self, skip_texts: int = 0) -> Iterator[Chunk]:
        for number in range(20):
            if number * 10 >= skip_texts:
                self.look()
                states = torch.randn(50, 8, generator=torch.Generator().manual_seed(number))
                yield Chunk(states, np.arange(0, 51, 5))


class Terminal(io.StringIO):
    """A terminal that can be read back."""

    def isatty(self) -> bool:
        return True


def train(folder: Path, source: Watched, *, show: bool = True, resume: bool = False, probe: object = None) -> None:
    sae = SAEConfig(8, 24, 3)
    train_autoencoder(source, folder, sae, CONFIG, resume=resume, show_progress=show, probe=probe)  # type: ignore[arg-type]


def test_a_terminal_shows_that_the_buffer_is_filled_before_the_first_text_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, seen = Terminal(), list[str]()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    train(tmp_path, Watched(lambda: seen.append(terminal.getvalue())))
    assert "Filling the buffer" in seen[0] and "0/200" in seen[0] and "Training" not in seen[0]
    assert "200/200" in terminal.getvalue()
    assert terminal.getvalue().index("Filling the buffer") < terminal.getvalue().index("Training")


def test_a_log_names_each_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(bars, "LOG_EVERY_SECONDS", 0.0)
    seen: list[str] = []
    with caplog.at_level(logging.INFO, "lexite"):
        train(tmp_path, Watched(lambda: seen.append(caplog.text)))
    assert "Filling the buffer with up to 200 token states." in seen[0]
    assert "Filling the buffer: 150 of 200 tokens" in seen[3]
    assert "reading text: 50 of 200 tokens" in seen[4]  # a batch of 50 has left 150, then 100, then fewer than half of 200
    assert "Training" in seen[4] and "writing a checkpoint" in caplog.text


def test_nothing_is_shown_when_progress_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with caplog.at_level(logging.WARNING, "lexite"):
        train(tmp_path, Watched(), show=False)
    assert terminal.getvalue() == "" and caplog.text == ""


def test_a_resumed_run_says_what_it_passes_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop(_: SparseAutoencoder) -> dict[str, float]:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        train(tmp_path, Watched(), probe=stop)  # the probe is due at the end, after the checkpoint at 300 tokens
    texts: list[str] = []
    with caplog.at_level(logging.INFO, "lexite"):
        train(tmp_path, Watched(lambda: texts.append(caplog.text)), resume=True)
    assert "Reading the checkpoint" in texts[0] and "Going on from 300 tokens." in texts[0]
    assert "Passing over 70 texts that the run has read before." in texts[0]  # 300 tokens trained on, 50 in the buffer
    assert "Filling the buffer" not in caplog.text  # it was in the checkpoint
