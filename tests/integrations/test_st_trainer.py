"""What the trainer offers besides: the best checkpoint, workers, checkpointed gradients, adapters, the library's own class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from dense_losses import make_model
from peft import LoraConfig
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments

from lexite.integrations.sentence_transformers import (
    BM25InformationRetrievalEvaluator,
    LatentTermsLoss,
    LatentTermsSparseEncoder,
    TokenReconstructionLoss,
    merge_adapters,
)

PAIRS = Dataset.from_dict(
    {
        "question": ["who drinks milk", "snow on the lake", "parse a json file", "sort a list of rows", "a drug trial", "time"],
        "answer": [
            "The cat and the dog drink milk. A bird eats bread.",
            "Rain and snow fall on the lake.",
            "Open the file, read the text, parse the string to an object.",
            "The sort function of the list takes a key.",
            "The trial measures the effect of the drug dose on the risk of cancer in patients.",
            "The stars and the moon, time by the clock.",
        ],
    }
)
METRIC = "eval_pets_bm25_ndcg@10"


def evaluator() -> BM25InformationRetrievalEvaluator:
    corpus = dict(enumerate(PAIRS["answer"]))
    queries = {f"q{number}": text for number, text in enumerate(PAIRS["question"])}
    relevant = {f"q{number}": {number} for number in corpus}
    return BM25InformationRetrievalEvaluator(queries, corpus, relevant, name="pets", write_csv=False)


def trainer_of(model: Any, folder: Path, loss: Any, **options: Any) -> Any:
    tested = {"evaluator": options.pop("evaluator")} if "evaluator" in options else {}
    settings: dict[str, Any] = {
        "max_steps": 6, "per_device_train_batch_size": 3, "learning_rate": 1e-2, "report_to": "none", "save_strategy": "no",
        "use_cpu": True, "logging_steps": 1, "disable_tqdm": True, **options,
    }  # fmt: skip
    arguments = SparseEncoderTrainingArguments(str(folder), **settings)
    return SparseEncoderTrainer(model, arguments, PAIRS, loss=loss, **tested)


def losses_of(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def plain_and_own(tiny_model: Path, folder: Path) -> list[Any]:
    """The same weights in the library's class and in lexite's."""
    make_model(tiny_model).save_pretrained(str(folder), create_model_card=False)
    return [
        SparseEncoder(str(folder), trust_remote_code=True, device="cpu"),
        LatentTermsSparseEncoder(str(folder), device="cpu"),
    ]


@pytest.mark.slow
def test_the_best_checkpoint_by_bm25_is_what_remains(tiny_model: Path, tmp_path: Path) -> None:
    model = make_model(tiny_model)
    evaluate = evaluator()
    every = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": METRIC, "greater_is_better": True}
    trainer = trainer_of(model, tmp_path, LatentTermsLoss(model), evaluator=evaluate, learning_rate=0.3, **every, **best)
    trainer.train()
    found = [entry[METRIC] for entry in trainer.state.log_history if METRIC in entry]
    assert len(found) == 6 and len(set(found)) > 1, "a rate so high changes the ranking"
    assert trainer.state.best_model_checkpoint.endswith(f"-{found.index(max(found)) + 1}")
    assert evaluate(model)["pets_bm25_ndcg@10"] == pytest.approx(max(found))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"dataloader_num_workers": 2}, {"gradient_checkpointing": True}], ids=lambda o: next(iter(o))
)
def test_workers_and_checkpointed_gradients_change_nothing(tiny_model: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    losses = []
    for number, changed in enumerate(({}, options)):
        model = make_model(tiny_model, dead=True)
        trainer = trainer_of(model, tmp_path / str(number), LatentTermsLoss(model, reconstruction_weight=0.5), **changed)
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][0] != losses[0][-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LatentTermsLoss, TokenReconstructionLoss])
def test_the_librarys_class_trains_alike(tiny_model: Path, tmp_path: Path, kind: Any) -> None:
    losses = []
    models = plain_and_own(tiny_model, tmp_path / "model")
    for number, model in enumerate(models):
        trainer = trainer_of(model, tmp_path / str(number), kind(model))
        trainer.train()
        losses.append(losses_of(trainer))
    assert losses[0] == losses[1] and losses[0][0] != losses[0][-1]
    assert type(models[0]) is SparseEncoder
    for (name, one), (_, other) in zip(models[0].state_dict().items(), models[1].state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def adapted(tiny_model: Path) -> LatentTermsSparseEncoder:
    model = make_model(tiny_model, train_backbone=False)
    torch.manual_seed(0)
    model.add_adapter(LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["query", "value"]))
    return model


@pytest.mark.slow
def test_adapters_are_resumed_and_merged(tiny_model: Path, tmp_path: Path) -> None:
    saved = {"save_strategy": "steps", "save_steps": 3}
    whole, resumed = adapted(tiny_model), adapted(tiny_model)
    first = trainer_of(whole, tmp_path / "whole", LatentTermsLoss(whole), **saved)
    first.train()
    second = trainer_of(resumed, tmp_path / "resumed", LatentTermsLoss(resumed), **saved)
    second.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert losses_of(second)[-3:] == losses_of(first)[-3:]
    for (name, one), (_, other) in zip(whole.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
    texts = PAIRS["answer"]
    terms = whole.eval().encode_document(texts).to_dense()
    untrained = adapted(tiny_model).eval().encode_document(texts).to_dense()
    assert not torch.allclose(terms, untrained, atol=1e-3)
    merge_adapters(whole)
    whole.save_pretrained(str(tmp_path / "merged"), create_model_card=False)
    loaded = LatentTermsSparseEncoder(str(tmp_path / "merged"), device="cpu")
    torch.testing.assert_close(loaded.encode_document(texts).to_dense(), terms, rtol=1e-4, atol=1e-4)
