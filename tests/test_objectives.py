"""Losses against closed forms, and who is moved by a phase."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ganloom import objectives, params

REAL = torch.tensor([0.3, -1.2, 40.0, -3.0], dtype=torch.float64)
FAKE = torch.tensor([-0.7, 2.0, -35.0, 0.1], dtype=torch.float64)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def run(label_noise: float) -> tuple[objectives.Loss, objectives.Loss]:
    """Losses of D and G where D is the identity: logits stand in for images."""
    spec = params.NonSaturating(kind="nonsaturating", label_noise=label_noise)
    by_network = {phase.network: phase for phase in objectives.phases(spec)}
    return (
        by_network["discriminator"].loss(lambda x: x, REAL, FAKE),
        by_network["generator"].loss(lambda x: x, REAL, FAKE),
    )


def test_losses_are_those_of_the_paper() -> None:
    (loss_d, noted), (loss_g, _) = run(label_noise=0.0)
    expected = -sum(log_sigmoid(x) for x in REAL.tolist()) / 4
    expected -= sum(log_sigmoid(-x) for x in FAKE.tolist()) / 4
    assert loss_d.item() == pytest.approx(expected, rel=1e-12)
    assert loss_g.item() == pytest.approx(-sum(map(log_sigmoid, FAKE.tolist())) / 4, rel=1e-12)
    assert torch.equal(noted["logits_real"], REAL)
    assert torch.equal(noted["logits_fake"], FAKE)


def test_label_noise_stays_within_its_bounds_on_both_sides() -> None:
    noise = objectives.noise_like(torch.zeros(10_000), 0.2)
    assert 0 <= noise.min() < 0.001
    assert 0.199 < noise.max() <= 0.2
    assert noise.unique().numel() > 9000  # one draw for each image


def test_label_noise_softens_d_alone() -> None:
    torch.manual_seed(0)
    t, s = 0.1 * torch.rand(4, dtype=torch.float64), 0.1 * torch.rand(4, dtype=torch.float64)
    torch.manual_seed(0)
    (loss_d, _), (loss_g, _) = run(label_noise=0.1)
    real, fake = REAL.tolist(), FAKE.tolist()
    expected = -sum(
        (1 - a) * log_sigmoid(x) + a * log_sigmoid(-x) for a, x in zip(t, real, strict=True)
    )
    expected -= sum(
        b * log_sigmoid(x) + (1 - b) * log_sigmoid(-x) for b, x in zip(s, fake, strict=True)
    )
    assert loss_d.item() == pytest.approx(float(expected) / 4, rel=1e-12)
    assert loss_g.item() == pytest.approx(run(label_noise=0.0)[1][0].item(), rel=1e-12)


def test_gradients_do_not_vanish_for_g_where_d_is_sure() -> None:
    logits = torch.tensor([-50.0, 0.0], requires_grad=True)
    spec = params.NonSaturating(kind="nonsaturating", label_noise=0.0)
    phase = next(p for p in objectives.phases(spec) if p.network == "generator")
    loss: Tensor = phase.loss(lambda x: x, logits, logits)[0]
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([-0.5, -0.25])  # -(1 - sigmoid) / 2
