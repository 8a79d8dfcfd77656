"""GAN inversion by optimisation and by a predictor."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn

from ganloom import models, params, recipes
from ganloom.cli import main
from ganloom.models import Generator
from ganloom.nets.inputs import Inputs
from ganloom.sampling import inversion
from ganloom.sampling.conditional import class_knob, code_knobs, turned
from ganloom.sampling.generate import generate
from ganloom.sampling.inversion import Recovered, apart, bound, invert, unbound
from ganloom.sampling.latents import inputs
from ganloom.sampling.predictor import InputPredictor, latent_loss, learn

ROOT = Path(__file__).parents[1]
TOLD = Inputs(latent=6, classes=3, categorical=(4,), continuous=1)
SIDE = 16


def smooth_generator(told: Inputs = TOLD) -> Generator:
    """A sum of random patterns of 4 x 4 px, one per input of v, smoothed."""
    torch.manual_seed(1)
    dense = nn.Linear(told.width, 3 * 16)
    nn.init.normal_(dense.weight, 0, 0.4)
    net = nn.Sequential(
        dense,
        nn.Unflatten(1, (3, 4, 4)),
        nn.Upsample(scale_factor=4, mode="bilinear"),
        nn.Tanh(),
    )
    return Generator(nn.Identity(), net, told).eval()


def settings(**changes: Any) -> params.Invert:
    values = {"images": 4, "steps": 150, "starts": 3, "loss": "mse", "lr": 0.1}
    return params.Invert.model_validate(values | changes)


def images_of(net: Generator, v: Tensor) -> Tensor:
    with torch.no_grad():
        return net(v)


# --- by optimisation -----------------------------------------------------------------------------


def test_inversion_recovers_latent_class_and_code() -> None:
    net, v = smooth_generator(), inputs(TOLD, 4, 1, "truth")
    # Of six numbers, some lie far from the sphere on which nearly all of a hundred do.
    v[:, : TOLD.latent] *= TOLD.latent**0.5 / v[:, : TOLD.latent].norm(dim=1, keepdim=True)
    found = invert(net, images_of(net, v), settings(starts=6), 1)
    assert found.steps[0] == 0
    assert found.steps[-1] == 150
    assert float(found.psnr[0].max()) < 20
    assert float(found.psnr[-1].min()) > 35
    assert torch.all(found.ms_ssim[-1] > 0.99)
    assert torch.all(found.ms_ssim[-1] > found.ms_ssim[0])
    (z, condition, code), (true_z, true_condition, true_code) = TOLD.parts(found.v), TOLD.parts(v)
    assert torch.equal(condition.round(), true_condition)
    assert torch.equal(TOLD.codes(code)[0][0].round(), TOLD.codes(true_code)[0][0])
    torch.testing.assert_close(z, true_z, rtol=0, atol=0.1)


def test_inversion_keeps_the_best_start_per_image() -> None:
    net, v = smooth_generator(), inputs(TOLD, 4, 1, "truth")
    images = images_of(net, v)
    found = invert(net, images, settings(steps=3, starts=6), 1)
    assert len(set(found.start.tolist())) > 1
    error = apart("mse", images)(images_of(net, found.v))
    torch.testing.assert_close(error, found.loss)
    alone = [invert(net, images, settings(steps=3, starts=starts), 1).loss for starts in (1, 6)]
    assert torch.all(alone[1] < alone[0].max())
    # A guess is the first start, and the right one wins.
    guessed = invert(net, images, settings(steps=3), 1, guess=v)
    assert guessed.start.tolist() == [0] * 4
    assert torch.all(guessed.loss < found.loss)


@pytest.mark.parametrize("loss", ["mse", "ssim", "ms_ssim", "features"])
def test_every_loss_is_zero_for_equal_images_and_decreases(loss: params.LIKENESS) -> None:
    net, v = smooth_generator(), inputs(TOLD, 2, 1, "truth")
    images = images_of(net, v)
    assert torch.all(apart(loss, images)(images).abs() < 1e-6)
    begin = invert(net, images, settings(steps=1, starts=1, loss=loss, lr=1e-9), 1)
    found = invert(net, images, settings(steps=30, starts=1, loss=loss), 1)
    assert float(found.loss.sum()) < 0.6 * float(begin.loss.sum())


def test_inversion_keeps_a_known_class() -> None:
    net, v = smooth_generator(), inputs(TOLD, 4, 1, "truth")
    labels = torch.tensor([2, 2, 0, 1])
    found = invert(net, images_of(net, v), settings(steps=20), 1, labels=labels)
    assert torch.equal(TOLD.parts(found.v)[1], torch.eye(3)[labels])


def test_prior_keeps_latents_near_the_sphere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Inputs(latent=16)
    net = smooth_generator(told)
    images = images_of(net, 3 * inputs(told, 4, 1, "truth"))
    root = told.latent**0.5
    near = invert(net, images, settings(), 1).v.norm(dim=1)
    monkeypatch.setattr(inversion, "PRIOR", 0.0)
    free = invert(net, images, settings(), 1).v.norm(dim=1)
    assert torch.all((near - root).abs() < (free - root).abs())
    assert torch.all((near / root - 1).abs() < 0.5)


def test_inversion_is_seeded_and_leaves_the_generator_unchanged() -> None:
    net, v = smooth_generator(), inputs(TOLD, 2, 1, "truth")
    before = {key: value.clone() for key, value in net.state_dict().items()}

    def once(seed: int) -> Recovered:
        return invert(net, images_of(net, v), settings(steps=10), seed)

    first, again, other = once(1), once(1), once(2)
    for a, b in zip(first, again, strict=True):
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            assert torch.equal(a, b)
        else:
            assert a == b
    assert not torch.equal(first.v, other.v)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_optimised_inputs_stay_in_the_generators_range() -> None:
    free = 5 * torch.randn(50, TOLD.width, generator=torch.Generator().manual_seed(1))
    for sharpness in (0.1, 1.0):
        z, condition, code = TOLD.parts(bound(TOLD, free, sharpness))
        (value,), continuous = TOLD.codes(code)
        assert torch.equal(z, TOLD.parts(free)[0])
        for shares in (condition, value):
            torch.testing.assert_close(shares.sum(dim=1), torch.ones(50))
            assert float(shares.min()) >= 0
        assert float(continuous.abs().max()) <= 1
    v = inputs(TOLD, 50, 1)
    again = bound(TOLD, unbound(TOLD, v), 1.0)
    torch.testing.assert_close(again, v, rtol=0, atol=0.15)
    assert torch.equal(bound(TOLD, unbound(TOLD, v), 0.1)[:, :13].round(), v[:, :13].round())


# --- by a network --------------------------------------------------------------------------------


def predictor(**changes: Any) -> params.Predictor:
    values = {"channels": 8, "steps": 300, "image_steps": 0, "image_loss": "mse"}
    return params.Predictor.model_validate(values | {"lr": 0.003, "batch": 32} | changes)


def test_predictor_learns_the_generator_input() -> None:
    net = smooth_generator()
    real = generate(net, inputs(TOLD, 64, 1, "real"))
    learned = learn(net, predictor(), real, 1)
    assert learned.latent_loss[-1] < 0.5 * learned.latent_loss[0]
    assert learned.image_loss == []
    v = inputs(TOLD, 64, 1, "unseen")
    guess = learned.net.guess(images_of(net, v))
    columns = TOLD.latent, TOLD.latent + TOLD.classes, TOLD.latent + TOLD.classes + 4
    for start, end in pairwise(columns):
        right = guess[:, start:end].argmax(dim=1) == v[:, start:end].argmax(dim=1)
        assert float(right.float().mean()) > 0.9
    # A guess of one picture does not depend on the others.
    alone = learned.net.guess(images_of(net, v[:1]))
    torch.testing.assert_close(guess[:1], alone, rtol=1e-4, atol=1e-5)


def test_predictor_is_refined_by_reconstruction_error() -> None:
    net = smooth_generator()
    real = generate(net, inputs(TOLD, 64, 1, "real"))
    for loss in ("mse", "ms_ssim"):
        learned = learn(net, predictor(steps=20, image_steps=80, image_loss=loss), real, 1)
        assert learned.image_loss[-1] < 0.8 * learned.image_loss[0]
    assert all(parameter.grad is None for parameter in net.parameters())


def test_same_seed_gives_same_predictor() -> None:
    net = smooth_generator()
    real = generate(net, inputs(TOLD, 40, 1, "real"))
    first, again, other = (
        learn(net, predictor(steps=3, image_steps=2), real, seed) for seed in (1, 1, 2)
    )
    assert first[1:] == again[1:]
    assert first[1:] != other[1:]
    for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_predictor_loss_matches_its_formula() -> None:
    told = Inputs(latent=2, classes=2, categorical=(3,), continuous=1)
    v = torch.tensor([[1.0, -1.0, 0, 1, 0, 0, 1, 0.5]], dtype=torch.float64)
    free = torch.tensor([[0.0, 0.0, 1, 3, 0, 0, 0, 0.0]], dtype=torch.float64)
    z = 1.0
    condition = np.log1p(np.exp(-2.0))
    code = np.log(3.0)
    continuous = 0.25
    loss = float(latent_loss(told, free, v))
    assert loss == pytest.approx(z + condition + code + continuous)


@pytest.mark.parametrize("side", [8, 14, 28, 80])
def test_predictor_accepts_any_resolution(side: int) -> None:
    assert InputPredictor(4, side, TOLD)(torch.zeros(2, 3, side, side)).shape == (2, TOLD.width)


# --- the stages ----------------------------------------------------------------------------------

NAMES = ["cat", "dog", "owl"]


def make_project(folder: Path, told: Inputs, holdout: int) -> None:
    data = recipes.values(ROOT / "recipes/tiny.yaml", ROOT)
    model = next(iter(data["models"].values()))
    model["condition"] = "onehot" if told.classes else None
    if told.coded:
        model["code"] = {
            "categorical": list(told.categorical),
            "continuous": told.continuous,
            "weight": 1.0,
            "weight_continuous": 1.0,
            "weight_latent": 0.0,
        }
    data["models"] = {"tried": model}
    data["sample"] |= {"loop_frames": 2, "grid": 2, "strips": 2, "steps": 3}
    data["invert"] |= {"steps": 2, "images": 3}
    if told.coded:
        data["invert"]["predictors"] = {"tried": predictor(steps=3, image_steps=2).model_dump()}
    folder.mkdir()
    YAML().dump(data, folder / "params.yaml")
    torch.manual_seed(1)
    spec = params.DcganGenerator.model_validate(model["generator"])
    net = models.build_generator(spec, SIDE, told, model["condition"])
    for weight in net.parameters():  # the first weights make flat grey
        weight.data *= 10
    about = models.GeneratorInfo(
        model="tried",
        resolution=SIDE,
        generator=spec,
        condition=model["condition"],
        classes=NAMES[: told.classes],
        inputs=told,
        kimg=1.0,
    )
    models.save(net, about, folder / "results/models/tried/generator.safetensors")
    timeline = folder / "results/models/tried/timeline"
    timeline.mkdir()
    Image.new("RGB", (2 * SIDE, 2 * SIDE)).save(timeline / "kimg_1.png")
    (timeline / "timeline.json").write_text('[{"file": "kimg_1.png", "kimg": 1}]')
    slices = folder / "data/slices"
    slices.mkdir(parents=True)
    rng = np.random.default_rng(1)
    np.save(slices / "images.npy", rng.integers(0, 256, (12, SIDE, SIDE, 3), np.uint8))
    np.save(slices / "holdout.npy", rng.integers(0, 256, (holdout, SIDE, SIDE, 3), np.uint8))
    index = {"image": range(12), "symmetry": 0, "label": NAMES * 4, "sha256": "a"}
    pd.DataFrame(index).to_parquet(slices / "index.parquet")


def run(folder: Path, stage: str) -> dict[str, bytes]:
    """The files that a stage writes for the model ``tried``, by name."""
    command = [sys.executable, str(ROOT / f"workflow/scripts/{stage}.py"), "tried"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    outs = {"sample": ("samples", "animations"), "invert": ("inversions",)}[stage]
    paths = [path for out in outs for path in (folder / "results" / out / "tried").iterdir()]
    return {path.name: path.read_bytes() for path in sorted(paths, key=lambda path: path.name)}


def picture(folder: Path, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(folder / "results" / name))


ALWAYS = ["grid.png", "interpolation.png", "loop.mp4", "loop.webp", "timelapse.mp4"]


def test_conditional_model_with_codes_is_sampled_and_inverted(tmp_path: Path) -> None:
    project = tmp_path / "project"
    make_project(project, TOLD, holdout=0)
    told = ["class_morph.png", "classes.json", "classes.png", "codes.png", "morph.mp4", "sweep.mp4"]
    samples = run(project, "sample")
    assert list(samples) == sorted([*ALWAYS, *told])
    assert json.loads(samples["classes.json"]) == {"classes": NAMES}

    net, _ = models.load_generator(project / "results/models/tried/generator.safetensors", "cpu")
    rows = turned(inputs(TOLD, 2, 1, "classes"), class_knob(TOLD))
    sheet = picture(project, "samples/tried/classes.png")
    assert sheet.shape == (2 * SIDE, 3 * SIDE, 3)
    assert np.array_equal(sheet[SIDE:, 2 * SIDE :], generate(net, rows[1, 2:])[0])
    assert not np.array_equal(sheet[SIDE:, SIDE : 2 * SIDE], sheet[SIDE:, 2 * SIDE :])
    assert picture(project, "samples/tried/class_morph.png").shape == (3 * SIDE, 3 * SIDE, 3)
    assert picture(project, "samples/tried/codes.png").shape == (4 * SIDE + SIDE // 2, 4 * SIDE, 3)

    inversions = run(project, "invert")
    expected = ["edits.png", "inversion.json", "inversion.png", "predictor.safetensors"]
    assert list(inversions) == expected
    about = json.loads(inversions["inversion.json"])
    assert about["against"] == "train"
    assert [len(about["images"]), len(about["curves"]["psnr"])] == [3, 3]
    assert picture(project, "inversions/tried/inversion.png").shape == (3 * SIDE, 3 * SIDE, 3)
    # The original, the recovered one, three classes, four values, three points of a code.
    edits = picture(project, "inversions/tried/edits.png")
    assert edits.shape == (3 * SIDE, (2 + 3 + 4 + 3) * SIDE, 3)
    assert len(code_knobs(TOLD, 3)) == 2
    assert np.array_equal(
        edits[:SIDE, :SIDE], picture(project, "inversions/tried/inversion.png")[:SIDE, :SIDE]
    )

    assert run(project, "sample") == samples
    assert run(project, "invert") == inversions


def test_unconditional_model_has_no_class_or_code_figures(tmp_path: Path) -> None:
    project = tmp_path / "project"
    make_project(project, Inputs(latent=6), holdout=5)
    assert list(run(project, "sample")) == ALWAYS
    inversions = run(project, "invert")
    assert list(inversions) == ["inversion.json", "inversion.png"]
    assert json.loads(inversions["inversion.json"])["against"] == "holdout"
    assert picture(project, "inversions/tried/inversion.png").shape == (2 * SIDE, 3 * SIDE, 3)


def test_generated_images_are_sorted_into_class_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path / "project", TOLD, holdout=0)
    monkeypatch.chdir(tmp_path / "project")
    command = ["generate", "--model", "tried", "--out"]
    with pytest.raises(SystemExit, match="classes: cat, dog, owl"):
        main([*command, "out", "--class", "cow"])
    main([*command, "out", "-n", "12"])
    with Path("out/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["label"] for row in rows) == dict.fromkeys(NAMES, 4)
    assert len({row["file"] for row in rows}) == 12
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*NAMES, "labels.csv"])
    net, _ = models.load_generator(Path("results/models/tried/generator.safetensors"), "cpu")
    labels = torch.tensor([NAMES.index(row["label"]) for row in rows])
    expected = generate(net, inputs(TOLD, 12, 0, "generate", labels=labels))
    for row, picture in zip(rows, expected, strict=True):
        assert Path(row["file"]).parent == Path(row["label"])
        assert np.array_equal(np.asarray(Image.open(Path("out") / row["file"])), picture)

    main([*command, "dogs", "-n", "3", "--class", "dog"])
    assert sorted(path.name for path in Path("dogs").iterdir()) == ["dog", "labels.csv"]
    assert len(list(Path("dogs/dog").iterdir())) == 3


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a project with an unconditional model of that name."""
    make_project(tmp_path / "project", Inputs(latent=6), holdout=0)
    monkeypatch.chdir(tmp_path / "project")


def test_unconditional_model_writes_files_to_one_folder(tried: None) -> None:
    main(["generate", "--model", "tried", "-n", "2", "--out", "out"])
    assert sorted(path.name for path in Path("out").iterdir()) == ["tried_0.png", "tried_1.png"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("-n 0", "-n 0 is not possible; allowed: 1 or more"),
        ("--seed -1", "--seed -1 is not possible; allowed: 0 to 4294967295"),
        ("--seed 4294967296", "--seed 4294967296 is not possible"),
        ("--truncation nan", "--truncation nan is not possible; allowed: 0.01 to 2"),
        ("--model other", "trained models: tried"),
        ("--out taken", "--out taken is not possible: it is a file"),
    ],
)
def test_impossible_generation_is_refused_with_the_reason(
    tried: None, options: str, words: str
) -> None:
    Path("taken").write_text("a file")
    with pytest.raises(SystemExit, match=re.escape(words)):
        main(["generate", "--model", "tried", "--out", "out", *options.split()])
    assert not Path("out").exists()


@pytest.mark.parametrize("command", ["generate --out out", "animate --kind loop --out x.gif"])
def test_damaged_or_diverged_model_is_named(tried: None, command: str) -> None:
    file = Path("results/models/tried/generator.safetensors")
    net, about = models.load_generator(file, "cpu")
    for weight in net.parameters():
        weight.data.fill_(torch.nan)
    models.save(net, about, file)
    with pytest.raises(SystemExit, match="pixel is NaN or infinite: the training failed"):
        main([*command.split(), "--model", "tried"])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SystemExit, match=f"{file} is damaged or not a generator of ganloom"):
        main([*command.split(), "--model", "tried"])


def test_animate_command_writes_all_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_project(tmp_path / "project", TOLD, holdout=0)
    monkeypatch.chdir(tmp_path / "project")
    command = ["animate", "--model", "tried", "--seconds", "2", "--fps", "15"]
    for kind in ("loop", "walk", "sine", "morph", "sweep", "timelapse"):
        main([*command, "--kind", kind, "--grid", "2", "--out", f"{kind}.webp"])
        size = Path(f"{kind}.webp").stat().st_size / 1e6
        assert capsys.readouterr().out == f"{kind}.webp: 30 frames, 2.0 s, {size:.2f} MB\n"
    main([*command, "--kind", "walk", "--seed", "1", "--grid", "2", "--out", "other.webp"])
    assert len({path.read_bytes() for path in Path().glob("*.webp")}) == 7
    main([*command, "--kind", "loop", "--grid", "1", "--out", "one.gif"])
    with Image.open("one.gif") as picture:
        assert picture.size == (256, 256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            "--out x.avi",
            "--out x.avi is not possible; allowed: a file that ends in .mp4, .gif, .webp",
        ),
        ("--out no/x.mp4", "no is not a folder"),
        ("--out x.gif --fps 60", "--fps 60 is not possible; allowed: 1 to 50"),
        ("--out x.mp4 --seconds nan", "--seconds nan is not possible"),
        ("--out x.mp4 --grid 0", "--grid 0 is not possible; allowed: 1 to 16"),
        ("--out x.mp4 --grid 3 --kind timelapse", "grids of 2 at a side at most"),
        ("--out x.mp4 --truncation 0", "--truncation 0 is not possible"),
        ("--out x.mp4 --seed -1", "--seed -1 is not possible; allowed: 0 to 4294967295"),
        ("--out x.mp4 --kind morph", "no classes to morph"),
        ("--out x.mp4 --kind sweep", "no codes to sweep"),
        ("--out x.mp4 --model other", "trained models: tried"),
    ],
)
def test_impossible_animation_is_refused_with_the_reason(
    tried: None, options: str, words: str
) -> None:
    with pytest.raises(SystemExit, match=re.escape(words)):
        main(["animate", "--model", "tried", "--kind", "loop", *options.split()])
    assert not list(Path().glob("x.*"))


def test_image_and_tensor_conversions_are_inverse() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert np.array_equal(models.to_uint8(models.from_uint8(pixels)), pixels)
