"""Turns a dense retriever into an encoder whose terms BM25 ranks: trains a sparse autoencoder on its token states.

Takes any texts (JSONL, CSV, Parquet, a folder; also compressed), no labels:

    python examples/dense_to_bm25.py wiki.jsonl.xz my-encoder --tokens 2000000

and measures the result on a collection in BEIR form, where one is given with --collection.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments

import lexite
from lexite.corpus import open_collection
from lexite.errors import LexiteError
from lexite.integrations.sentence_transformers import (
    BM25InformationRetrievalEvaluator,
    DeadLatentsCallback,
    LatentTermsSparseEncoder,
    TokenBudgetDataCollator,
    TokenReconstructionLoss,
    token_windows,
)


def main() -> None:
    """Reads the command line, trains, measures, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, help="texts to train on")
    parser.add_argument("output", type=Path, help="folder of the trained encoder")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="the dense retriever")
    parser.add_argument("--latents", type=int, default=16_384)
    parser.add_argument("--k", type=int, default=8, help="latents per token")
    parser.add_argument("--tokens", type=int, default=2_000_000, help="tokens to train on")
    parser.add_argument("--tokens-per-step", type=int, default=4096)
    parser.add_argument("--bf16", action="store_true", help="mixed precision, where the processor is fast at it")
    parser.add_argument("--collection", type=Path, help="folder in BEIR form to measure on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    texts = [document.full_text for document in lexite.read_documents([args.texts])]
    model = LatentTermsSparseEncoder.from_dense(
        args.model, hidden_dim=args.latents, k=args.k, texts=texts[:1000], seed=args.seed
    )
    collator = TokenBudgetDataCollator(model.preprocess, tokens_per_batch=args.tokens_per_step)
    windows = token_windows(Dataset.from_dict({"text": texts}), model, collator)
    training = SparseEncoderTrainingArguments(
        output_dir=f"{args.output}-training",
        max_steps=max(args.tokens // args.tokens_per_step, 1),
        batch_sampler=collator.batch_sampler,
        learning_rate=1e-3,
        warmup_steps=0.05,
        lr_scheduler_type="cosine",
        adam_epsilon=6.25e-10,
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),  # else the library refuses bf16 on processors that have it
        seed=args.seed,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
    )
    loss = TokenReconstructionLoss(model, seed=args.seed)
    trainer = SparseEncoderTrainer(model=model, args=training, train_dataset=windows, loss=loss, data_collator=collator)
    DeadLatentsCallback().add_to(trainer)
    trainer.train()
    model.save_pretrained(str(args.output))
    if args.collection is not None:
        print(f"nDCG@10 on {args.collection.name}: {measured(model, args.collection):.4f}")


def measured(model: LatentTermsSparseEncoder, folder: Path) -> float:
    """nDCG@10 of BM25 over the model's terms."""
    collection = open_collection(folder)
    evaluator = BM25InformationRetrievalEvaluator(
        {query.id: query.text for query in collection.queries()},
        {document.id: document.full_text for document in collection.documents()},
        {query: {document for document, grade in grades.items() if grade > 0} for query, grades in collection.qrels.items()},
        name=collection.name,
        write_csv=False,
    )
    return evaluator(model)[evaluator.primary_metric]


if __name__ == "__main__":
    try:
        main()
    except LexiteError as error:
        raise SystemExit(f"error: {error}") from None
