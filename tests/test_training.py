"""Training: data, augmentation, averaging, the loop, and resumption after a kill."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from ganloom import matching, models, objectives, params
from ganloom.images.arrays import apply_symmetry
from ganloom.models import to_uint8
from ganloom.nets import blocks
from ganloom.nets.inputs import Inputs
from ganloom.training import checkpoint, data, diffaugment, ema, energy, graphs, loop
from ganloom.training.state import TrainingState, fresh

CPU = torch.device("cpu")


# --- data ----------------------------------------------------------------------------------------


def write_slices(folder: Path, pixels: np.ndarray, symmetries: int = 8) -> Path:
    folder.mkdir()
    np.save(folder / "images.npy", pixels)
    count = len(pixels)
    pd.DataFrame(
        {
            "image": np.repeat(np.arange(count), symmetries),
            "symmetry": np.tile(np.arange(symmetries), count),
            "label": np.repeat([f"class {n % 3}" for n in range(count)], symmetries),
            "sha256": np.repeat([f"original {n % 3}" for n in range(count)], symmetries),
        }
    ).to_parquet(folder / "index.parquet")
    return folder


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """Eight different images of 16 px in all symmetries."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)
    return write_slices(tmp_path / "slices", pixels.repeat(4, 1).repeat(4, 2))


def test_every_image_occurs_once_per_epoch(slices: Path) -> None:
    images = data.load(slices, 16, batch=12, seed=1, device=CPU)
    stream = np.concatenate([to_uint8(images.batch(step, 12)[0]) for step in range(32)])  # 6 x 64
    crops = np.load(slices / "images.npy")
    every = sorted(apply_symmetry(crop, k).tobytes() for crop in crops for k in range(8))
    orders = [[image.tobytes() for image in part] for part in np.split(stream, 6)]
    for order in orders:
        assert sorted(order) == every
    assert orders[0] != orders[1]


def test_batches_depend_only_on_seed_and_step(slices: Path) -> None:
    images = data.load(slices, 16, batch=12, seed=1, device=CPU)
    again = data.load(slices, 16, batch=12, seed=1, device=CPU)
    other = data.load(slices, 16, batch=12, seed=2, device=CPU)
    for step in (7, 3, 0):
        assert torch.equal(images.batch(step, 12)[0], again.batch(step, 12)[0])
    assert not torch.equal(images.batch(0, 12)[0], other.batch(0, 12)[0])


def test_pairs_are_of_one_original(slices: Path) -> None:
    images = data.load(slices, 16, batch=12, seed=1, device=CPU, of="sha256", pairs=True)
    again = data.load(slices, 16, batch=12, seed=1, device=CPU, of="sha256", pairs=True)
    partners: dict[bytes, set[bytes]] = {}
    for step in range(200):
        shown, labels = images.batch(step, 12)
        assert torch.equal(shown, again.batch(step, 12)[0])
        assert torch.equal(labels[:6], labels[6:])
        for first, second in zip(*np.split(to_uint8(shown), 2), strict=True):
            partners.setdefault(first.tobytes(), set()).add(second.tobytes())
    crops = np.load(slices / "images.npy")
    turned = {
        apply_symmetry(crop, k).tobytes(): n % 3 for n, crop in enumerate(crops) for k in range(8)
    }
    assert partners.keys() == turned.keys(), "every image comes first at times"
    for first, seconds in partners.items():
        assert {turned[second] for second in seconds} == {turned[first]}
        assert len(seconds) > 5


def test_batches_are_in_range_and_channels_last(slices: Path) -> None:
    batch = data.load(slices, 16, batch=12, seed=1, device=CPU).batch(0, 12)[0]
    assert batch.shape == (12, 3, 16, 16)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert -1 <= batch.min() < -0.9
    assert 0.9 < batch.max() <= 1


def test_large_sets_of_images_stay_memory_mapped(
    slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = data.load(slices, 16, batch=12, seed=1, device=CPU).batch(0, 12)[0]
    monkeypatch.setattr(data, "RESIDENT_BYTES", 0)
    assert torch.equal(
        data.load(slices, 16, batch=12, seed=1, device=CPU).batch(0, 12)[0], resident
    )


def test_smaller_models_get_downsampled_images(slices: Path) -> None:
    crops = np.load(slices / "images.npy")
    batch = to_uint8(data.load(slices, 8, batch=64, seed=1, device=CPU).batch(0, 64)[0])
    means = crops.reshape(8, 8, 2, 8, 2, 3).mean(axis=(2, 4))
    every = sorted(apply_symmetry(m.astype(np.uint8), k).tobytes() for m in means for k in range(8))
    assert sorted(image.tobytes() for image in batch) == every


def test_too_few_images_are_refused_with_a_message(slices: Path) -> None:
    with pytest.raises(data.DataError, match=r"64 training images are fewer than a batch of 65"):
        data.load(slices, 16, batch=65, seed=1, device=CPU)


# --- augmentation --------------------------------------------------------------------------------


def reference(kind: str, x: Tensor) -> Tensor:
    """Compared with the published code (mit-han-lab/data-efficient-gans) for equal random draws."""
    size = x.shape[2]
    image, rows, columns = torch.meshgrid(
        torch.arange(len(x)), torch.arange(size), torch.arange(size), indexing="ij"
    )
    if kind == "color":
        draws = torch.rand(3, len(x), 1, 1, 1)
        x = x + (draws[0] - 0.5)
        mean = x.mean(dim=1, keepdim=True)
        x = (x - mean) * (draws[1] * 2) + mean
        mean = x.mean(dim=[1, 2, 3], keepdim=True)
        return (x - mean) * (draws[2] + 0.5) + mean
    if kind == "translation":
        shift = int(size * 0.125 + 0.5)
        by = [torch.randint(-shift, shift + 1, size=[len(x), 1, 1]) for _ in range(2)]
        rows = torch.clamp(rows + by[0] + 1, 0, size + 1)
        columns = torch.clamp(columns + by[1] + 1, 0, size + 1)
        padded = F.pad(x, [1, 1, 1, 1, 0, 0, 0, 0]).permute(0, 2, 3, 1)
        return padded[image, rows, columns].permute(0, 3, 1, 2)
    cut = int(size * 0.5 + 0.5)
    at = [torch.randint(0, size + (1 - cut % 2), size=[len(x), 1, 1]) for _ in range(2)]
    image, rows, columns = torch.meshgrid(
        torch.arange(len(x)), torch.arange(cut), torch.arange(cut), indexing="ij"
    )
    rows = torch.clamp(rows + at[0] - cut // 2, 0, size - 1)
    columns = torch.clamp(columns + at[1] - cut // 2, 0, size - 1)
    mask = torch.ones(len(x), size, size)
    mask[image, rows, columns] = 0
    return x * mask[:, None]


@pytest.mark.parametrize("size", [8, 14, 32])
@pytest.mark.parametrize("kind", ["color", "translation", "cutout"])
def test_diffaugment_matches_the_paper(kind: str, size: int) -> None:
    x = torch.rand(64, 3, size, size) * 2 - 1
    torch.manual_seed(3)
    expected = reference(kind, x)
    torch.manual_seed(3)
    assert torch.equal(diffaugment.augment(x, [kind]), expected)


def test_gradients_pass_through_augmentations() -> None:
    x = (torch.rand(6, 3, 8, 8) * 2 - 1).requires_grad_()
    y = diffaugment.augment(x, ["color", "translation", "cutout"])
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax(dim=(1, 2, 3)) > 0).all()  # each image gets some


def test_empty_augmentation_list_changes_nothing() -> None:
    x = torch.rand(2, 3, 8, 8)
    assert diffaugment.augment(x, []) is x


# --- averaging -----------------------------------------------------------------------------------


def test_ema_matches_its_closed_form() -> None:
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = ema.shadow(net)
    nn.init.ones_(net.weight)
    for _ in range(10):
        ema.update(average, net, 0.9)
    weight = average.get_parameter("weight")
    assert weight.tolist() == [pytest.approx([1 - 0.9**10] * 2)]
    assert not weight.requires_grad


def test_ema_half_life_ramps_up() -> None:
    # Late: after a half-life's images, half of the old average is left.
    late = ema.decay(images=10**6, batch=16, half_life=1600)
    assert late**100 == pytest.approx(0.5)
    # Early: the half-life is 5 % of the images seen, so that the random weights are soon gone.
    assert ema.decay(images=320, batch=16, half_life=1600) == pytest.approx(0.5)
    left = np.prod([ema.decay(16 * step, 16, 1600) for step in range(1, 101)])
    assert left < 1e-9
    # Not where the first weights were no random ones.
    assert ema.decay(images=math.inf, batch=16, half_life=1600) == pytest.approx(late)


def test_average_has_batch_statistics_of_its_own_weights() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), blocks.Dropout(0.5))
    average = ema.shadow(net)
    for parameter in average.parameters():
        parameter.mul_(3)
    x = torch.randn(64, 3, 8, 8)
    ema.calibrate(average, x, batch=16)
    activations = average.get_submodule("0")(x)
    mean, variance = average.get_buffer("1.running_mean"), average.get_buffer("1.running_var")
    assert torch.allclose(mean, activations.mean(dim=(0, 2, 3)), atol=1e-5)
    parts = torch.stack([part.var(dim=(0, 2, 3)) for part in activations.split(16)])
    assert torch.allclose(variance, parts.mean(dim=0), rtol=1e-4)
    assert torch.equal(average(x), average(x))  # in eval mode again, dropout off


# --- the loop ------------------------------------------------------------------------------------


GENERATOR = {
    "kind": "dcgan",
    "channels": 4,
    "latent": 6,
    "norm": "batch",
    "dropout": [0.2, 0.0],
    "dropout_kind": "element",
}
DISCRIMINATOR = {
    "kind": "dcgan",
    "channels": 4,
    "norm": "batch",
    "dropout": 0.3,
    "dropout_kind": "element",
    "minibatch_stddev": False,
}
ADAM = {"kind": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
CODE = {
    "categorical": [3],
    "continuous": 2,
    "weight": 1.0,
    "weight_continuous": 0.1,
    "weight_latent": 0.1,
}
# What a loop has to carry besides: an objective's memory, power iterations, lazy phases, classes.
KINDS: dict[str, dict[str, Any]] = {
    "dropout and augmentation": {},
    "plain": {"diffaugment": [], "discriminator": {**DISCRIMINATOR, "dropout": 0.0}},
    "spectral hinge": {
        "objective": {"kind": "hinge"},
        "discriminator": {**DISCRIMINATOR, "norm": "spectral", "minibatch_stddev": True},
    },
    "penalised critic with embedded classes": {
        "objective": {"kind": "wasserstein", "critic_steps": 3},
        "discriminator": {**DISCRIMINATOR, "norm": "layer"},
        "penalties": {"gradient": 10.0, "interval": 2},
        "condition": "embedding",
    },
    "clipped critic": {
        "objective": {"kind": "wasserstein", "critic_steps": 2},
        "discriminator": {**DISCRIMINATOR, "norm": "none"},
        "penalties": {"clip": 0.01},
        "optimizer": {"kind": "rmsprop", "lr": 5e-5},
    },
    "codes and classes": {"code": CODE, "condition": "onehot", "input_noise": 0.07},
    "relativistic": {
        "objective": {"kind": "relativistic"},
        "discriminator": {**DISCRIMINATOR, "norm": "none"},
        "penalties": {"r1": 1.0, "r2": 1.0, "interval": 2},
    },
    "residual": {
        "generator": {"kind": "resnet", "channels": 2, "latent": 6},
        "discriminator": {"kind": "resnet", "channels": 2},
        "objective": {"kind": "relativistic"},
        "penalties": {"r1": 1.0, "r2": 1.0},
        "diffaugment": ["shift", "symmetry", "affine"],
    },
    "projected": {
        "discriminator": {"kind": "projected", "channels": 2, "side": 64, "pixels": 2},
        "objective": {"kind": "hinge"},
    },
    "upsampling": {
        "generator": {**GENERATOR, "kind": "sngan", "blocks": 2},
        "discriminator": {"kind": "sngan", "channels": 4, "blocks": 2, "dense": None}
        | {"norm": "spectral", "dropout": 0.0, "dropout_kind": "element"},
        "objective": {"kind": "hinge"},
    },
    "autoencoder": {
        "generator": {"kind": "began", "channels": 4, "latent": 6},
        "discriminator": {"kind": "began", "channels": 4, "hidden": 6},
        "objective": {"kind": "began", "reconstruction": "ms_ssim", "gamma": 0.5}
        | {"lambda_k": 0.001},
        "diffaugment": [],
    },
    "originals": {
        "generator": {"kind": "compact", "channels": 4, "latent": 6, "palette": 3},
        "discriminator": {"kind": "compact", "channels": 4},
        "condition": "picture",
    },
    "pairs": {
        "generator": {"kind": "compact", "channels": 4, "latent": 6, "palette": 3},
        "discriminator": {"kind": "compact", "channels": 4, "pairs": True},
        "condition": "picture",
    },
    "matching": {
        "feature_matching": {"weight": 10.0, "images": 4},
        "patch_matching": {"weight": 10.0},
    },
}


def model(**changes: Any) -> params.Model:
    plain = {
        "resolution": 16,
        "kimg": 0.08,
        "batch": 8,
        "ema_kimg": 0.02,
        "generator": GENERATOR,
        "discriminator": DISCRIMINATOR,
        "objective": {"kind": "nonsaturating", "label_noise": 0.1},
        "optimizer": ADAM,
        "diffaugment": ["color", "translation", "cutout"],
    }
    return params.Model.model_validate({**plain, **changes})


def run(folder: Path, slices: Path, spec: params.Model | None = None) -> Path:
    """Train in ``folder``; return the outputs."""
    loop.train(
        "tiny",
        spec or model(),
        params.Train(ticks=3, grid=2),
        seed=1,
        threads=1,
        slices=slices,
        out=folder / "out",
        work=folder / "work",
    )
    return folder / "out"


def contents(out: Path) -> dict[str, bytes]:
    """All files except run.json, which contains times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def test_real_and_fake_use_the_same_normalised_weights(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[Tensor] = []
    judge = models.Discriminator.forward

    def watched(D: models.Discriminator, *given: Any) -> blocks.DiscriminatorOutput:
        layer = next(m for m in D.modules() if isinstance(m, nn.Conv2d))
        weights.append(layer.weight.detach().clone())
        return judge(D, *given)

    monkeypatch.setattr(models.Discriminator, "forward", watched)
    run(tmp_path, slices, model(**KINDS["spectral hinge"], kimg=0.024))
    for step in range(3):
        real, fake, for_generator = weights[3 * step : 3 * step + 3]
        assert torch.equal(real, fake)
        assert not torch.equal(fake, for_generator)  # D has learned in between


@pytest.mark.parametrize(
    ("gap", "section"),
    [
        ("feature_gap", {"feature_matching": {"weight": 100.0, "images": 8}}),
        ("patch_gap", {"patch_matching": {"weight": 100.0}}),
    ],
)
def test_matching_moves_fakes_towards_real_images(
    gap: str, section: Any, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "HALF_LIFE", 16)  # as there are but 120 images
    spec = model(**section, kimg=0.12, optimizer={**ADAM, "lr": 0.01})
    history = json.loads((run(tmp_path, slices, spec) / "history/metrics.json").read_text())
    first = pd.read_csv(tmp_path / f"out/history/plots/metrics/{gap}.tsv", sep="\t")
    assert history[gap] < 0.8 * first[gap].iloc[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moved", ["generator", "discriminator"])
def test_phase_updates_only_its_own_network(
    moved: str, kind: str, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[TrainingState] = []

    def noted(*args: Any) -> TrainingState:
        states.append(fresh(*args))
        return states[0]

    monkeypatch.setattr(loop, "fresh", noted)
    every = objectives.objective

    def only(*args: Any) -> objectives.Objective:
        found = every(*args)
        return dataclasses.replace(
            found, phases=tuple(p for p in found.phases if p.network == moved)
        )

    monkeypatch.setattr(objectives, "objective", only)
    spec = model(**KINDS[kind], kimg=0.016)  # residual branches begin at 0, and move others later
    run(tmp_path, slices, spec)
    torch.manual_seed(1)
    initial = fresh(spec, models.inputs(spec, 3), CPU)
    for player in ("generator", "discriminator"):
        before, after = initial.networks[player], states[0].networks[player]
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        changed = [not torch.equal(old, new.cpu()) for old, new in pairs]
        # Differences of logits do not move D's last bias, nor one that only weights stand behind.
        assert changed.count(False) <= 2 if player == moved else not any(changed)
        assert player == moved or all(p.grad is None for p in after.parameters())


def test_training_outputs_are_complete(tmp_path: Path, slices: Path) -> None:
    out = run(tmp_path, slices)
    assert set(contents(out)) == {
        "architecture.json",
        "discriminator.safetensors",
        "generator.safetensors",
        "history/metrics.json",
        "judgement.json",
        "last.safetensors",
        *(
            f"history/plots/metrics/{name}.tsv"
            for name in ("kimg", "loss_d", "loss_g", "logits_fake", "logits_real")
        ),
        *(f"timeline/kimg_{kimg}.png" for kimg in ("000000.000", "000000.024", "000000.056")),
        "timeline/kimg_000000.080.png",
        "timeline/timeline.json",
    }
    timeline = json.loads((out / "timeline/timeline.json").read_text())
    assert [frame["kimg"] for frame in timeline] == [0, 0.024, 0.056, 0.08]
    kimg = pd.read_csv(out / "history/plots/metrics/kimg.tsv", sep="\t")
    assert kimg.to_dict("list") == {"step": [1, 2, 3], "kimg": [0.024, 0.056, 0.08]}
    generator, metadata = models.load_generator(out / "generator.safetensors", "cpu")
    assert metadata == models.GeneratorInfo(
        model="tiny",
        resolution=16,
        kimg=0.08,
        inputs=Inputs(6),
        condition=None,
        classes=[],
        generator=model().generator,
    )
    facts = json.loads((out / "run.json").read_text())
    assert facts["resumed"] == 0
    assert facts["threads"] == 1
    assert facts["parameters"]["generator"] == sum(p.numel() for p in generator.parameters())
    assert not list((tmp_path / "work").iterdir())  # nothing is left to resume


def test_energy_is_measured_if_available(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(name: str, joules: int) -> None:
        (tmp_path / "rapl" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "rapl" / name / "energy_uj").write_text(f"{joules * 10**6}\n")
        (tmp_path / "rapl" / name / "max_energy_range_uj").write_text("999999999\n")

    assert "watt_hours_of_the_machine" not in read_run(run(tmp_path / "a", slices))
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "rapl")
    write("intel-rapl:0", 990)
    write("intel-rapl:1", 5)
    write("intel-rapl:0:0", 900)  # a part of the first
    meter = energy.Meter()
    write("intel-rapl:0", 10)  # it began again, at 1000
    write("intel-rapl:1", 8)
    write("intel-rapl:0:0", 950)
    assert meter.joules() == pytest.approx(23)
    assert meter.joules() == 0
    values = iter(range(0, 999, 36))
    monkeypatch.setattr(energy, "_counters", lambda: {"0": (next(values) * 10**6, 10**9)})
    assert read_run(run(tmp_path / "b", slices))["watt_hours_of_the_machine"] >= 0.03


def read_run(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "run.json").read_text())
    return facts


class NothingIsRead(TorchDispatchMode):
    """The control flow depends on no value of a tensor, and no list of numbers becomes a tensor."""

    REFUSED = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "lift_fresh")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in self.REFUSED, func
        if name in ("index", "index_put", "index_put_"):
            assert all(at is None or at.dtype == torch.int64 for at in args[1]), "index of booleans"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_training_step_can_be_recorded(
    kind: str, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, update = data.Images.batch, ema.update
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # what is replayed is not seen
    watched, steps = ExitStack(), 0

    def refused(*_: Any) -> Any:
        pytest.fail("numbers are read")

    def begin(images: data.Images, step: int, size: int) -> Any:
        found = batch(images, step, size)
        if steps:  # libraries set themselves up in the first
            watched.enter_context(NothingIsRead())
            patch = watched.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(Tensor, "tolist", refused)
            patch.setattr(Tensor, "numpy", refused)
        return found

    def end(*args: Any) -> None:
        nonlocal steps
        watched.close()
        steps += 1
        update(*args)

    # On a CPU it reads whether labels are within their range.
    monkeypatch.setattr(F, "one_hot", lambda labels, classes: torch.eye(classes)[labels])
    monkeypatch.setattr(data.Images, "batch", begin)
    monkeypatch.setattr(ema, "update", end)
    with watched:
        run(tmp_path, slices, model(**KINDS[kind], kimg=0.056))
    assert steps == 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_step_is_bit_identical(
    kind: str, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = contents(run(tmp_path / "a", slices, model(**KINDS[kind])))
    monkeypatch.setattr(graphs, "recorded", lambda step, *_: step)
    assert contents(run(tmp_path / "b", slices, model(**KINDS[kind]))) == recorded


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the project catches it."""


@pytest.mark.parametrize("kind", KINDS)
def test_killed_training_resumes_bit_identically(
    kind: str, tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model(**KINDS[kind])
    undisturbed = contents(run(tmp_path / "a", slices, spec))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", float("inf"))  # after every step
    save, update = checkpoint.save, ema.update

    def kill(after: int, victim: Any) -> Any:
        calls = iter(range(after))

        def dies(*args: Any) -> Any:
            if next(calls, None) is None:
                raise Killed
            return victim(*args)

        return dies

    # In the middle of a step within a tick; before a checkpoint at a tick; after the last one.
    for place, victim, after in (("save", save, 2), ("update", update, 2), ("save", save, 5)):
        module = checkpoint if place == "save" else ema
        monkeypatch.setattr(module, place, kill(after, victim))
        with pytest.raises(Killed):
            run(tmp_path / "b", slices, spec)
        monkeypatch.setattr(module, place, victim)
    monkeypatch.setattr(loop, "_write", kill(0, None))
    with pytest.raises(Killed):
        run(tmp_path / "b", slices, spec)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "b/out")  # as an engine does
    assert contents(run(tmp_path / "b", slices, spec)) == undisturbed
    assert json.loads((tmp_path / "b/out/run.json").read_text())["resumed"] == 4


def test_damaged_training_checkpoint_is_named(tmp_path: Path) -> None:
    training = fresh(model(), Inputs(6, 0, (), 0), torch.device("cpu"))
    training.save(tmp_path)
    path = tmp_path / checkpoint.STATE
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole.replace(b'\\"step\\"', b'\\"stop\\"', 1)):
        path.write_bytes(damaged)
        with pytest.raises(checkpoint.DamagedError, match=rf"{path}: damaged .*remove {tmp_path}"):
            training.load(tmp_path)


def test_checkpoint_of_other_data_or_parameters_is_ignored(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(loop, "_write", stop)
    folders = set()
    for spec in (model(), model(diffaugment=[]), model()):
        with pytest.raises(Killed):
            run(tmp_path, slices, spec)
        folders |= {path.name for path in (tmp_path / "work").iterdir()}
    assert len(folders) == 2
    pixels = np.load(slices / "images.npy")
    pixels[0, 0, 0, 0] ^= 1
    np.save(slices / "images.npy", pixels)
    with pytest.raises(Killed):
        run(tmp_path, slices)
    assert len(list((tmp_path / "work").iterdir())) == 3


def test_concurrent_training_is_named(tmp_path: Path) -> None:
    here = tmp_path / "work"
    named = rf"^train@x is running \(pid {os.getpid()}\)"
    with (
        checkpoint.hold(here, "train@x"),
        pytest.raises(checkpoint.BusyError, match=named),
        checkpoint.hold(here, "train@x"),
    ):
        pass
    assert not (tmp_path / "work").exists()


def test_diverged_training_keeps_the_last_good_state(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, steps = ema.update, iter(range(100))

    def breaks(average: nn.Module, net: nn.Module, decay: float) -> None:
        update(average, net, decay)
        if next(steps) == 4:
            next(net.parameters()).data[0] = float("nan")

    monkeypatch.setattr(ema, "update", breaks)
    with pytest.raises(loop.DivergedError, match=r"tiny: at 0.056 kimg .* at 0.024 kimg, is in"):
        run(tmp_path, slices)
    net, metadata = models.load_generator(tmp_path / "out/generator.safetensors", "cpu")
    assert metadata.kimg == 0.024
    assert all(p.isfinite().all() for p in net.parameters())
    frames = json.loads((tmp_path / "out/timeline/timeline.json").read_text())
    assert [frame["kimg"] for frame in frames] == [0, 0.024]


def test_last_good_state_has_its_own_batch_statistics(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint between two ticks has weights that were not calibrated."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -math.inf)  # one in each step
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)
    calibrate = ema.calibrate
    latents: list[Tensor] = []

    def noted(net: nn.Module, v: Tensor, batch: int) -> None:
        latents.append(v)
        calibrate(net, v, batch)

    monkeypatch.setattr(ema, "calibrate", noted)
    update, steps = ema.update, iter(range(100))

    def breaks(average: nn.Module, net: nn.Module, decay: float) -> None:
        update(average, net, decay)
        if next(steps) == 5:  # two steps after a tick
            next(net.parameters()).data[0] = float("nan")

    monkeypatch.setattr(ema, "update", breaks)
    with pytest.raises(loop.DivergedError, match=r"at 0.048 kimg .* at 0.04 kimg, is in"):
        run(tmp_path, slices)
    net, _ = models.load_generator(tmp_path / "out/generator.safetensors", "cpu")
    own = ema.shadow(net)
    calibrate(own, latents[-1], loop.CALIBRATION_BATCH)
    for name, value in own.named_buffers():
        assert torch.allclose(value, net.get_buffer(name), atol=1e-5), name


def test_average_is_calibrated_on_classes_in_proportion(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the timeline's grid: two columns, three classes, 24, 24 and 16 of 64 images."""
    seen: list[Tensor] = []
    monkeypatch.setattr(ema, "calibrate", lambda net, v, batch: seen.append(v))
    run(tmp_path, slices, model(condition="onehot"))
    told = seen[0][:, GENERATOR["latent"] :]
    assert told.sum(dim=0).tolist() == [192, 192, 128]
    for part in told.split(loop.CALIBRATION_BATCH):  # each batch is a mixture
        assert part.any(dim=0).all()


def test_large_images_use_bf16_if_supported(
    tmp_path: Path, slices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[torch.dtype] = set()
    convolve = F.conv2d

    def spied(x: Tensor, *arguments: Any) -> Tensor:
        y = convolve(x, *arguments)
        seen.add(y.dtype)
        return y

    monkeypatch.setattr(F, "conv2d", spied)

    def trained(folder: str, resolution: int, able: bool) -> dict[str, bytes]:
        seen.clear()
        can = {"avx512_bf16": able}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
        monkeypatch.setattr(loop, "BF16_FROM", resolution)
        return contents(run(tmp_path / folder, slices))

    first = trained("a", 16, able=True)
    assert torch.bfloat16 in seen
    assert first == trained("b", 16, able=True)
    whole = trained("c", 32, able=True)
    assert seen == {torch.float32}
    assert whole == trained("d", 16, able=False) != first
    net, _ = models.load_generator(tmp_path / "a/out/generator.safetensors", "cpu")
    assert {p.dtype for p in net.parameters()} == {torch.float32}


def test_training_learns_the_colour_of_images(tmp_path: Path) -> None:
    """Eight images, nearly orange: samples approach them within a few hundred steps."""
    orange = np.array([230, 120, 20])
    noise = np.random.default_rng(0).integers(-10, 11, (8, 16, 16, 3))
    slices = write_slices(tmp_path / "slices", (orange + noise).astype(np.uint8))
    spec = model(
        kimg=1.2,
        ema_kimg=0.1,
        diffaugment=[],
        generator=GENERATOR | {"dropout": 0.0},
        optimizer=ADAM | {"lr": 2e-3},
    )
    out = run(tmp_path, slices, spec)
    net, _ = models.load_generator(out / "generator.safetensors", "cpu")
    with torch.no_grad():
        pixels = to_uint8(net(torch.randn(16, 6)))
    distance = np.abs(pixels.mean(axis=(0, 1, 2)) - orange)
    assert distance.max() < 40  # grey, where training begins, is 108 away


def test_conditional_training_learns_the_colour_of_each_class(tmp_path: Path) -> None:
    """Three classes in three colours: samples have the colour of the requested class."""
    colours = np.array([[230, 40, 40], [40, 230, 40], [40, 40, 230]])
    pixels = colours[np.arange(12) % 3][:, None, None].repeat(16, 1).repeat(16, 2)
    slices = write_slices(tmp_path / "slices", pixels.astype(np.uint8))
    for condition in ("onehot", "embedding"):
        spec = model(
            condition=condition,
            kimg=4.0,
            ema_kimg=0.1,
            diffaugment=[],
            generator=GENERATOR | {"dropout": 0.0},
            discriminator=DISCRIMINATOR | {"dropout": 0.0, "norm": "none"},
            optimizer=ADAM | {"lr": 2e-3},
        )
        out = run(tmp_path / condition, slices, spec)
        net, about = models.load_generator(out / "generator.safetensors", "cpu")
        assert about.classes == ["class 0", "class 1", "class 2"]
        labels = torch.arange(30) % 3
        with torch.no_grad():
            made = to_uint8(net(net.inputs.draw(30, labels))).mean(axis=(1, 2))
        nearest = np.abs(made[:, None] - colours).sum(axis=2).argmin(axis=1)
        assert (nearest == labels.numpy()).mean() > 0.75  # by chance: a third


def test_model_of_originals_learns_their_colours(tmp_path: Path) -> None:
    colours = np.array([[230, 40, 40], [40, 230, 40], [40, 40, 230]])
    pixels = colours[np.arange(12) % 3][:, None, None].repeat(16, 1).repeat(16, 2)
    slices = write_slices(tmp_path / "slices", pixels.astype(np.uint8))
    spec = model(
        condition="picture",
        kimg=4.0,
        ema_kimg=0.1,
        diffaugment=[],
        generator={"kind": "compact", "channels": 8, "latent": 6, "palette": 3},
        discriminator={"kind": "compact", "channels": 8},
        optimizer=ADAM | {"lr": 2e-3},
    )
    net, about = models.load_generator(run(tmp_path, slices, spec) / "generator.safetensors", "cpu")
    assert about.pictures == ["original 0", "original 1", "original 2"]
    assert about.classes == []

    def colour(v: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return to_uint8(net(v)).mean(axis=(1, 2))

    labels = torch.arange(30) % 3
    v = net.inputs.draw(30, labels)
    nearest = np.abs(colour(v)[:, None] - colours).sum(axis=2).argmin(axis=1)
    assert (nearest == labels.numpy()).mean() > 0.75  # by chance: a third
    # By default, each image resembles one of them.
    assert set(net.inputs.parts(net.inputs.draw(30))[1].argmax(dim=1).tolist()) == {0, 1, 2}


def test_one_original_is_no_condition(tmp_path: Path, slices: Path) -> None:
    index = pd.read_parquet(slices / "index.parquet")
    index.assign(sha256="one").to_parquet(slices / "index.parquet")
    spec = model(
        generator={"kind": "compact", "channels": 4, "latent": 6, "palette": 3},
        discriminator={"kind": "compact", "channels": 4},
        condition="picture",
    )
    with pytest.raises(data.DataError, match=r"models.tiny.condition: there is one original only"):
        run(tmp_path, slices, spec)


def test_condition_requires_classes(tmp_path: Path, slices: Path) -> None:
    index = pd.read_parquet(slices / "index.parquet")
    index.assign(label=["", *index["label"][1:]]).to_parquet(slices / "index.parquet")
    with pytest.raises(data.DataError, match=r"condition: 1 of \d+ training images have no class"):
        run(tmp_path, slices, model(condition="onehot"))
    index.assign(label="one").to_parquet(slices / "index.parquet")
    with pytest.raises(data.DataError, match=r"models.tiny.condition: .* one label, 'one'; sort"):
        run(tmp_path, slices, model(condition="onehot"))
