"""Values and gradients of every loss are those of dense matrices in float64, by the autoencoder and by the dense model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from dense_losses import N_LATENTS, Column, DenseTwin, bm25_shares, check, make_model, term_worths
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

from lexite.errors import ArgumentError
from lexite.integrations.sentence_transformers.losses import (
    DenseDistillationLoss,
    LatentTermsLoss,
    SupervisedContrastiveLoss,
    TokenReconstructionLoss,
)
from lexite.scoring.config import BM25Config

QUERIES = ["who drinks milk", "snow on the lake", "parse a json file", "sort a list of rows"]
DOCUMENTS = [
    "The cat and the dog drink milk. A bird eats bread.",
    "Rain and snow fall on the lake.",
    "Open the file, read the text, parse the string to an object.",
    "The sort function of the list takes a key.",
]
NEGATIVES = ["The cow gives meat.", "The wind moves the ship on the sea.", "Time is read from a clock.", "Count the rows."]
COLLECTION = [*DOCUMENTS, *NEGATIVES, "The moon and the sun and the stars.", "A cat, a fish and a horse."]
BACKBONE = ("encoder.layer.0.attention.self.query.weight", "embeddings.LayerNorm.bias")


def batch_of(model: Any, *columns: list[str], prompt: str | None = None) -> list[dict[str, Any]]:
    return [model.preprocess(texts, prompt=prompt) for texts in columns]


def backbone_gradients(model: Any) -> list[torch.Tensor | None]:
    return [p.grad for name, p in model.named_parameters() if name.endswith(BACKBONE)]


@pytest.mark.parametrize("train_backbone", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
@pytest.mark.parametrize("columns", [1, 3])
def test_token_reconstruction(tiny_model: Path, train_backbone: bool, dead: bool, columns: int):
    model = make_model(tiny_model, train_backbone=train_backbone, dead=dead, query_k=3)
    twin = DenseTwin(model, unit_atoms=True)
    loss = TokenReconstructionLoss(model, multi_topk_coefficient=1 / 8, shuffle_tokens=0)
    batch = batch_of(model, *[DOCUMENTS, QUERIES, NEGATIVES][:columns])
    found = check(loss, batch, twin, lambda each: twin.fvu_terms(each, multi_topk=1 / 8))
    assert set(found) == {"fvu", "fvu_4k", "aux"} - (set() if dead else {"aux"}) and all(found.values())
    gradients = backbone_gradients(model)
    assert len(gradients) == 2 and all((g is not None and bool(g.any())) == train_backbone for g in gradients)


def test_token_reconstruction_leaves_prompts_out(tiny_model: Path):
    model = make_model(tiny_model)
    twin = DenseTwin(model, unit_atoms=True)
    loss = TokenReconstructionLoss(model)
    batch = batch_of(model, DOCUMENTS, prompt="read the text: ")
    assert batch[0]["prompt_length"] == 5  # [CLS] and four tokens
    check(loss, batch, twin, twin.fvu_terms)


@pytest.mark.parametrize("options", [{"aux_coefficient": 0.0}, {"aux_coefficient": 0.5, "normalize_decoder": False}])
def test_options_of_token_reconstruction(tiny_model: Path, options: dict[str, Any]):
    model = make_model(tiny_model, dead=True)
    twin = DenseTwin(model, unit_atoms=options.get("normalize_decoder", True))
    loss = TokenReconstructionLoss(model, **options)
    check(loss, batch_of(model, DOCUMENTS), twin, lambda each: twin.fvu_terms(each, aux=options["aux_coefficient"]))


def ranking(shares: torch.Tensor, scale: float, labels: list[int] | None = None) -> torch.Tensor:
    """InfoNCE, one query after the other; rows of one label are left out."""
    losses = []
    for i, row in enumerate((scale * shares).exp()):
        kept = [j for j in range(len(row)) if j == i or j >= len(shares) or labels is None or labels[j] != labels[i]]
        losses.append(-(row[i] / row[kept].sum()).log())
    return torch.stack(losses).mean()


def flops(weights: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """IDF-aware FLOPS, one term after the other; the idf is Lucene's, among some texts."""
    total = torch.zeros((), dtype=torch.float64)
    for column, others in zip(weights.t(), texts.t(), strict=True):
        df = int((others > 0).sum())
        idf = math.log(1 + (len(others) - df + 0.5) / (df + 0.5))
        total = total + (column[column > 0].sqrt().sum() / len(column)) ** 2 / idf
    return total


@pytest.mark.parametrize("query_transform", ["pow0.75", "sqrt", "none"])
@pytest.mark.parametrize("with_statistics", [False, True], ids=["batch", "collection"])
def test_ranking_with_in_batch_and_hard_negatives(tiny_model: Path, query_transform: Any, with_statistics: bool):
    model = make_model(tiny_model, query_k=3)
    scoring = BM25Config(k1=1.7, b=0.6, query_transform=query_transform)
    model.scoring = scoring
    statistics, worth, average = None, 1.0, None
    if with_statistics:
        encoded = model.eval().encode_document(COLLECTION).to_dense()
        statistics = model.bm25(encoded)
        worth, average = term_worths(encoded, scoring), float(encoded.double().sum(1).mean())
        assert 0 < int((worth == 0).sum()) < N_LATENTS
    twin = DenseTwin(model)
    loss = LatentTermsLoss(model.train(), statistics, scale=13.0)

    def expected(columns: list[Column]) -> dict[str, torch.Tensor]:
        documents = torch.cat([column.weights for column in columns[1:]])
        return {"ranking": ranking(bm25_shares(columns[0].weights, documents, scoring, worth, average), 13.0)}

    found = check(loss, batch_of(model, QUERIES, DOCUMENTS, NEGATIVES, DOCUMENTS[::-1]), twin, expected)
    assert found["ranking"] > 0.1
    assert all(bool(g.any()) for g in backbone_gradients(model))


def test_rows_of_one_label_are_no_negatives_of_each_other(tiny_model: Path):
    model = make_model(tiny_model)
    twin = DenseTwin(model)
    labels = [4, 1, 4, 2]

    def expected(columns: list[Column], given: list[int] | None) -> dict[str, torch.Tensor]:
        documents = torch.cat([column.weights for column in columns[1:]])
        return {"ranking": ranking(bm25_shares(columns[0].weights, documents, model.scoring, 1.0, None), 40.0, given)}

    batch = batch_of(model, QUERIES, DOCUMENTS, NEGATIVES)
    with_labels = check(LatentTermsLoss(model), batch, twin, lambda each: expected(each, labels), torch.tensor(labels))
    twin.model.zero_grad()
    without = check(LatentTermsLoss(model), batch, twin, lambda each: expected(each, None))
    assert with_labels["ranking"] < without["ranking"] - 1e-3


@pytest.mark.parametrize("with_statistics", [False, True], ids=["batch", "collection"])
def test_all_terms_of_latent_terms_together(tiny_model: Path, with_statistics: bool):
    model = make_model(tiny_model, dead=True)
    encoded = model.eval().encode_document(COLLECTION).to_dense()
    twin = DenseTwin(model.train(), unit_atoms=True)
    weights = {"reconstruction_weight": 0.5, "query_flops_weight": 0.02, "document_flops_weight": 0.03}
    loss = LatentTermsLoss(model, model.bm25(encoded) if with_statistics else None, **weights)
    known = (term_worths(encoded, model.scoring), float(encoded.double().sum(1).mean())) if with_statistics else (1.0, None)

    def expected(columns: list[Column]) -> dict[str, torch.Tensor]:
        queries, documents = columns[0].weights, torch.cat([column.weights for column in columns[1:]])
        terms = {"ranking": ranking(bm25_shares(queries, documents, model.scoring, *known), 40.0)}
        terms |= {name: 0.5 * value for name, value in twin.fvu_terms(columns).items()}
        for name, rows, factor in (("query_flops", queries, 0.02), ("document_flops", documents, 0.03)):
            terms[name] = factor * flops(rows, encoded if with_statistics else rows)
        return terms

    check(loss, batch_of(model, QUERIES, DOCUMENTS, NEGATIVES), twin, expected)


def distillation(
    student: torch.Tensor, one: torch.Tensor, other: torch.Tensor, alone: bool, temperature: float
) -> torch.Tensor:
    """KL between the rankings, one query and one document after the other."""
    losses = []
    for i, row in enumerate(student):
        kept = [j for j in range(len(row)) if not (alone and i == j)]
        cosines = torch.stack([(one[i] @ other[j]) / (one[i].norm() * other[j].norm()) for j in kept]).detach()
        p = (cosines / temperature).exp() / (cosines / temperature).exp().sum()
        q = row[kept].exp() / row[kept].exp().sum()
        losses.append((p * (p / q).log()).sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("reconstruction_weight", [0.0, 0.25])
@pytest.mark.parametrize("columns", [[DOCUMENTS], [QUERIES, DOCUMENTS], [QUERIES, DOCUMENTS, NEGATIVES]], ids=["1", "2", "3"])
def test_dense_distillation(tiny_model: Path, columns: list[list[str]], reconstruction_weight: float):
    model = make_model(tiny_model, dead=True)
    encoded = model.eval().encode_document(COLLECTION).to_dense()
    worth, average = term_worths(encoded, model.scoring), float(encoded.double().sum(1).mean())
    twin = DenseTwin(model, unit_atoms=reconstruction_weight > 0)
    options = {"scale": 20.0, "teacher_temperature": 0.1, "reconstruction_weight": reconstruction_weight}
    loss = DenseDistillationLoss(model.train(), model.bm25(encoded), **options)
    alone = len(columns) == 1

    def expected(found: list[Column]) -> dict[str, torch.Tensor]:
        documents, means = (torch.cat([getattr(c, name) for c in found[0 if alone else 1 :]]) for name in ("weights", "means"))
        student = 20.0 * bm25_shares(found[0].weights, documents, model.scoring, worth, average)
        terms = {"distillation": distillation(student, found[0].means, means, alone, 0.1)}
        if reconstruction_weight:
            terms |= {name: reconstruction_weight * value for name, value in twin.fvu_terms(found).items()}
        return terms

    assert check(loss, batch_of(model, *columns), twin, expected)["distillation"] > 1e-3
    assert all(bool(g.any()) for g in backbone_gradients(model))


@pytest.mark.parametrize("pooling_mode", ["cls", "max"])
def test_distillation_from_a_dense_model_that_pools_otherwise(tiny_model: Path, pooling_mode: str):
    torch.manual_seed(3)
    dense = SentenceTransformer(str(tiny_model), device="cpu")
    projection = Dense(32, 8, activation_function=torch.nn.Tanh())
    dense = SentenceTransformer(
        modules=[dense[0], Pooling(32, pooling_mode=pooling_mode), projection, Normalize()], device="cpu"
    )
    model = make_model(tiny_model)
    options: dict[str, Any] = {"teacher_temperature": 0.1, "reconstruction_weight": 0.0}
    loss = DenseDistillationLoss(model.train(), teacher=list(dense)[1:], **options)
    value = loss(batch_of(model, QUERIES, DOCUMENTS))["distillation"]
    with torch.no_grad():
        terms = [model.eval()(batch)["term_weights"] for batch in batch_of(model, QUERIES, DOCUMENTS)]
    student = 40.0 * bm25_shares(terms[0], terms[1], model.scoring, 1.0, None)
    embeddings = [dense.encode(texts, convert_to_tensor=True).double() for texts in (QUERIES, DOCUMENTS)]
    expected = distillation(student, *embeddings, alone=False, temperature=0.1)
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert value.item() != pytest.approx(
        DenseDistillationLoss(model, **options)(batch_of(model, QUERIES, DOCUMENTS))["distillation"].item()
    )
    assert loss.get_config_dict()["teacher"] == ["Pooling", "Dense", "Normalize"]
    value.backward()
    assert projection.linear.weight.requires_grad and not any(p.requires_grad for p in loss.teacher.parameters())
    assert any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


def test_a_teacher_that_makes_no_embeddings_is_named(tiny_model: Path):
    model = make_model(tiny_model)
    with pytest.raises(ArgumentError, match="teacher is empty"):
        DenseDistillationLoss(model, teacher=[])
    loss = DenseDistillationLoss(model, teacher=[torch.nn.Identity()])
    with pytest.raises(ArgumentError, match=r"teacher make no sentence_embedding.*list\(dense\)\[1:\]"):
        loss(batch_of(model, QUERIES, DOCUMENTS))


def contrastive(codes: torch.Tensor, labels: list[int], temperature: float) -> torch.Tensor:
    """One text after the other; those without another of their label are left out."""
    losses = []
    for i, label in enumerate(labels):
        powers = [(torch.nn.functional.cosine_similarity(codes[i], other, dim=0) / temperature).exp() for other in codes]
        same = [powers[j] for j in range(len(labels)) if j != i and labels[j] == label]
        different = [powers[j] for j in range(len(labels)) if labels[j] != label]
        if same:
            losses.append(-(sum(same) / (sum(same) + sum(different))).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("reconstruction_weight", [0.0, 2.0])
def test_supervised_contrastive_of_labels(tiny_model: Path, reconstruction_weight: float):
    model = make_model(tiny_model, dead=True)
    twin = DenseTwin(model, unit_atoms=reconstruction_weight > 0)
    labels = [0, 1, 0, 1, 1, 2, 0, 5]  # two texts have no other of their label
    loss = SupervisedContrastiveLoss(model, temperature=0.3, weight=0.5, reconstruction_weight=reconstruction_weight)

    def expected(columns: list[Column]) -> dict[str, torch.Tensor]:
        terms = {"contrastive": 0.5 * contrastive(columns[0].weights, labels, 0.3)}
        if reconstruction_weight:
            terms |= {name: reconstruction_weight * value for name, value in twin.fvu_terms(columns).items()}
        return terms

    check(loss, batch_of(model, DOCUMENTS + NEGATIVES), twin, expected, torch.tensor(labels))
    assert all(bool(g.any()) for g in backbone_gradients(model))


@pytest.mark.parametrize("labels", [None, [3, 3, 0, 1]])
def test_supervised_contrastive_of_pairs(tiny_model: Path, labels: list[int] | None):
    model = make_model(tiny_model)
    twin = DenseTwin(model)
    loss = SupervisedContrastiveLoss(model, reconstruction_weight=0.0)
    given = None if labels is None else torch.tensor(labels)

    def expected(columns: list[Column]) -> dict[str, torch.Tensor]:
        queries = columns[0].weights
        held = torch.where(queries > 0, queries, 1.0) ** 0.75 * (queries > 0)  # the transform of queries
        return {"contrastive": contrastive(torch.cat([held, columns[1].weights]), 2 * (labels or [0, 1, 2, 3]), 0.2)}

    check(loss, batch_of(model, QUERIES, DOCUMENTS), twin, expected, given)


def test_a_batch_without_two_texts_of_a_label_has_no_contrast(tiny_model: Path):
    model = make_model(tiny_model)
    loss = SupervisedContrastiveLoss(model, reconstruction_weight=0.0)
    terms = loss(batch_of(model, DOCUMENTS), torch.arange(4))
    terms["contrastive"].backward()  # distributed training waits for gradients of all processes
    assert terms["contrastive"].item() == 0 and not model.token_encoder.W_enc.grad.any()


def test_a_frozen_autoencoder_passes_gradients_on_to_the_dense_model(tiny_model: Path):
    model = make_model(tiny_model, frozen=True)
    twin = DenseTwin(model)  # atoms that are not trained are not brought to unit norm
    assert (model.token_encoder.W_dec.norm(dim=1) - 1).abs().max() > 0.1
    check(TokenReconstructionLoss(model), batch_of(model, DOCUMENTS), twin, twin.fvu_terms)
    assert model.token_encoder.W_enc.grad is None and all(bool(g.any()) for g in backbone_gradients(model))


def test_dropout_is_off_in_a_dense_model_that_is_not_trained(tiny_model: Path):
    model = make_model(tiny_model, train_backbone=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    loss, batch = TokenReconstructionLoss(model, normalize_decoder=False, shuffle_tokens=0), batch_of(model, DOCUMENTS)
    values = {loss(batch)["fvu"].item() for _ in range(3) if model.train()}
    assert len(values) == 1
    for parameter in model[0].parameters():
        parameter.requires_grad_(True)
    assert len({float(loss(batch)["fvu"]) for _ in range(3) if model.train()}) == 3
