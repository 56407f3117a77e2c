"""Tiny dense models of each kind, and vocabularies over them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import Qwen2Config, Qwen2Model

from lexite.backbone import BackboneConfig, load_backbone
from lexite.sae import SAEConfig, SparseAutoencoder
from lexite.terms import BM25Config, LatentTermEncoder, ModelDetails, TermsConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backbone"))
from backbone_models import byte_bpe, save_decoder, save_transformer, tiny_bert, wordpiece

N_LATENTS, K = 64, 5
PROMPTS = {"query": "query: ", "document": "passage: "}


def save_bert(root: Path) -> Path:
    """A BERT with mean pooling and prompts, padded on the right."""
    tokenizer = wordpiece()
    plain = save_transformer(root / "plain", tiny_bert(tokenizer), tokenizer)
    modules = [Transformer(str(plain)), Pooling(32, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu", prompts=PROMPTS).save(str(root / "model"), create_model_card=False)
    return root / "model"


def save_qwen(root: Path) -> Path:
    """A decoder with a prompt for queries, padded on the left, whose tokenizer joins the prompt's end with the text."""
    tokenizer = byte_bpe()
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=64, initializer_range=0.3, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    return save_decoder(root, Qwen2Model(config).eval(), tokenizer)


def save_late(root: Path) -> Path:
    """A late-interaction model: projection to 16, punctuation skipped in documents, query expansion, prompts."""
    tokenizer = wordpiece()
    plain = save_transformer(root / "plain", tiny_bert(tokenizer), tokenizer)
    torch.manual_seed(5)
    expansion = {"strategy": "fixed", "attend": False, "length": 16}
    transformer = Transformer(str(plain), query_expansion=expansion, document_length=24)
    dense = Dense(32, 16, bias=False, activation_function=torch.nn.Identity(), module_input_name="token_embeddings")
    modules = [transformer, dense, MultiVectorMask(skiplist_words=[".", ","]), Normalize(module_input_name="token_embeddings")]
    MultiVectorEncoder(modules=modules, device="cpu", prompts=PROMPTS).save(str(root / "model"), create_model_card=False)
    return root / "model"


SAVERS = {"bert": save_bert, "decoder": save_qwen, "late": save_late}


def make_vocabulary(
    folder: Path,
    *,
    activation: Any = "topk",
    decoder: bool = True,
    sae: dict[str, Any] | None = None,
    terms: dict[str, Any] | None = None,
    scoring: BM25Config | None = None,
    **backbone: Any,
) -> LatentTermEncoder:
    """A random vocabulary over a model, all of whose parts matter."""
    states = load_backbone(
        BackboneConfig(model=str(folder), **{"precision": "fp32", "overlap": 4, "long": "truncate", **backbone})
    )
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    autoencoder = SparseAutoencoder(
        SAEConfig(**{"d_model": states.d_model, "n_latents": N_LATENTS, "k": K, **(sae or {})}),
        draw(N_LATENTS, states.d_model) / states.d_model**0.5,
        draw(N_LATENTS) * 0.1,
        draw(N_LATENTS, states.d_model) if decoder else None,
        draw(states.d_model) * 0.1,
        activation=activation,
        thresholds=draw(N_LATENTS).abs() if activation == "jumprelu" else None,
        precision="fp32",
    )
    chosen = TermsConfig(**{"floor_documents": 0.0, "floor_queries": 0.0, **(terms or {})})
    return LatentTermEncoder(states, autoencoder, chosen, scoring, details=ModelDetails(name="tiny"))
