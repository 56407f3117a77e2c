"""Preparing datasets for batches of a constant number of tokens: cutting texts into windows, counting tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lexite.errors import ArgumentError, MissingExtraError
from lexite.integrations.sentence_transformers.collator import TokenBudgetDataCollator
from lexite.integrations.sentence_transformers.layout import pooled_tokens, token_layout
from lexite.integrations.sentence_transformers.preparation import own_modules, unwrap
from lexite.integrations.sentence_transformers.sampler import N_TOKENS, TEXT_NUMBER
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]

_READ = ("input_ids", "attention_mask", "cu_seq_lens_q", "prompt_length")
_log = logging.getLogger(__name__)


def token_windows(
    dataset: Dataset, model: Any, collator: TokenBudgetDataCollator, *, dataset_name: str | None = None
) -> Dataset:
    """Cuts texts into windows that fit into the model, and counts the tokens of each.

    A text that is longer than the model's window is cut, between words where there are any, into the fewest windows of about
    equal lengths. They do not overlap, so that each token counts once, and put together they are the text. Texts without a
    token that is pooled are left out, with a note in the log.

    Args:
        dataset: with one column of texts; other columns are refused, as a label belongs to a whole text.
        model: a SparseEncoder with latent terms and a tokenizer that knows where in the text its tokens are (a fast one).
        collator: collator of the training, which decides on prompts, tasks, ``max_length`` and budget.
        dataset_name: where prompts or router mapping are given by dataset.

    Returns:
        A dataset with the texts' column, ``n_tokens`` (a list of one number) and ``text_number``, the row of the text.

    Raises:
        ArgumentError: the dataset is no ``datasets.Dataset`` or empty, has other columns, or the model cannot be used so.
        MissingExtraError: datasets is not installed.
    """
    columns = _columns(dataset, collator)
    if len(columns) != 1 or len(dataset.column_names) != 1:
        raise ArgumentError(
            f"token_windows cuts the texts of one column, but the dataset has {', '.join(dataset.column_names)}. Select one "
            "with dataset.select_columns, or keep rows whole and count their tokens with count_tokens."
        )
    cutter = _Cutter(model, collator, columns[0], dataset_name)
    counter = _Counter(model, collator, columns, dataset_name)

    def windows(batch: dict[str, list[Any]], numbers: list[int]) -> dict[str, list[Any]]:
        cut = zip(cutter.windows(batch[columns[0]]), numbers, strict=True)
        pairs = [(window, number) for windows_of_text, number in cut for window in windows_of_text]
        counts = counter({columns[0]: [text for text, _ in pairs]})
        kept = [(text, number, count) for (text, number), count in zip(pairs, counts, strict=True) if count[0]]
        names = (columns[0], TEXT_NUMBER, N_TOKENS)
        return {name: [row[i] for row in kept] for i, name in enumerate(names)}

    made = _mapped(dataset, windows, columns, with_indices=True)
    n_left_out = len(dataset) - len(set(made[TEXT_NUMBER]))
    if n_left_out:
        _log.info("%d of %d texts have no token that is pooled, and are left out.", n_left_out, len(dataset))
    return made


def count_tokens(
    dataset: Dataset, model: Any, collator: TokenBudgetDataCollator, *, dataset_name: str | None = None
) -> Dataset:
    """Counts the tokens of each text of each row; rows stay whole, and long texts are truncated as the library does.

    Args:
        dataset: rows of one or more texts and perhaps a label.
        model: a SparseEncoder with latent terms.
        collator: collator of the training, which decides on prompts, tasks and ``max_length``.
        dataset_name: where prompts or router mapping are given by dataset.

    Returns:
        The dataset with a column ``n_tokens``: a list of one number for each column of texts, in their order.

    Raises:
        ArgumentError: the dataset is no ``datasets.Dataset``, is empty, or has no column of texts.
        MissingExtraError: datasets is not installed.
    """
    columns = _columns(dataset, collator)
    counter = _Counter(model, collator, columns, dataset_name)
    return _mapped(dataset, lambda batch: {N_TOKENS: counter(batch)}, dataset.column_names)


class _Counter:
    """Counts the pooled tokens of rows, preprocessed just as they are in training."""

    def __init__(self, model: Any, collator: TokenBudgetDataCollator, columns: list[str], dataset_name: str | None) -> None:
        self._pooling = own_modules(model)[1]
        self._collator, self._columns = collator, columns
        self._extra = {} if dataset_name is None else {"dataset_name": dataset_name}

    def __call__(self, batch: Mapping[str, list[Any]]) -> list[list[int]]:
        values = [batch[name] for name in self._columns]
        rows = [{**dict(zip(self._columns, row, strict=True)), **self._extra} for row in zip(*values, strict=True)]
        if not rows:
            return []
        made = self._collator(rows)
        others = len(self._columns) - 1
        usual = ["query", *["document"] * others] if others else [None]  # the tasks that losses give to columns
        counts = [self._of_column(made, name, task) for name, task in zip(self._columns, usual, strict=True)]
        return [list(row) for row in zip(*counts, strict=True)]

    def _of_column(self, made: dict[str, Any], column: str, usual: str | None) -> list[int]:
        features = {key: made[f"{column}_{key}"] for key in _READ if f"{column}_{key}" in made}
        counts: list[int] = pooled_counts(features, self._pooling, made.get(f"{column}_task") or usual).tolist()
        return counts


def pooled_counts(features: Mapping[str, Any], pooling: SparseTokenPooling, task: str | None = None) -> torch.Tensor:
    """(texts,) number of tokens of each text that are pooled.

    Args:
        features: what a model's ``preprocess`` gives.
        pooling: says which tokens are left out.
        task: of the texts.
    """
    features = {**features, "token_embeddings": features["input_ids"].unsqueeze(-1)}  # the layout is all that matters
    layout = token_layout(features)
    kept = pooled_tokens(features, layout, pooling.left_out_ids(task), pooling.include_prompt)
    return torch.bincount(layout.texts[kept], minlength=layout.n_texts)


class _Cutter:
    """Cuts texts so that each piece, with prompt and special tokens, fits into the model's window."""

    def __init__(self, model: Any, collator: TokenBudgetDataCollator, column: str, dataset_name: str | None) -> None:
        model = unwrap(model)
        self._prompt, task, longest = collator.settings_of(column, 0, dataset_name)
        self._tokenizer = model.tokenizer
        if not getattr(self._tokenizer, "is_fast", False):
            raise ArgumentError("token_windows needs a fast tokenizer, which knows where in a text its tokens are.")
        if longest is None and task is not None:
            longest = getattr(model[0], f"{task}_length", None)
        # With prompt and special tokens a window is within the budget, whichever of its tokens are pooled.
        self._window = int(min(longest or model.max_seq_length or np.inf, collator.tokens_per_batch))
        self._room = self._window - self._lengths([""])[0]
        if self._room < 1:
            raise ArgumentError(
                f"Prompt ('{self._prompt}') and special tokens fill a window of {self._window} tokens. Shorten the prompt, or "
                "raise tokens_per_batch."
            )

    def windows(self, texts: list[str]) -> list[list[str]]:
        """The pieces of each text, in order, which together are the text."""
        lengths = self._lengths(texts) if texts else []
        return [[text] if n <= self._window else self._cut(text) for text, n in zip(texts, lengths, strict=True)]

    def _cut(self, text: str) -> list[str]:
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)
        starts = np.array([start for start, _ in found["offset_mapping"]], dtype=np.int64)
        # A word can have more tokens without its neighbours. A piece that gets too long by that is halved.
        cuts = cut_places(text, starts, min(self._room, max(-(-len(starts) // 2), 1)))
        if not cuts:
            raise ArgumentError(f"A single character has more tokens than fit into the model's window ({self._window}).")
        pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        return [window for windows in self.windows(pieces) for window in windows]

    def _lengths(self, texts: list[str]) -> list[int]:
        """Tokens of each text, prompt and special tokens included."""
        found = self._tokenizer([self._prompt + text for text in texts], truncation=False, verbose=False)
        return [len(ids) for ids in found["input_ids"]]


def cut_places(text: str, starts: np.ndarray[Any, np.dtype[np.int64]], room: int) -> list[int]:
    """Where to cut a text into the fewest pieces of at most ``room`` tokens and about equal lengths.

    Args:
        text: the text.
        starts: character at which each of its tokens starts.
        room: most tokens of a piece, at least 1.

    Returns:
        Characters at which pieces begin, rising, within the text; before a word unless that halves the piece.

    Example:
        >>> text = "one two three four"
        >>> [text[:c] for c in cut_places(text, np.array([0, 4, 8, 14]), 2)]
        ['one two ']
    """
    words = np.array([i for i, c in enumerate(starts) if c and (text[c - 1].isspace() or text[c : c + 1].isspace())], dtype=int)
    first, cuts = 0, list[int]()
    while len(starts) - first > room:
        left = len(starts) - first
        stop = first + -(-left // -(-left // room))
        before = words[(words > first + (stop - first) // 2) & (words <= stop)]
        first = int(before[-1]) if len(before) else stop
        if (cuts[-1] if cuts else 0) < starts[first] < len(text):  # the tokens of one character start together
            cuts.append(int(starts[first]))
    if not cuts and len(starts) > 1 and len(text) > 1:
        cuts = [len(text) // 2]
    return cuts


def _columns(dataset: Any, collator: TokenBudgetDataCollator) -> list[str]:
    """Columns of texts of a dataset that can be prepared."""
    try:
        from datasets import Dataset
    except ImportError as error:
        raise MissingExtraError("datasets", "finetune", "Preparing texts for training") from error
    if not isinstance(dataset, Dataset):
        raise ArgumentError(
            f"A datasets.Dataset is wanted, not {type(dataset).__name__}: batches are filled before training, from the lengths "
            "of all texts. Dataset.from_dict({'text': texts}) or Dataset.from_generator makes one; of several, prepare each."
        )
    columns = collator.text_columns(dataset.column_names)
    if not columns:
        raise ArgumentError("The dataset has no column of texts.")
    if not len(dataset):
        raise ArgumentError("The dataset has no rows. Give some texts.")
    return columns


def _mapped(dataset: Any, function: Any, kept: list[str], **options: Any) -> Any:
    """A dataset that a function makes of batches of rows, without the cache of datasets."""
    from datasets import Features, Sequence, Value
    from datasets.fingerprint import generate_random_fingerprint  # type: ignore[import-untyped]

    features = {name: dataset.features[name] for name in kept if name != N_TOKENS}
    if options:
        features[TEXT_NUMBER] = Value("int64")
    features[N_TOKENS] = Sequence(Value("int64"))
    return dataset.map(
        function,
        batched=True,
        remove_columns=dataset.column_names if options else None,
        features=Features(features),
        new_fingerprint=generate_random_fingerprint(),  # else datasets would hash the whole model to name the result
        load_from_cache_file=False,
        **options,
    )
