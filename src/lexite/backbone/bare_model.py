"""The transformer of a model folder, loaded without sentence-transformers, whose import takes longer than most models.

Token states need the transformer and its tokenizer alone. Which folders can be read so is decided by their JSON files, before
anything is loaded: a text encoder of a known kind, then pooling, and no setting that only sentence-transformers understands.
Whatever else there is goes through that library. Both ways give the same states, bit for bit.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lexite.errors import LexiteError
from lexite.files import read_json

ENCODERS = frozenset({"albert", "bert", "camembert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta"})
"""Kinds of model (``model_type``) whose ``forward`` gives ``last_hidden_state`` for text."""
MODEL_SETTINGS = "config_sentence_transformers.json"
TRANSFORMER_SETTINGS = "sentence_bert_config.json"
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_LIBRARY = "sentence_transformers."
_LATER = ("Pooling", "Normalize", "Dense")
_UNREAD = ("adapter_config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
_EXPECTED: Mapping[str, tuple[Any, ...]] = {  # settings of the transformer, and the values that are understood here
    "do_lower_case": (False,),
    "transformer_task": ("feature-extraction",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
    "module_output_name": ("token_embeddings",),
    "unpad_inputs": (None, False),
    "query_length": (None,),
    "document_length": (None,),
    "query_expansion": (None,),
}


@dataclass(frozen=True, slots=True)
class BareSettings:
    """What a folder says that can be read without sentence-transformers.

    Attributes:
        name: of the transformer among the modules.
        max_length: tokens in one text, special ones included; None: as tokenizer and model say.
        prompts: by their names, with empty ones for queries and documents.
        default_prompt_name: the prompt for texts of which nothing is said.
        similarity: how vectors are compared.
        later: name, class and folder of each module behind the transformer.
    """

    name: str
    max_length: int | None
    prompts: Mapping[str, str]
    default_prompt_name: str | None
    similarity: str
    later: tuple[tuple[str, str, str], ...]


def bare_settings(folder: Path) -> BareSettings | None:
    """The settings of a folder that :class:`BareModel` can load; None for one that needs sentence-transformers.

    A damaged file is one more reason for None: the library then says what is wrong with it.
    """
    try:
        return _settings(folder)
    except (LexiteError, KeyError, TypeError, AttributeError, ValueError, IndexError):
        return None


def _settings(folder: Path) -> BareSettings | None:
    first, *others = read_json(folder / "modules.json")
    own = read_json(folder / TRANSFORMER_SETTINGS)
    values = read_json(folder / MODEL_SETTINGS)
    config = read_json(folder / "config.json")
    tokenizer = read_json(folder / "tokenizer_config.json")
    later = tuple((str(module["name"]), str(module["type"]), str(module["path"])) for module in others)
    kinds = [kind.rpartition(".")[2] for _, kind, _ in later]
    prompts = {"query": "", "document": "", **values.get("prompts", {})}
    length, similarity = own.get("max_seq_length"), values.get("similarity_fn_name") or "cosine"
    default = values.get("default_prompt_name")
    understood = (
        str(first["type"]).startswith(_LIBRARY) and str(first["type"]).endswith(".Transformer") and first["path"] == "",
        bool(kinds) and kinds[0] != "Dense" and all(kind in _LATER for kind in kinds),
        all(kind.startswith(_LIBRARY) and ".." not in path for _, kind, path in later),
        not any(module.get("kwargs") for module in (first, *others)),
        all(value in _EXPECTED.get(key, ({},)) for key, value in own.items() if key != "max_seq_length"),
        length is None or isinstance(length, int),
        values.get("model_type", "SentenceTransformer") == "SentenceTransformer" and not values.get("requirements"),
        similarity in SIMILARITIES and (default is None or default in prompts),
        all(isinstance(prompt, str) for prompt in prompts.values()),
        config["model_type"] in ENCODERS and "auto_map" not in config and "quantization_config" not in config,
        "auto_map" not in tokenizer and "processor_class" not in tokenizer,
        not any((folder / name).exists() for name in _UNREAD),
    )
    return BareSettings(str(first["name"]), length, prompts, default, similarity, later) if all(understood) else None


class BareTransformer(torch.nn.Module):
    """A text encoder of transformers with its tokenizer, called as the module ``Transformer`` of sentence-transformers is.

    Args:
        folder: of the model.
        max_length: tokens in one text, special ones included; None: as tokenizer and model say.
        device: where it runs.
        dtype: number format of its weights.

    Attributes:
        model: the model of transformers.
        tokenizer: its tokenizer.
    """

    stands_for = "Transformer"  # the name that fingerprints have for it
    document_length = query_length = query_expansion = None  # settings of late interaction

    def __init__(self, folder: Path, max_length: int | None, device: str, dtype: torch.dtype) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        super().__init__()
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if hasattr(config, "use_cache"):
            config.use_cache = False
        self.model: Any = AutoModel.from_pretrained(folder, config=config, dtype=dtype, local_files_only=True).to(device).eval()
        length = {} if max_length is None else {"model_max_length": max_length}
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, **length)
        positions = getattr(config, "max_position_embeddings", -1)
        if max_length is None and positions != -1:
            self.tokenizer.model_max_length = min(self.tokenizer.model_max_length, positions)
        parameters = inspect.signature(self.model.forward).parameters
        open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        self._inputs = tuple(name for name in _INPUTS if open_ended or name in parameters)

    @property
    def max_seq_length(self) -> int | None:
        """Tokens in one text, special ones included."""
        length: int | None = self.tokenizer.model_max_length
        return length

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds ``token_embeddings``, the last hidden states, (sequences, tokens, d_model)."""
        output = self.model(**{name: features[name] for name in self._inputs if name in features}, return_dict=True)
        features["token_embeddings"] = output["last_hidden_state"]
        return features


class BareModel:
    """Stands in for a model of sentence-transformers as far as token states go.

    Args:
        folder: of the model.
        settings: what :func:`bare_settings` read there.
        device: where the model runs.
        dtype: number format of its weights.

    Attributes:
        transformer: its only module.
        prompts: as the settings say.
        default_prompt_name: likewise.
        similarity_fn_name: likewise.
        device: where it runs.
        module_kwargs: None; no module takes arguments.
    """

    module_kwargs: None = None

    def __init__(self, folder: Path, settings: BareSettings, device: str, dtype: torch.dtype) -> None:
        self._folder, self._settings = folder, settings
        self.transformer = BareTransformer(folder, settings.max_length, device, dtype)
        self.device: torch.device = self.transformer.model.device
        self.prompts, self.default_prompt_name = dict(settings.prompts), settings.default_prompt_name
        self.similarity_fn_name = settings.similarity

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.transformer.tokenizer

    @property
    def transformers_model(self) -> Any:
        """The model of transformers."""
        return self.transformer.model

    def __getitem__(self, number: int) -> BareTransformer:
        return (self.transformer,)[number]

    def __iter__(self) -> Iterator[BareTransformer]:
        return iter((self.transformer,))

    def named_children(self) -> list[tuple[str, BareTransformer]]:
        """The transformer with its name."""
        return [(self._settings.name, self.transformer)]

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The weights, one after the other."""
        weights: Iterator[torch.nn.Parameter] = self.transformer.model.parameters()
        return weights

    @functools.cached_property
    def whole(self) -> Any:
        """The model of sentence-transformers with all its modules; the transformer is shared. Imports the library."""
        from sentence_transformers import SentenceTransformer

        modules: OrderedDict[str, Any] = OrderedDict([(self._settings.name, self.transformer)])
        for name, kind, path in self._settings.later:
            place, _, class_name = kind.rpartition(".")
            module = getattr(importlib.import_module(place), class_name)
            modules[name] = module.load(str(self._folder), subfolder=path, local_files_only=True)
        library: Any = SentenceTransformer  # its types know neither modules with names nor similarities as text
        model = library(
            modules=modules,
            device=str(self.device),
            prompts=self.prompts,
            default_prompt_name=self.default_prompt_name,
            similarity_fn_name=self.similarity_fn_name,
        )
        return model.eval()
