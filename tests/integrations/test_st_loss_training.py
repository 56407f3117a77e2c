"""Losses in real trainings: what is evaluated, counted, logged, accumulated and resumed is what it should be."""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from dense_losses import DenseTwin, make_model
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments

from lexite.integrations.sentence_transformers import LatentTermsSparseEncoder
from lexite.integrations.sentence_transformers.losses import (
    DenseDistillationLoss,
    LatentTermsLoss,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
)

QUERIES = [
    "who drinks milk",
    "snow on the lake",
    "parse a json file",
    "sort a list of rows",
    "the moon and the sun",
    "a drug trial",
]
DOCUMENTS = [
    "The cat and the dog drink milk. A bird eats bread.",
    "Rain and snow fall on the lake.",
    "Open the file, read the text, parse the string to an object.",
    "The sort function of the list takes a key.",
    "The stars and the moon, time by the clock.",
    "The trial measures the effect of the drug dose on the risk of cancer in patients.",
]
PAIRS = Dataset.from_dict({"question": QUERIES, "answer": DOCUMENTS})
LABELLED = Dataset.from_dict({"text": QUERIES + DOCUMENTS, "label": [0, 1, 2, 2, 1, 3] * 2})
TEXTS = Dataset.from_dict({"text": DOCUMENTS + QUERIES})
LOSSES = [
    (TokenReconstructionLoss, {"multi_topk_coefficient": 0.125}, TEXTS, {"fvu", "fvu_4k", "aux"}),
    (
        LatentTermsLoss,
        {"reconstruction_weight": 0.5, "query_flops_weight": 0.02, "document_flops_weight": 0.01},
        PAIRS,
        {"ranking", "fvu", "aux", "query_flops", "document_flops"},
    ),
    (DenseDistillationLoss, {}, PAIRS, {"distillation", "fvu", "aux"}),
    (SupervisedContrastiveLoss, {}, LABELLED, {"contrastive", "fvu", "aux"}),
]
EACH_LOSS = pytest.mark.parametrize(("kind", "options", "data", "names"), LOSSES, ids=[kind.__name__ for kind, *_ in LOSSES])


def trainer_of(model: Any, loss: Any, folder: Path, data: Dataset = TEXTS, eval_data: Any = None, **options: Any) -> Any:
    settings: dict[str, Any] = {
        "max_steps": 4, "per_device_train_batch_size": 3, "learning_rate": 1e-3, "report_to": "none", "save_strategy": "no",
        "use_cpu": True, "logging_steps": 1, "disable_tqdm": True, **options,
    }  # fmt: skip
    arguments = SparseEncoderTrainingArguments(str(folder), **settings)
    return SparseEncoderTrainer(model, arguments, data, eval_data, loss)


@pytest.mark.parametrize("variant", ["topk", "jumprelu"])
@pytest.mark.parametrize("columns", [1, 2])
def test_evaluation_has_the_fvu_of_training(tiny_model: Path, variant: str, columns: int):
    model = make_model(tiny_model, train_backbone=False, variant=variant, normalize="layer_norm", query_k=3)
    loss = TokenReconstructionLoss(model, normalize_decoder=False, shuffle_tokens=0)
    batch = [model.preprocess(texts) for texts in (DOCUMENTS, QUERIES)[:columns]]
    trained = loss(batch)["fvu"].item()
    counted = model.token_encoder.tokens_since_active.clone()
    model.eval()
    with torch.no_grad():
        found = loss(batch)
    assert set(found) == {"fvu"} and found["fvu"].item() == pytest.approx(trained, rel=1e-6)
    assert torch.equal(model.token_encoder.tokens_since_active, counted), "tokens are counted in training alone"


def test_the_trainer_evaluates(tiny_model: Path, tmp_path: Path):
    model = make_model(tiny_model, train_backbone=False)
    trainer = trainer_of(model, TokenReconstructionLoss(model), tmp_path, eval_data=TEXTS, per_device_eval_batch_size=12)
    trainer.evaluate()
    logged = trainer.state.log_history[-1]
    twin = DenseTwin(model)
    expected = twin.fvu_terms([twin.column(model.preprocess(list(TEXTS["text"])), None)])["fvu"].item()
    assert logged["eval_loss"] == pytest.approx(expected, rel=1e-5) and logged["eval_fvu"] == pytest.approx(expected, abs=1e-4)


def test_tokens_are_counted_once_for_each_pooled_token(tiny_model: Path):
    model = make_model(tiny_model, train_backbone=False)
    loss = LatentTermsLoss(model, reconstruction_weight=1.0)
    expected = [0] * model.token_encoder.hidden_dim
    batches = [(QUERIES[:3], DOCUMENTS[:3]), (QUERIES[3:], DOCUMENTS[3:]), (QUERIES[:1], DOCUMENTS[:1])]
    for texts in batches:
        batch = [model.preprocess(column) for column in texts]
        for column in DenseTwin(model).columns(batch):
            active = (column.codes > 0).any(0)
            expected = [0 if fired else n + len(column.codes) for n, fired in zip(expected, active.tolist(), strict=True)]
        loss(batch)
    assert model.token_encoder.tokens_since_active.tolist() == expected
    assert 0 < sum(n > 0 for n in expected) < len(expected)


def test_latents_die_and_are_revived(tiny_model: Path):
    model = make_model(tiny_model, train_backbone=False, dead_after_tokens=30)
    loss, batch = TokenReconstructionLoss(model, shuffle_tokens=0), [model.preprocess(DOCUMENTS)]
    assert set(loss(batch)) == {"fvu"}, "none is dead yet"
    dead = model.token_encoder.dead_latents()
    assert dead.any()
    terms = loss(batch)
    terms["aux"].backward()
    assert {*model.token_encoder.W_enc.grad.abs().sum(1).nonzero().squeeze(1).tolist()} <= {*dead.nonzero().squeeze(1).tolist()}
    revived = int(dead.nonzero()[0])
    with torch.no_grad():
        model.token_encoder.b_enc[revived] = 100.0
    loss(batch)
    assert not model.token_encoder.dead_latents()[revived]


@EACH_LOSS
def test_every_term_is_logged(tiny_model: Path, tmp_path: Path, kind: Any, options: Any, data: Dataset, names: set[str]):
    model = make_model(tiny_model, dead=True)
    trainer = trainer_of(model, kind(model, **options), tmp_path, data, max_steps=2)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 2
    for entry in logged:
        assert set(entry) - {"loss", "grad_norm", "learning_rate", "epoch", "step"} == names
        assert sum(entry[name] for name in names) == pytest.approx(entry["loss"], abs=1e-4 * len(names))


@EACH_LOSS
def test_the_card_names_the_loss_and_its_source(
    tiny_model: Path, tmp_path: Path, kind: Any, options: Any, data: Dataset, names: set[str]
):
    model = make_model(tiny_model, dead=True)
    loss = kind(model, **options)
    trainer_of(model, loss, tmp_path / "run", data, max_steps=1).train()
    model.save(str(tmp_path / "saved"))
    card = (tmp_path / "saved" / "README.md").read_text(encoding="utf-8")
    assert f"- loss:{kind.__name__}" in card
    for name, value in loss.get_config_dict().items():
        shown = json.dumps(value)
        assert re.search(rf'"{name}": {re.escape(shown)}[,\n]', card), name
    for number in re.findall(r"eprint=\{([\d.]+)\}", loss.citation):
        assert card.count(f"eprint={{{number}}}") == 1


ONE_STEP: dict[str, Any] = {
    "max_steps": 1, "optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.05, "lr_scheduler_type": "constant",
}  # fmt: skip


def check_step(
    model: Any, batches: list[Any], weights: dict[str, torch.Tensor], reconstruction_weight: float, at_once: bool = False
) -> float:
    """Compares weights after a step with those that the mean gradient of some batches leads to; returns their mean loss.

    With ``at_once``, no batch knows yet which latents another has brought back to life.
    """
    loss, losses = LatentTermsLoss(model, reconstruction_weight=reconstruction_weight), []
    counted = model.token_encoder.tokens_since_active.clone()
    for batch in batches:
        if at_once:
            model.token_encoder.tokens_since_active.copy_(counted)
        share = sum(loss(batch).values()) / len(batches)
        share.backward()
        losses.append(share.item())
    for name, parameter in model.named_parameters():  # atoms have been brought to unit norm by the loss, as in the step
        moved = parameter.detach() - (0.0 if parameter.grad is None else 0.05 * parameter.grad)
        torch.testing.assert_close(weights[name], moved, rtol=1e-4, atol=1e-6, msg=name)
        assert parameter.grad is None or not parameter.grad.any() or not torch.equal(weights[name], parameter), name
    return sum(losses)


def test_accumulated_half_batches_are_their_mean(tiny_model: Path, tmp_path: Path):
    model = make_model(tiny_model, dead=True)
    before, batches = copy.deepcopy(model), []
    loss = LatentTermsLoss(model, reconstruction_weight=0.5)
    loss.register_forward_pre_hook(lambda module, args: batches.append(copy.deepcopy(args[0])))
    trainer = trainer_of(model, loss, tmp_path, PAIRS, gradient_accumulation_steps=2, **ONE_STEP)
    trainer.train()
    assert len(batches) == 2 and not torch.equal(batches[0][0]["input_ids"], batches[1][0]["input_ids"])
    expected = check_step(before, batches, model.state_dict(), 0.5)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-4)


SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from test_st_loss_training import *

for weight in {weights!r}:
    model, batches = make_model(Path({model!r}), dead=True), []
    loss = LatentTermsLoss(model, reconstruction_weight=weight)
    loss.register_forward_pre_hook(lambda module, args: batches.append(copy.deepcopy(args[0])))
    trainer_of(model, loss, Path({folder!r}), PAIRS, ddp_backend="gloo", **ONE_STEP).train()
    torch.save((model.state_dict(), batches), {folder!r} + "/" + f"{{weight}}-" + os.environ["RANK"] + ".pt")
"""
WEIGHTS = (0.0, 0.5)


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each of two processes ends with, for each weight; they start once for all."""
    folder = tmp_path_factory.mktemp("trained")
    values = {"tests": str(Path(__file__).parent), "model": str(tiny_model), "folder": str(folder), "weights": WEIGHTS}
    (folder / "train.py").write_text(SCRIPT.format(**values), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", "train.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, timeout=500, env=environment, cwd=folder, capture_output=True)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_step_of_two_processes_is_the_mean_of_both(trained: Path, tiny_model: Path, weight: float):
    (one, first), (other, second) = (torch.load(trained / f"{weight}-{rank}.pt", weights_only=False) for rank in range(2))
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())
    assert len(first) == len(second) == 1 and not torch.equal(first[0][0]["input_ids"], second[0][0]["input_ids"])
    model = make_model(tiny_model, dead=True)
    check_step(model, [*first, *second], one, weight, at_once=True)
    n = sum(len(column.states) for batch in (first, second) for column in DenseTwin(model).columns(batch[0])) if weight else 0
    (counted,) = (tensor for name, tensor in one.items() if name.endswith("tokens_since_active"))
    assert int(counted.max()) == 500 + n, "tokens of both processes are counted"


@pytest.mark.slow
@pytest.mark.parametrize("train_backbone", [False, True])
def test_training_in_bf16(tiny_model: Path, tmp_path: Path, train_backbone: bool):
    losses = []
    for bf16 in (False, True):
        model = make_model(tiny_model, train_backbone=train_backbone, dead=True)
        trainer = trainer_of(model, LatentTermsLoss(model, reconstruction_weight=1.0), tmp_path, PAIRS, bf16=bf16)
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.03)


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(tiny_model: Path, tmp_path: Path):
    options: dict[str, Any] = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3}

    def model_and_trainer(name: str, seed: int) -> Any:
        model = LatentTermsSparseEncoder.from_dense(
            str(tiny_model), hidden_dim=64, k=4, seed=seed, train_backbone=True, dead_after_tokens=60
        )
        return model, trainer_of(model, TokenReconstructionLoss(model, 0.125), tmp_path / name, **options)

    whole, trainer = model_and_trainer("whole", 0)
    trainer.train()
    resumed, second = model_and_trainer("resumed", 1)  # other weights, which the checkpoint replaces
    second.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert second.state.global_step == 6
    for (name, one), (_, other) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
    assert whole.token_encoder.tokens_since_active.any()
    logged = [[(e["step"], e["fvu"], e.get("aux")) for e in t.state.log_history if "fvu" in e] for t in (trainer, second)]
    assert logged[0] == logged[1] and len(logged[0]) == 6 and logged[0][-1][2] is not None


@pytest.mark.parametrize("train_backbone", [False, True])
def test_the_fvu_falls(tiny_model: Path, tmp_path: Path, train_backbone: bool):
    texts = DOCUMENTS + QUERIES
    model = LatentTermsSparseEncoder.from_dense(str(tiny_model), hidden_dim=64, k=4, texts=texts, train_backbone=train_backbone)
    dense = copy.deepcopy(model[0].state_dict())
    trainer = trainer_of(model, TokenReconstructionLoss(model), tmp_path, max_steps=30, learning_rate=1e-2, warmup_steps=3)
    trainer.train()
    fvu = [entry["fvu"] for entry in trainer.state.log_history if "fvu" in entry]
    assert len(fvu) == 30 and sum(fvu[-3:]) < 0.7 * sum(fvu[:3])
    unchanged = all(torch.equal(dense[name], tensor) for name, tensor in model[0].state_dict().items())
    assert unchanged == (not train_backbone)


@pytest.mark.slow
def test_a_fine_tuning_ranks_the_right_document_first(tiny_model: Path, tmp_path: Path):
    model = make_model(tiny_model)
    statistics = model.bm25(model.eval().encode_document(DOCUMENTS))

    def hits() -> int:
        model.eval()
        scores = model.bm25(documents := model.encode_document(DOCUMENTS))(model.encode_query(QUERIES), documents)
        return int((scores.argmax(1) == torch.arange(len(QUERIES))).sum())

    before = hits()
    loss = LatentTermsLoss(model, statistics)
    trainer_of(model, loss, tmp_path, PAIRS, max_steps=30, per_device_train_batch_size=6, learning_rate=2e-3).train()
    assert hits() == len(QUERIES) > before


def test_losses_look_into_a_model_that_is_wrapped(tiny_model: Path, tmp_path: Path):
    """The trainer may wrap the model; losses find the modules of latent terms within."""

    class Wrapper(torch.nn.Module):
        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.module(*args, **kwargs)

    model = make_model(tiny_model, dead=True)
    batch = [model.preprocess(QUERIES), model.preprocess(DOCUMENTS)]
    for kind, options, *_ in LOSSES:
        plain, wrapped = (kind(model, **options) for _ in range(2))
        wrapped.model = Wrapper(model)
        counted = model.token_encoder.tokens_since_active.clone()
        expected = plain(batch, None)
        model.token_encoder.tokens_since_active.copy_(counted)
        found = wrapped(batch, None)
        model.token_encoder.tokens_since_active.copy_(counted)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, msg=name)
