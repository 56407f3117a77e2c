"""Training steps of other libraries, each as its own trainer makes it, from token states that are in memory.

A step is everything that a trainer does for one batch: forward pass, losses (no latent is dead, so none has an auxiliary part
to compute), gradients, clipping, what it does to the decoder, the optimizer, and its counters of dead latents. Logging is off.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from common import Peer

BATCHES = 8
NEVER = 10**12
RATE = 1e-3

Step = Callable[[], Any]


def peers(states: torch.Tensor, batch: int, n_latents: int, k: int) -> dict[str, dict[str, Peer]]:
    """Per library, its variants by name.

    Args:
        states: (at least ``BATCHES · batch``, d_model).
        batch: states per step.
        n_latents: size of the dictionary.
        k: latents per state.
    """
    size = (batch, n_latents, k)

    def sae_lens(variants: dict[str, dict[str, Any]]) -> dict[str, Peer]:
        return {
            name: Peer("sae-lens", lambda options=options: sae_lens_step(states, *size, **options))
            for name, options in variants.items()
        }

    return {
        "saelens": sae_lens(SAE_LENS),
        "saelens_unscaled": sae_lens(SAE_LENS_UNSCALED),
        "sparsify": {
            name: Peer("eai-sparsify", lambda autocast=autocast: sparsify_step(states, *size, autocast))
            for name, autocast in AUTOCAST.items()
        },
        "dictionary_learning": {
            name: Peer("dictionary-learning", lambda autocast=autocast: dictionary_learning_step(states, *size, autocast))
            for name, autocast in AUTOCAST.items()
        },
    }


AUTOCAST = {"fp32": False, "bf16 autocast": True}
BF16: dict[str, Any] = {"dtype": "bfloat16"}
SAE_LENS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp32, sparse": {"sparse": True},
    "fp32, sparse, unscaled": {"sparse": True, "rescale": False},
    "bf16 autocast": {"autocast": True},
    "bf16 autocast, compiled": {"autocast": True, "compiled": True},
    "bf16 weights": BF16,
    "bf16 weights, compiled": {**BF16, "compiled": True},
}
SAE_LENS_UNSCALED: dict[str, dict[str, Any]] = {
    "bf16 autocast, unscaled": {"autocast": True, "rescale": False},
    "bf16 weights, unscaled": {**BF16, "rescale": False},
    "bf16 weights, unscaled, compiled": {**BF16, "rescale": False, "compiled": True},
}
"""``sparse`` is its use_sparse_activations, ``compiled`` puts its forward pass through torch.compile. ``unscaled`` switches
rescale_acts_by_decoder_norm off, its default and all that it does about the norm of the decoder's rows; only so do sparse
activations run on the CPU."""


def batches(states: torch.Tensor, batch: int, dtype: torch.dtype = torch.float32) -> Iterator[torch.Tensor]:
    """The same few batches over and over."""
    return itertools.cycle([part.to(dtype) for part in states[: BATCHES * batch].split(batch)])


def sae_lens_step(
    states: torch.Tensor,
    batch: int,
    n_latents: int,
    k: int,
    *,
    dtype: str = "float32",
    autocast: bool = False,
    sparse: bool = False,
    rescale: bool = True,
    compiled: bool = False,
) -> Step:
    """A step of sae-lens' SAETrainer on its TopK autoencoder."""
    os.environ.setdefault("WANDB_MODE", "disabled")
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    size = {"d_in": states.shape[1], "d_sae": n_latents, "k": k}
    options = {"use_sparse_activations": sparse, "rescale_acts_by_decoder_norm": rescale}
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(**size, **options, dtype=dtype, device="cpu"))
    if compiled:
        sae.training_forward_pass = torch.compile(sae.training_forward_pass)
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=NEVER,
        device="cpu",
        autocast=autocast,
        lr=RATE,
        lr_end=RATE,
        lr_scheduler_name="constant",
        lr_warm_up_steps=0,
        lr_decay_steps=0,
        n_restart_cycles=1,
        adam_beta1=0.9,
        adam_beta2=0.999,
        train_batch_size_samples=batch,
        dead_feature_window=NEVER,
        feature_sampling_window=NEVER,
        logger=LoggingConfig(log_to_wandb=False),
    )
    given = batches(states, batch, getattr(torch, dtype))
    trainer: Any = SAETrainer(config, sae, given)

    def step() -> None:
        trainer.step(next(given))
        trainer.n_training_steps += 1

    return step


def sparsify_step(states: torch.Tensor, batch: int, n_latents: int, k: int, autocast: bool) -> Step:
    """A step of sparsify's SparseCoder with its Adam, in the order of its Trainer, which has no step of its own to call.

    It decodes with torch's ``embedding_bag``: the states are in the memory of the CPU, for which its Triton kernel is not made.
    """
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # else it takes Triton wherever that is installed; read on import
    from sparsify import SparseCoder, SparseCoderConfig

    given = batches(states, batch)
    coder = SparseCoder(states.shape[1], SparseCoderConfig(num_latents=n_latents, k=k))
    coder.b_dec.data = next(given).mean(0)
    optimizer = torch.optim.Adam(coder.parameters(), lr=RATE)
    since = torch.zeros(n_latents, dtype=torch.long)
    fired = torch.zeros(n_latents, dtype=torch.bool)

    def step() -> None:
        inputs = next(given)
        coder.set_decoder_norm_to_unit_norm()
        variance = (inputs - inputs.mean(0)).pow(2).sum()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = coder(inputs, dead_mask=since > NEVER, total_variance=variance)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + out.auxk_loss / 32).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        since.add_(batch).masked_fill_(fired, 0)
        fired.zero_()

    return step


def dictionary_learning_step(states: torch.Tensor, batch: int, n_latents: int, k: int, autocast: bool) -> Step:
    """A step of dictionary_learning's TopKTrainer."""
    from dictionary_learning.trainers.top_k import TopKTrainer

    given, numbers = batches(states, batch), itertools.count()
    trainer = TopKTrainer(10**6, states.shape[1], n_latents, k, layer=0, lm_name="states", lr=RATE, device="cpu")

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if autocast else contextlib.nullcontext():
            trainer.update(next(numbers), next(given))

    return step
