"""The enlarger: crops, learning, bit-identical resumption, and safe loading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganloom import models, params
from ganloom.enlarging import network, proof, training
from ganloom.enlarging.crops import SIDE, CropError, Originals, cut
from ganloom.enlarging.degradation import degrade
from ganloom.images.encoding import png
from ganloom.images.shards import sha256, write_shards
from ganloom.training import checkpoint, ema

Array = NDArray[np.uint8]

SLICES = params.Slices(
    mode="slices",
    resolution=32,
    border=12,
    symmetries=8,
    count=100,
    holdout_count=20,
    sizes=[64],
    max_angle=0.0,
)


def section(**changes: Any) -> params.Enlarge:
    values = {"kimg": 0.08, "channels": 4, "layers": 1, "adversarial": 0.02}
    return params.Enlarge(**values | changes)


def stripes(side: int, width: int, seed: int) -> Array:
    """Stripes in two colours with edges of about two px, at a random angle."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    angle = rng.uniform(0, np.pi)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * np.pi / width)
    share = (0.5 + wave * width / 4).clip(0, 1)[..., None]
    first, second = rng.integers(0, 256, (2, 3))
    return np.rint(first * share + second * (1 - share)).astype(np.uint8)


def shards(folder: Path, pictures: list[Array]) -> list[str]:
    files = [png(picture) for picture in pictures]
    digests = [sha256(data) for data in files]
    write_shards(folder, ((d, "png", data) for d, data in zip(digests, files, strict=True)))
    return digests


# --- what it learns from -------------------------------------------------------------------------


def test_enlarger_crops_are_spread_evenly_over_originals(tmp_path: Path) -> None:
    flat = [np.full((80, 100, 3), value, np.uint8) for value in (10, 20, 30)]
    for picture in flat:
        picture[40:60, 40:60] = 255  # a border is what has one colour up to the rim
    digests = shards(tmp_path, flat)
    originals = Originals(tmp_path, SLICES.model_copy(update={"border": None}), 10**6)
    crops = cut(originals, digests, 90, seed=1)
    assert crops.shape == (90, SIDE, SIDE, 3)
    shades, counts = np.unique(crops[crops < 255], return_counts=True)
    assert shades.tolist() == [10, 20, 30]
    assert counts.max() < 1.2 * counts.min()
    np.testing.assert_array_equal(cut(originals, digests, 90, seed=1), crops)


def test_enlarger_uses_large_originals_at_several_scales(tmp_path: Path) -> None:
    (digest,) = shards(tmp_path, [stripes(512, 16, 0)])
    wide = SLICES.model_copy(update={"sizes": [256], "border": None})
    originals = Originals(tmp_path, wide, 10**6)
    image = originals.image(digest)
    assert [level.width for level in originals.levels(image)] == [512, 256, 128]
    assert originals.reach(image) == 8
    assert proof.sizes(32, originals.reach(image)) == [64, 128, 256]
    # Slices of 64 px show nothing at half that pitch that training images do not.
    assert len(Originals(tmp_path, SLICES, 10**6).levels(image)) == 1


def test_enlarger_reports_originals_that_are_too_small(tmp_path: Path) -> None:
    digests = shards(tmp_path, [stripes(SIDE - 1, 5, 0)])
    with pytest.raises(CropError, match=r"none of 1 training originals has 64 px"):
        cut(Originals(tmp_path, SLICES, 10**6), digests, 4, seed=1)


def test_reference_crops_match_training_crops(tmp_path: Path) -> None:
    picture = stripes(128, 7, 1)
    (digest,) = shards(tmp_path, [picture])
    index = pd.DataFrame({"sha256": [digest], "x": [50.0], "y": [60.0], "side": [64.0]})
    index["angle"] = 0.0
    originals = Originals(tmp_path, SLICES, 10**6)
    (same,) = proof.real_pictures(originals, index, 64, np.array([0]))
    np.testing.assert_array_equal(same, picture[28:92, 18:82])
    (mirrored,) = proof.real_pictures(originals, index, 64, np.array([4]))
    np.testing.assert_array_equal(mirrored, same[:, ::-1])


# --- degradation ---------------------------------------------------------------------------------


def test_roughness_0_only_halves_the_image() -> None:
    x = torch.rand(3, 3, 16, 16)
    found = degrade(x, torch.zeros(3), torch.Generator())
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(x, 2))


def test_degradation_grows_with_roughness() -> None:
    x = torch.rand(64, 3, 16, 16)
    halved = torch.nn.functional.avg_pool2d(x, 2)

    def error(roughness: float) -> float:
        level = torch.full((64,), roughness)
        found = degrade(x, level, torch.Generator().manual_seed(1))
        return float((found - halved).square().mean())

    assert 0 < error(0.3) < error(1.0)


# --- training ------------------------------------------------------------------------------------


def waves(seed: int) -> Array:
    """Gratings of random direction and wavelength, which interpolation blurs."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = np.full((SIDE, SIDE, 3), 0.5)
    for length in rng.uniform(4.5, 12, 5):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        along = (x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / length + phase
        found += np.sin(along)[..., None] * rng.uniform(-0.15, 0.15, 3)
    return np.rint(255 * found.clip(0, 1)).astype(np.uint8)


CROPS = np.stack([waves(seed) for seed in range(32)])


def trained(work: Path, **changes: Any) -> dict[str, Tensor]:
    net = training.train(section(**changes), CROPS, seed=1, threads=1, work=work)
    assert not list(work.glob("enlarger-*")), "its checkpoint is left"
    return net.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_enlarger_beats_interpolation_on_unseen_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CLEAN", 1.0)  # what so short a training can learn
    net = training.train(
        section(kimg=4, channels=8, layers=2, adversarial=0.0),
        CROPS,
        seed=1,
        threads=1,
        work=tmp_path,
    )
    unseen = np.stack([waves(seed) for seed in range(100, 116)])
    bicubic, enlarged = proof.restored(net, unseen)
    before, after = proof.likeness(unseen, bicubic), proof.likeness(unseen, enlarged)
    assert after["psnr"] > before["psnr"] + 0.5
    assert after["ssim"] > before["ssim"]
    assert after["perceptual"] < before["perceptual"]
    assert proof.likeness(unseen, unseen) == {"psnr": 100.0, "ssim": 1.0, "perceptual": 0.0}


def test_discriminator_of_enlarger_sees_every_offset() -> None:
    views = [training._batch(CROPS, step, seed=1)[3] for step in range(200)]
    assert len({(rows.start, columns.start) for _, rows, columns in views}) == training.PERIOD**2
    assert {CROPS[0, ..., 0][view].shape for view in views} == {(SIDE - training.PERIOD,) * 2}


def test_enlarger_training_is_reproducible(tmp_path: Path) -> None:
    first = trained(tmp_path)
    assert same(trained(tmp_path), first)
    assert not same(trained(tmp_path, adversarial=0.0), first)


class Killed(BaseException):
    """Stands for SIGKILL: no clean-up is done."""


@pytest.mark.parametrize("at", [2, 8])
def test_killed_enlarger_training_resumes_bit_identically(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    undisturbed = trained(tmp_path / "a")
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    saves: list[tuple[Any, ...]] = []

    def save(*arguments: Any) -> None:
        real_save(*arguments)
        saves.append(arguments)
        if len(saves) == at:
            raise Killed

    real_save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save)
    with pytest.raises(Killed):
        trained(tmp_path / "b")
    assert same(trained(tmp_path / "b"), undisturbed)
    assert len(saves) == 9  # of ten steps, all but the last: none was repeated


def test_damaged_enlarger_checkpoint_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(ema, "update", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        trained(tmp_path)
    (folder,) = tmp_path.glob("enlarger-*")
    (folder / checkpoint.STATE).write_bytes(b"x" * 100)
    with pytest.raises(checkpoint.DamagedError, match="to restart this training, remove"):
        trained(tmp_path)


# --- files ---------------------------------------------------------------------------------------


def test_enlarger_is_restored_from_its_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = network.Enlarger(4, 1).eval()
    path = tmp_path / "results/enlarger/enlarger.safetensors"
    models.save(net, network.EnlargerInfo(channels=4, layers=1, kimg=1.0), path)
    found = network.find(tmp_path)
    assert found is not None
    pictures = CROPS[:2, :16, :16]
    np.testing.assert_array_equal(
        network.enlarge(found, pictures, 1), network.enlarge(net, pictures, 1)
    )
    assert network.find(tmp_path / "elsewhere") is None


@pytest.mark.parametrize("content", [b"", b"nothing", "other", "weights"])
def test_invalid_enlarger_file_is_named(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "enlarger.safetensors"
    if content == "other":
        safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    elif content == "weights":
        info = network.EnlargerInfo(channels=8, layers=1, kimg=1.0)
        models.save(network.Enlarger(4, 1), info, path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    with pytest.raises(
        models.ModelError, match=r"enlarger\.safetensors is damaged or not an enlarger"
    ):
        network.load(path)
    with pytest.raises(models.ModelError, match=r"no such file.*stage `enlarger`"):
        network.load(tmp_path / "none")


def test_interpolation_equals_pillow() -> None:
    picture = CROPS[0, :32, :32]
    expected = Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(proof.interpolated(picture[None], 64)[0], np.asarray(expected))
