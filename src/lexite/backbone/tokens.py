"""From texts to the token sequences that go through a model: prompts, special tokens, windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from lexite.backbone.windows import Window, split_windows
from lexite.errors import BackboneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = npt.NDArray[np.int64]
_PROBES = ("a", "the", "1", "A")


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence for the model.

    Attributes:
        text: number of the text it comes from.
        ids: ``(length,)`` token ids, special tokens and prompt included.
        keep: positions in ``ids`` whose states belong to the text, rising.
        prompt_length: tokens before the content: leading special tokens and the prompt.
        unknown: tokens of the text in this sequence that the tokenizer does not know and that are left out.
    """

    text: int
    ids: Ids
    keep: npt.NDArray[np.intp]
    prompt_length: int
    unknown: int = 0


@dataclass(frozen=True)
class TokenPolicy:
    """What is done with the tokens of a text.

    Attributes:
        window: tokens in one sequence, special tokens included.
        long: ``"window"`` splits a longer text, ``"truncate"`` cuts it.
        overlap: tokens that neighbouring windows share.
        prompt: text put before each text, ``""`` for none.
        keep_special: whether special tokens count.
        keep_prompt: whether the prompt's tokens count.
        skipped_ids: further ids that never count (a late-interaction model's skip list).
    """

    window: int
    long: Literal["window", "truncate"]
    overlap: int
    prompt: str
    keep_special: bool
    keep_prompt: bool
    skipped_ids: tuple[int, ...] = ()


class TextTokenizer:
    """A tokenizer with its fixed frame of special tokens taken apart.

    Args:
        tokenizer: any tokenizer of transformers.

    Raises:
        BackboneError: the special tokens around a text are not the same for every text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer: Any = tokenizer
        self.special_ids = tuple(sorted({int(i) for i in self.tokenizer.all_special_ids}))
        unknown, pad = self.tokenizer.unk_token_id, self.tokenizer.pad_token_id
        self.unknown_id = None if unknown is None else int(unknown)
        self.pad_id = 0 if pad is None else int(pad)
        self.uses_token_types = "token_type_ids" in self.tokenizer.model_input_names
        self.prefix, self.suffix = self._frame()

    def _frame(self) -> tuple[Ids, Ids]:
        """The special tokens that the tokenizer puts before and after a text."""
        for probe in _PROBES:
            bare, framed = self.tokenizer(probe, add_special_tokens=False)["input_ids"], self.tokenizer(probe)["input_ids"]
            for start in range(len(framed) - len(bare) + 1) if bare else ():
                if framed[start : start + len(bare)] == bare:
                    return _ids(framed[:start]), _ids(framed[start + len(bare) :])
        raise BackboneError("The model's tokenizer changes a text when it adds special tokens, which is not supported.")

    def sequences(self, texts: Sequence[str], policy: TokenPolicy) -> list[TokenSequence]:
        """The sequences of all texts, in order; a text without a token that counts may have none.

        Raises:
            BackboneError: a text is not a string, or the prompt fills the window.
        """
        return self.framings(texts, [policy])[0]

    def framings(self, texts: Sequence[str], policies: Sequence[TokenPolicy]) -> list[list[TokenSequence]]:
        """The sequences of all texts under each of several policies with the same prompt; see :meth:`sequences`."""
        dropped = [self._drop_table(policy) for policy in policies]
        results: list[list[TokenSequence]] = [[] for _ in policies]
        for number, (ids, n_prompt) in enumerate(self._tokenize(texts, policies[0].prompt)):
            for result, policy, table in zip(results, policies, dropped, strict=True):
                result.extend(self._frame_text(number, ids, n_prompt, policy, table))
        return results

    def _tokenize(self, texts: Sequence[str], prompt: str) -> Iterable[tuple[Ids, int]]:
        """Per text, the ids of prompt and text together, and how many of them are the prompt's."""
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise BackboneError(f"Text {number} (counted from 0) is a {type(text).__name__}, not a string.")
        if not texts:
            return
        with_offsets = bool(prompt) and self.tokenizer.is_fast
        encoded = self.tokenizer(
            # A lone surrogate cannot be encoded in UTF-8, so the tokenizer would refuse the whole batch.
            [(prompt + text).encode("utf-8", "replace").decode() for text in texts],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=with_offsets,
            verbose=False,
        )
        alone = self.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"] if prompt else []
        for i, ids in enumerate(encoded["input_ids"]):
            if with_offsets:
                # A piece that reaches into the text (a word piece with its space, say) is the text's.
                ends = np.asarray(encoded["offset_mapping"][i], dtype=np.int64).reshape(-1, 2)[:, 1]
                outside = np.flatnonzero(ends > len(prompt))
                yield _ids(ids), int(outside[0]) if len(outside) else len(ids)
            else:
                yield _ids(ids), _common_prefix(alone, ids)

    def _drop_table(self, policy: TokenPolicy) -> npt.NDArray[np.bool_]:
        """For each id, whether its states are left out."""
        dropped = list(policy.skipped_ids) + ([] if policy.keep_special else list(self.special_ids))
        table = np.zeros(max([len(self.tokenizer), self.tokenizer.vocab_size, *dropped, *self.special_ids]) + 1, dtype=np.bool_)
        table[np.asarray(dropped, dtype=np.int64)] = True
        return table

    def _frame_text(
        self, number: int, ids: Ids, n_prompt: int, policy: TokenPolicy, dropped: npt.NDArray[np.bool_]
    ) -> list[TokenSequence]:
        room = policy.window - len(self.prefix) - len(self.suffix)
        if policy.long == "truncate" and len(ids) > room:
            ids = ids[-room:] if self.tokenizer.truncation_side == "left" else ids[: max(room, 0)]
            n_prompt = min(n_prompt, len(ids))
        prompt, content = ids[:n_prompt], ids[n_prompt:]
        if len(prompt) >= room:
            raise BackboneError(
                f"Special tokens and a prompt of {n_prompt} tokens leave no room for a text in a window of {policy.window}. "
                "Shorten the prompt or raise max_length."
            )
        # A text without content still makes one sequence: its special tokens may count, and the dense model pools them.
        windows = split_windows(len(content), room - len(prompt), policy.overlap) or [Window(0, 0, 0, 0)]
        result = []
        for i, (start, stop, keep_start, keep_stop) in enumerate(windows):
            sequence = np.concatenate([self.prefix, prompt, content[start:stop], self.suffix])
            before = len(self.prefix) + len(prompt)
            keep = np.zeros(len(sequence), dtype=np.bool_)
            keep[before + keep_start - start : before + keep_stop - start] = True
            unknown = 0
            if self.unknown_id is not None and dropped[self.unknown_id]:
                unknown = int(np.count_nonzero(content[keep_start:keep_stop] == self.unknown_id))
            keep[: len(self.prefix)] = policy.keep_special and i == 0
            keep[len(self.prefix) : before] = policy.keep_prompt and i == 0
            keep[len(sequence) - len(self.suffix) :] = policy.keep_special and i == len(windows) - 1
            result.append(TokenSequence(number, sequence, np.flatnonzero(keep & ~dropped[sequence]), before, unknown))
        return result

    def describe(self, token_id: int) -> str:
        """The word piece of an id as the tokenizer writes it; ``"?"`` for an id it does not have."""
        if token_id < 0:
            return "?"
        try:
            piece = self.tokenizer.convert_ids_to_tokens(int(token_id))
        except (IndexError, OverflowError):
            return "?"
        return piece if isinstance(piece, str) else "?"


def _ids(values: Sequence[int]) -> Ids:
    return np.asarray(values, dtype=np.int64)


def _common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two sequences begin with in common."""
    same = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        same += 1
    return same
