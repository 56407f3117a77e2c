"""The model card says what the model is, what was done to it and nothing else; its snippets run and print what it says."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from datasets import Dataset
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss

from lexite.cli import main
from lexite.errors import ModelError
from lexite.integrations.sentence_transformers import (
    BM25InformationRetrievalEvaluator,
    LatentTermsSparseEncoder,
    from_sentence_transformers,
    to_sentence_transformers,
)
from lexite.integrations.sentence_transformers.extras import LatentTermsExtras
from lexite.integrations.sentence_transformers.losses import TokenReconstructionLoss
from lexite.integrations.sentence_transformers.model_card import LatentTermsModelCardData
from lexite.integrations.sentence_transformers.sentence_as_token import SentenceAsToken
from lexite.integrations.sentence_transformers.token_encoder import SparseAutoEncoderTokenEncoder
from lexite.integrations.sentence_transformers.token_pooling import SparseTokenPooling
from lexite.scoring.config import BM25Config
from lexite.terms import ModelDetails

D_MODEL, N_LATENTS, MEASURED_DOCUMENTS = 32, 64, 6  # of the tiny model, and of the tiny vocabulary and its sample
QUESTIONS = ["who drinks milk", "what falls on the lake", "how to read json", "how to sort", "effect of the drug", "what time"]
TEXTS = [
    "The cat and the dog drink milk.",
    "Rain and snow fall on the lake.",
    "Open the file, read the text, parse the string to an object.",
    "The sort function of the list takes a key.",
    "The trial measures the effect of the drug dose.",
    "Time is read from a clock by date and number.",
]
PAIRS = Dataset.from_dict({"question": QUESTIONS, "answer": TEXTS})


def card_of(model: Any, folder: Path) -> str:
    """Saves a model and reads its card."""
    model.save(str(folder))
    return (folder / "README.md").read_text(encoding="utf-8")


def header(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def sections(card: str) -> list[str]:
    return re.findall(r"^## (.+)$", card, flags=re.MULTILINE)


def blocks(card: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)


def row(card: str, name: str) -> list[str]:
    """The cells of the row of a table that begins with a name."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in card.splitlines() if line.startswith("| ")]
    (found,) = [cells[1:] for cells in rows if cells[0] == name]
    return found


@pytest.fixture
def converted(tiny_vocabulary: Path) -> LatentTermsSparseEncoder:
    return to_sentence_transformers(tiny_vocabulary)


def new_model(tiny_model: Path, **options: Any) -> LatentTermsSparseEncoder:
    return LatentTermsSparseEncoder.from_dense(str(tiny_model), hidden_dim=N_LATENTS, k=4, **options)


def library_loss(model: Any) -> SpladeLoss:
    return SpladeLoss(model, SparseMultipleNegativesRankingLoss(model, scale=17.0), document_regularizer_weight=0.0625)


def train(model: Any, loss: Any, folder: Path, dataset: Dataset = PAIRS, **options: Any) -> None:
    arguments = SparseEncoderTrainingArguments(
        str(folder), max_steps=2, per_device_train_batch_size=3, learning_rate=0.00321, report_to="none", save_strategy="no",
        use_cpu=True, logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    SparseEncoderTrainer(model, arguments, train_dataset=dataset, loss=loss, **options).train()


def evaluator() -> BM25InformationRetrievalEvaluator:
    names = [f"d{i}" for i in range(len(TEXTS))]
    relevant = {f"q{i}": {names[i]} for i in range(len(TEXTS))}
    queries = {f"q{i}": question for i, question in enumerate(QUESTIONS)}
    return BM25InformationRetrievalEvaluator(queries, dict(zip(names, TEXTS, strict=True)), relevant, name="tiny")


def run_block(code: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "card", "exec"), {"__name__": "card"})
    return printed.getvalue()


def check_snippets(card: str, folder: Path) -> None:
    """Runs all Python blocks, each for itself, and the commands of lexite after them."""
    scoring, library, conversion = blocks(card, "python")
    said = "".join(line[2:] + "\n" for line in scoring.splitlines() if line.startswith("# "))
    assert said.startswith("torch.Size([3, 64])\ntensor([[") and run_block(scoring) == said
    assert "tensor([[" in run_block(library)
    scores = np.array(json.loads(re.search(r"\[\[.*\]\]", said.replace("\n", " ")).group())[0])
    hits = [line.split()[-1] for line in run_block(conversion).splitlines() if line[0] in "123" and line.split()[0] in "123"]
    np.testing.assert_allclose(
        [float(hit) for hit in hits[:3]], np.sort(scores)[::-1], rtol=0.01
    )  # the dense model may run in bf16
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text(TEXTS[0], encoding="utf-8")
    commands = [line for block in blocks(card, "bash") for line in block.splitlines() if line.startswith("lexite ")]
    assert [shlex.split(command)[1] for command in commands] == ["index", "search"]
    assert all(main(shlex.split(command)[1:]) == 0 for command in commands)


@pytest.mark.parametrize("trained", [False, True], ids=["converted", "trained"])
def test_every_snippet_runs_as_it_stands(
    trained: bool, tiny_model: Path, tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    model = new_model(tiny_model) if trained else to_sentence_transformers(tiny_vocabulary)
    if trained:
        train(model, library_loss(model), tmp_path / "run")
    model.model_card_data.set_model_id(str(tmp_path / "saved"))
    card = card_of(model, tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    check_snippets(card, tmp_path)
    assert (tmp_path / "latent-terms-dense").exists() == trained


def test_what_the_card_says_of_a_converted_vocabulary(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    details = ModelDetails("tiny", "cc-by-4.0", "Six sentences (CC0).", {"k": 4, "sources": "a|b"})
    converted.extras = replace(converted.extras, details=details)
    converted.prompts["query"] = "query: "
    card = card_of(converted, tmp_path / "saved")
    values = header(card)
    assert {"sentence-transformers", "sparse-encoder", "latent-terms", "bm25"} <= set(values["tags"])
    assert (values["license"], values["library_name"]) == ("cc-by-4.0", "sentence-transformers")
    assert "base_model" not in values, "a folder of this machine is not on the hub"
    assert "generated_from_trainer" not in card and "SparseEncoderTrainer" not in card and "Hyperparameters" not in card
    assert "Evaluation" not in sections(card)
    assert "Six sentences (CC0)." in card and row(card, "`sources`") == ["a\\|b"]
    assert row(card, "width of the dense states") == [str(D_MODEL)]
    assert row(card, "at most, per token of documents, of queries") == ["4, 4"]
    assert row(card, "special tokens, prompt tokens") == ["left out, left out"]
    assert row(card, "prompt `query`") == ['`"query: "`']
    assert [row(card, name) for name in ("k1", "b", "idf")] == [["2.5"], ["0.75"], ["lucene"]]
    assert not re.findall(r"^\| delta", card, flags=re.MULTILINE), "only bm25+ uses it"
    assert "2605.29384" in card and "reimers-2019-sentence-bert" in card
    assert re.search(r"^- lexite: \d", card, flags=re.MULTILINE)


def test_statistics_of_the_vocabulary_are_those_measured(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    vocabulary = converted.extras.vocabulary
    assert vocabulary is not None
    card = card_of(converted, tmp_path / "saved")
    used = int((vocabulary.token_counts > 0).sum())
    assert row(card, "latents that fired")[0].startswith(f"{used} of {N_LATENTS} ")
    assert row(card, "latents that did not")[0].startswith(f"{N_LATENTS - used} of {N_LATENTS} ")
    assert row(card, "different terms per document") == [f"{vocabulary.document_counts.sum() / MEASURED_DOCUMENTS:.1f}"]
    shares = vocabulary.document_counts[vocabulary.document_counts > 0] / MEASURED_DOCUMENTS
    assert row(card, "mean document frequency of those that fired") == [f"{100 * shares.mean():.2f}% of the documents"]
    counts = np.sort(vocabulary.token_counts[vocabulary.token_counts > 0])[::-1]
    slope = np.polyfit(np.log(np.arange(1, used + 1)), np.log(counts), 1)[0]
    assert row(card, "tokens it fires on")[0] == f"{-slope:.2f}"
    shown = re.findall(r"^\| (\d+) \| (.+) \| ([\d.]+)% \|$", card, flags=re.MULTILINE)
    frequencies = [float(share) for _, _, share in shown]
    assert len(shown) == 12 and frequencies == sorted(frequencies, reverse=True)
    assert all(re.sub(r"\\(.)", r"\1", label) == vocabulary.label(int(term)) for term, label, _ in shown)


def test_what_was_not_measured_is_left_out(tiny_model: Path, tmp_path: Path) -> None:
    card = card_of(new_model(tiny_model), tmp_path / "saved")
    assert sections(card) == ["Usage", "What it is", "Training", "Versions", "Citation"]
    assert "license" not in header(card), "nobody said under which licence it is"
    assert "No training is recorded." in card


def test_dead_latents_are_counted_only_where_training_counted(tiny_model: Path, tmp_path: Path) -> None:
    model = new_model(tiny_model, dead_after_tokens=50)
    model.token_encoder.tokens_since_active[:8] = torch.tensor([49, 50, 51, 1200, 0, 0, 0, 0])
    card = card_of(model, tmp_path / "saved")
    assert row(card, "dead, not active in the last 50 tokens of training") == ["3 of 64 (4.7%)"]
    assert row(card, "longest that a latent has not been active") == ["1,200 tokens"]
    assert "Zipf's law" not in card and "Some terms" not in card


def test_training_and_evaluation_are_recorded(tiny_vocabulary: Path, tmp_path: Path) -> None:
    model = to_sentence_transformers(tiny_vocabulary)
    train(model, library_loss(model), tmp_path / "run", evaluator=evaluator())
    measured = evaluator()(model)
    card = card_of(model, tmp_path / "saved")
    values = header(card)
    assert {"generated_from_trainer", "loss:SpladeLoss", "loss:FlopsLoss", "dataset_size:6"} <= set(values["tags"])
    assert "license" not in values, "what was trained on further text is not under the vocabulary's licence by itself"
    assert "SparseEncoderTrainer" in card and "No training is recorded." not in card
    assert "- `learning_rate`: 0.00321" in card and "* Size: 6 samples" in card and "<code>question</code>" in card
    assert "scale=17.0" in card and '"document_regularizer_weight": 0.0625' in card and "paria2020minimizing" in card
    assert "Training Loss" in card and "of training" in card
    best = measured["tiny_bm25_ndcg@10"]
    assert f"**{round(best, 4)}**" in row(card, "**bm25_ndcg@10**")[0]
    (result,) = values["model-index"][0]["results"]
    found = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert found["bm25_ndcg@10"] == pytest.approx(best) and "bm25_ndcg@10" in values["metrics"]
    assert "before the training that is described below" in card, "the statistics are of the vocabulary before it"


def test_statistics_measured_after_training_are_not_called_old(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    data = converted.model_card_data
    data.set_losses([SparseMultipleNegativesRankingLoss(converted)])
    data.all_hyperparameters = {"seed": 1}
    assert "before the training" in card_of(converted, tmp_path / "old")
    converted.extras = replace(converted.extras, vocabulary=replace(converted.extras.vocabulary, source="later text"))
    card = card_of(converted, tmp_path / "new")
    assert "before the training" not in card and "Measured on later text." in card


def test_each_source_is_cited_once(tiny_model: Path, tmp_path: Path) -> None:
    model = new_model(tiny_model)
    train(model, TokenReconstructionLoss(model), tmp_path / "run", PAIRS.select_columns(["answer"]))
    card = card_of(model, tmp_path / "saved")
    assert "### Latent Terms, TokenReconstructionLoss\n" in card and "### TokenReconstructionLoss\n" in card
    assert card.count("eprint={2605.29384}") == 1 and card.count("eprint={2406.04093}") == 1
    assert "`lexite.integrations.sentence_transformers.losses.reconstruction.TokenReconstructionLoss`" in card
    assert '"aux_coefficient": 0.03125' in card


def test_the_hub_name_of_the_dense_model_is_the_base_model(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    config = {"model": "all-MiniLM-L6-v2", "revision": "abc123"}
    converted.extras = replace(converted.extras, origin={"backbone": {"name": "all-MiniLM-L6-v2", "config": config}})
    card = card_of(converted, tmp_path / "saved")
    assert header(card)["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert "[all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2)" in card
    assert "at revision `abc123`" in card


class RecordingHub:
    """Takes the place of the hub's client; keeps the card that is uploaded."""

    card = ""

    def __init__(self, token: Any = None) -> None:
        pass

    def create_repo(self, repo_id: str, **kwargs: Any) -> Any:
        return type("Created", (), {"repo_id": repo_id})()

    def upload_folder(self, folder_path: str, **kwargs: Any) -> Any:
        RecordingHub.card = (Path(folder_path) / "README.md").read_text(encoding="utf-8")
        return type("Uploaded", (), {"commit_url": "done"})()


@pytest.mark.parametrize("loaded", [False, True], ids=["new", "loaded"])
def test_a_pushed_card_names_the_model(
    loaded: bool, converted: LatentTermsSparseEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loaded:
        assert "sparse_encoder_model_id" in card_of(converted, tmp_path / "saved")
        converted = LatentTermsSparseEncoder(str(tmp_path / "saved"))
    monkeypatch.setattr("sentence_transformers.base.model.HfApi", RecordingHub)
    converted.push_to_hub("somebody/terms", replace_model_card=True)
    names = re.findall(r'(?:SparseEncoder|from_sentence_transformers)\("([^"]+)"', RecordingHub.card)
    assert names == ["somebody/terms"] * 3


def test_texts_of_a_dataset_are_quoted_and_cut(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    texts = ['a "cat"\nand a dog', "milk " * 200, "bread \\ cheese"]
    converted.model_card_data.usage_examples = texts
    scoring = blocks(card_of(converted, tmp_path / "saved"), "python")[0]
    namespace: dict[str, Any] = {}
    exec("\n".join(line for line in scoring.split("query_embeddings")[0].splitlines()[3:]), namespace)
    assert namespace["query"] == 'a "cat" and a dog'
    assert namespace["documents"] == [("milk " * 200)[:200], "bread \\ cheese"]


def test_examples_can_be_left_unencoded(converted: LatentTermsSparseEncoder, tmp_path: Path) -> None:
    converted.model_card_data.generate_widget_examples = False
    assert "tensor(" not in card_of(converted, tmp_path / "saved")


def with_adapters(model: Any) -> None:
    peft = pytest.importorskip("peft")
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"]))


def with_normalized_states(model: Any) -> None:
    model.insert(1, Normalize(module_input_name="token_embeddings"))


def of_whole_texts(model: Any) -> None:
    model.insert(1, Pooling(D_MODEL, "mean"))
    model.insert(2, SentenceAsToken(D_MODEL))


def with_a_mean(model: Any) -> None:
    model.token_encoder.data_mean = torch.linspace(-0.1, 0.1, D_MODEL)


def with_a_mean_and_a_norm(model: Any) -> None:
    with_a_mean(model)
    model.token_encoder.normalize = "layer_norm"


def with_a_mean_before_the_encoder_alone(model: Any) -> None:
    with_a_mean(model)
    model.token_encoder.apply_b_dec_to_input = False


REFUSED: dict[str, Callable[[Any], Any]] = {
    "maximum of logarithms": lambda model: setattr(model.token_pooling, "pooling_strategy", "max_log1p"),
    "transform of documents": lambda model: setattr(model.token_pooling, "transform", "pow0.75"),
    "most dimensions": lambda model: setattr(model, "max_active_dims", 20),
    "mean and norm": with_a_mean_and_a_norm,
    "mean, bias not taken off": with_a_mean_before_the_encoder_alone,
    "whole texts": of_whole_texts,
    "a module between": with_normalized_states,
    "adapters": with_adapters,
}
ACCEPTED: dict[str, Callable[[Any], Any]] = {
    "maximum": lambda model: setattr(model.token_pooling, "pooling_strategy", "max"),
    "transforms": lambda model: setattr(model, "scoring", BM25Config(document_transform="sqrt", query_transform="log1p")),
    "mean": with_a_mean,
    "factor": lambda model: setattr(model.token_encoder, "rms_scale", 2.5),
    "norm": lambda model: setattr(model.token_encoder, "normalize", "layer_norm"),
    "all tokens": lambda model: setattr(model.token_pooling, "include_special_tokens", True),
    "tokens left out": lambda model: setattr(model.token_pooling, "skipped_ids", {"document": [5, 6]}),
    "k of queries": lambda model: setattr(model.token_encoder, "query_k", 3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_conversion_is_shown_that_is_refused(tiny_model: Path, tmp_path: Path, name: str) -> None:
    model = new_model(tiny_model)
    REFUSED[name](model)
    with pytest.raises(ModelError, match="cannot be converted: lexite "):
        from_sentence_transformers(model, dense_folder=tmp_path / "dense")
    assert not (tmp_path / "dense").exists()
    card = card_of(model, tmp_path / "saved")
    assert "from_sentence_transformers" not in card and "lexite index" not in card and len(blocks(card, "python")) == 2


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_conversion_that_is_shown_runs(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = new_model(tiny_model, precision="fp32")
    ACCEPTED[name](model)
    model.model_card_data.set_model_id(str(tmp_path / "saved"))
    card = card_of(model, tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    assert run_block(blocks(card, "python")[2]).startswith("1 ")


def test_what_differs_from_the_usual_is_said(tiny_model: Path, tmp_path: Path) -> None:
    model = new_model(tiny_model, variant="jumprelu", normalize="layer_norm", rms_scale=2.5, query_k=3)
    model.max_active_dims = 20
    model.scoring = BM25Config(idf="bm25+", delta=0.5)
    card = card_of(model, tmp_path / "saved")
    assert row(card, "latents kept per token") == ["those above their thresholds (JumpReLU)"]
    assert row(card, "at most, per token of documents, of queries") == ["4, 3"]
    assert row(card, "states are first brought to one norm") == ["`layer_norm`"]
    assert row(card, "states are first multiplied by") == ["2.5"]
    assert row(card, "most active dimensions of a vector") == ["20"]
    assert row(card, "idf") == ["bm25+"] and row(card, "delta") == ["0.5"]


def test_codes_of_whole_texts_are_said_to_be_such(tiny_model: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    dense = SentenceTransformer(str(tiny_model), device="cpu")
    encoder, pooling = SparseAutoEncoderTokenEncoder(D_MODEL, N_LATENTS, 4), SparseTokenPooling(N_LATENTS)
    model = LatentTermsSparseEncoder(modules=[*dense, SentenceAsToken(D_MODEL), encoder, pooling])
    card = card_of(model, tmp_path / "saved")
    assert "the dense embedding of each text" in card and "pooling over tokens" not in card
    assert row(card, "at most, per text of documents, of queries") == ["4, 4"]


def test_the_user_decides_on_name_and_licence(tiny_vocabulary: Path, tmp_path: Path) -> None:
    given = to_sentence_transformers(tiny_vocabulary)
    data = LatentTermsModelCardData(license="mit", model_name="My terms", language="en")
    model = LatentTermsSparseEncoder(modules=list(given), model_card_data=data, extras=LatentTermsExtras())
    card = card_of(model, tmp_path / "saved")
    assert header(card)["license"] == "mit" and header(card)["language"] == ["en"] and "\n# My terms\n" in card
