"""Networks: shapes, conditions, single steps, files and learning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from ganloom import models, objectives, params
from ganloom.features import LITE0, LITE2, Weights, features, maps, network, pooled
from ganloom.nets import blocks, conditioning, projected, resnet, texture
from ganloom.nets.inputs import Inputs
from ganloom.training import loop
from ganloom.training.state import TrainingState, fresh

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
RESOLUTIONS = [16, 28, 32, 64, 80]

DROPOUT: dict[str, Any] = {"dropout": 0.0, "dropout_kind": "element"}
GENERATORS: dict[str, dict[str, Any]] = {
    "plain": {"channels": 32, "dense": 8, "kernel": 3},
    "dcgan": {"channels": 16, "norm": "batch", **DROPOUT},
    "sngan": {"channels": 8, "norm": "batch", "blocks": 2, **DROPOUT},
    "resnet": {"channels": 6},
    "fastgan": {"channels": 4},
    "began": {"channels": 12},
    "compact": {"channels": 8, "palette": 4},
    "texture": {"channels": 8, "latent": 60, "local": 1, "palette": 4},
}
DISCRIMINATORS: dict[str, dict[str, Any]] = {
    "plain": {"first": 8, "channels": 16, "kernel": 3, "dropout": 0.0},
    "dcgan": {"channels": 8, "norm": "batch", "minibatch_stddev": False, **DROPOUT},
    "sngan": {"channels": 6, "norm": "spectral", "blocks": 2, "dense": None, **DROPOUT},
    "resnet": {"channels": 8},
    "projected": {"channels": 4, "side": 64},
    "began": {"channels": 8, "hidden": 16},
    "compact": {"channels": 8},
}
NONSATURATING = {"kind": "nonsaturating", "label_noise": 0.0}
BEGAN = {"kind": "began", "reconstruction": "l1", "gamma": 0.7, "lambda_k": 0.01}
CODE = {
    "categorical": [3],
    "continuous": 2,
    "weight": 1.0,
    "weight_continuous": 0.1,
    "weight_latent": 0.1,
}
R1_R2 = {"r1": 1.0, "r2": 1.0, "interval": 2}

# What there is to train, each at tiny width: an objective, penalties, and how it is told things.
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"generator": "plain", "discriminator": "plain"},
    "dcgan": {"generator": "dcgan", "discriminator": "dcgan norm=layer"},
    "cgan": {"generator": "dcgan", "discriminator": "dcgan norm=layer", "condition": "onehot"},
    "wgan": {
        "generator": "dcgan",
        "discriminator": "dcgan norm=none",
        "objective": {"kind": "wasserstein", "critic_steps": 2},
        "penalties": {"clip": 0.1},
        "optimizer": {"kind": "rmsprop", "lr": 1e-3},
    },
    "cwgan_gp": {
        "generator": "sngan",
        "discriminator": "dcgan norm=layer",
        "objective": {"kind": "wasserstein", "critic_steps": 2},
        "penalties": {"gradient": 10.0},
        "condition": "embedding",
    },
    "sngan": {"generator": "sngan", "discriminator": "sngan", "objective": {"kind": "hinge"}},
    "infogan": {
        "generator": "dcgan",
        "discriminator": "dcgan norm=layer",
        "code": CODE,
        "input_noise": 0.05,
    },
    "r3": {
        "generator": "resnet",
        "discriminator": "resnet",
        "objective": {"kind": "relativistic"},
        "penalties": R1_R2,
    },
    "projected": {
        "resolution": 32,
        "generator": "fastgan",
        "discriminator": "projected",
        "objective": {"kind": "hinge"},
    },
    "info_began": {
        "generator": "began",
        "discriminator": "began",
        "objective": BEGAN,
        "code": CODE | {"weight_latent": 0.0},
    },
    "compact": {"generator": "compact", "discriminator": "compact"},
    "picture": {"generator": "compact", "discriminator": "compact", "condition": "picture"},
    "texture": {"generator": "texture", "discriminator": "compact"},
    "matched": {
        "generator": "dcgan",
        "discriminator": "dcgan norm=layer",
        "feature_matching": {"weight": 10.0, "images": 4},
        "patch_matching": {"weight": 100.0},
    },
}


def spec(kinds: dict[str, dict[str, Any]], text: str) -> dict[str, Any]:
    """A specification: a kind and its differences from the default (`dcgan norm=none`)."""
    kind, *words = text.split()
    changes = dict(word.split("=") for word in words)
    return {
        "kind": kind,
        **kinds[kind],
        **{key: int(value) if value.isdigit() else value for key, value in changes.items()},
    }


def generator_spec(text: str, latent: int = 5) -> params.Generator:
    return model(generator=text, resolution=32, latent=latent).generator


def model(
    generator: str = "dcgan", discriminator: str = "dcgan", latent: int = 5, **changes: Any
) -> params.Model:
    told = {
        "resolution": 16,
        "kimg": 2,
        "batch": 8,
        "ema_kimg": 0.2,
        "generator": {"latent": latent, **spec(GENERATORS, generator)},
        "discriminator": spec(DISCRIMINATORS, discriminator),
        "objective": NONSATURATING,
        "optimizer": {"kind": "adam", "lr": 1e-3, "betas": [0.5, 0.9]},
        "diffaugment": [],
    }
    return params.Model.model_validate(told | changes)


# --- shapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("kind", GENERATORS)
def test_generator_outputs_have_shape_and_range(kind: str, resolution: int) -> None:
    if kind == "fastgan" and resolution not in (32, 64):
        pytest.skip("FastGAN has levels from 4 px on, and heads from 32 px on")
    chosen = generator_spec(kind)
    told = Inputs(chosen.latent, 2, (3,), 1)
    net = models.build_generator(chosen, resolution, told)
    images = net(told.draw(3))
    assert images.shape == (3, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert (images[0] - images[1]).abs().max() > 1e-4  # z makes a difference from the start


@pytest.mark.parametrize("resolution", [128, 256])
def test_fastgan_excites_fine_levels_by_coarse_ones(resolution: int) -> None:
    net = models.build_generator(generator_spec("fastgan"), resolution, Inputs(5))
    v = torch.randn(2, 5)
    images = net(v)
    assert images.shape == (2, 3, resolution, resolution)
    net.get_parameter(f"net.excitations.{resolution}.net.3.weight").data.mul_(-50)
    assert not torch.allclose(net(v), images, atol=1e-4)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_discriminator_outputs_have_shape(kind: str, resolution: int) -> None:
    objective = BEGAN if kind == "began" else {"kind": "hinge"}
    code = None if kind == "projected" else CODE
    whole = model(discriminator=kind, objective=objective, resolution=resolution, code=code)
    told = models.inputs(whole, 0)
    net = models.build_discriminator(whole, told)
    output = net(torch.rand(3, 3, resolution, resolution) * 2 - 1)
    assert output.logits.shape == ((3, 4) if kind == "projected" else (3,))
    if code:
        assert output.code.shape == (3, 3 + 2 + 5)  # categorical, continuous, z
    else:
        assert output.code is None
    if kind == "began":
        assert output.reconstruction.shape == (3, 3, resolution, resolution)
    else:
        assert output.reconstruction is None


def test_projected_discriminator_covers_large_images() -> None:
    net = judge(resolution=256)
    assert net(torch.zeros(2, 3, 256, 256)).logits.shape == (2, 4 * 5 * 5)


def test_dense_layer_can_have_the_original_size() -> None:
    # 134 million weights at 128 px in its original; here the same form, small.
    whole = model(discriminator="sngan", resolution=32)
    dense = whole.discriminator.model_copy(update={"dense": 7})
    net = models.build_discriminator(whole.model_copy(update={"discriminator": dense}), Inputs(5))
    widths = [m.out_features for m in net.modules() if isinstance(m, nn.Linear)]
    assert widths == [7, 1]


def test_channels_double_when_the_side_halves_up_to_16_times() -> None:
    assert blocks.widths(4, 6) == [4, 8, 16, 32, 64, 64]
    net = models.build_discriminator(model(resolution=64), Inputs(5))
    convolutions = [m.out_channels for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert convolutions == [8, 16, 32, 64, 1]
    made = models.build_generator(generator_spec("dcgan"), 64, Inputs(5))
    transposed = [m.out_channels for m in made.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert transposed == [64, 32, 16, 3]


def test_networks_of_shipibo_and_animals_have_original_sizes() -> None:
    """Numbers of parameters, calculated from published tables."""
    shipibo = params.PlainGenerator(kind="plain", latent=100, channels=128, dense=256, kernel=3)
    net = models.build_generator(shipibo, 32, Inputs(100))
    dense, first = 101 * 256 * 16, 256 * 128 * 16 + 128
    assert count(net) == dense + first + 2 * (128 * 128 * 16 + 128) + 128 * 3 * 9 + 3
    animals = params.PlainDiscriminator(
        kind="plain", first=128, channels=128, kernel=5, dropout=0.4
    )
    judge = models.build_discriminator(
        model().model_copy(update={"discriminator": animals, "resolution": 80}), Inputs(5)
    )
    convolutions = 3 * 128 * 25 + 128 + 4 * (128 * 128 * 25 + 128)
    assert count(judge) == convolutions + 128 * 5 * 5 + 1


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# --- parts ---------------------------------------------------------------------------------------


def test_initial_weights_match_the_paper() -> None:
    torch.manual_seed(0)
    wide = params.DcganGenerator(kind="dcgan", channels=32, latent=64, norm="batch", **DROPOUT)
    for module in models.build_generator(wide, 32, Inputs(64)).modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("kind", ["plain", "dcgan norm=none", "sngan norm=none", "resnet", "began"])
def test_signals_keep_their_scale_without_normalisation(kind: str) -> None:
    torch.manual_seed(0)
    net = models.build_generator(generator_spec(kind), 256, Inputs(5)).net
    assert isinstance(net, nn.Sequential)
    x = torch.randn(16, 5)
    for layer in net[:-2]:  # the last convolution is drawn small on purpose
        x = layer(x)
    assert 0.1 < x.square().mean().sqrt() < 10


def test_first_discriminator_layer_is_not_normalised() -> None:
    for kind in ("dcgan norm=batch", "sngan norm=layer"):
        net = models.build_discriminator(model(discriminator=kind, resolution=32), Inputs(5))
        kinds = [type(m) for m in net.modules() if isinstance(m, (*blocks.LAYERS, *blocks.NORMS))]
        assert kinds[:2] == [nn.Conv2d, nn.Conv2d]


def test_dropout_rate_is_common_or_per_block() -> None:
    def rates(kind: str, part: str, given: object) -> list[float]:
        chosen: dict[str, Any] = {part: kind}
        told = model(**chosen, resolution=64).model_dump()
        told[part]["dropout"] = given
        whole = params.Model.model_validate(told)
        nets = {
            "generator": models.build_generator(whole.generator, 64, Inputs(5)),
            "discriminator": models.build_discriminator(whole, Inputs(5)),
        }
        return [m.rate for m in nets[part].modules() if isinstance(m, blocks.Dropout)]

    assert rates("dcgan", "generator", 0.25) == [0.25] * 4
    assert rates("dcgan", "generator", [0.3, 0.25, 0.2, 0.0]) == [0.3, 0.25, 0.2]
    assert rates("dcgan", "discriminator", [0.0, 0.5, 0.5, 0.4]) == [0.5, 0.5, 0.4]
    assert rates("sngan", "generator", [0.3, 0.0]) == [0.3]
    assert rates("sngan", "discriminator", 0.25) == [0.25, 0.25]


def test_dropout_rate_may_be_close_to_1() -> None:
    y = blocks.Dropout(0.9999)(torch.ones(64, 64))
    assert set(y.unique().tolist()) == {0.0, 256.0}


@pytest.mark.parametrize("rate", [0.1, 0.35, 0.9])
def test_dropout_preserves_the_mean(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(8, 16, 32, 33).to(memory_format=torch.channels_last)
    y = blocks.Dropout(rate)(x)
    kept = (y > 0).float()
    n = x.numel()
    exact = 1 - round(rate * 256) / 256  # the rate is rounded to a byte
    deviation = (exact * (1 - exact) / n) ** 0.5
    assert kept.mean().item() == pytest.approx(exact, abs=5 * deviation)
    assert y.mean().item() == pytest.approx(1, abs=5 * deviation / exact)
    assert y.var().item() == pytest.approx((1 - exact) / exact, rel=0.05)
    # No structure: neighbours in any direction agree as often as independent draws.
    for axis in range(4):
        agree = (kept * kept.roll(1, axis)).mean().item()
        assert agree == pytest.approx(exact**2, abs=0.01)


def test_dropout_masks_differ_and_apply_to_gradients() -> None:
    layer = blocks.Dropout(0.5)
    x = torch.ones(2, 3, 7, 5, requires_grad=True)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    first.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, first)


def test_dropout_is_off_in_eval_mode() -> None:
    x = torch.randn(4, 2, 8, 8)
    assert torch.equal(blocks.Dropout(0.5).eval()(x), x)


def test_channel_dropout_drops_whole_channels() -> None:
    torch.manual_seed(0)
    (layer,) = blocks.dropout(0.5, "channel")
    y = layer(torch.ones(16, 8, 4, 4))
    each = y.flatten(2)
    assert (each == each[:, :, :1]).all()  # all or nothing
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert blocks.dropout(0.0, "channel") == []


def test_layer_normalisation_is_per_image() -> None:
    (layer,) = blocks.norm("layer", 6)
    x = 3 * torch.randn(4, 6, 5, 5) + 2
    y = layer(x)
    assert y.flatten(1).mean(dim=1).abs().max() < 1e-5
    assert torch.allclose(y.flatten(1).std(dim=1, unbiased=False), torch.ones(4), atol=1e-4)
    assert torch.equal(layer(x[:1]), y[:1])


def test_minibatch_stddev_measures_batch_variation() -> None:
    # Pixels of 0 in one image and 2 in the other: standard deviation 1. Then none.
    x = torch.stack([torch.zeros(3, 4, 4), 2 * torch.ones(3, 4, 4)])
    y = blocks.MinibatchStddev()(x)
    assert torch.equal(y[:, :3], x)
    assert torch.allclose(y[:, 3], torch.ones(2, 4, 4))
    assert blocks.MinibatchStddev()(torch.ones(2, 3, 4, 4))[:, 3].max() < 1e-3


def test_minibatch_stddev_of_pairs() -> None:
    """The first and the third image are 2 apart, the others are equal."""
    layer = blocks.MinibatchStddev(pairs=True)
    x = torch.tensor([0.0, 5.0, 2.0, 5.0])[:, None, None, None].expand(4, 3, 4, 4)
    seen = layer(x)[:, 3].mean(dim=(1, 2))
    assert torch.allclose(seen, torch.tensor([1.0, 0.0, 1.0, 0.0]), atol=1e-3)
    # Elsewhere, images are no pairs: the same plane for all.
    assert torch.equal(layer.eval()(x), blocks.MinibatchStddev()(x))


@pytest.mark.parametrize("kind", ["sngan", "dcgan norm=spectral", "sngan dense=6"])
def test_spectral_norm_of_every_layer_is_1(kind: str) -> None:
    torch.manual_seed(0)
    whole = model(discriminator=kind)
    net = models.build_discriminator(whole, Inputs(5))
    x = torch.randn(2, 3, 16, 16)
    for _ in range(300):  # a power iteration each
        net(x)
    layers = [m for m in net.modules() if isinstance(m, blocks.LAYERS)]
    assert len(layers) >= 3
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.detach().double().flatten(1))[0]
        assert largest.item() == pytest.approx(1, abs=1e-3)


def test_residual_blocks_start_as_zero() -> None:
    for net in (
        models.build_generator(generator_spec("resnet"), 32, Inputs(5)),
        models.build_discriminator(model(discriminator="resnet"), Inputs(5)),
    ):
        branches = [m for name, m in net.named_modules() if name.endswith(".branch")]
        assert len(branches) >= 4
        for branch in branches:
            first = branch.get_submodule("0")
            assert isinstance(first, nn.Conv2d)
            assert branch(torch.randn(2, first.in_channels, 8, 8)).abs().max() == 0


# --- the generator on a torus --------------------------------------------------------------------


def torus(resolution: int = 32) -> texture.Texture:
    torch.manual_seed(0)
    chosen = generator_spec("texture local=2")
    net = models.build_generator(chosen, resolution, Inputs(60)).net
    assert isinstance(net, texture.Texture)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data.mul_(5)  # initial weights hardly let the field make a difference
    return net.eval()


@torch.no_grad()
def test_shifted_field_shifts_the_picture_around_the_torus() -> None:
    net = torus()
    field, style = torch.randn(2, 2, 5, 7), torch.randn(2, 5, 7, 28)
    picture = net.woven(field, style)
    assert picture.shape == (2, 3, 40, 56)
    assert picture.std(dim=(2, 3)).min() > 0.01
    moved = net.woven(field.roll((2, -3), (2, 3)), style.roll((2, -3), (1, 2)))
    assert torch.allclose(moved, picture.roll((16, -24), (2, 3)), atol=1e-6)


@pytest.mark.parametrize("resolution", [28, 32])
@torch.no_grad()
def test_picture_is_woven_from_the_parts_of_its_input(resolution: int) -> None:
    net = models.build_generator(generator_spec("texture"), resolution, Inputs(60)).net.eval()
    assert isinstance(net, texture.Texture)
    v = torch.randn(3, 60)
    field, style = net.parts(v)
    assert field.shape[2:] == (net.cells, net.cells)
    assert torch.equal(torch.cat([field.flatten(1), style], dim=1), v)
    everywhere = style[:, None, None].expand(-1, net.cells, net.cells, -1)
    assert torch.allclose(net.woven(field, everywhere), net(v), atol=1e-6)


@torch.no_grad()
def test_style_of_a_cell_changes_the_colours_near_it() -> None:
    net = torus()
    field, style = torch.randn(1, 2, 16, 16), torch.randn(1, 1, 1, 28).repeat(1, 16, 16, 1)
    before = net.woven(field, style)
    style[0, 8, 8] = torch.randn(28)
    changed = (net.woven(field, style) - before).abs().amax(dim=(0, 1)) > 0
    assert changed[64:72, 64:72].all()
    rows, columns = changed.nonzero().unbind(1)
    assert rows.min() >= 64 - 32 and rows.max() < 72 + 32
    assert columns.min() >= 64 - 32 and columns.max() < 72 + 32


# --- what networks are told ----------------------------------------------------------------------


def test_onehot_class_is_an_input_plane_of_ones() -> None:
    x = torch.randn(2, 3, 4, 4)
    y = conditioning.OneHotPlanes(3)(x, torch.eye(3)[[2, 0]])
    assert torch.equal(y[:, :3], x)
    assert y[0, 3:].mean(dim=(1, 2)).tolist() == [0, 0, 1]
    assert y[1, 3:].mean(dim=(1, 2)).tolist() == [1, 0, 0]


def test_embedded_class_is_one_input_plane() -> None:
    front = conditioning.EmbeddedPlane(3, 4)
    x = torch.randn(2, 3, 4, 4)
    y = front(x, torch.eye(3)[[2, 0]])
    assert torch.equal(y[:, :3], x)
    assert torch.equal(y[0, 3], front.embedding[2].view(4, 4))


def test_discriminators_depend_on_the_class() -> None:
    for condition in ("onehot", "embedding"):
        whole = model(condition=condition)
        net = models.build_discriminator(whole, models.inputs(whole, 3)).eval()
        x = torch.randn(1, 3, 16, 16)
        one, other = net(x, torch.eye(3)[:1]), net(x, torch.eye(3)[1:2])
        assert one.logits != other.logits


def test_class_interpolation_changes_only_the_embedding() -> None:
    told = Inputs(4, classes=3, continuous=1)
    net = models.build_generator(generator_spec("dcgan"), 16, told, "embedding").eval()
    v = told.draw(2, torch.tensor([0, 2]))
    v[1, :4], v[1, 7:] = v[0, :4], v[0, 7:]  # the same z and code
    middle = v.mean(dim=0, keepdim=True)
    embedding = net.get_parameter("front.embedding")
    mixed = (embedding[0] + embedding[2]) / 2
    expected = torch.cat([middle[:, :4], mixed[None], middle[:, 7:]], dim=1)
    assert torch.allclose(net.front(middle), expected)
    assert torch.allclose(net(middle), net.net(expected))


# --- one step ------------------------------------------------------------------------------------


def classes_of(spec: params.Model) -> int:
    return 2 if spec.condition else 0


def begun(name: str) -> tuple[params.Model, Inputs, TrainingState, tuple[objectives.Phase, ...]]:
    torch.manual_seed(1)
    spec = model(**MODELS[name])
    told = models.inputs(spec, classes_of(spec))
    state = fresh(spec, told, CPU)
    objective = objectives.objective(spec, told, CPU)
    state.memory = objective.memory
    return spec, told, state, objective.phases


def update(
    spec: params.Model,
    told: Inputs,
    state: TrainingState,
    phase: objectives.Phase,
    shown: torch.Tensor,
) -> None:
    """One update of one network, as in the training loop."""
    v = told.draw(len(shown))
    condition = told.parts(v)[1] if told.conditions else None
    made = state.networks["generator"](v)
    for term in phase.terms:
        if isinstance(term, objectives.FeatureMatching):
            term.prepare(made)
    if phase.network == "discriminator":
        made = made.detach()
    optimizer = state.optimizers[phase.network]
    optimizer.zero_grad(set_to_none=True)
    fake = objectives.Batch(made, condition, v)
    real = objectives.Batch(shown, condition)
    loss, _ = phase.loss(state.networks["discriminator"], real, fake)
    loss.backward(inputs=optimizer.param_groups[0]["params"])
    optimizer.step()
    phase.constrain(state.networks[phase.network])


def weights(state: TrainingState, player: str) -> list[torch.Tensor]:
    return [p.detach().clone() for p in state.networks[player].parameters()]


@pytest.mark.parametrize("name", MODELS)
def test_step_updates_only_its_own_network(name: str) -> None:
    spec, told, state, phases = begun(name)
    shown = torch.rand(4, 3, spec.resolution, spec.resolution) * 2 - 1
    assert {phase.network for phase in phases} == {"generator", "discriminator"}
    for phase in phases:
        before = {player: weights(state, player) for player in state.networks}
        update(spec, told, state, phase, shown)
        for player, old in before.items():
            same = [torch.equal(a, b) for a, b in zip(old, weights(state, player), strict=True)]
            if player == phase.network:
                assert not all(same)  # the others of a residual branch wait for its last layer
            else:
                assert all(same)


@pytest.mark.parametrize("name", MODELS)
def test_model_resumes_bit_identically(name: str, tmp_path: Path) -> None:
    spec, told, state, phases = begun(name)
    shown = torch.rand(4, 3, spec.resolution, spec.resolution) * 2 - 1

    def step(state: TrainingState, phases: tuple[objectives.Phase, ...]) -> None:
        for phase in phases:
            update(spec, told, state, phase, shown)

    step(state, phases)
    state.save(tmp_path)
    step(state, phases)
    _, _, again, others = begun(name)
    torch.manual_seed(7)
    assert again.load(tmp_path)
    step(again, others)
    for player, net in state.networks.items():
        found = again.networks[player].state_dict()
        for key, value in net.state_dict().items():
            assert torch.equal(found[key], value), f"{player}.{key}"


# --- the projected discriminator -----------------------------------------------------------------


def judge(
    seed: int = 0, *, resolution: int = 32, side: Any = 64, pixels: int | None = None
) -> projected.Projected:
    torch.manual_seed(seed)
    spec = params.ProjectedDiscriminator(kind="projected", channels=2, side=side, pixels=pixels)
    net = projected.discriminator(spec, resolution, 3, 1)
    assert isinstance(net, projected.Projected)
    return net


def test_frozen_feature_network_is_neither_trained_nor_saved() -> None:
    net = judge().train()
    before = {key: t.clone() for key, t in network(LITE0).state_dict().items()}
    mixing = {key: t.clone() for key, t in net.named_buffers() if "across" in key}
    assert len(mixing) == 16  # weight and bias of eight convolutions
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    net(torch.randn(2, 3, 32, 32)).logits.sum().backward()
    optimizer.step()
    for key, tensor in network(LITE0).state_dict().items():
        assert torch.equal(tensor, before[key])
    for key, tensor in mixing.items():
        assert torch.equal(net.get_buffer(key), tensor)
    assert not any("frozen" in key for key in net.state_dict())
    assert {key.split(".")[0] for key, _ in net.named_parameters()} == {"judges"}


def test_random_mixing_is_seeded_and_saved() -> None:
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(judge(1)(x).logits, judge(1)(x).logits)
    stored = judge(1).state_dict()
    other = judge(2)
    assert not torch.equal(other(x).logits, judge(1)(x).logits)
    other.load_state_dict(stored)
    assert torch.equal(other(x).logits, judge(1)(x).logits)


def test_projected_features_equal_the_frozen_network() -> None:
    x = torch.rand(1, 3, 128, 128) * 2 - 1
    found = judge().frozen(x)
    assert [tuple(f.shape[1:]) for f in found] == [
        (24, 32, 32),
        (40, 16, 16),
        (112, 8, 8),
        (320, 4, 4),
    ]
    net = network(LITE0)
    assert torch.allclose(net.head(found[-1]), net(x), atol=1e-5)


@pytest.mark.parametrize("weights", [LITE0, LITE2])
def test_feature_networks_equal_timms(weights: Weights) -> None:
    whole: Any = timm.create_model(weights.network, pretrained=False, num_classes=1000).eval()
    spec = find_spec(weights.package)
    assert spec
    assert spec.origin
    path = Path(spec.origin).parent / weights.file
    tensors = torch.load(path, weights_only=True)
    # The file has other names but the same tensors in the same order.
    whole.load_state_dict(dict(zip(whole.state_dict(), tensors.values(), strict=True)))
    whole.classifier = nn.Identity()
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(network(weights)(x), whole(x), atol=1e-4)
        seen = whole.forward_intermediates(x, indices=[0, 1, 2, 3], intermediates_only=True)
        for found, expected in zip(maps(x, weights), seen, strict=True):
            assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("side", [32, 128])
def test_pooled_features_equal_metric_features_with_gradients(side: int) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, side, side, 3), np.uint8)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    x.requires_grad_()
    found = pooled(x, LITE0)
    assert torch.allclose(found, features(pictures, LITE0), atol=1e-4)
    found.sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).float().mean() > 0.9


LOADING = """
import sys
from ganloom import features, models

models.load_generator({path!r}, "cpu")
features.network(features.LITE0)
print("torch._dynamo" in sys.modules)
"""


def test_feature_networks_load_without_torch_compiler() -> None:
    """Importing it takes two seconds, in each stage and in `ganloom generate`."""
    code = LOADING.format(path=str(ROOT / "src/ganloom/studio/kene.safetensors"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("resolution", "side", "shown"), [(28, 64, 64), (32, 128, 128), (80, 64, 128), (32, 256, 256)]
)
def test_projected_discriminator_enlarges_small_images(
    resolution: int, side: Any, shown: int
) -> None:
    net = judge(resolution=resolution, side=side)
    seen = []
    net.frozen.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2:]))
    logits = net(torch.randn(2, 3, resolution, resolution)).logits
    assert seen == [(shown, shown)]
    assert logits.shape == (2, 100 if shown == 256 else 4)


def test_gradients_pass_through_the_frozen_network() -> None:
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    judge()(x).logits[0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0] != 0).float().mean() > 0.9


@pytest.mark.parametrize(
    ("resolution", "side", "places"), [(8, 64, 1), (28, 64, 1), (32, 64, 1), (32, 256, 25)]
)
def test_projected_discriminator_can_include_pixels(
    resolution: int, side: Any, places: int
) -> None:
    net = judge(resolution=resolution, side=side, pixels=4).eval()
    x = torch.randn(2, 3, resolution, resolution)
    logits = net(x).logits
    assert logits.shape == (2, 8 * places)  # it counts as much as the four others
    pixels = logits[:, : 4 * places].unflatten(1, (4, places))
    assert (pixels == pixels[:, :1]).all()
    net.frozen.register_forward_hook(lambda _, args, found: [2 * f for f in found])
    moved = (net(x).logits != logits).any(0)
    assert moved.sum() == 4 * places  # its own know nothing of the trained network


# --- files ---------------------------------------------------------------------------------------


def described(spec: params.Model, told: Inputs) -> models.GeneratorInfo:
    """The metadata of a generator, as the training writes it."""
    return models.GeneratorInfo(
        model="m",
        resolution=spec.resolution,
        kimg=0.5,
        inputs=told,
        condition=spec.condition,
        classes=["a", "b"][: told.classes],
        pictures=["a", "b"][: told.pictures],
        generator=spec.generator,
    )


def judge_described(spec: params.Model, told: Inputs) -> models.DiscriminatorInfo:
    """The metadata of a discriminator, as the training writes it."""
    common = dict(described(spec, told))
    del common["generator"]
    return models.DiscriminatorInfo(
        **common, discriminator=spec.discriminator, outputs=models.outputs(spec, told)
    )


@pytest.mark.parametrize("name", MODELS)
def test_saved_generator_reproduces_images(name: str, tmp_path: Path) -> None:
    spec, told, state, _ = begun(name)
    net = state.networks["generator"]
    net(told.draw(16))  # moves the running statistics
    metadata = described(spec, told)
    path = tmp_path / "generator.safetensors"
    models.save(net, metadata, path)
    first = path.read_bytes()
    models.save(net, metadata, path)
    assert path.read_bytes() == first
    again, found = models.load_generator(path, "cpu")
    v = told.draw(4)
    assert torch.equal(again(v), net.eval()(v))
    assert found == metadata
    assert again.inputs == told


@pytest.mark.parametrize("name", MODELS)
def test_saved_discriminator_reproduces_logits(name: str, tmp_path: Path) -> None:
    spec, told, state, _ = begun(name)
    net = state.networks["discriminator"]
    path = tmp_path / "discriminator.safetensors"
    models.save(net, judge_described(spec, told), path)
    before = torch.random.get_rng_state()
    again, _ = models.load_discriminator(path, "cpu")
    assert torch.equal(torch.random.get_rng_state(), before)
    side = spec.resolution
    x, condition = torch.rand(4, 3, side, side), told.parts(told.draw(4))[1]
    with torch.no_grad():
        assert torch.equal(again(x, condition).logits, net.eval()(x, condition).logits)
    with pytest.raises(models.ModelError, match=r"no such file.*stage `train`"):
        models.load_discriminator(tmp_path / "none.safetensors", "cpu")
    path.write_bytes(b"PK")
    with pytest.raises(
        models.ModelError, match=r"discriminator.safetensors is damaged or not a discriminator"
    ):
        models.load_discriminator(path, "cpu")


def test_invalid_generator_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(models.ModelError, match=r"no such file.*stage `train`"):
        models.load_generator(tmp_path / "none.safetensors", "cpu")
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(models.ModelError, match=r"other.safetensors is damaged or not a generator"):
        models.load_generator(other, "cpu")
    other.write_bytes(b"PK")
    with pytest.raises(models.ModelError, match=r"other.safetensors is damaged or not a generator"):
        models.load_generator(other, "cpu")
    right = described(model(), Inputs(5)).model_dump()
    for wrong in (right | {"generator": {"kind": "gone"}}, right):  # another version's; no weights
        tensors = {"a": torch.zeros(1)}
        other.write_bytes(safetensors.torch.save(tensors, {"ganloom": json.dumps(wrong)}))
        with pytest.raises(
            models.ModelError, match=r"other.safetensors is damaged or not a generator"
        ):
            models.load_generator(other, "cpu")


# --- learning ------------------------------------------------------------------------------------


def eight_pictures(folder: Path, side: int) -> np.ndarray:
    """Eight images of two halves in full colours, in two classes."""
    halves = np.random.default_rng(3).integers(0, 2, (8, 1, 2, 3), np.uint8) * 255
    pixels = halves.repeat(side, axis=1).repeat(side // 2, axis=2)
    folder.mkdir()
    np.save(folder / "images.npy", pixels)
    labels = list("aaaabbbb")
    index = pd.DataFrame({"image": range(8), "symmetry": 0, "label": labels, "sha256": labels})
    index.to_parquet(folder / "index.parquet")
    return pixels


# What it takes to learn eight pictures within seconds; the others need what ``model`` gives them.
LEARNING: dict[str, dict[str, Any]] = {
    "sngan": {"optimizer": {"kind": "adam", "lr": 2e-3, "betas": [0.5, 0.9]}},
    "info_began": {"kimg": 2.5, "optimizer": {"kind": "adam", "lr": 2e-3, "betas": [0.5, 0.9]}},
    "infogan": {"kimg": 3},
    "wgan": {"kimg": 3},
    "cwgan_gp": {"kimg": 3},
    "compact": {"kimg": 4},
    "picture": {"kimg": 4},
    "r3": {"optimizer": {"kind": "adam", "lr": 1e-3, "betas": [0.0, 0.99]}},
}


def away(net: nn.Module, told: Inputs, pixels: np.ndarray) -> float:
    """Root mean square difference of a fake from the nearest image, of 255."""
    with torch.no_grad():
        made = net(told.draw(64, generator=torch.Generator().manual_seed(5)))
    made = ((made + 1) * 127.5).permute(0, 2, 3, 1).reshape(64, -1)
    real = torch.from_numpy(pixels).float().flatten(1)
    return float((torch.cdist(made, real).amin(dim=1) / made.shape[1] ** 0.5).mean())


# Neither of these: a hundred passes through EfficientNet take minutes.
@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"projected", "matched"}))
def test_model_overfits_eight_images(name: str, tmp_path: Path) -> None:
    """One of four seeds learns: a sound GAN fails from some, and which ones differs by machine."""
    spec = model(**MODELS[name] | LEARNING.get(name, {}))
    pixels = eight_pictures(tmp_path / "slices", spec.resolution)
    told = models.inputs(spec, classes_of(spec))

    def remaining(seed: int) -> float:
        """The distance of fakes from the images after training, as a part of that before it."""
        torch.manual_seed(seed)
        before = away(fresh(spec, told, CPU).networks["average"], told, pixels)
        out = tmp_path / f"out{seed}"
        loop.train(
            name,
            spec,
            params.Train(ticks=1, grid=2),
            seed=seed,
            threads=1,
            slices=tmp_path / "slices",
            out=out,
            work=tmp_path / f"work{seed}",
        )
        net, _ = models.load_generator(out / "generator.safetensors", "cpu")
        return away(net, told, pixels) / before

    parts = []
    for seed in range(1, 5):
        parts.append(remaining(seed))
        if parts[-1] < 0.75:
            return
    pytest.fail(f"did not overfit: {parts}; see LEARNING")


def test_pattern_layer_equals_a_grouped_convolution() -> None:
    x = torch.rand(3, 12, 5, 5, dtype=torch.float64)
    pattern = resnet.Pattern(12, 5).double()
    assert torch.allclose(pattern(x), nn.Conv2d.forward(pattern, x))
