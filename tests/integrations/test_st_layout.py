"""Padded, flattened and packed batches are the same list of tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lexite.errors import ModelError
from lexite.integrations.sentence_transformers.layout import pooled_tokens, prompt_lengths, token_layout

SPECIAL, PROMPT = 1, 2  # a special token at each text's start and end, and two tokens of the prompt behind the first


def make_batches(lengths: list[int], width: int = 3, seed: int = 0):
    """The same texts in each layout: name -> features; the last ones' states and ids are tokens one after the other."""
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randn(n, width, generator=generator) for n in lengths]
    ids = [torch.randint(5, 50, (n,), generator=generator) for n in lengths]
    flat, flat_ids = torch.cat(texts), torch.cat(ids)
    longest = max(lengths) + 1
    layouts = {}
    for side in ("right", "left"):
        states, mask = (
            torch.full((len(lengths), longest, width), torch.nan),
            torch.zeros(len(lengths), longest, dtype=torch.int64),
        )
        padded_ids = torch.zeros(len(lengths), longest, dtype=torch.int64)
        for row, n in enumerate(lengths):
            place = slice(0, n) if side == "right" else slice(longest - n, longest)
            states[row, place], mask[row, place], padded_ids[row, place] = texts[row], 1, ids[row]
        layouts[side] = {"token_embeddings": states, "attention_mask": mask, "input_ids": padded_ids}
    bounds = torch.tensor([0, *torch.tensor(lengths).cumsum(0)], dtype=torch.int32)
    layouts["packed"] = {"token_embeddings": flat[None], "cu_seq_lens_q": bounds, "input_ids": flat_ids[None]}
    layouts["packed flat"] = {"token_embeddings": flat, "cu_seq_lens_q": bounds, "input_ids": flat_ids}
    layouts["packed, padded ids"] = {**layouts["right"], "token_embeddings": flat[None], "cu_seq_lens_q": bounds}
    layouts["flattened"] = {**layouts["left"], "token_embeddings": flat}
    return layouts, flat, flat_ids


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(sum), st.integers(0, 1000))
def test_each_layout_gives_the_same_tokens(lengths: list[int], seed: int) -> None:
    batches, flat, ids = make_batches(lengths, seed=seed)
    texts = [text for text, n in enumerate(lengths) for _ in range(n)]
    positions = [position for n in lengths for position in range(n)]
    special = [int(ids[0])]
    for name, features in batches.items():
        layout = token_layout(features)
        assert layout.n_texts == len(lengths), name
        assert layout.texts.tolist() == texts, name
        assert layout.positions.tolist() == positions, name
        assert torch.equal(layout.gather(features["token_embeddings"]), flat), name
        back = layout.restore(flat)
        kept = ~features["token_embeddings"].isnan()
        assert back.shape == features["token_embeddings"].shape
        assert torch.equal(back[kept], features["token_embeddings"][kept]) and not back[~kept].any(), name
        mask = pooled_tokens({**features, "prompt_length": 2}, layout, special, include_prompt=False)
        assert mask.tolist() == [i not in special and p >= 2 for i, p in zip(ids.tolist(), positions, strict=True)], name


def test_prompt_and_special_tokens_count_where_they_are_asked_for() -> None:
    batches, _, ids = make_batches([4, 3])
    for length in (2, torch.tensor(2), torch.tensor([2]), torch.tensor([2, 2]), torch.tensor([[2], [2]])):
        for features in batches.values():
            layout = token_layout(features)
            features = {**features, "prompt_length": length}
            assert pooled_tokens(features, layout, (), include_prompt=True).all()
            assert pooled_tokens(features, layout, (), include_prompt=False).tolist() == [False, False, True, True] + [
                False
            ] * 2 + [True]
            without = pooled_tokens(features, layout, [int(ids[3])], include_prompt=True)
            assert without.tolist() == [int(i) != int(ids[3]) for i in ids]
    each = {**batches["left"], "prompt_length": torch.tensor([1, 3])}
    assert pooled_tokens(each, token_layout(each), (), include_prompt=False).tolist() == [False, True, True, True] + [False] * 3


def test_places_count_from_the_first_attended_token_over_gaps() -> None:
    """As the library's own pooling leaves out a prompt whose tokens are partly masked."""
    mask = torch.tensor([[0, 1, 0, 1, 1]])
    padded = {"token_embeddings": torch.zeros(1, 5, 2), "attention_mask": mask}
    flattened = {"token_embeddings": torch.zeros(3, 2), "attention_mask": mask}
    assert token_layout(padded).positions.tolist() == token_layout(flattened).positions.tolist() == [0, 2, 3]


def test_a_batch_without_a_mask_that_fits_is_all_tokens() -> None:
    states = torch.zeros(2, 3, 4)
    for mask in (None, torch.ones(2, 5)):
        layout = token_layout({"token_embeddings": states, "attention_mask": mask})
        assert layout.texts.tolist() == [0, 0, 0, 1, 1, 1]
    assert token_layout({"token_embeddings": states[0]}).n_texts == 1


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"token_embeddings": torch.zeros(3)}, "must have the shape"),
        ({"token_embeddings": torch.zeros(1, 3, 2), "cu_seq_lens_q": torch.tensor([0, 4])}, "holds 3 tokens, but .* have 4"),
        ({"token_embeddings": torch.zeros(3, 2), "cu_seq_lens_q": torch.tensor([0, 4, 3])}, "holds 3 tokens"),
        ({"token_embeddings": torch.zeros(3, 2), "attention_mask": torch.ones(2, 2)}, "holds 3 tokens, but .* have 4"),
    ],
)
def test_a_batch_that_does_not_fit_its_own_numbers_is_refused(features, message) -> None:
    with pytest.raises(ModelError, match=message):
        token_layout(features)


def test_ids_that_do_not_fit_are_refused() -> None:
    features = {"token_embeddings": torch.zeros(3, 2), "cu_seq_lens_q": torch.tensor([0, 3]), "input_ids": torch.zeros(1, 7)}
    with pytest.raises(ModelError, match="7 input_ids for 3 tokens"):
        pooled_tokens(features, token_layout(features), [1], include_prompt=True)


@pytest.mark.parametrize("name", ["right", "left", "packed", "packed flat"])
def test_a_prompt_ends_where_its_tokens_do(name: str) -> None:
    batches, _, _ = make_batches([5, 4, 2, 3])
    features = batches[name]
    layout = token_layout(features)
    features["input_ids"].reshape(-1)[layout.places] = torch.tensor([1, 7, 8, 20, 3] + [1, 7, 21, 3] + [1, 7] + [9, 7, 8])
    lengths = prompt_lengths(features, torch.tensor([1, 7, 8]))
    assert lengths.tolist() == [3, 2, 3, 0]  # the third text is shorter than the prompt, all of it is the prompt's


def test_tokens_without_a_slot_keep_their_number() -> None:
    values = torch.zeros(2, 3, 0)
    layout = token_layout({"token_sparse_values": values}, "token_sparse_values")
    assert layout.gather(values).shape == (6, 0)
    assert layout.restore(layout.gather(values)).shape == values.shape
