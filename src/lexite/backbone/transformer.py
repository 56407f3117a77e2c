"""A sentence-transformers model, single-vector or late-interaction, as a source of token states."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from lexite.backbone.batches import pad, padded_length, plan_batches, share_of_batch
from lexite.backbone.config import BackboneConfig, Kind
from lexite.backbone.fingerprint import fingerprint
from lexite.backbone.pass_pooling import PassPooling
from lexite.backbone.precision import Precision
from lexite.backbone.states import TokenStates
from lexite.backbone.tokens import TextTokenizer, TokenPolicy, TokenSequence
from lexite.config import to_dict
from lexite.errors import BackboneError
from lexite.kernels.threads import parallel_tasks, task_threads, tasks_to_cut

Floats = npt.NDArray[np.float32]
SeenBatch = Callable[[list[TokenSequence], dict[str, Any]], None]


class DenseScorer(Protocol):
    """How the dense model itself embeds and scores; one per kind of model."""

    name: str

    def check_single(self, backbone: TransformerBackbone) -> None:
        """Refuses a model without a single vector per text, with :class:`BackboneError`."""
        ...

    def embed(self, backbone: TransformerBackbone, texts: Sequence[str], kind: Kind) -> Floats:
        """L2-normalised vectors, ``(n_texts, d)``."""
        ...

    def scores(self, backbone: TransformerBackbone, queries: Sequence[str], documents: Sequence[str]) -> Floats:
        """Scores, ``(n_queries, n_documents)``."""
        ...


class TransformerBackbone:
    """Token states of a model that sentence-transformers loads; made by :func:`lexite.backbone.load_backbone`.

    Args:
        model: the sentence-transformers model, or the bare transformer of one, on its device, in its precision.
        state_modules: how many of the model's modules lie before pooling, masking and normalising.
        folder: where its files are.
        config: what was asked for.
        precision: the number format of the model.
        windows: tokens per sequence for each kind of text.
        prompts: prompt for each kind of text.
        skipped: token ids for each kind of text that the model itself never scores.
        scorer: how the dense model scores.

    Attributes:
        folder: where the model's files are.
        n_state_modules: how many of its modules make token states.
        windows: tokens per sequence for each kind of text.
        prompts: prompt for each kind of text.
        skipped: token ids for each kind of text that do not count, since the model never scores them.
        d_model: width of a token state.
        name: the model's name, as it was asked for.
        fingerprint: SHA-256 over all that decides the states.
        states_fingerprint: SHA-256 over ``fingerprint`` and ``reading``; ``fingerprint`` itself where ``reading`` is empty.
        saved_config: the configuration that the model was loaded with, which ``fingerprint`` covers.
        reading: what was changed since in how texts are read (``long``, prompts); empty as a rule.
    """

    def __init__(
        self,
        model: Any,
        *,
        state_modules: int,
        folder: Path,
        config: BackboneConfig,
        precision: Precision,
        windows: dict[Kind, int],
        prompts: dict[Kind, str],
        skipped: dict[Kind, tuple[int, ...]],
        scorer: DenseScorer,
    ) -> None:
        self.model, self.config, self.scorer = model, config, scorer
        self.folder, self.n_state_modules = folder, state_modules
        self.precision: Precision = precision
        self.device: torch.device = model.device
        self.name = config.model if config.revision is None else f"{config.model}@{config.revision}"
        self.windows, self.prompts, self.skipped = windows, prompts, skipped
        self._modules = list(model.named_children())
        self._tokenizer = TextTokenizer(model.tokenizer)
        self.fingerprint = self.states_fingerprint = fingerprint(folder, self._identity())
        self.saved_config = config
        self.reading: Mapping[str, str] = {}
        self._as_loaded: TransformerBackbone | None = None  # not itself, which would keep the weights in memory
        self._process = os.getpid()
        self.d_model, self._dtype = self._probe()

    def reading_with(self, config: BackboneConfig, windows: dict[Kind, int], changes: Mapping[str, str]) -> TransformerBackbone:
        """A copy that shares the weights and reads texts in another way; :func:`read_otherwise` makes it.

        Args:
            config: the configuration with the changes.
            windows: tokens per sequence for each kind of text.
            changes: the fields that change: ``long``, ``query_prompt``, ``document_prompt``.
        """
        other = copy.copy(self)
        other._as_loaded = self.as_loaded
        other.config, other.windows, other.reading = config, windows, {**self.reading, **changes}
        other.prompts = {kind: changes.get(f"{kind}_prompt", prompt) for kind, prompt in self.prompts.items()}
        text = json.dumps([self.fingerprint, dict(other.reading)], sort_keys=True)
        other.states_fingerprint = hashlib.sha256(text.encode()).hexdigest()
        return other

    @property
    def as_loaded(self) -> TransformerBackbone:
        """The same model, reading texts as it was loaded to."""
        return self if self._as_loaded is None else self._as_loaded

    def _identity(self) -> dict[str, Any]:
        policies = {kind: to_dict(self.policy(kind)) for kind in ("document", "query")}
        return {**policies, "state_modules": [_kind(module) for _, module in self._modules[: self.n_state_modules]]}

    @property
    def dense_model(self) -> Any:
        """The whole model of sentence-transformers; where token states came from its transformer alone, the rest is loaded."""
        return getattr(self.model, "whole", self.model)

    def policy(self, kind: Kind, long: Literal["window", "truncate"] | None = None) -> TokenPolicy:
        """What is done with the tokens of a text of this kind."""
        return TokenPolicy(
            window=self.windows[kind],
            long=long or self.config.long,
            overlap=self.config.overlap,
            prompt=self.prompts[kind],
            keep_special=self.config.special_tokens == "keep",
            keep_prompt=self.config.prompt_tokens == "keep",
            skipped_ids=self.skipped[kind],
        )

    def _probe(self) -> tuple[int, torch.dtype]:
        """Width and type of a state, from one short text; shows at once when the model cannot run."""
        [sequence] = self._tokenizer.sequences(["a"], self.policy("document", "truncate"))
        try:
            hidden = self._run([sequence], "document", self._modules[: self.n_state_modules])["token_embeddings"]
        except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BackboneError(f"The model '{self.name}' loads but gives no token states: {error}") from error
        return int(hidden.shape[-1]), hidden.dtype

    def encode(self, texts: Sequence[str], kind: Kind) -> TokenStates:
        """Last hidden states of the tokens of ``texts``, in the order of the texts.

        On a CPU several batches run at once, one core for each: that is faster than all cores for each.

        Args:
            texts: any number of texts; an empty one has no rows.
            kind: which prompt is put before each text.

        Returns:
            States in the model's precision, on the model's device; :meth:`TokenStates.check` finds NaN in them.

        Raises:
            BackboneError: a text is not a string, or the prompt fills the window.
        """
        return self._states(self._tokenizer.sequences(texts, self.policy(kind)), len(texts), kind)

    def states_and_vectors(self, texts: Sequence[str], kind: Kind) -> tuple[TokenStates, Floats]:
        """What :meth:`encode` and :meth:`dense` give, from one pass of the model.

        A text that is longer than the window goes through the model once more, cut as the dense model cuts it.

        Raises:
            BackboneError: as :meth:`encode`; or the model has no single vector per text.
        """
        self.scorer.check_single(self)
        framed, cut = self._tokenizer.framings(texts, [self.policy(kind), self.policy(kind, "truncate")])
        pooling = PassPooling(self, kind, framed, cut)
        states = self._states(framed, len(texts), kind, pooling.pool)
        return states, pooling.vectors()

    def states_and_later_vectors(self, texts: Sequence[str], kind: Kind) -> tuple[TokenStates, Callable[[], Floats]]:
        """What :meth:`encode` gives, and a function that makes the dense vectors of the hidden states that the pass left.

        The hidden states of all tokens stay in memory as long as the function does. It may be called once.
        """
        framed, cut = self._tokenizer.framings(texts, [self.policy(kind), self.policy(kind, "truncate")])
        left: list[tuple[list[TokenSequence], dict[str, Any]]] = []
        states = self._states(framed, len(texts), kind, lambda sequences, features: left.append((sequences, features)))

        def vectors() -> Floats:
            self.scorer.check_single(self)
            self._check_process()
            pooling = PassPooling(self, kind, framed, cut)
            with torch.inference_mode():
                while left:
                    pooling.pool(*left.pop())
            return pooling.vectors()

        return states, vectors

    def _states(self, framed: Sequence[TokenSequence], n_texts: int, kind: Kind, seen: SeenBatch | None = None) -> TokenStates:
        """States of texts that are tokenized. ``seen`` gets each batch with its features, in any order and from any thread."""
        self._check_process()
        unknown = np.bincount([s.text for s in framed], weights=[s.unknown for s in framed], minlength=n_texts)
        sequences = [s for s in framed if len(s.keep)]
        counts = np.array([len(sequence.keep) for sequence in sequences], dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        states = torch.empty((int(starts[-1]), self.d_model), dtype=self._dtype, device=self.device)

        modules = self._modules[: self.n_state_modules]

        def fill(batch: list[int]) -> None:
            with torch.inference_mode():
                own = [sequences[i] for i in batch]
                features = self._run(own, kind, modules)
                hidden = features["token_embeddings"]
                width = hidden.shape[1]
                source = np.concatenate([sequences[i].keep + row * width for row, i in enumerate(batch)])
                target = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in batch])
                rows = hidden.reshape(-1, self.d_model)[torch.from_numpy(source).to(self.device)]
                states[torch.from_numpy(target).to(self.device)] = rows
                if seen is not None:
                    seen(own, features)

        self._for_each_batch(fill, sequences, kind)
        per_text = np.bincount([s.text for s in sequences], weights=counts, minlength=n_texts).astype(np.int64)
        ids = [sequence.ids[sequence.keep] for sequence in sequences]
        token_ids = np.concatenate([np.zeros(0, dtype=np.int64), *ids]).astype(np.int32)
        offsets = np.concatenate([[0], np.cumsum(per_text)]).astype(np.int64)
        return TokenStates(states, offsets, token_ids, unknown.astype(np.int64))

    def _check_process(self) -> None:
        """Refuses a forked process where the model cannot run, with :class:`BackboneError`."""
        if self.device.type != "cpu" and self._process != os.getpid():
            raise BackboneError(
                f"The model '{self.name}' is on {self.device}, which a forked process cannot use. Load the model in the new "
                "process, or start it with the method 'spawn' and send it the encoder."
            )

    def _for_each_batch(self, function: Callable[[list[int]], None], sequences: Sequence[TokenSequence], kind: Kind) -> None:
        """Calls ``function`` with the numbers of the sequences of each batch; on a CPU several at once."""
        lengths = [padded_length(len(sequence.ids), self.windows[kind]) for sequence in sequences]
        threads = task_threads() if self.device.type == "cpu" else 1
        tasks = tasks_to_cut() if self.device.type == "cpu" else 1
        batches = list(plan_batches(lengths, share_of_batch(self.config.tokens_per_batch, tasks, sum(lengths))))
        if threads > 1:
            parallel_tasks(function, batches)
        else:
            for batch in batches:
                function(batch)

    def _run(self, sequences: Sequence[TokenSequence], kind: Kind, modules: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """Features of a batch after some modules of the model, which are given with their names."""
        width = padded_length(max(len(sequence.ids) for sequence in sequences), self.windows[kind])
        ids, mask = pad([sequence.ids for sequence in sequences], self._tokenizer.pad_id, width)
        features: dict[str, Any] = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        if self._tokenizer.uses_token_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        if self.prompts[kind]:
            features["prompt_length"] = min(sequence.prompt_length for sequence in sequences)
        features["modality"] = "text"
        return self.applied(features, kind, modules)

    def applied(self, features: dict[str, Any], kind: Kind, modules: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        """Features of a batch after some more modules of the model, which are given with their names."""
        declared = self.model.module_kwargs or {}
        for name, module in modules:
            takes_task = "task" in getattr(module, "forward_kwargs", ()) or "task" in declared.get(name, ())
            features = module(features, **({"task": kind} if takes_task else {}))
        return features

    def pooled(self, texts: Sequence[str], kind: Kind) -> torch.Tensor:
        """Vectors of a single-vector model, after all its modules: ``(n_texts, d)`` fp32 on the CPU; long texts are cut."""
        self._check_process()
        vectors: dict[int, torch.Tensor] = {}
        self.pool_sequences(self._tokenizer.sequences(texts, self.policy(kind, "truncate")), kind, vectors)
        return self.stacked(vectors, len(texts))

    def pool_sequences(self, sequences: Sequence[TokenSequence], kind: Kind, vectors: dict[int, torch.Tensor]) -> None:
        """Sends sequences through all modules, and puts their vectors under the numbers of their texts."""
        modules = list(self.dense_model.named_children())

        def embed(batch: list[int]) -> None:
            with torch.inference_mode():
                embedded = self._run([sequences[i] for i in batch], kind, modules)["sentence_embedding"].float().cpu()
            vectors.update(zip([sequences[i].text for i in batch], embedded, strict=True))

        self._for_each_batch(embed, sequences, kind)

    def stacked(self, vectors: Mapping[int, torch.Tensor], n_texts: int) -> torch.Tensor:
        """Vectors by the numbers of their texts as one tensor, cut as the model cuts them; zeros where there is none."""
        if not vectors:
            return torch.zeros((n_texts, self.d_model))
        width = next(iter(vectors.values())).shape[0]
        rows = [vectors[i] if i in vectors else torch.zeros(width) for i in range(n_texts)]
        return torch.stack(rows)[:, : self.dense_model.truncate_dim]

    def describe_token(self, token_id: int) -> str:
        """The word piece of a token id as the tokenizer writes it; ``"?"`` for -1."""
        return self._tokenizer.describe(token_id)

    @property
    def unknown_id(self) -> int | None:
        """Token id of what the tokenizer does not know; None where it knows everything."""
        return self._tokenizer.unknown_id

    @property
    def fast_tokenizer(self) -> Any:
        """The tokenizer as one of the library tokenizers, which can be saved as JSON; None when it is not one."""
        return getattr(self._tokenizer.tokenizer, "backend_tokenizer", None)

    def dense(self, texts: Sequence[str], kind: Kind) -> Floats:
        """The dense model's own vectors, ``(n_texts, d)`` fp32, L2-normalised; long texts are cut at the window.

        Raises:
            BackboneError: a late-interaction model, which has no single vector per text.
        """
        return self.scorer.embed(self, texts, kind)

    def dense_scores(self, queries: Sequence[str], documents: Sequence[str]) -> Floats:
        """The dense model's own scores, ``(n_queries, n_documents)`` fp32: its similarity (cosine by default), or MaxSim."""
        return self.scorer.scores(self, queries, documents)

    def info(self) -> dict[str, Any]:
        """JSON values about the model: name, fingerprint, width, precision, device, windows, prompts, scoring, config."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "d_model": self.d_model,
            "precision": self.precision,
            "device": str(self.device),
            "windows": dict(self.windows),
            "prompts": dict(self.prompts),
            "scoring": self.scorer.name,
            "config": to_dict(self.config),
        }


def _kind(module: Any) -> str:
    """The name of a module's class in sentence-transformers."""
    return getattr(module, "stands_for", type(module).__name__)
