"""A CUDA device that is none: tensors say that they are on ``cuda:0``, hold their numbers in the host's memory, and refuse what
CUDA refuses.

Gradients by torch's autograd are taken for tensors of the device alone while it is open.

It finds faults of placement without a GPU: operands on two devices, ``.numpy()`` of a tensor on the GPU, memory made on the
wrong side. It counts what costs time on a GPU: launches of kernels, moments at which the host waits for the device, and copies
from the host to the device. It says nothing of speed, of rounding, of races between streams, or of memory.

    with SimulatedCuda() as cuda:
        ...
        with cuda.counted() as counts:
            state.step(batch, 1e-3)
        assert not counts.waits
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda:0")
_MIXING = {"aten::copy_", "aten::_to_copy"}  # take tensors of two devices
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}  # take indices of the host
_WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::bincount", "aten::_unique2",
    "aten::unique_dim", "aten::unique_consecutive", "aten::is_nonzero",
}  # fmt: skip
_MADE = {
    "aten::zeros", "aten::empty", "aten::full", "aten::ones", "aten::empty_strided", "aten::new_zeros", "aten::new_empty",
}  # fmt: skip
_FREE = {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty", "aten::new_empty_strided"}


@dataclass
class Counts:
    """What was asked of the device.

    Attributes:
        launches: kernels by name.
        waits: places in lexite (``file:line what``) where the host waited for the device.
        uploads: places where a tensor was copied from the host to the device.
    """

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)


class CudaTensor(torch.Tensor):
    """A tensor that says it is on ``cuda:0``; ``held`` has its numbers."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> CudaTensor:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device="cpu"
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"CudaTensor({self.held})"

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        _count("waits", "tolist")
        return self.held.tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def record_stream(self, stream: Any) -> None:
        """Keeps the memory for a stream: nothing to do here."""

    def cpu(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.to("cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self

    def to(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for given in args:
            if isinstance(given, torch.Tensor):
                device, dtype = given.device, given.dtype
            elif isinstance(given, torch.dtype):
                dtype = given
            elif isinstance(given, (str, torch.device)):
                device = given
        if not _is_cuda(device, default=True):
            return torch.ops.aten._to_copy.default(self, dtype=dtype, device=torch.device("cpu"))
        if dtype in (None, self.dtype):
            return self.clone() if kwargs.get("copy") else self
        return torch.ops.aten._to_copy.default(self, dtype=dtype)


class _Mode(TorchDispatchMode):
    """Sees what has no tensor of the device among its arguments, such as the making of one."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatch(func, args, kwargs or {})


_counts: list[Counts] = []


def _is_cuda(device: Any, *, default: bool = False) -> bool:
    return default if device is None else torch.device(device).type == "cuda"


def _count(kind: str, what: str) -> None:
    if _counts:
        frames = [frame for frame in reversed(traceback.extract_stack()) if "/src/lexite/" in frame.filename]
        place = f"{frames[0].filename.split('/src/lexite/')[1]}:{frames[0].lineno}" if frames else "elsewhere"
        for counts in _counts:
            getattr(counts, kind)[f"{place} {what}"] += 1


def _called_by_autograd() -> bool:
    """Whether torch's own derivatives make a tensor. They take the device from the inner side of a tensor, which is the CPU."""
    frame = sys._getframe(1)
    between = (__file__, "torch/_dynamo/eval_frame.py", "torch/_compile.py")
    while frame.f_back is not None and frame.f_code.co_filename.endswith(between):
        frame = frame.f_back
    return frame.f_code.co_name == "_engine_run_backward"


def _held(value: Any) -> Any:
    return value.held if isinstance(value, CudaTensor) else value


def _refuse_mixture(name: str, on: list[torch.Tensor], off: list[torch.Tensor], args: Any) -> None:
    """Raises what torch raises for operands on two devices. A number of the host may meet a tensor of the device."""
    if name in _MIXING or not on:
        return
    if name in _INDEXING:
        if not isinstance(args[0], CudaTensor):
            raise RuntimeError(f"{name}: indices should be on the same device as the indexed tensor (cpu)")
        if name != "aten::index" and not isinstance(args[2], CudaTensor) and args[2].ndim:
            raise RuntimeError(f"{name}: expected values on cuda:0, not on the CPU")
        return
    if any(tensor.ndim for tensor in off):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
    if name.endswith("_") and args and isinstance(args[0], torch.Tensor) and not isinstance(args[0], CudaTensor):
        raise RuntimeError(f"{name}: a tensor of the CPU cannot be changed by one of cuda:0")


def _note_costs(func: Any, name: str, args: Any, kwargs: Any, off: list[torch.Tensor]) -> None:
    """Counts the launch, and whether the host waits."""
    views = any(a.alias_info is not None and not a.alias_info.is_write for a in func._schema.returns)
    if not views and name not in _FREE:
        for counts in _counts:
            counts.launches[name.removeprefix("aten::")] += 1
    by_mask = name in _INDEXING and any(
        isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in tree_leaves(args[1])
    )
    unsized = name == "aten::repeat_interleave" and kwargs.get("output_size") is None
    if name in _WAITING or by_mask or unsized:
        _count("waits", name.removeprefix("aten::"))
    if name in _INDEXING and any(tensor.ndim for tensor in off):
        _count("uploads", "index")


def _dispatch(func: Any, args: Any, kwargs: Any) -> Any:
    if func is torch.ops.prim.device.default:
        return CUDA if isinstance(args[0], CudaTensor) else torch.device("cpu")
    name, device = func._schema.name, kwargs.get("device")
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    on = [tensor for tensor in tensors if isinstance(tensor, CudaTensor)]
    off = [tensor for tensor in tensors if not isinstance(tensor, CudaTensor)]
    _refuse_mixture(name, on, off, args)
    lands_on = _is_cuda(device, default=bool(on)) or (name in _MADE and _called_by_autograd())
    if name == "aten::copy_":
        lands_on = isinstance(args[0], CudaTensor)
    if on or lands_on:
        _note_costs(func, name, args, kwargs, off)
    plain_kwargs = tree_map(_held, kwargs)
    if "device" in plain_kwargs:
        plain_kwargs["device"] = torch.device("cpu")
    result = func(*tree_map(_held, args), **plain_kwargs)
    if name in _MIXING:
        comes_from = isinstance(args[1] if name == "aten::copy_" else args[0], CudaTensor)
        if comes_from != lands_on:
            _count("waits" if comes_from else "uploads", "copy")
    if not lands_on:
        return result
    changed = {}  # what is changed in place stays the same tensor
    if any(a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments):
        changed = {id(_held(tensor)): tensor for tensor in tensors}
    return tree_map(lambda value: changed.get(id(value), _wrapped(value)), result)


def _wrapped(value: Any) -> Any:
    return CudaTensor(value) if isinstance(value, torch.Tensor) else value


class _OnDevice:
    """An open file of safetensors whose tensors are read to the device."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.keys = file.keys

    def get_tensor(self, name: str) -> torch.Tensor:
        return self.file.get_tensor(name).to(CUDA)  # type: ignore[no-any-return]

    def get_tensors(self) -> dict[str, torch.Tensor]:
        return {name: self.get_tensor(name) for name in self.keys()}


class _Stream:
    """A stream, or an event, that does everything at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.device = CUDA

    def wait_stream(self, other: Any) -> None:
        """Nothing to wait for."""

    wait_event = record = wait_stream

    def record_event(self, event: Any = None) -> Any:
        return event or _Stream()

    def synchronize(self) -> None:
        _count("waits", "synchronize")


class SimulatedCuda:
    """Gives this process a simulated CUDA device for as long as it is open, in threads too that are started meanwhile.

    Args:
        capability: compute capability of the device; below (8, 0) bf16 is emulated.
    """

    def __init__(self, capability: tuple[int, int] = (9, 0)) -> None:
        self.capability = capability
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> SimulatedCuda:
        torch._C._ensureCUDADeviceGuardSet()
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        for target, name, value in self._replaced():
            self._stack.enter_context(mock.patch.object(target, name, value))
        self._stack.enter_context(_Mode())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def counted(self) -> Iterator[Counts]:
        """Counts what is asked of the device meanwhile."""
        counts = Counts()
        _counts.append(counts)
        try:
            yield counts
        finally:
            _counts.remove(counts)

    def _replaced(self) -> list[tuple[Any, str, Any]]:
        run, opened = threading.Thread.run, safetensors.torch.safe_open

        def run_on_device(thread: threading.Thread) -> None:
            with _Mode():
                run(thread)

        @contextlib.contextmanager
        def safe_open(path: Any, *args: Any, device: Any = "cpu", **kwargs: Any) -> Iterator[Any]:
            with opened(path, *args, device="cpu", **kwargs) as file:
                yield file if not _is_cuda(device) else _OnDevice(file)

        def made(function: Callable[..., Any], *, keeps: bool) -> Callable[..., Any]:
            def make(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
                if keeps and isinstance(data, torch.Tensor):
                    return data.to(device) if device is not None else data
                tensor = function(data, *args, **kwargs)
                return tensor.to(device) if device is not None else tensor

            return make

        def inference_mode(mode: bool = True) -> Any:  # a tensor of two parts has no inference mode
            return torch.no_grad() if mode else contextlib.nullcontext()

        cuda = torch.cuda
        return [
            (threading.Thread, "run", run_on_device),
            (safetensors.torch, "safe_open", safe_open),
            (torch, "tensor", made(torch.tensor, keeps=False)),
            (torch, "as_tensor", made(torch.as_tensor, keeps=True)),
            (torch, "inference_mode", inference_mode),
            (torch.Tensor, "pin_memory", lambda self, *a, **k: self),
            (cuda, "_lazy_init", lambda: None),
            (cuda, "is_available", lambda: True),
            (cuda, "device_count", lambda: 1),
            (cuda, "current_device", lambda: 0),
            (cuda, "get_device_capability", lambda device=None: self.capability),
            (cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or self.capability >= (8, 0)),
            (cuda, "Stream", _Stream),
            (cuda, "Event", _Stream),
            (cuda, "current_stream", lambda device=None: _Stream()),
            (cuda, "stream", lambda stream: contextlib.nullcontext()),
            (cuda, "synchronize", lambda device=None: _count("waits", "synchronize")),
        ]
