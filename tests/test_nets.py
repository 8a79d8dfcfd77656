"""Networks: shapes at tiny width, dropout, and files that rebuild them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from ganloom import models, params
from ganloom.nets import blocks

RESOLUTIONS = [8, 28, 32, 64, 80]


def generator(resolution: int = 32, **changes: object) -> nn.Module:
    spec = {"kind": "dcgan", "channels": 2, "latent": 5, "norm": "batch", "dropout": 0.0}
    return models.build_generator(params.DcganGenerator(**{**spec, **changes}), resolution)


def discriminator(resolution: int = 32, **changes: object) -> nn.Module:
    spec = {"kind": "dcgan", "channels": 2, "norm": "batch", "dropout": 0.0}
    return models.build_discriminator(params.DcganDiscriminator(**{**spec, **changes}), resolution)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_images_from_latents_and_a_logit_from_each(resolution: int, norm: str) -> None:
    images = generator(resolution, norm=norm, dropout=0.3)(torch.randn(3, 5))
    assert images.shape == (3, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert discriminator(resolution, norm=norm, dropout=0.3)(images).shape == (3,)


def test_channels_double_each_time_the_side_halves_up_to_16_times() -> None:
    assert blocks.widths(4, 6) == [4, 8, 16, 32, 64, 64]
    convolutions = [m for m in discriminator(64).modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [2, 4, 8, 16, 1]
    transposed = [m for m in generator(64).modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.out_channels for m in transposed] == [8, 4, 2, 3]


def test_weights_begin_as_in_the_paper() -> None:
    torch.manual_seed(0)
    net = generator(32, channels=32, latent=64)
    for module in net.modules():
        if isinstance(module, nn.ConvTranspose2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)


def test_colours_reach_the_discriminator_unnormalised() -> None:
    first = next(i for i, m in enumerate(discriminator(32)) if isinstance(m, nn.BatchNorm2d))
    convolutions = [i for i, m in enumerate(discriminator(32)) if isinstance(m, nn.Conv2d)]
    assert first > convolutions[1]


def test_one_rate_for_all_blocks_or_one_for_each() -> None:
    def rates(net: nn.Module) -> list[float]:
        return [m.rate for m in net.modules() if isinstance(m, blocks.Dropout)]

    assert rates(generator(64, dropout=0.25)) == [0.25] * 4
    assert rates(generator(64, dropout=[0.3, 0.25, 0.2, 0.0])) == [0.3, 0.25, 0.2]
    assert rates(discriminator(64, dropout=[0.0, 0.5, 0.5, 0.4])) == [0.5, 0.5, 0.4]


@pytest.mark.parametrize("rate", [0.1, 0.35, 0.9])
def test_dropout_keeps_mean_and_share(rate: float) -> None:
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


def test_dropout_is_drawn_anew_and_its_gradient_has_the_same_mask() -> None:
    layer = blocks.Dropout(0.5)
    x = torch.ones(2, 3, 7, 5, requires_grad=True)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    first.sum().backward()
    assert torch.equal(x.grad, first)


def test_dropout_is_off_in_eval_mode() -> None:
    x = torch.randn(4, 2, 8, 8)
    assert torch.equal(blocks.Dropout(0.5).eval()(x), x)


def test_a_file_rebuilds_the_same_images(tmp_path: Path) -> None:
    net = generator(28, dropout=[0.5, 0.0])
    net(torch.randn(16, 5))  # moves the running statistics
    spec = {"kind": "dcgan", "channels": 2, "latent": 5, "norm": "batch", "dropout": [0.5, 0.0]}
    metadata = {"model": "m", "resolution": 28, "generator": spec, "kimg": 0.5}
    path = tmp_path / "generator.safetensors"
    models.save(net, metadata, path)
    first = path.read_bytes()
    models.save(net, metadata, path)
    assert path.read_bytes() == first
    again, found = models.load_generator(path, "cpu")
    z = torch.randn(4, 5)
    assert torch.equal(again(z), net.to(memory_format=torch.channels_last).eval()(z))
    assert found == metadata


def test_files_that_are_no_generators_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(models.ModelError, match=r"no such file.*stage `train`"):
        models.load_generator(tmp_path / "none.safetensors", "cpu")
    other = tmp_path / "other.safetensors"
    other.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(models.ModelError, match=r"other.safetensors: not a generator"):
        models.load_generator(other, "cpu")
    other.write_bytes(b"PK")
    with pytest.raises(models.ModelError, match=r"other.safetensors: not a generator"):
        models.load_generator(other, "cpu")
    spec = {"kind": "dcgan", "channels": 2, "latent": 5, "norm": "batch", "dropout": 0.0}
    for wrong in ({"kind": "gone"}, spec):  # a kind of another version; other tensors
        metadata = {"model": "m", "resolution": 32, "generator": wrong, "kimg": 1}
        tensors = {"a": torch.zeros(1)}
        other.write_bytes(safetensors.torch.save(tensors, {"ganloom": json.dumps(metadata)}))
        with pytest.raises(models.ModelError, match=r"other.safetensors: not a generator"):
            models.load_generator(other, "cpu")
