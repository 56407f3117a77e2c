"""A model in 8 bits on the CPU, by OpenVINO: weights are int8, one scale per row; activations are int8, scaled as they come.

The model is traced and converted in memory when it is loaded; nothing is written or sent anywhere. A scale of activations is
that of some neighbouring numbers of one token, so that a token's state does not depend on the other texts of its batch. What
is not a product with weights (attention, normalisation, embeddings) stays in floating point.
"""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging

from lexite.errors import BackboneError
from lexite.kernels.hardware import n_threads

INSTALL = "precision int8 needs OpenVINO. Run: pip install 'lexite[int8]'"
ACTIVATION_GROUP = 32  # numbers of a token that share a scale
LARGEST = 127


class Int8Model(torch.nn.Module):
    """Stands in for a model of transformers: the same inputs, the last hidden states as output.

    Args:
        model: the model in fp32 on the CPU.
        inputs: names of its inputs, of those that a tokenizer gives.
        positions: how many positions it has for tokens; -1 when there is no limit.

    Raises:
        BackboneError: OpenVINO is not installed, or cannot convert the model.
    """

    def __init__(self, model: Any, inputs: list[str], positions: int) -> None:
        super().__init__()
        try:
            import openvino
        except ImportError as error:
            raise BackboneError(INSTALL) from error
        self.config, self.positions, self._inputs = model.config, positions, inputs
        threads = n_threads()
        settings = {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": ACTIVATION_GROUP,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,  # as many batches at once as there are threads, one for each
        }
        try:
            graph = _convert(model, inputs)
            _quantise_weights(graph)
            # OpenVINO gives the compiling thread a stack for signals and frees it with the model: Ctrl-C in that thread would
            # then end the process with a fault. So a thread of its own compiles.
            with ThreadPoolExecutor(1) as thread:
                self._compiled = thread.submit(openvino.Core().compile_model, graph, "CPU", settings).result()
        except Exception as error:  # whatever tracing and conversion raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise BackboneError(f"The model cannot be converted to int8 ({reason}). Use --precision fp32 or bf16.") from error
        self._requests = threading.local()

    def forward(self, **features: Any) -> BaseModelOutput:
        """The last hidden states, (sequences, tokens, d_model) fp32."""
        request = getattr(self._requests, "own", None)
        if request is None:
            request = self._requests.own = self._compiled.create_infer_request()
        ids = features["input_ids"]
        arrays = [features[name].numpy() if name in features else np.zeros(ids.shape, dtype=np.int64) for name in self._inputs]
        result = request.infer(arrays, share_inputs=True)
        return BaseModelOutput(last_hidden_state=torch.from_numpy(result[0]))


class _LastStates(torch.nn.Module):
    """A model with its inputs in a fixed order and the last hidden states as its only output."""

    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self._inputs = model, inputs

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        named = dict(zip(self._inputs, features, strict=True))
        states: torch.Tensor = self.model(**named, return_dict=True)["last_hidden_state"]
        return states


def _convert(model: Any, inputs: list[str]) -> Any:
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
