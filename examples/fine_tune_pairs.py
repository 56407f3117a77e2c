"""Fine-tunes latent terms on question-document pairs, so that BM25 ranks the right documents first.

Takes a folder in BEIR form with qrels/train.tsv and qrels/test.tsv:

    python examples/fine_tune_pairs.py COLLECTION my-tuned-model

The vocabulary is the default one; hard negatives are what its own BM25 ranks high without being relevant. With --backbone
the dense model is trained along through low-rank adapters (pip install peft), else the sparse autoencoder alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.sparse import csr_array
from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from lexite.corpus import Collection, open_collection
from lexite.errors import ArgumentError, LexiteError
from lexite.integrations.sentence_transformers import (
    BM25InformationRetrievalEvaluator,
    BM25Similarity,
    LatentTermsLoss,
    LatentTermsSparseEncoder,
    freeze_backbone,
    merge_adapters,
    to_sentence_transformers,
)


def main() -> None:
    """Reads the command line, trains, measures before and after, saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path, help="folder in BEIR form, with qrels/train.tsv and qrels/test.tsv")
    parser.add_argument("output", type=Path, help="folder of the tuned model")
    parser.add_argument("--vocabulary", default="default", help="vocabulary to start from")
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--negatives", type=int, default=1, help="hard negatives per pair")
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--scale", type=float, default=40.0, help="of scores, in the softmax")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, where the processor is fast at it")
    parser.add_argument("--backbone", action="store_true", help="train the dense model along, through low-rank adapters")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    model = to_sentence_transformers(args.vocabulary)
    test, train = open_collection(args.collection, "test"), open_collection(args.collection, "train")
    corpus = {document.id: document.full_text for document in test.documents()}
    evaluator = BM25InformationRetrievalEvaluator(
        {query.id: query.text for query in test.queries()}, corpus, relevant(test.qrels), name=test.name, write_csv=False
    )
    with torch.autocast(model.device.type, torch.bfloat16, enabled=args.bf16):
        documents = model.encode_csr(corpus.values(), task="document", show_progress_bar=True)
        statistics = model.bm25(documents)
        pairs = mined_pairs(model, statistics, documents, corpus, train, args.negatives, args.seed)
        before = evaluator(model, corpus_embeddings=documents)[evaluator.primary_metric]
    print(f"{len(pairs)} pairs. Before: nDCG@10 {before:.4f}", flush=True)

    freeze_backbone(model)
    if args.backbone:
        from peft import LoraConfig

        model.add_adapter(LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["query", "value"]))
    training = SparseEncoderTrainingArguments(
        output_dir=f"{args.output}-training",
        num_train_epochs=args.epochs,
        per_device_train_batch_size=args.batch_size,
        batch_sampler=BatchSamplers.NO_DUPLICATES,  # a text that comes twice would be its own negative
        learning_rate=args.learning_rate,
        warmup_steps=0.1,
        lr_scheduler_type="cosine",
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),  # else the library refuses bf16 on processors that have it
        seed=args.seed,
        logging_steps=10,
        save_strategy="no",
        report_to="none",
    )
    loss = LatentTermsLoss(model, statistics, scale=args.scale)
    SparseEncoderTrainer(model=model, args=training, train_dataset=pairs, loss=loss).train()
    with torch.autocast(model.device.type, torch.bfloat16, enabled=args.bf16):
        print(f"After: nDCG@10 {evaluator(model)[evaluator.primary_metric]:.4f}", flush=True)
    if args.backbone:
        merge_adapters(model)
    model.save_pretrained(str(args.output))


def relevant(qrels: dict[str, dict[str, int]]) -> dict[str, set[str]]:
    """Query id -> ids of relevant documents."""
    return {query: {document for document, grade in grades.items() if grade > 0} for query, grades in qrels.items()}


def mined_pairs(
    model: LatentTermsSparseEncoder,
    statistics: BM25Similarity,
    documents: csr_array,
    corpus: dict[str, str],
    train: Collection,
    n_negatives: int,
    seed: int,
) -> Dataset:
    """Questions with a relevant document and hard negatives: among the best 50 of BM25, but not relevant."""
    random = np.random.default_rng(seed)
    ids, texts, queries = list(corpus), list(corpus.values()), train.queries()
    right = relevant(train.qrels)
    encoded = model.encode_csr([query.text for query in queries], task="query")
    rows = []
    for start in range(0, len(queries), 256):
        scores = statistics(encoded[start : start + 256], documents).numpy()
        for query, row in zip(queries[start : start + 256], scores, strict=True):
            best = [i for i in np.argsort(-row)[:50] if ids[i] not in right[query.id]]
            if len(best) < n_negatives:
                raise ArgumentError(f"{n_negatives} hard negatives are wanted, but there are {len(best)}. Lower --negatives.")
            for document in sorted(right[query.id]):
                negatives = random.choice(best, n_negatives, replace=False)
                names = {f"negative_{n}": texts[i] for n, i in enumerate(negatives)}
                rows.append({"query": query.text, "document": corpus[document], **names})
    return Dataset.from_list(rows)


if __name__ == "__main__":
    try:
        main()
    except LexiteError as error:
        raise SystemExit(f"error: {error}") from None
