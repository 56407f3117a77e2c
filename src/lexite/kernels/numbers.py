"""Numbers that a step computes: a float where reading it costs nothing, a tensor without dimensions on an accelerator.

Reading a number from an accelerator makes the host wait until all work before it is done, and the accelerator then waits for
the host. So a training step leaves its numbers where they are, and computes with them there. On the CPU they are floats, and
all arithmetic is Python's.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch

Number: TypeAlias = float | torch.Tensor


def number(tensor: torch.Tensor) -> Number:
    """The number in a tensor of one element; on an accelerator the tensor itself, without dimensions.

    >>> number(torch.tensor(1.5))
    1.5
    """
    return float(tensor) if tensor.device.type == "cpu" else tensor.reshape(())


def at_least(value: Number, *bounds: Number) -> Number:
    """The largest of some numbers; ``value`` decides where it is computed.

    >>> at_least(1.0, 2.0, 0.5)
    2.0
    """
    if isinstance(value, float):
        return max(value, *(float(bound) for bound in bounds))
    for bound in bounds:
        value = torch.maximum(value, bound.to(value.dtype)) if isinstance(bound, torch.Tensor) else value.clamp(min=bound)
    return value


def at_most(value: Number, bound: float) -> Number:
    """The smaller of a number and a bound."""
    return min(value, bound) if isinstance(value, float) else value.clamp(max=bound)


def root(value: Number) -> Number:
    """The square root."""
    return math.sqrt(value) if isinstance(value, float) else value.sqrt()


def logarithm(value: Number) -> Number:
    """The natural logarithm."""
    return math.log(value) if isinstance(value, float) else value.log()


def exponential(value: Number) -> Number:
    """The exponential function."""
    return math.exp(value) if isinstance(value, float) else value.exp()
