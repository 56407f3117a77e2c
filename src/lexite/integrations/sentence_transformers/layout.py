"""Which tokens of a batch belong to which text, however the batch is laid out.

Three layouts occur in sentence-transformers: padded on the right or on the left, ``(texts, length, d)``; packed, ``(1, tokens,
d)`` or ``(tokens, d)`` with ``cu_seq_lens_q``; and flattened, ``(tokens, d)``, the attended tokens of a mask one after the
other. All become the same list of attended tokens here, so that what follows never looks at padding or loops over texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lexite.errors import ModelError


@dataclass(frozen=True, slots=True)
class TokenLayout:
    """The attended tokens of a batch, in the order of the texts.

    Attributes:
        n_texts: number of texts, those without a token included.
        places: (n,) int64 place of each token in the flattened batch, padding included.
        texts: (n,) int64 text of each token, ascending.
        positions: (n,) int64 position of each token within its text, counted from its first attended token.
        shape: leading shape of the batch's tensors, ``(texts, length)``, ``(1, tokens)`` or ``(tokens,)``.
    """

    n_texts: int
    places: torch.Tensor
    texts: torch.Tensor
    positions: torch.Tensor
    shape: tuple[int, ...]

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The attended tokens' rows, (n, ...), of a tensor ``(*shape, ...)``."""
        rows = tensor.flatten(0, len(self.shape) - 1)  # not reshape, which cannot infer the number of rows of width 0
        return rows if len(self.places) == len(rows) else rows[self.places]

    def restore(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (n, ...) in the batch's own layout ``(*shape, ...)``, zeros where there is padding."""
        total = torch.Size(self.shape).numel()
        if len(rows) != total:
            rows = rows.new_zeros(total, *rows.shape[1:]).index_copy(0, self.places, rows)
        return rows.reshape(*self.shape, *rows.shape[1:])


def token_layout(features: Mapping[str, Any], key: str = "token_embeddings") -> TokenLayout:
    """Reads the layout of a batch.

    Args:
        features: features of the batch; ``cu_seq_lens_q`` marks a packed batch, ``attention_mask`` marks padding.
        key: name of the tensor whose layout is read, ``(*shape, width)``.

    Raises:
        ModelError: the tensor has another rank, or is longer or shorter than the batch says.
    """
    tensor: torch.Tensor = features[key]
    if tensor.ndim not in (2, 3):
        raise ModelError(f"'{key}' must have the shape (texts, length, width) or (tokens, width), not {tuple(tensor.shape)}.")
    shape = tuple(tensor.shape[:-1])
    bounds = features.get("cu_seq_lens_q")
    if bounds is not None:
        return _packed(bounds.to(tensor.device, torch.int64), shape, key)
    mask = features.get("attention_mask")
    if tensor.ndim == 3:
        fits = mask is not None and tuple(mask.shape) == shape
        return _padded(mask if fits and mask is not None else torch.ones(shape, device=tensor.device), shape)
    if mask is None or mask.ndim != 2:
        return _packed(torch.tensor([0, shape[0]], device=tensor.device), shape, key)
    return _flattened(_padded(mask.to(tensor.device), tuple(mask.shape)), shape, key)


def _packed(bounds: torch.Tensor, shape: tuple[int, ...], key: str) -> TokenLayout:
    lengths = bounds.diff()
    n = torch.Size(shape).numel()
    if int(bounds[-1]) != n or int(bounds[0]) != 0 or bool((lengths < 0).any()):
        raise ModelError(f"'{key}' holds {n} tokens, but the batch says that its texts have {int(bounds[-1])}.")
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=bounds.device), lengths, output_size=n)
    places = torch.arange(n, device=bounds.device)
    return TokenLayout(len(lengths), places, texts, places - bounds[:-1][texts], shape)


def _flattened(padded: TokenLayout, shape: tuple[int, ...], key: str) -> TokenLayout:
    """The layout of flattened tokens: the attended tokens of a mask, one after the other."""
    n = len(padded.places)
    if n != shape[0]:
        raise ModelError(f"'{key}' holds {shape[0]} tokens, but the batch says that its texts have {n}.")
    return replace(padded, places=torch.arange(n, device=padded.places.device), shape=shape)


def _padded(mask: torch.Tensor, shape: tuple[int, ...]) -> TokenLayout:
    attended = mask.bool()
    texts, columns = attended.nonzero(as_tuple=True)
    first = attended.int().argmax(1) if shape[1] else texts
    return TokenLayout(shape[0], texts * shape[1] + columns, texts, columns - first[texts], shape)


def pooled_tokens(
    features: Mapping[str, Any], layout: TokenLayout, special_ids: Sequence[int], include_prompt: bool
) -> torch.Tensor:
    """Which attended tokens become terms of their text, (n,) bool.

    Args:
        features: features of the batch. ``input_ids`` tell special tokens. ``prompt_length`` is the number of tokens at the
            start of a text that belong to the prompt, [CLS] and the like included: one number, or a tensor with one for each
            text.
        layout: layout of the batch.
        special_ids: token ids that are left out.
        include_prompt: whether tokens of the prompt count.

    Raises:
        ModelError: there are more or fewer ``input_ids`` than tokens.
    """
    kept = torch.ones(len(layout.places), dtype=torch.bool, device=layout.places.device)
    if special_ids and features.get("input_ids") is not None:
        ids = attended_ids(features, layout)
        kept &= ~torch.isin(ids, torch.tensor(list(special_ids), device=ids.device))
    if not include_prompt and features.get("prompt_length") is not None:
        lengths = torch.as_tensor(features["prompt_length"], device=kept.device).reshape(-1)
        kept &= layout.positions >= (lengths[layout.texts] if len(lengths) == layout.n_texts else lengths[0])
    return kept


def attended_ids(features: Mapping[str, Any], layout: TokenLayout) -> torch.Tensor:
    """Ids of the attended tokens, (n,); the batch may hold them in another layout than the states.

    Raises:
        ModelError: there are more or fewer ids than tokens.
    """
    ids: torch.Tensor = features["input_ids"].to(layout.places.device)
    mask = features.get("attention_mask")
    if ids.numel() == torch.Size(layout.shape).numel():
        return ids.reshape(-1)[layout.places]
    if mask is not None and mask.shape == ids.shape:  # flattened states of a padded batch: the ids still have their padding
        ids = ids[mask.to(ids.device).bool()]
    if ids.numel() != len(layout.places):
        raise ModelError(f"The batch has {ids.numel()} input_ids for {len(layout.places)} tokens.")
    return ids.reshape(-1)


def prompt_lengths(features: Mapping[str, Any], prompt: torch.Tensor) -> torch.Tensor:
    """Number of tokens at the start of each text that belong to the prompt, (texts,).

    Args:
        features: features of a tokenized batch, with ``input_ids`` and ``attention_mask`` or ``cu_seq_lens_q``.
        prompt: (length,) ids of the prompt alone, after the special tokens that begin a text.
    """
    ids = features["input_ids"].unsqueeze(-1)
    layout = token_layout({**features, "input_ids": ids}, "input_ids")
    at_prompt = layout.positions < len(prompt)
    expected = prompt.to(ids.device)[layout.positions.clamp(max=len(prompt) - 1)]
    same = at_prompt & (layout.gather(ids).squeeze(-1) == expected)
    ends = torch.where(same, len(prompt), layout.positions.clamp(max=len(prompt)))
    return torch.full((layout.n_texts,), len(prompt), device=ids.device).scatter_reduce(0, layout.texts, ends, "amin")
