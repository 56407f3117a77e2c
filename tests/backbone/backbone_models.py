"""Tokenizers and models small enough to be made in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "",
    "rain falls in spain, mostly on the plain. it does not fall elsewhere; the cat knows",
    "zebra",
    "Cats and dogs sat in the rain",
]
LONG_TEXT = " ".join(f"the cat {i} sat on the mat and the dog fell in the rain" for i in range(12))
WINDOW = 32


def wordpiece() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer of letters and a few words, with BERT's frame."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,;:[]")
    words = ["the", "cat", "sat", "on", "mat", "dog", "rain", "in", "query", "passage", "##s", "##ing"]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = list(dict.fromkeys([*special, *letters, *(f"##{c}" for c in letters), *words]))
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=WINDOW, **names)


def byte_bpe() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that pads on the left and ends each text, as decoder embedding models do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [*TEXTS, LONG_TEXT, "query: "],
        trainers.BpeTrainer(vocab_size=400, special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=WINDOW, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def save_transformer(folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Saves a plain transformers folder (no modules.json)."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_bert(tokenizer: PreTrainedTokenizerFast, positions: int = 64) -> BertModel:
    torch.manual_seed(7)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=positions, initializer_range=0.3, **sizes)
    return BertModel(config).eval()


def save_decoder(root: Path, model: Any, tokenizer: PreTrainedTokenizerFast) -> Path:
    plain = save_transformer(root / "plain", model, tokenizer)
    modules = [Transformer(str(plain)), Pooling(32, "lasttoken")]
    folder = root / "model"
    SentenceTransformer(modules=modules, device="cpu", prompts={"query": "query: "}).save(str(folder), create_model_card=False)
    return folder
