"""Batches of a constant number of tokens for ``SparseEncoderTrainer``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sentence_transformers.sparse_encoder.data_collator import SparseEncoderDataCollator

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers.sampler import N_TOKENS, TEXT_NUMBER, TOKENS_PER_BATCH, TokenBudgetBatches


@dataclass
class TokenBudgetDataCollator(SparseEncoderDataCollator):
    """Makes batches that hold as nearly ``tokens_per_batch`` tokens as whole windows allow, and never more.

    A sparse autoencoder learns from tokens, so each optimizer step should see the same number of tokens, whatever the lengths
    of the texts. A collator alone cannot do this: the trainer shuffles, skips batches on resuming and shares them among
    processes before it calls the collator, so texts that a collator kept for its next call would be lost or repeated. Three
    parts work together:

    - :func:`~lexite.integrations.sentence_transformers.windows.token_windows` cuts long texts into windows and counts their
      tokens, once; ``count_tokens`` counts those of rows of several texts, which stay whole.
    - :attr:`batch_sampler` fills the batches: what does not fit waits for the next one. It knows all counts, so that batches
      depend on the seed and the epoch alone, with any number of workers and processes, and on resuming.
    - This collator, which has no state, turns rows into features as its parent does, with prompts, router mapping and
      ``max_length``; it leaves out the columns of counts, and refuses a batch above the budget.

    Only tokens that the model pools count, so special tokens and an unpooled prompt do not. With several text columns (anchor,
    positive, negative) the budget holds for each column. The budget is for one forward pass in one process; an optimizer step
    sees it times processes times ``gradient_accumulation_steps``.

    Args:
        preprocess_fn: the model's ``preprocess``.
        valid_label_columns: as for ``SparseEncoderDataCollator``.
        router_mapping: as for ``SparseEncoderDataCollator``.
        prompts: as for ``SparseEncoderDataCollator``. A trainer does not pass the prompts of its arguments to a given collator.
        max_length: as for ``SparseEncoderDataCollator``.
        tokens_per_batch: most tokens in a column of a batch.

    Raises:
        ConfigError: the budget is below 1.

    Example:
        >>> from datasets import Dataset
        >>> from lexite.integrations.sentence_transformers import to_sentence_transformers, token_windows
        >>> model = to_sentence_transformers("default")
        >>> collator = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=300)
        >>> texts = Dataset.from_dict({"text": ["The tides follow the moon. " * 100, "Bread is baked from flour."]})
        >>> windows = token_windows(texts, model, collator)
        >>> [sum(counts) for counts in windows["n_tokens"]]
        [200, 200, 200, 6]
        >>> len(collator.batch_sampler(windows))
        3

        For training: ``SparseEncoderTrainingArguments(..., batch_sampler=collator.batch_sampler)`` and
        ``SparseEncoderTrainer(model, args, windows, loss=loss, data_collator=collator)``.
    """

    tokens_per_batch: int = TOKENS_PER_BATCH

    def __post_init__(self) -> None:
        if self.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch is {self.tokens_per_batch}, but must be at least 1.")

    @property
    def batch_sampler(self) -> TokenBudgetBatches:
        """For the training arguments of the same name: makes the sampler that fills batches up to this budget.

        Texts to evaluate need no counts; without counts they get the library's own batches, by rows. But an evaluation
        before the training (``trainer.evaluate()`` before ``trainer.train()``) looks like a training set without counts, and is
        refused.
        """
        return TokenBudgetBatches(self.tokens_per_batch)

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """Features of a batch of rows; see ``SparseEncoderDataCollator``.

        Args:
            features: rows; those without counts, such as rows of an evaluation that is not prepared, are not checked.

        Raises:
            ArgumentError: the rows hold more tokens than the budget.
        """
        counts = [row[N_TOKENS] for row in features if N_TOKENS in row]
        most = int(np.asarray(counts).sum(axis=0).max()) if counts else 0
        if most > self.tokens_per_batch:
            raise ArgumentError(
                f"A batch of {len(features)} rows holds {most} tokens, more than tokens_per_batch = {self.tokens_per_batch}. "
                "Give the training arguments batch_sampler=collator.batch_sampler, of this collator."
            )
        rows = [{name: value for name, value in row.items() if name not in (N_TOKENS, TEXT_NUMBER)} for row in features]
        batch: dict[str, Any] = super().__call__(rows)
        return batch

    def text_columns(self, names: list[str]) -> list[str]:
        """The columns of a dataset that hold texts: all but the label, the dataset's name and the counts."""
        label = next((name for name in self.valid_label_columns if name in names), None)
        return [name for name in names if name not in (label, "dataset_name", N_TOKENS, TEXT_NUMBER)]

    def settings_of(self, column: str, position: int, dataset_name: str | None) -> tuple[str, str | None, int | None]:
        """How a column is preprocessed: its prompt ("" for none), its task, and its longest length where one is set."""
        batch = {} if dataset_name is None else {"dataset_name": dataset_name}
        task = self._get_task_for_column(column, position, self._resolve_router_mapping(batch))
        prompt = self._get_prompt_for_column(self._resolve_prompts(batch) or {}, column)
        return prompt or "", task, self._get_max_length_for_task(task)
