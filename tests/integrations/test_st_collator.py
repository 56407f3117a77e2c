"""Batches of a constant number of tokens: nothing of a text is lost, and every process and resume sees the same batches."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset
from hypothesis import given
from hypothesis import strategies as st
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
from torch.utils.data import DataLoader

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder, TokenReconstructionLoss
from lexite.integrations.sentence_transformers.collator import TokenBudgetDataCollator
from lexite.integrations.sentence_transformers.sampler import (
    TokenBudgetBatches,
    TokenBudgetBatchSampler,
    divided,
    evened,
    pack,
)
from lexite.integrations.sentence_transformers.windows import count_tokens, cut_places, token_windows

WINDOW = 32
VOCABULARY = "cat dog bird milk bread river rain snow moon read file json text word list heart blood drug trial".split()


def sentences(n: int, seed: int = 0, longest: int = 120) -> list[str]:
    """Texts of one-token words, so that tokens can be counted by eye."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(VOCABULARY, size=random.integers(1, longest))) for _ in range(n)]


@pytest.fixture(scope="module")
def model(tiny_model: Any) -> LatentTermsSparseEncoder:
    return LatentTermsSparseEncoder.from_dense(str(tiny_model), hidden_dim=64, k=4, dead_after_tokens=100)


@pytest.fixture
def collator(model: LatentTermsSparseEncoder) -> TokenBudgetDataCollator:
    return TokenBudgetDataCollator(model.preprocess, tokens_per_batch=200)


def pooled(model: LatentTermsSparseEncoder, texts: list[str], **options: Any) -> list[int]:
    """Tokens that the model pools of each text, by running it."""
    counts = []
    for text in texts:
        with torch.no_grad():
            counts.append(int(model(model.preprocess([text], **options))["token_mask"].sum()))
    return counts


def test_windows_are_the_text_and_the_model_pools_every_token_once(model, collator):
    texts = [*sentences(12), "  cat\n\ndog  ", "Unknownwordofmanypieces " * 20, "qz" * 45, "été 日本語 🦊🦊 " * 15]
    made = token_windows(Dataset.from_dict({"text": texts}), model, collator)
    for number, text in enumerate(texts):
        own = [row for row in made if row["text_number"] == number]
        assert "".join(row["text"] for row in own) == text
        assert len(own) > 1 or len(text.split()) <= WINDOW - 2
        assert [row["n_tokens"] for row in own] == [[n] for n in pooled(model, [row["text"] for row in own])]
    words = [len(text.split()) for text in texts[:12]]
    counted = [sum(row["n_tokens"][0] for row in made if row["text_number"] == number) for number in range(12)]
    assert counted == words


def test_windows_are_the_fewest_and_about_equally_long(model, collator):
    made = token_windows(Dataset.from_dict({"text": sentences(30, longest=400)}), model, collator)
    by_text: dict[int, list[int]] = {}
    for row in made:
        by_text.setdefault(row["text_number"], []).append(row["n_tokens"][0])
    assert max(len(counts) for counts in by_text.values()) > 5
    for counts in by_text.values():
        assert len(counts) == math.ceil(sum(counts) / (WINDOW - 2)) and max(counts) - min(counts) <= 1


def test_a_prompt_takes_its_room_in_each_window(model):
    collator = TokenBudgetDataCollator(model.preprocess, prompts={"text": "read the text file : "}, tokens_per_batch=200)
    text = " ".join(["milk"] * 100)
    made = token_windows(Dataset.from_dict({"text": [text]}), model, collator)
    assert [row["n_tokens"][0] for row in made] == [25] * 4  # 32 less two special tokens and five of the prompt
    assert pooled(model, [row["text"] for row in made], prompt="read the text file : ") == [25] * 4


def test_max_length_and_a_small_budget_shorten_windows(model):
    text = Dataset.from_dict({"text": [" ".join(["milk"] * 60)]})
    short = TokenBudgetDataCollator(model.preprocess, max_length=12, tokens_per_batch=200)
    assert [row[0] for row in token_windows(text, model, short)["n_tokens"]] == [10] * 6
    small = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=12)
    assert [row[0] for row in token_windows(text, model, small)["n_tokens"]] == [10] * 6


def test_texts_without_a_token_are_left_out_and_reported(model, collator, caplog):
    with caplog.at_level("INFO"):
        made = token_windows(Dataset.from_dict({"text": ["", "cat", "   "]}), model, collator)
    assert made["text"][:] == ["cat"] and made["text_number"][:] == [1]
    assert "2 of 3 texts" in caplog.text


@given(st.lists(st.text("ab c", min_size=1, max_size=6), min_size=1, max_size=40), st.integers(1, 12))
def test_cuts_rise_within_the_text_and_leave_no_piece_above_the_room(pieces, room):
    text = "".join(pieces)
    starts = np.cumsum([0, *map(len, pieces[:-1])])
    bounds = [0, *cut_places(text, starts, room), len(text)]
    assert bounds == sorted(set(bounds))
    if len(pieces) > room:
        counts = [((starts >= a) & (starts < b)).sum() for a, b in zip(bounds, bounds[1:], strict=False)]
        assert max(counts) <= room and sum(counts) == len(pieces)


def test_cuts_fall_before_words_where_there_are_any():
    text = "aa bb cc dd ee ff"
    starts = np.array([0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 15, 16])  # two tokens a word
    assert [text[c - 1] for c in cut_places(text, starts, 5)] == [" "] * len(cut_places(text, starts, 5))
    assert cut_places("abcdefgh", np.arange(8), 3) == [3, 6]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=80), st.integers(20, 60), st.integers(0, 5))
def test_packing_uses_each_row_once_within_the_budget_of_each_column(sizes, budget, n_texts):
    array = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    order = np.random.default_rng(0).permutation(len(sizes))
    batches = pack(array, np.arange(len(sizes)) % (n_texts + 1), order, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(len(sizes)))
    assert all(batch and array[batch].sum(axis=0).max() <= budget for batch in batches)


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=9), min_size=1, max_size=6), st.integers(0, 20))
def test_dividing_keeps_every_row(batches, more):
    n_rows = sum(map(len, batches))
    length = min(len(batches) + more, n_rows)
    made = divided(batches, length)
    assert len(made) == length and all(made)
    assert [row for batch in made for row in batch] == [row for batch in batches for row in batch]


def counted(counts: list[list[int]], texts: list[int] | None = None) -> Dataset:
    columns: dict[str, Any] = {"text": [str(i) for i in range(len(counts))], "n_tokens": counts}
    return Dataset.from_dict(columns | ({} if texts is None else {"text_number": texts}))


def windows_of_many_texts(n: int = 3000) -> Dataset:
    random = np.random.default_rng(1)
    return counted([[int(c)] for c in random.integers(1, 126, size=n)], [int(t) for t in random.integers(0, n // 6, size=n)])


def test_batches_are_full_but_for_the_last_and_of_different_texts():
    dataset = windows_of_many_texts()
    sampler = TokenBudgetBatchSampler(dataset, tokens_per_batch=4096, seed=3)
    sizes, texts = np.array(dataset["n_tokens"][:])[:, 0], np.array(dataset["text_number"][:])
    tokens = [sizes[batch].sum() for batch in sampler]
    assert len(tokens) == len(sampler) and sum(tokens) == sizes.sum()
    assert min(tokens[:-2]) > 0.99 * 4096 and max(tokens) <= 4096 and abs(tokens[-1] - tokens[-2]) < 126
    assert len(sampler) <= math.ceil(sizes.sum() / 4096) + 1

    def repeats(batches: list[list[int]]) -> int:
        return sum(len(batch) - len(set(texts[batch])) for batch in batches)

    drawn = np.array_split(np.random.default_rng(3).permutation(len(dataset)), len(sampler))
    assert repeats(list(sampler)) < repeats(drawn) / 5


def test_every_epoch_has_other_batches_in_the_same_number_and_the_same_seed_the_same():
    dataset = windows_of_many_texts(500)
    sampler, again = (TokenBudgetBatchSampler(dataset, tokens_per_batch=700, seed=5) for _ in range(2))
    epochs = []
    for epoch in range(12):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert len(epochs[-1]) == len(sampler)
        assert sorted(row for batch in epochs[-1] for row in batch) == list(range(500))
    assert len({str(batches) for batches in epochs}) == 12
    torch.manual_seed(123)  # global random numbers do not matter
    again.set_epoch(7)
    assert list(again) == epochs[7]
    assert list(TokenBudgetBatchSampler(dataset, tokens_per_batch=700, seed=6)) != epochs[0]


def test_processes_get_the_same_number_of_batches(monkeypatch):
    dataset = windows_of_many_texts(200)
    one = TokenBudgetBatchSampler(dataset, tokens_per_batch=900)
    monkeypatch.setattr("lexite.integrations.sentence_transformers.sampler._processes", lambda: 4)
    four = TokenBudgetBatchSampler(dataset, tokens_per_batch=900)
    assert len(four) == math.ceil(len(one) / 4) * 4 and four.batch_size is None
    assert sorted(row for batch in four for row in batch) == list(range(200))
    monkeypatch.setattr("lexite.integrations.sentence_transformers.sampler._processes", lambda: 201)
    with pytest.raises(ArgumentError, match="200 rows are too few for batches in 201 process"):
        TokenBudgetBatchSampler(dataset, tokens_per_batch=900)


def test_the_last_two_batches_share_what_remains_and_nothing_is_left_out():
    dataset = counted([[10]] * 23)
    for drop_last in (False, True):  # which the trainer sets in several processes
        sampler = TokenBudgetBatchSampler(dataset, tokens_per_batch=100, drop_last=drop_last)
        assert sorted(len(batch) for batch in sampler) == [6, 7, 10]
    assert evened([[0, 1], [2]], np.array([[6], [6], [6]]), 12) == [[0, 2], [1]]
    assert evened([[0, 1, 2], [3, 4]], np.array([[4], [4], [4], [6], [6]]), 12) == [[0, 1, 2], [3, 4]]  # full ones stay


@pytest.mark.slow
def test_whole_rows_of_several_columns_keep_each_column_within_the_budget(model):
    anchors, positives = sentences(40, 1, longest=8), sentences(40, 2, longest=60)
    dataset = Dataset.from_dict({"anchor": anchors, "positive": positives, "label": [0.5] * 40})
    collator = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=90, prompts={"anchor": "read : "})
    made = count_tokens(dataset, model, collator)
    expected = zip(pooled(model, anchors, prompt="read : "), pooled(model, positives), strict=True)
    assert made["n_tokens"][:] == [list(pair) for pair in expected]
    assert made.remove_columns("n_tokens")[:] == dataset[:]
    seen = []
    for rows in collator.batch_sampler(made):
        batch = collator([made[row] for row in rows])
        assert set(batch["label"].tolist()) == {0.5} and not [key for key in batch if key.startswith("n_tokens")]
        assert batch["positive_input_ids"].shape[0] == batch["anchor_input_ids"].shape[0] == len(rows)
        with torch.no_grad():
            masks = [
                model({key.removeprefix(f"{name}_"): batch[key] for key in batch if key.startswith(name)})["token_mask"]
                for name in ("anchor", "positive")
            ]
        assert max(int(mask.sum()) for mask in masks) <= 90
        seen += rows
    assert sorted(seen) == list(range(40))


def test_features_are_the_parents_with_prompts_and_router_mapping(model):
    from sentence_transformers.sparse_encoder.data_collator import SparseEncoderDataCollator

    options = {"prompts": {"query": "read : "}, "router_mapping": {"query": "query", "answer": "document"}}
    rows = [{"query": "milk", "answer": "cat dog"}, {"query": "bread rain", "answer": "moon"}]
    made = TokenBudgetDataCollator(model.preprocess, **options)([{**row, "n_tokens": [1, 2], "text_number": 0} for row in rows])
    expected = SparseEncoderDataCollator(model.preprocess, **options)(rows)
    assert made.keys() == expected.keys() and made["query_task"] == "query"
    for key, value in expected.items():
        assert torch.equal(made[key], value) if isinstance(value, torch.Tensor) else made[key] == value


def test_a_task_has_its_own_tokens_left_out_when_they_are_counted(model):
    collator = TokenBudgetDataCollator(model.preprocess, router_mapping={"anchor": "query"})
    milk = model.tokenizer("milk", add_special_tokens=False)["input_ids"]
    model.token_pooling.skipped_ids = {"query": milk}
    try:
        made = count_tokens(Dataset.from_dict({"anchor": ["milk cat milk"], "positive": ["milk cat"]}), model, collator)
    finally:
        model.token_pooling.skipped_ids = None
    assert made["n_tokens"][:] == [[1, 2]]


@pytest.mark.slow
def test_workers_change_nothing(model, collator):
    made = token_windows(Dataset.from_dict({"text": sentences(40)}), model, collator)
    batches = [
        [batch["text_input_ids"] for batch in DataLoader(made, batch_sampler=collator.batch_sampler(made, seed=1), **options)]
        for options in ({"collate_fn": collator}, {"collate_fn": collator, "num_workers": 2})
    ]
    assert len(batches[0]) == len(batches[1]) > 3
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


def trainer_by_budget(
    model: LatentTermsSparseEncoder, collator: TokenBudgetDataCollator, folder: Path, data: Any, eval_data: Any, **options: Any
) -> SparseEncoderTrainer:
    settings: dict[str, Any] = {
        "num_train_epochs": 2, "per_device_eval_batch_size": 3, "report_to": "none", "save_strategy": "no", "use_cpu": True,
        "logging_strategy": "epoch", "eval_strategy": "epoch", "disable_tqdm": True, **options,
    }  # fmt: skip
    arguments = SparseEncoderTrainingArguments(str(folder), batch_sampler=collator.batch_sampler, **settings)
    own = copy.deepcopy(model)
    return SparseEncoderTrainer(own, arguments, data, eval_data, TokenReconstructionLoss(own), data_collator=collator)


def test_a_prepared_training_evaluates_texts_that_are_not_prepared(model, collator, tmp_path, caplog):
    plain = Dataset.from_dict({"text": sentences(7, seed=9, longest=20)})
    prepared = token_windows(Dataset.from_dict({"text": sentences(12)}), model, collator)
    sizes: list[int] = []
    made = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=200)
    made.preprocess_fn = lambda texts, **options: (sizes.append(len(texts)), model.preprocess(texts, **options))[1]
    evaluations = {"plain": plain, "prepared": prepared, "again": plain}
    trainer = trainer_by_budget(
        model, made, tmp_path, prepared, evaluations, save_strategy="epoch", eval_on_start=True, num_train_epochs=1
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "eval_plain_loss" in entry or "eval_again_loss" in entry]
    assert len(logged) == 4, "each of the plain ones at the start and after the epoch"
    assert sizes.count(3) >= 8 and sizes.count(1) >= 4, "seven rows by three"
    assert trainer.state.log_history[-1].keys() >= {"train_loss"}
    said = [record for record in caplog.records if "batches are of 3 rows" in record.getMessage()]
    assert len(said) == 1 and said[0].levelname == "WARNING" and "token_windows or count_tokens" in said[0].getMessage()


def test_a_training_set_that_is_not_prepared_is_refused_before_the_first_step(model, collator, tmp_path):
    plain = Dataset.from_dict({"text": sentences(7)})
    prepared = token_windows(plain, model, collator)
    for data in (plain, {"plain": plain, "prepared": prepared}, {"prepared": prepared, "plain": plain}):
        trainer = trainer_by_budget(model, collator, tmp_path, data, prepared)
        with pytest.raises(ArgumentError, match=r"no column 'n_tokens'.*token_windows\(dataset, model, collator\)"):
            trainer.train()
        assert trainer.state.global_step == 0


def test_what_makes_batches_is_saved_with_the_arguments_and_starts_anew():
    generators = [torch.Generator() for _ in range(2)]
    made = TokenBudgetBatches(tokens_per_batch=30)
    made(counted([[10]] * 5), generator=generators[0])
    plain = Dataset.from_dict({"text": list("abcdefg")})
    rows = made(plain, 4, generator=generators[1])
    assert len(rows) == 2 and sorted(row for batch in rows for row in batch) == list(range(7))
    assert [len(batch) for batch in made(plain, 4, True, generator=generators[1])] == [4]
    again = pickle.loads(pickle.dumps(made))
    assert max(map(len, again(counted([[10]] * 5)))) == 3
    with pytest.raises(ArgumentError, match="n_tokens"):
        pickle.loads(pickle.dumps(made))(plain, 4, generator=generators[1])


def test_mistakes_are_answered_with_what_to_do(model, collator):
    with pytest.raises(ConfigError, match="tokens_per_batch is 0"):
        TokenBudgetDataCollator(model.preprocess, tokens_per_batch=0)
    with pytest.raises(ConfigError, match="tokens_per_batch is 0"):
        TokenBudgetBatchSampler(counted([[1]]), tokens_per_batch=0)
    with pytest.raises(ArgumentError, match="token_windows"):
        TokenBudgetBatchSampler(Dataset.from_dict({"text": ["a"]}))
    with pytest.raises(ArgumentError, match="Row 1 .* 300 tokens"):
        TokenBudgetBatchSampler(counted([[1], [300]]), tokens_per_batch=200)
    with pytest.raises(ArgumentError, match=r"holds 201 tokens.*batch_sampler=collator\.batch_sampler"):
        collator([{"text": "cat", "n_tokens": [100]}, {"text": "dog", "n_tokens": [101]}])
    with pytest.raises(ArgumentError, match="count_tokens"):
        token_windows(Dataset.from_dict({"a": ["x"], "b": ["y"]}), model, collator)
    stream = IterableDataset.from_generator(lambda: iter([{"text": "cat"}]))
    with pytest.raises(ArgumentError, match="not IterableDataset.*from_generator"):
        token_windows(stream, model, collator)
    with pytest.raises(ArgumentError, match="no column of texts"):
        count_tokens(Dataset.from_dict({"label": [1]}), model, collator)
    with pytest.raises(ArgumentError, match="no rows"):
        token_windows(Dataset.from_dict({"text": []}), model, collator)
    wordy = TokenBudgetDataCollator(model.preprocess, prompts="milk " * 40)
    with pytest.raises(ArgumentError, match="Shorten the prompt"):
        token_windows(Dataset.from_dict({"text": ["cat"]}), model, wordy)
