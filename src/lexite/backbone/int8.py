"""A model in 8 bits on the CPU, by OpenVINO: weights are int8, one scale per row; activations are int8, scaled as they come.

The model is traced and converted in memory when it is loaded; nothing is written or sent anywhere. Neighbouring activations of
one token share a scale, so that a token's state does not depend on the other texts of its batch. Attention, normalisation and
embeddings, which are no products with weights, stay in floating point.

OpenVINO's threads do not survive a fork, so a forked child converts the model again before it encodes its first text.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from lexite.errors import BackboneError
from lexite.kernels.hardware import n_threads
from lexite.kernels.threads import ForkSafeLock

INSTALL = "precision int8 needs OpenVINO. Run: pip install 'lexite[int8]'"
ACTIVATION_GROUP = 32  # numbers of a token that share a scale
LARGEST = 127


class Int8Model(torch.nn.Module):
    """Stands in for a model of transformers: the same inputs, the last hidden states as output.

    Args:
        model: the model in fp32 on the CPU.
        inputs: names of its inputs, among those that a tokenizer gives.
        positions: how many positions it has for tokens; -1 when there is no limit.
        load: gives the model in fp32 once more, for a forked child.

    Raises:
        BackboneError: OpenVINO is not installed, or cannot convert the model.
    """

    def __init__(self, model: Any, inputs: list[str], positions: int, load: Callable[[], Any]) -> None:
        super().__init__()
        self.config, self.positions, self._inputs, self._load = model.config, positions, inputs, load
        self._converting = ForkSafeLock()
        self._convert(model)

    def _convert(self, model: Any) -> None:
        """Converts the model for this process."""
        try:
            import openvino
        except ImportError as error:
            raise BackboneError(INSTALL) from error
        threads = n_threads()
        settings = {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": ACTIVATION_GROUP,
            # Where a processor has AMX, OpenVINO would compute in bf16, and its products of quantised weights are then wrong.
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,  # as many batches at once as there are threads, one for each
        }
        try:
            graph = _graph_of(model, self._inputs)
            _quantise_weights(graph)
            # OpenVINO gives the compiling thread a stack for signals and frees it with the model: Ctrl-C in that thread would
            # then end the process with a fault. So a thread of its own compiles.
            with ThreadPoolExecutor(1) as thread:
                self._compiled = thread.submit(openvino.Core().compile_model, graph, "CPU", settings).result()
        except Exception as error:  # whatever tracing and conversion raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BackboneError(f"The model cannot be converted to int8 ({reason}). Use precision='fp32', or bf16.") from error
        self._requests = threading.local()
        self._process = os.getpid()
        _converted.add(self)

    def forward(self, **features: Any) -> BaseModelOutput:
        """The last hidden states, (sequences, tokens, d_model) fp32."""
        if self._process != os.getpid():
            self._convert_again()
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        ids = features["input_ids"]
        arrays = [features[name].numpy() if name in features else np.zeros(ids.shape, dtype=np.int64) for name in self._inputs]
        result = request.infer(arrays, share_inputs=True)
        return BaseModelOutput(last_hidden_state=torch.from_numpy(result[0]))

    def _convert_again(self) -> None:
        """Converts the model for a forked child, once."""
        with self._converting:
            if self._process != os.getpid():
                with ThreadPoolExecutor(1) as thread:  # the caller is in torch's inference mode, where nothing can be traced
                    thread.submit(lambda: self._convert(self._load())).result()


_converted: weakref.WeakSet[Int8Model] = weakref.WeakSet()


def _keep_compiled() -> None:
    """Keeps a forked child from ever freeing its parent's models, which would wait for threads that are not there."""
    for model in _converted:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(model._compiled))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_compiled)


class _LastStates(torch.nn.Module):
    """A model with its inputs in a fixed order and the last hidden states as its only output."""

    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self._inputs = model, inputs

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        named = dict(zip(self._inputs, features, strict=True))
        states: torch.Tensor = self.model(**named, return_dict=True)["last_hidden_state"]
        return states


def _graph_of(model: Any, inputs: list[str]) -> Any:
    """The model as a graph of OpenVINO, traced on two short sequences, one of them padded."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    mask = torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    examples = {"attention_mask": mask, "token_type_ids": torch.zeros_like(mask)}
    given = tuple(examples.get(name, torch.ones_like(mask)) for name in inputs)
    log: Any = logging  # untyped in transformers
    verbosity = log.get_verbosity()
    log.set_verbosity_error()  # tracing reads attributes that a model warns of
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # a trace warns of each shape that it takes for constant
            decoder = TorchScriptPythonDecoder(_LastStates(model, inputs), example_input=given)
            frontend = FrontEndManager().load_by_framework("pytorch")
            return frontend.convert(frontend.load(decoder))
    finally:
        log.set_verbosity(verbosity)


def _quantise_weights(graph: Any) -> None:
    """Replaces each matrix of weights by int8 and a scale per output, the largest magnitude of a row at 127."""
    from openvino import opset13

    for node in graph.get_ops():
        if node.get_type_name() != "MatMul":
            continue
        constant = node.input_value(1).get_node()
        if constant.get_type_name() != "Constant" or not node.get_attributes()["transpose_b"]:
            continue
        weight = constant.get_data().astype(np.float32)
        if weight.ndim != 2:
            continue
        scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True) / LARGEST, np.finfo(np.float32).tiny)
        rounded = opset13.constant(np.rint(weight / scale).astype(np.int8))
        restored = opset13.multiply(opset13.convert(rounded, "f32"), opset13.constant(scale))
        node.input(1).replace_source_output(restored.output(0))
