"""Callbacks in real trainings: k, dead latents and BM25 are what plain counting says, also after interruptions and resumes."""

from __future__ import annotations

import copy
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
from transformers import TrainerCallback

from lexite.errors import ArgumentError, ConfigError
from lexite.integrations.sentence_transformers import BM25InformationRetrievalEvaluator, LatentTermsSparseEncoder
from lexite.integrations.sentence_transformers.callbacks import (
    BM25ProbeCallback,
    DeadLatentsCallback,
    KAnnealingCallback,
    SamplerEpochCallback,
)
from lexite.integrations.sentence_transformers.collator import TokenBudgetDataCollator
from lexite.integrations.sentence_transformers.windows import token_windows

WORDS = "cat dog bird milk bread river rain snow moon read file json text word list heart blood drug trial".split()
K, START, N_LATENTS = 2, 12, 64


def texts(n: int = 40, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(3, 60))) for _ in range(n)]


class Reconstruction(torch.nn.Module):
    """A loss of two terms, small enough to see through; it notes what it saw."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.seen: list[tuple[int, int, Any]] = []

    def forward(self, sentence_features: Any, labels: Any = None) -> dict[str, torch.Tensor]:
        from lexite.integrations.sentence_transformers.preparation import own_modules

        (features,) = (dict(part) for part in sentence_features)
        output = self.model(features)
        encoder, mask = own_modules(self.model)[0], output["token_mask"]
        indices = output["sae_token_indices"][mask]
        if encoder.training:
            encoder.count(indices)
            ids = output["input_ids"].sum().item(), output["input_ids"].shape[0]
            self.seen.append((indices.shape[1], int(mask.sum()), ids))
        error = (output["sae_output_decoded"] - output["sae_input_normalized"])[mask].square().mean()
        return {"error": error, "size": 0.01 * output["sae_token_values"].mean()}


def make_model(folder: Any, **options: Any) -> LatentTermsSparseEncoder:
    options = {"hidden_dim": N_LATENTS, "k": K, "dead_after_tokens": 400, **options}
    return LatentTermsSparseEncoder.from_dense(str(folder), **options)


@pytest.fixture
def model(tiny_model: Path) -> LatentTermsSparseEncoder:
    return make_model(tiny_model)


def make_trainer(model: Any, folder: Path, callbacks: list[TrainerCallback], **options: Any) -> Any:
    collator = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=150)
    data = token_windows(Dataset.from_dict({"text": texts()}), model, collator)
    settings: dict[str, Any] = {"max_steps": 10, "save_strategy": "no", "logging_steps": 2, "report_to": "none"} | options
    args = SparseEncoderTrainingArguments(
        str(folder), batch_sampler=collator.batch_sampler, use_cpu=True, disable_tqdm=True, learning_rate=1e-3, **settings
    )
    loss = Reconstruction(model)
    trainer = SparseEncoderTrainer(model, args, data, loss=loss, data_collator=collator, callbacks=callbacks)
    return trainer, loss


def lowered(step: int, n_steps: int, share: float = 0.7) -> int:
    """k as CSRv2 lowers it, once more."""
    return K if step >= share * n_steps else round(START + (K - START) * step / (share * n_steps))


@pytest.mark.slow
def test_k_is_lowered_in_training_alone(model, tmp_path):
    seen: list[tuple[int, int]] = []

    class Look(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            with torch.no_grad():
                evaluated = model.eval()(model.preprocess(["cat dog"]))["token_sparse_values"].shape[-1]
            model.train()
            seen.append((model.token_encoder.k, evaluated))

    trainer, loss = make_trainer(model, tmp_path, [KAnnealingCallback(START), Look()], gradient_accumulation_steps=2)
    trainer.train()
    ks = [k for k, _, _ in loss.seen]
    assert ks == [lowered(step, 10) for step in range(10) for _ in range(2)]
    assert ks[0] == START and ks[-6:] == [K] * 6
    assert seen == [(K, K)] * 10
    assert model.token_encoder.k == K and not model.token_encoder._forward_pre_hooks


def test_the_k_of_queries_is_lowered_to_its_own(tiny_model, tmp_path):
    model = make_model(tiny_model, query_k=1)
    callback = KAnnealingCallback(START, share=1.0)
    seen = []
    model.token_encoder.register_forward_hook(lambda module, inputs, outputs: seen.append((module.k, module.query_k)))
    trainer, _ = make_trainer(model, tmp_path, [callback], max_steps=5)
    trainer.train()
    # This hook came before the callback's own, so it sees k before it is put back.
    assert seen == [(round(START - (START - K) * t / 5), round(START - (START - 1) * t / 5)) for t in range(5)]
    assert (model.token_encoder.k, model.token_encoder.query_k) == (K, 1)


def test_checkpoints_name_the_final_k(model, tmp_path):
    trainer, _ = make_trainer(model, tmp_path, [KAnnealingCallback(START)], save_strategy="steps", save_steps=3)
    trainer.train()
    for step in (3, 6, 9):
        assert LatentTermsSparseEncoder(str(tmp_path / f"checkpoint-{step}"), device="cpu").token_encoder.k == K


def test_an_interrupted_training_leaves_the_final_k(model, tmp_path):
    class Interrupt(TrainerCallback):
        def on_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 2:
                raise KeyboardInterrupt

    trainer, loss = make_trainer(model, tmp_path, [KAnnealingCallback(START), Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert loss.seen[-1][0] == lowered(2, 10) and model.token_encoder.k == K
    model.save(str(tmp_path / "saved"))
    assert json.loads((tmp_path / "saved" / "1_SparseAutoEncoderTokenEncoder" / "config.json").read_text())["k"] == K
    again = pickle.loads(pickle.dumps(copy.deepcopy(model)))  # a copy has nothing of the training
    again.train()
    assert again(again.preprocess(["cat"]))["token_sparse_values"].shape[-1] == K
    trainer, loss = make_trainer(model, tmp_path, [KAnnealingCallback(8)], max_steps=2)
    trainer.train()
    assert [k for k, _, _ in loss.seen] == [8, 4] and model.token_encoder.k == K


def test_an_exception_in_the_forward_pass_leaves_the_final_k(model, tmp_path):
    trainer, _ = make_trainer(model, tmp_path, [KAnnealingCallback(START)])
    model.token_encoder._train = lambda *args: (_ for _ in ()).throw(RuntimeError("no memory"))
    with pytest.raises(RuntimeError, match="no memory"):
        trainer.train()
    assert model.token_encoder.k == K


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(tiny_model, tmp_path):
    options: dict[str, Any] = {"max_steps": 16, "save_strategy": "steps", "save_steps": 7, "gradient_accumulation_steps": 2}
    callbacks = [KAnnealingCallback(START), DeadLatentsCallback(), SamplerEpochCallback()]
    whole = make_model(tiny_model)
    trainer, loss = make_trainer(whole, tmp_path / "whole", callbacks, **options)
    trainer.train()
    assert trainer.state.epoch > 2  # so that the checkpoint is within an epoch that is not the first
    for step in (7, 14):
        resumed = make_model(tiny_model, seed=1)  # other weights, which the checkpoint replaces
        trainer, second = make_trainer(resumed, tmp_path / f"resumed{step}", [*callbacks], **options)
        trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert second.seen == loss.seen[2 * step :] and len(second.seen) == 2 * (16 - step)
        for (name, one), (_, other) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
            assert torch.equal(one, other), name
        assert resumed.token_encoder.k == K


@pytest.mark.slow
def test_every_step_has_the_budgets_tokens_and_an_epoch_every_token(model, tmp_path):
    trainer, loss = make_trainer(model, tmp_path, [], max_steps=-1, num_train_epochs=2)
    trainer.train()
    tokens = [n for _, n, _ in loss.seen]
    length = len(tokens) // 2
    assert sum(tokens[:length]) == sum(tokens[length:]) == sum(len(text.split()) for text in texts())
    assert max(tokens) <= 150 and min(tokens[: length - 2]) > 0.9 * 150
    assert loss.seen[:length] != loss.seen[length:]


def test_each_term_of_a_loss_is_logged_by_the_trainer_itself(model, tmp_path):
    trainer, _ = make_trainer(model, tmp_path, [], max_steps=4)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(entries) == 2
    for entry in entries:
        assert entry["error"] + entry["size"] == pytest.approx(entry["loss"], abs=2e-4)


@pytest.mark.parametrize("through_trainer", [True, False])
def test_dead_latents_are_logged_with_the_loss(model, tmp_path, caplog, through_trainer):
    callback = DeadLatentsCallback(warn_above=0.05)
    reported: list[dict[str, float]] = []

    class Report(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            reported.append(dict(logs))

    trainer, _ = make_trainer(model, tmp_path, [Report(), *([] if through_trainer else [callback])], max_steps=8)
    if through_trainer:
        callback.add_to(trainer)
    shares, since = [], np.zeros(N_LATENTS)
    original = model.token_encoder.count

    def count(indices: torch.Tensor, mask: Any = None) -> None:
        original(indices, mask)
        since[:] += len(indices)
        since[indices[indices >= 0].unique()] = 0
        shares.append(float((since >= 400).mean()))

    model.token_encoder.count = count
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "dead_latents" in entry]
    assert [entry["step"] for entry in entries] == [2, 4, 6, 8]
    assert [entry["dead_latents"] for entry in entries] == pytest.approx(shares[1::2], abs=1e-6) and shares[-1] > 0.05
    assert len([entry for entry in trainer.state.log_history if "loss" in entry]) == 4
    assert any("dead_latents" in logs for logs in reported) == through_trainer
    assert caplog.text.count("of the latents were not active in the last 400 tokens") == 1


COLLECTION: dict[str, Any] = {
    "queries": {"q1": "cat milk", "q2": "rain river", "q3": "json file"},
    "corpus": {f"d{i}": text for i, text in enumerate(texts(20, seed=5))},
    "relevant_docs": {"q1": {"d1", "d4"}, "q2": {"d2"}, "q3": {"d3", "d7"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("through_trainer", [True, False])
def test_the_probe_logs_bm25_and_changes_nothing_of_the_training(tiny_model, tmp_path, through_trainer):
    plain = make_model(tiny_model)
    trainer, loss = make_trainer(plain, tmp_path, [])
    trainer.train()
    model = make_model(tiny_model)
    probe = BM25ProbeCallback(**COLLECTION, every_steps=4)
    trainer, probed = make_trainer(model, tmp_path, [] if through_trainer else [probe])
    if through_trainer:
        probe.add_to(trainer)
    trainer.train()
    assert probed.seen == loss.seen and model.training == plain.training
    for one, other in zip(plain.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    entries = [entry for entry in trainer.state.log_history if "probe_bm25_ndcg@10" in entry]
    assert [entry["step"] for entry in entries] == [0, 4, 8, 10]
    assert len([entry for entry in trainer.state.log_history if "loss" in entry]) == 5
    evaluator = BM25InformationRetrievalEvaluator(**COLLECTION)
    for entry, state in ((entries[0], make_model(tiny_model)), (entries[-1], model)):
        assert entry["probe_bm25_ndcg@10"] == pytest.approx(evaluator(state)["bm25_ndcg@10"], abs=1e-6)


def test_the_probe_measures_on_the_first_process_with_the_final_k(model, tmp_path):
    measured = []

    class Evaluator:
        primary_metric = "metric"

        def __call__(self, model, output_path=None, epoch=-1, steps=-1):
            measured.append((steps, model.training, model.token_encoder.k))
            return {"metric": 0.5}

    probe = BM25ProbeCallback(evaluator=Evaluator(), every_steps=5)
    trainer, _ = make_trainer(model, tmp_path, [KAnnealingCallback(START), probe])
    trainer.train()
    assert measured == [(0, False, K), (5, False, K), (10, False, K)]
    trainer.state.is_world_process_zero = False
    probe.on_step_end(trainer.args, trainer.state, trainer.control, model=model)
    assert len(measured) == 3


def test_modes_are_put_back_when_the_probe_fails(model, tmp_path):
    def fail(*args, **kwargs):
        raise RuntimeError("evaluation failed")

    trainer, _ = make_trainer(model, tmp_path, [])
    model.train()
    model[0].eval()  # as for a frozen dense model
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError, match="evaluation failed"):
        BM25ProbeCallback(evaluator=fail).on_train_begin(trainer.args, trainer.state, trainer.control, model=model)
    assert [module.training for module in model.modules()] == modes and len(set(modes)) == 2


def test_mistakes_are_answered_in_words(model, tmp_path):
    for options, message in (
        ({"start": 0}, "start is 0"),
        ({"start": 4, "share": 0.0}, "share is 0"),
        ({"start": 4, "share": 2}, "2"),
    ):
        with pytest.raises(ConfigError, match=message):
            KAnnealingCallback(**options)
    for start in (1, 65):
        trainer, _ = make_trainer(model, tmp_path, [KAnnealingCallback(start)])
        with pytest.raises(ConfigError, match=f"start is {start}, but .*64"):
            trainer.train()
    with pytest.raises(ConfigError, match="warn_above is 5"):
        DeadLatentsCallback(5)
    with pytest.raises(ConfigError, match="every_steps is 0"):
        BM25ProbeCallback(**COLLECTION, every_steps=0)
    for part in ({}, {"queries": {}}, {**COLLECTION, "evaluator": print}):
        with pytest.raises(ArgumentError, match="or instead of them an evaluator"):
            BM25ProbeCallback(**part)


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
import torch
from test_st_callbacks import *

model = make_model({model!r}, seed=int(os.environ["RANK"]))  # the first process's weights are shared out
callbacks = [KAnnealingCallback(START), DeadLatentsCallback(), SamplerEpochCallback()]
options = dict(max_steps=8, save_strategy="steps", save_steps=5, gradient_accumulation_steps=2, ddp_backend="gloo")
trainer, loss = make_trainer(model, {folder!r}, callbacks, **options)
BM25ProbeCallback(**COLLECTION, every_steps=4).add_to(trainer)
trainer.train(resume_from_checkpoint={resume!r})
rank = trainer.args.process_index
torch.save((model.state_dict(), loss.seen, trainer.state.log_history), {result!r} + f"-{{rank}}.pt")
"""


@pytest.mark.slow
def test_two_processes_end_with_equal_weights_and_resume_alike(tiny_model, tmp_path):
    results = []
    for name, resume in (("whole", None), ("resumed", str(tmp_path / "whole" / "checkpoint-5"))):
        values = {"tests": str(Path(__file__).parent), "model": str(tiny_model), "folder": str(tmp_path / name)}
        script = tmp_path / f"{name}.py"
        script.write_text(SCRIPT.format(**values, resume=resume, result=str(tmp_path / name)), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", str(script)]
        subprocess.run(command, check=True, timeout=500, env=environment, capture_output=True)
        results.append([torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=False) for rank in range(2)])
    whole, resumed = results
    for (weights, _, _), (other, _, _) in ((whole[0], whole[1]), (whole[0], resumed[0])):
        for name in weights:
            assert torch.equal(weights[name], other[name]), name
    # Four batches an epoch for each process, and a step takes two.
    for result, again in zip(whole, resumed, strict=True):
        assert [k for k, _, _ in result[1]] == [lowered(step, 8) for step in range(8) for _ in range(2)]
        assert again[1] == result[1][10:]
    assert whole[0][1] != whole[1][1]
    counted = [[n for _, n, _ in result[1]] for result in whole]
    for epoch in range(4):
        assert sum(sum(tokens[4 * epoch : 4 * epoch + 4]) for tokens in counted) == sum(len(text.split()) for text in texts())
    probed = [[entry["step"] for entry in history if "probe_bm25_ndcg@10" in entry] for _, _, history in whole]
    assert probed == [[0, 4, 8], []]
