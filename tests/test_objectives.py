"""Losses and penalties against closed forms, in double precision."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from ganloom import matching, objectives, params
from ganloom.nets.blocks import DiscriminatorOutput
from ganloom.nets.inputs import Inputs
from ganloom.objectives import Adversarial, Batch, Discriminate, Loss, Phase, Term

F64 = torch.float64
REAL = torch.tensor([0.3, -1.2, 40.0, -3.0], dtype=F64)
FAKE = torch.tensor([-0.7, 2.0, -35.0, 0.1], dtype=F64)


MODEL: dict[str, Any] = {
    "resolution": 16,
    "kimg": 1,
    "batch": 4,
    "ema_kimg": 1,
    "generator": {"kind": "resnet", "channels": 4, "latent": 5},
    "discriminator": {"kind": "resnet", "channels": 4},
    "optimizer": {"kind": "adam", "lr": 1e-3, "betas": [0.5, 0.9]},
    "diffaugment": [],
}


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def phases(changes: dict[str, Any]) -> tuple[Phase, ...]:
    spec = params.Model.model_validate(MODEL | changes)
    return objectives.objective(spec, Inputs(5), torch.device("cpu")).phases


def identity(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
    """A discriminator that takes logits as images."""
    return DiscriminatorOutput(x)


def by_network(game: Adversarial) -> dict[str, Phase]:
    return {
        "discriminator": Phase("discriminator", 1, (game.discriminator,)),
        "generator": Phase("generator", 1, (game.generator,)),
    }


def added(phase: Phase, *terms: Term, **changes: Any) -> Phase:
    return dataclasses.replace(phase, terms=(*phase.terms, *terms), **changes)


def losses(game: Adversarial) -> tuple[Loss, Loss]:
    """Losses of D and G if D is the identity."""
    phases = by_network(game)
    return (
        phases["discriminator"].loss(identity, Batch(REAL), Batch(FAKE)),
        phases["generator"].loss(identity, Batch(REAL), Batch(FAKE)),
    )


def nonsaturating(label_noise: float) -> Adversarial:
    return objectives.nonsaturating(label_noise)


# --- cross-entropy -------------------------------------------------------------------------------


def test_nonsaturating_losses_match_the_paper() -> None:
    (loss_d, noted), (loss_g, _) = losses(nonsaturating(0.0))
    expected = -sum(log_sigmoid(x) for x in REAL.tolist()) / 4
    expected -= sum(log_sigmoid(-x) for x in FAKE.tolist()) / 4
    assert loss_d.item() == pytest.approx(expected, rel=1e-12)
    assert loss_g.item() == pytest.approx(-sum(map(log_sigmoid, FAKE.tolist())) / 4, rel=1e-12)
    assert torch.equal(noted["logits_real"], REAL)
    assert torch.equal(noted["logits_fake"], FAKE)


def test_label_noise_is_bounded() -> None:
    noise = objectives.noise_like(torch.zeros(10_000), 0.2)
    assert 0 <= noise.min() < 0.001
    assert 0.199 < noise.max() <= 0.2
    assert noise.unique().numel() > 9000  # one draw for each image


def test_label_noise_affects_only_d() -> None:
    torch.manual_seed(0)
    t, s = 0.1 * torch.rand(4, dtype=F64), 0.1 * torch.rand(4, dtype=F64)
    torch.manual_seed(0)
    (loss_d, _), (loss_g, _) = losses(nonsaturating(0.1))
    real, fake = REAL.tolist(), FAKE.tolist()
    expected = -sum(
        (1 - a) * log_sigmoid(x) + a * log_sigmoid(-x) for a, x in zip(t, real, strict=True)
    )
    expected -= sum(
        b * log_sigmoid(x) + (1 - b) * log_sigmoid(-x) for b, x in zip(s, fake, strict=True)
    )
    assert loss_d.item() == pytest.approx(float(expected) / 4, rel=1e-12)
    assert loss_g.item() == pytest.approx(losses(nonsaturating(0.0))[1][0].item(), rel=1e-12)


def test_generator_gradients_do_not_vanish_for_confident_d() -> None:
    logits = torch.tensor([-50.0, 0.0], requires_grad=True)
    phase = by_network(nonsaturating(0.0))["generator"]
    loss = phase.loss(identity, Batch(logits), Batch(logits))[0]
    loss.backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([-0.5, -0.25])  # -(1 - sigmoid) / 2


# --- other objectives ----------------------------------------------------------------------------


def test_hinge_losses() -> None:
    (loss_d, _), (loss_g, _) = losses(objectives.hinge())
    assert loss_d.item() == pytest.approx((0.7 + 2.2 + 0 + 4) / 4 + (0.3 + 3 + 0 + 1.1) / 4)
    assert loss_g.item() == pytest.approx(-FAKE.mean().item())


def test_hinge_is_the_mean_over_several_networks() -> None:
    phase = by_network(objectives.hinge())["discriminator"]
    several = REAL.expand(3, 4).T  # (B, K)
    loss, _ = phase.loss(lambda x, _: DiscriminatorOutput(x), Batch(several), Batch(several))
    assert loss.item() == pytest.approx(losses_of_one(REAL))


def losses_of_one(logits: Tensor) -> float:
    phase = by_network(objectives.hinge())["discriminator"]
    return phase.loss(identity, Batch(logits), Batch(logits))[0].item()


def test_wasserstein_losses_and_critic_steps() -> None:
    game = objectives.wasserstein(critic_steps=5)
    (loss_d, _), (loss_g, _) = losses(game)
    assert loss_d.item() == pytest.approx((FAKE.mean() - REAL.mean()).item())
    assert loss_g.item() == pytest.approx(-FAKE.mean().item())
    critic = {
        "objective": {"kind": "wasserstein", "critic_steps": 5},
        "penalties": {"clip": 0.01},
    }
    assert [(phase.network, phase.interval) for phase in phases(critic)] == [
        ("discriminator", 1),
        ("generator", 5),
    ]


def test_relativistic_losses_compare_pairs() -> None:
    (loss_d, _), (loss_g, _) = losses(objectives.relativistic())
    pairs = list(zip(REAL.tolist(), FAKE.tolist(), strict=True))
    expected = -sum(log_sigmoid(real - fake) for real, fake in pairs) / 4
    assert loss_d.item() == pytest.approx(expected, rel=1e-12)
    expected = -sum(log_sigmoid(fake - real) for real, fake in pairs) / 4
    assert loss_g.item() == pytest.approx(expected, rel=1e-12)


OBJECTIVES: dict[str, dict[str, Any]] = {
    "nonsaturating": {"label_noise": 0.0},
    "hinge": {},
    "wasserstein": {"critic_steps": 1},
    "relativistic": {},
    "began": {"reconstruction": "l1", "gamma": 0.5, "lambda_k": 0.1},
}


@pytest.mark.parametrize("section", get_args(get_args(params.Objective)[0]))
def test_least_loss_is_that_of_a_perfect_discriminator(section: Any) -> None:
    """Alarms compare losses with it, so an objective without it has no such alarms."""
    (kind,) = get_args(section.model_fields["kind"].annotation)
    spec = section(kind=kind, **OBJECTIVES[kind])
    least = objectives.least_loss(spec)
    if kind in ("wasserstein", "began"):  # no scale, or no logits
        assert least is None
        return
    certain = torch.full((4,), 50.0, dtype=F64)
    game = objectives.adversarial(spec, {}, torch.device("cpu"))
    loss, _ = by_network(game)["discriminator"].loss(identity, Batch(certain), Batch(-certain))
    assert loss.item() == pytest.approx(least)


# --- BEGAN ---------------------------------------------------------------------------------------


def halving(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
    """An autoencoder that reproduces half of its input."""
    return DiscriminatorOutput(x.new_zeros(len(x)), None, x / 2)


def test_began_losses_match_manual_calculation() -> None:
    spec = params.Began(kind="began", reconstruction="l1", gamma=0.5, lambda_k=0.1)
    k = torch.tensor(0.25, dtype=F64)
    game = by_network(objectives.began(spec, k))
    real, fake = (
        Batch(torch.full((2, 3, 4, 4), 0.8, dtype=F64)),
        Batch(torch.full((2, 3, 4, 4), 0.4, dtype=F64)),
    )
    loss, noted = game["discriminator"].loss(halving, real, fake)
    assert loss.item() == pytest.approx(0.4 - 0.25 * 0.2)  # with k as it was
    assert k.item() == pytest.approx(0.25 + 0.1 * (0.5 * 0.4 - 0.2))
    assert noted["convergence"].item() == pytest.approx(0.4 + abs(0.5 * 0.4 - 0.2))
    loss, _ = game["generator"].loss(halving, real, fake)
    assert loss.item() == pytest.approx(0.2)


@pytest.mark.parametrize("start, gamma, end", [(0.0, 0.1, 0.0), (1.0, 1.0, 1.0)])
def test_began_balance_stays_between_0_and_1(start: float, gamma: float, end: float) -> None:
    spec = params.Began(kind="began", reconstruction="mse", gamma=gamma, lambda_k=10.0)
    k = torch.tensor(start, dtype=F64)
    x = Batch(torch.full((1, 3, 4, 4), 0.5, dtype=F64))
    y = Batch(torch.full((1, 3, 4, 4), 0.4, dtype=F64))
    by_network(objectives.began(spec, k))["discriminator"].loss(halving, x, y)
    assert k.item() == end


def test_reconstruction_errors_match_their_formulas() -> None:
    x = torch.rand(2, 3, 32, 32, dtype=F64) * 2 - 1
    assert objectives.reconstruction_error(x, x + 0.1, "l1").item() == pytest.approx(0.1)
    assert objectives.reconstruction_error(x, x + 0.1, "mse").item() == pytest.approx(0.01)
    assert objectives.reconstruction_error(x, x, "ms_ssim").item() == pytest.approx(0)
    assert objectives.reconstruction_error(x, -x, "ms_ssim").item() > 0.9


# --- codes ---------------------------------------------------------------------------------------

CODE = params.Code(
    categorical=[3], continuous=2, weight=2.0, weight_continuous=0.5, weight_latent=0.25
)
TOLD = Inputs(latent=2, categorical=(3,), continuous=2)


def test_code_loss_matches_its_formula() -> None:
    v = torch.tensor([[0.5, -1.0, 0, 1, 0, 0.2, -0.4]], dtype=F64)
    recovered = torch.tensor([[1.0, 2.0, -1.0, 0.0, 0.0, 0.0, 1.0]], dtype=F64)
    exponentials = [math.exp(x) for x in (1.0, 2.0, -1.0)]
    entropy = -math.log(exponentials[1] / sum(exponentials))
    squares = (0.2**2 + 0.4**2) / 2, (0.5**2 + 2.0**2) / 2
    expected = 2 * entropy + 0.5 * squares[0] + 0.25 * squares[1]
    found = objectives.code_error(recovered, v, CODE, TOLD)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_both_networks_minimise_the_code_loss() -> None:
    v = TOLD.draw(4).double()
    recovered = torch.randn(4, 7, dtype=F64)
    fake = Batch(FAKE, None, v)

    def aware(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        # Estimates for real images must not count: they have no code.
        code = recovered if x is fake.images else torch.full_like(recovered, 1e9)
        return DiscriminatorOutput(x, code)

    plain = by_network(nonsaturating(0.0))
    lost = objectives.code_error(recovered, v, CODE, TOLD).item()
    for phase in plain.values():
        before = phase.loss(aware, Batch(REAL), fake)[0].item()
        recovering = added(phase, objectives.code_recovery(CODE, TOLD))
        assert recovering.loss(aware, Batch(REAL), fake)[0].item() == pytest.approx(before + lost)


# --- feature matching ----------------------------------------------------------------------------


def sums(images: Tensor) -> Tensor:
    """Features of images that can be computed by hand: sums over all channels and the first."""
    return torch.stack([images.flatten(1).sum(1), images[:, 0].flatten(1).sum(1)], dim=1)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Real features have a mean of 1 and a variance of 3; the frozen network computes two sums."""
    monkeypatch.setattr(matching, "pooled", lambda images, _: sums(images))
    ones, zeros = torch.ones(2, dtype=F64), torch.zeros(2, dtype=F64)
    return {"mean_real": ones, "variance_real": torch.tensor(3.0, dtype=F64), "mean_fake": zeros}


@pytest.mark.parametrize("looked", [1, 16])
def test_feature_matching_moves_fake_mean_to_real_mean(
    looked: int, memory: dict[str, Tensor]
) -> None:
    spec = params.FeatureMatching(weight=5.0, images=looked)
    plain = by_network(objectives.hinge())["generator"]
    term = objectives.FeatureMatching(spec, memory)
    joined = added(plain, term)
    fake = images(2)._replace(images=images(2).images.requires_grad_())
    some = fake.images[:looked]
    mean = sums(some).mean(0).detach()
    moved = (1 - 0.5 ** (len(some) / 2000)) * mean  # it began at zero
    gap = moved - memory["mean_real"]

    expected, _ = plain.loss(linear, images(1), fake)
    (without,) = torch.autograd.grad(expected, fake.images)
    term.prepare(fake.images)
    loss, noted = joined.loss(linear, images(1), fake)
    (slope,) = torch.autograd.grad(loss, fake.images)
    slope = slope - without
    assert torch.allclose(memory["mean_fake"], moved)
    assert noted["feature_gap"].item() == pytest.approx(gap.square().sum().item() / 3)

    # What lowers 5 * |mean - real mean|^2 / 3 where the mean is the moving one.
    first = 2 * 5 * gap.sum() / 3 / len(some)  # of the first channel, which both sums see
    others = 2 * 5 * gap[0] / 3 / len(some)
    assert torch.allclose(slope[:looked, 0], first.expand_as(some[:, 0]))
    assert torch.allclose(slope[:looked, 1:], others.expand_as(some[:, 1:]))
    assert not slope[looked:].any()


def test_feature_gradient_is_the_same_in_another_thread() -> None:
    cpu = torch.device("cpu")
    fakes = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected, gap = matching.feature_gradient(fakes, matching.feature_memory(cpu))

    term = objectives.FeatureMatching(
        params.FeatureMatching(weight=1.0, images=4), matching.feature_memory(cpu)
    )
    term.prepare(fakes)
    fakes.requires_grad_()
    _, noted = term(objectives.Pass(linear, Batch(fakes), Batch(fakes)))
    (gradient,) = torch.autograd.grad(0 * fakes.sum(), fakes)
    assert torch.equal(gradient, expected)
    assert torch.equal(noted["feature_gap"], gap)


def test_feature_matching_starts_from_current_means(memory: dict[str, Tensor]) -> None:
    x, y = images(1).images, images(2).images
    matching.remember_features(memory, [x[:1], x[1:]], [y])
    seen = sums(x)
    assert torch.allclose(memory["mean_real"], seen.mean(0))
    assert memory["variance_real"].item() == pytest.approx(seen.var(0).sum().item())
    assert torch.allclose(memory["mean_fake"], sums(y).mean(0))


# --- penalties -----------------------------------------------------------------------------------

SLOPE = torch.linspace(-1, 2, 48, dtype=F64)


def linear(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
    """A discriminator whose gradient is SLOPE everywhere."""
    return DiscriminatorOutput(x.flatten(1) @ SLOPE)


def images(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(3, 3, 4, 4, dtype=F64, generator=generator))


def penalty(D: Discriminate = linear, **spec: Any) -> Loss:
    terms = objectives.gradient_penalties(params.Penalties(**spec))
    return Phase("discriminator", 1, tuple(terms), True).loss(D, images(1), images(2))


def value(D: Discriminate = linear, **spec: Any) -> float:
    return penalty(D, **spec)[0].item()


def test_gradient_penalties_of_a_linear_critic() -> None:
    norm = SLOPE.norm().item()
    assert value(gradient=10.0) == pytest.approx(10 * (norm - 1) ** 2)
    assert value(r1=4.0) == pytest.approx(2 * norm**2)
    assert value(r2=6.0) == pytest.approx(3 * norm**2)
    assert value(r1=4.0, r2=6.0) == pytest.approx(5 * norm**2)


def test_penalties_of_every_step_share_ds_forward_passes() -> None:
    seen = []

    def watched(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        seen.append(x)
        return linear(x, condition)

    hinge = {"objective": {"kind": "hinge"}}
    both, _ = phases(hinge | {"penalties": {"r1": 4.0, "r2": 6.0}})
    loss, noted = both.loss(watched, images(1), images(2))
    plain, _ = phases(hinge)
    expected, known = plain.loss(linear, images(1), images(2))
    assert loss.item() == pytest.approx(expected.item() + value(r1=4.0, r2=6.0))
    assert noted.keys() == known.keys() | {"r1", "r2"}
    assert [x.tolist() for x in seen] == [images(1).images.tolist(), images(2).images.tolist()]


def test_penalties_of_every_step_equal_a_summed_loss() -> None:
    weight = torch.ones(48, dtype=F64, requires_grad=True)

    def squares(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        return DiscriminatorOutput(x.flatten(1).square() @ weight)

    spec: dict[str, Any] = {"gradient": 2.0, "r1": 4.0}
    plain = by_network(objectives.hinge())["discriminator"]
    terms = objectives.gradient_penalties(params.Penalties(**spec))
    phase = added(plain, *terms, image_gradients=True)
    torch.manual_seed(0)  # of the mixture
    (joined,) = torch.autograd.grad(phase.loss(squares, images(1), images(2))[0], weight)
    torch.manual_seed(0)
    total = plain.loss(squares, images(1), images(2))[0] + penalty(squares, **spec)[0]
    (expected,) = torch.autograd.grad(total, weight)
    assert torch.allclose(joined, expected)


def test_lazy_penalties_are_scaled_by_their_interval() -> None:
    *others, phase = phases(
        {"objective": {"kind": "hinge"}, "penalties": {"r1": 4.0, "interval": 16}}
    )
    assert len(others) == 2
    assert (phase.network, phase.interval) == ("discriminator", 16)
    loss, _ = phase.loss(linear, images(1), images(2))
    assert loss.item() == pytest.approx(16 * value(r1=4.0))


def test_penalties_are_evaluated_at_the_right_images() -> None:
    def square(x: Tensor, condition: Tensor | None) -> DiscriminatorOutput:
        return DiscriminatorOutput(x.square().flatten(1).sum(dim=1) / 2)  # its gradient is x

    def at(batch: Batch) -> float:
        return batch.images.square().flatten(1).sum(dim=1).mean().item()

    assert value(square, r1=2.0) == pytest.approx(at(images(1)))
    assert value(square, r2=2.0) == pytest.approx(at(images(2)))


def test_interpolated_images_are_uniform_between_real_and_fake() -> None:
    torch.manual_seed(0)
    zeros, ones = torch.zeros(4000, 3, 2, 2, dtype=F64), torch.ones(4000, 3, 2, 2, dtype=F64)
    mixed = objectives.mixture(zeros, ones)
    share = mixed[:, 0, 0, 0]
    assert torch.equal(mixed, share[:, None, None, None].expand_as(mixed))  # one draw an image
    assert 0 <= share.min() < 0.01
    assert 0.99 < share.max() <= 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.var().item() == pytest.approx(1 / 12, rel=0.1)


def test_clipping_applies_to_all_weights_of_d_only() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(1, 4), nn.Flatten(), nn.Linear(4, 1))
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -5.0, 5.0)
    critic = {"objective": {"kind": "wasserstein", "critic_steps": 1}, "penalties": {"clip": 0.01}}
    d, g = phases(critic)
    before = [p.clone() for p in network.parameters()]
    g.constrain(network)
    assert all(map(torch.equal, before, network.parameters()))
    d.constrain(network)
    assert all(p.abs().max() <= 0.01 for p in network.parameters())


def test_clipping_follows_lazy_penalties() -> None:
    critic = {
        "objective": {"kind": "wasserstein", "critic_steps": 1},
        "penalties": {"clip": 0.01, "r1": 1.0, "interval": 2},
    }
    own = [phase for phase in phases(critic) if phase.network == "discriminator"]
    assert [phase.interval for phase in own] == [1, 2]
    for phase in own:
        network = nn.Linear(2, 2)
        nn.init.constant_(network.weight, 5.0)
        network.bias.requires_grad_(False).fill_(5.0)  # frozen: it stays what it is
        phase.constrain(network)
        assert network.weight.max().item() == pytest.approx(0.01)
        assert network.bias.tolist() == [5, 5]
