"""The fused optimizer, against torch.optim.AdamW."""

from __future__ import annotations

import pytest
import torch

from lexite.kernels import adam
from lexite.kernels.adam import AdamStep, remove_parallel, update_rows
from lexite.kernels.gradients import LatentGradients


def gradients_of(seed: int, rows: int = 40, width: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of which some rows hold rubbish that their count of zero declares unused."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 3, (rows,), generator=generator)
    return torch.randn(rows, width, generator=generator), counts


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("compiled", [True, False])
def test_steps_equal_torch(decay: float, compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(adam, "on_cpu", lambda tensor: False)
    weight = torch.randn(40, 24, generator=torch.Generator().manual_seed(5))
    leaf = weight.clone().requires_grad_()
    optimizer = torch.optim.AdamW([leaf], lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=decay)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step in range(1, 6):
        gradient, counts = gradients_of(step)
        leaf.grad = torch.where(counts[:, None] > 0, gradient * 0.5, 0.0)
        optimizer.step()
        update_rows(weight, first, second, gradient, counts, AdamStep(0.01, 0.9, 0.99, 1e-8, decay, step, 0.5))
        torch.testing.assert_close(weight, leaf.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compiled", [True, False])
def test_rows_return_to_unit_norm(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(adam, "on_cpu", lambda tensor: False)
    weight = torch.randn(40, 24)
    gradient, counts = gradients_of(0)
    update_rows(
        weight,
        torch.zeros_like(weight),
        torch.zeros_like(weight),
        gradient,
        counts,
        AdamStep(0.1, 0.9, 0.999, 1e-8, 0, 1),
        unit_norm=True,
    )
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(40))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_mirror_holds_the_rounded_weights(compiled: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(adam, "on_cpu", lambda tensor: False)
    weight, mirror = torch.randn(40, 24), torch.full((40, 32), 7.0, dtype=dtype)
    gradient, counts = gradients_of(1)
    moments = torch.zeros_like(weight), torch.zeros_like(weight)
    update_rows(weight, *moments, gradient, counts, AdamStep(0.1, 0.9, 0.999, 1e-8, 0, 1), mirror=mirror)
    assert torch.equal(mirror[:, :24], weight.to(dtype))
    assert bool((mirror[:, 24:] == 7).all())


@pytest.mark.parametrize("compiled", [True, False])
def test_the_parallel_part_is_removed_and_the_norm_is_of_all_gradients(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(adam, "on_cpu", lambda tensor: False)
    atoms = torch.nn.functional.normalize(torch.randn(40, 24), dim=1)
    (encoder, counts), (decoder, _) = gradients_of(2), gradients_of(3)
    used = (counts > 0)[:, None]
    bias = torch.randn(40) * used.squeeze(1)
    expected = decoder - (decoder * atoms).sum(1, keepdim=True) * atoms
    norm = sum(float(torch.where(used, g, 0.0).square().sum()) for g in (encoder, expected)) + float(bias.square().sum())
    gradients = LatentGradients(encoder, decoder.clone(), bias, counts, counts)
    assert remove_parallel(atoms, gradients) == pytest.approx(norm, rel=1e-4)
    torch.testing.assert_close(gradients.decoder[used.squeeze(1)], expected[used.squeeze(1)], rtol=1e-4, atol=1e-5)
    assert float((gradients.decoder[used.squeeze(1)] * atoms[used.squeeze(1)]).sum(1).abs().max()) < 1e-4
