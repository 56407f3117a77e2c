"""Steps of other libraries run on the CPU, whichever build of torch is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CODE = """
import sys
if {without_triton}:
    sys.modules["triton"] = None  # which makes its import fail
import torch
from trainers import peers
for peer in peers(torch.randn(1024, 16), 128, 64, 4)["sparsify"].values():
    step = peer.prepare()
    step()
    step()
"""


@pytest.mark.slow
@pytest.mark.parametrize("without_triton", [False, True])
def test_sparsify_takes_steps_with_triton_and_without(without_triton: bool) -> None:
    pytest.importorskip("sparsify")
    code = CODE.format(without_triton=without_triton)
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
