"""What is chosen about a backbone: the model, its precision, its window, and what is kept of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lexite.config import option
from lexite.errors import ConfigError

Kind = Literal["document", "query"]
DEFAULT_MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class BackboneConfig:
    """Configuration of a backbone, saved with a vocabulary so that queries are encoded as documents were.

    Example:
        >>> BackboneConfig().model
        'all-MiniLM-L6-v2'

    Raises:
        ConfigError: an empty model name, or a window that the overlap fills.
    """

    model: str = option(
        DEFAULT_MODEL,
        "Dense retriever whose token states are read: a folder, a Hugging Face name, or a folder of precomputed states.",
    )
    revision: str | None = option(None, "Branch, tag or commit of a model on the Hugging Face hub.")
    precision: Literal["auto", "bf16", "fp32", "int8"] = option(
        "auto", "Number format of the model: bf16 where the processor has fast bf16, else fp32 (auto), or always this one."
    )
    max_length: int | None = option(None, "Tokens in one window, special ones included (default: the model's own).", minimum=4)
    long: Literal["window", "truncate"] = option(
        "window", "What happens to a text longer than the window: split in overlapping windows, or cut."
    )
    overlap: int = option(32, "Tokens of context that neighbouring windows of a long text share.", minimum=0)
    query_prompt: str | None = option(None, "Text put before each query (default: what the model's configuration says).")
    document_prompt: str | None = option(None, "Text put before each document (default: what the model's configuration says).")
    special_tokens: Literal["drop", "keep"] = option("drop", "Whether states of special tokens ([CLS], [SEP], …) become terms.")
    prompt_tokens: Literal["drop", "keep"] = option("drop", "Whether states of prompt tokens become terms.")
    tokens_per_batch: int = option(2048, "Tokens, padding included, that go through the model at once.", minimum=1, count=True)
    device: str = option("auto", "Where the model runs: cpu, cuda, cuda:1, mps; auto takes CUDA when there is one.")
    trust_remote_code: bool = option(False, "Run Python code that a model on the hub brings along.")

    @property
    def product_precision(self) -> Literal["auto", "bf16", "fp32"]:
        """Number format of the products that read token states: the model's own, or ``auto`` when the model is in int8."""
        return "auto" if self.precision == "int8" else self.precision

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("model is empty. Name a model, a folder of a model, or a folder of precomputed states.")
        if self.max_length is not None and self.overlap * 2 >= self.max_length and self.long == "window":
            raise ConfigError(
                f"overlap is {self.overlap} and max_length is {self.max_length}: "
                "the overlap must be less than half of the window. Lower overlap."
            )
