"""Where the model runs and in which number format: decided when it is loaded, and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lexite.backbone.config import BackboneConfig
from lexite.errors import BackboneError
from lexite.kernels import hardware

if TYPE_CHECKING:
    import torch

Precision = Literal["bf16", "fp32", "int8"]


def resolve_device(name: str) -> str:
    """The device that ``name`` stands for; ``"auto"`` is CUDA when there is one, else the CPU.

    Raises:
        BackboneError: there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BackboneError(
            f"The device '{name}' cannot be used here. Choose auto, cpu, or one that this machine has."
        ) from error
    return str(device)


def fast_bf16(device: str = "auto") -> bool:
    """Whether products in bf16 are faster than in fp32 on a device; see :func:`lexite.kernels.hardware.fast_bf16`."""
    return hardware.fast_bf16(resolve_device(device))


def resolve_precision(config: BackboneConfig, device: str) -> Precision:
    """The number format to run in: the one asked for, or bf16 where it is fast.

    Raises:
        BackboneError: int8 on a device other than the CPU.
    """
    if config.precision == "int8" and device != "cpu":
        raise BackboneError(f"precision int8 is for the CPU, not for {device}. Add device='cpu', or choose another precision.")
    if config.precision == "auto":
        return "bf16" if fast_bf16(device) else "fp32"
    return config.precision


def torch_dtype(precision: Precision) -> torch.dtype:
    """The torch type that a model is loaded in: a model in int8 is made from one in fp32."""
    import torch

    return torch.bfloat16 if precision == "bf16" else torch.float32
