"""``ganloom start``: what it sees in a folder, what it writes, and how long trainings may be."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganloom import params, recipes
from ganloom.cli import main
from ganloom.params import Params, load
from ganloom.params.loading import parse
from ganloom.start import build as building
from ganloom.start.build import build
from ganloom.start.length import Speed, Trainings, about, measure
from ganloom.start.plan import KINDS
from ganloom.training import loop

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, whose trainings take 2 s per kimg at 32 px on one of two cores."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.setattr(build, "__defaults__", (None, clock))
    monkeypatch.setattr(building, "usable_cores", lambda: 2)
    monkeypatch.setattr(building, "best_device", lambda: torch.device("cpu"))
    return folder


def clock(model: params.Model, settings: params.Train, threads: int) -> Speed:
    return Speed(kimg=2.0 * (model.resolution / 32) ** 2, fixed=10.0)


def started(
    folder: str = "../mine", minutes: float = 10, kind: str | None = None
) -> tuple[Params, str]:
    """The parameters for a folder, and all that is said about it."""
    text, reasons = build(Path(folder), minutes, kind, clock)
    Path("params.yaml").write_text(text, encoding="utf-8")
    said = re.sub(r"\s*\n#? *", " ", text.partition("\nseed:")[0])
    assert all(reason in said for reason in reasons), "the file begins with what is printed"
    return load(Path("params.yaml")), "\n".join(reasons)


def cloth(rng: np.random.Generator, side: int) -> Image.Image:
    """Checks of two random colours, the same everywhere."""
    y, x = np.mgrid[:side, :side]
    which = (x // 3 + y // 3) % 2
    return Image.fromarray(rng.integers(0, 256, (2, 3), np.uint8)[which])


def thing(rng: np.random.Generator, side: int) -> Image.Image:
    """A checked square in the middle of a plain ground."""
    pixels = np.full((side, side, 3), rng.integers(200, 256, 3, np.uint8), np.uint8)
    part = slice(side // 3, side - side // 3)
    pixels[part, part] = np.asarray(cloth(rng, side))[part, part]
    return Image.fromarray(pixels)


def view(rng: np.random.Generator, side: int) -> Image.Image:
    """A smooth sky of several colours above noise."""
    sky = np.linspace(0, 255, side)[None, :, None] * np.ones((side, 1, 3))
    sky[side // 2 :] = rng.integers(0, 256, (side - side // 2, side, 3))
    return Image.fromarray(sky.astype(np.uint8))


DRAWN = {"texture": cloth, "drawing": thing, "photograph": view}


def draw(kind: str, count: int = 60, side: int = 128, folder: str = "../mine") -> Path:
    place, rng = Path(folder), np.random.default_rng(zlib.crc32(folder.encode()))
    place.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        DRAWN[kind](rng, side).save(place / f"{number:03}.png")
    return place


def without_length(model: params.Model) -> dict[str, Any]:
    values = model.model_dump()
    for training in (values, values["warm_up"] or {}):
        training["kimg"] = 0
    return values


# --- what it writes ------------------------------------------------------------------------------


def test_textures_are_cut_into_slices_and_woven() -> None:
    draw("texture")
    known, said = started()
    expected = {**recipe("kene")["augment"], "sizes": [64], "symmetries": 8}
    assert known.augment.model_dump() == expected
    assert known.weave and known.enlarge and known.curate.min_side == 64
    assert known.sources["mine"].path == "../mine"
    assert "60 image files in ../mine, with a shorter side of 128 px." in said
    assert "Textures: detail is spread evenly" in said


@pytest.mark.parametrize(
    ("kind", "fit", "words"),
    [("drawing", "pad", "on a plain ground: detail is uneven"), ("photograph", "crop", "Photogr")],
)
def test_things_are_used_whole(kind: str, fit: str, words: str) -> None:
    draw(kind)
    known, said = started()
    assert isinstance(known.augment, params.Whole)
    assert known.augment.fit == fit
    assert known.weave is None and known.enlarge
    assert words in said and "on, results are better" in said


@pytest.mark.parametrize("kind", KINDS)
def test_larger_samples_if_there_is_time_for_the_length_of_the_recipe(kind: str) -> None:
    draw(kind)
    _, said = started(minutes=1)
    minutes = int(re.search(r"At 64 px, .* --minutes (\d+)\.", said)[1])  # type: ignore[index]
    for given, resolution in ((minutes - 1, 32), (minutes, 64)):
        known, said = started(minutes=given)
        assert known.augment.resolution == resolution
        assert {model.resolution for model in known.models.values()} == {resolution}
        assert f"scaled to {resolution} px (augment)" in said
    assert "At 64 px" not in said


def test_small_images_have_small_samples() -> None:
    draw("photograph", side=95)
    known, said = started(minutes=600)
    assert known.augment.resolution == 32 and "At 64 px" not in said


def test_textures_have_still_larger_samples_if_there_is_much_time() -> None:
    draw("texture", 12, 192)
    _, said = started(minutes=20, kind="texture")
    minutes = int(re.search(r"At 128 px, .* --minutes (\d+)\.", said)[1])  # type: ignore[index]
    for given, resolution in ((20, 64), (minutes - 1, 64), (minutes, 128)):
        known, said = started(minutes=given, kind="texture")
        assert {model.resolution for model in known.models.values()} == {resolution}
        assert known.augment.model_dump()["sizes"] == [128]
    assert "samples show more" not in said


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_those_of_the_recipe(kind: str) -> None:
    """Whichever networks it has: only lengths, and batches of small collections, are changed."""
    draw(kind)
    known, _ = started()
    models = recipe(KINDS[kind].models)["models"]
    expected = {name: params.Model.model_validate(models[name]) for name in KINDS[kind].names}
    assert {name: without_length(m) for name, m in known.models.items()} == {
        name: without_length(m) for name, m in expected.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_sees_can_be_corrected(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw("drawing" if kind == "texture" else "texture")
    main(["start", "../mine", "--kind", kind])
    assert f"Used as you said: --kind {kind}" in capsys.readouterr().out
    mode = load(Path("params.yaml")).augment.mode
    assert mode == ("slices" if kind == "texture" else "whole")


@pytest.mark.data
@pytest.mark.parametrize(
    ("collection", "words"),
    [
        ("batik", "Textures"),
        ("shipibo", "Textures"),
        ("decor", "Drawings or objects on a plain ground"),
        ("pokemon", "Drawings or objects on a plain ground"),
        ("bob_ross", "Photographs"),
        ("cifar10_automobile", "Photographs"),
    ],
)
def test_real_collections_are_told_apart(collection: str, words: str, shared_data: Path) -> None:
    assert f"\n{words}: " in started(str(shared_data / collection))[1]


def test_unsure_images_are_used_whole() -> None:
    """Textures whose upper half is darker."""
    for path in draw("texture").iterdir():
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:64] = pixels[:64] * 0.54
        Image.fromarray(pixels).save(path)
    known, said = started()
    assert isinstance(known.augment, params.Whole)
    assert "Unsure whether these are textures" in said
    assert "(augment.mode)" in said and "ganloom start ../mine --kind texture" in said


def test_class_folders_make_a_conditional_model() -> None:
    for name in ("a", "b"):
        draw("drawing", 150, 16, f"../mine/{name}")
    known, said = started()
    assert list(known.models) == ["cgan"] and known.models["cgan"].condition == "onehot"
    assert known.augment.symmetries == 1, "mirrored letters are others"
    assert known.models["cgan"].resolution == known.augment.resolution
    assert "2 class folders with 150 images or more" in said


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({"a": 70, "b": 9}, "2 class folders, but only 9 images in b"),
        ({"a": 160, "b": 150, ".": 3}, "2 class folders, but 3 images outside of them"),
        ({"a": 20}, "There is one class folder"),
    ],
)
def test_classes_that_cannot_be_learned_are_explained(folders: dict[str, int], words: str) -> None:
    for name, count in folders.items():
        draw("drawing", count, 16, f"../mine/{name}")
    known, said = started()
    assert words in said
    assert not any(model.condition for model in known.models.values())


def test_small_images_are_enlarged_and_different_drawings_stay_apart() -> None:
    draw("drawing", side=16)
    known, _ = started()
    assert known.augment.resolution == 32 and known.curate.min_side == 16
    assert known.enlarge is None and known.dedup.max_distance == 0


def test_textures_too_small_for_slices_are_used_whole() -> None:
    draw("texture", side=24)
    known, said = started()
    assert isinstance(known.augment, params.Whole) and "too small for slices" in said


def test_slices_of_large_images_show_a_quarter_of_their_side() -> None:
    draw("texture", 12, 800)
    known, _ = started()
    assert known.augment.model_dump()["sizes"] == [192]


def test_batches_fit_into_a_small_collection() -> None:
    draw("drawing", 12)
    known, _ = started()
    assert {model.batch for model in known.models.values()} == {6}


def test_unreadable_files_are_counted_and_named() -> None:
    folder = draw("texture")
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "page\n# seed: 2\x9b.png").write_bytes(b"<html>")
    (folder / "notes.txt").write_text("not listed")
    known, said = started()
    assert known.report.about == "60 images in the folder mine."
    assert "2 cannot be read, and will be left out" in said
    assert "cut.jpg: broken JPEG" in said and "not an image: an HTML page" in said
    assert "notes" not in said and "\x9b" not in said


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("../no", "../no: no such folder"),
        ("../file", "../file: a file; name the folder"),
        ("../empty", "../empty: no images in it; name a folder of image files"),
        ("../broken", "none of 12 files can be decoded; the first: 00.png: not an image"),
        ("../few", "../few: 9 different images can be read, too few to learn from; collect at"),
        ("../icons", "the images are too small: half of them have a side of 4 px or less"),
        ("data/mine", "data/mine: inside of data/, which the pipeline writes; move your images"),
        ("..", "..: this project is in it; move your images to a folder of their own"),
        (".dvc/mine", "DVC ignores it"),
        ("../\x1b[2J", "a parameter file cannot hold this name; rename the folder"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    folder: str, words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("../file").touch()
    Path("../empty").mkdir()
    Path("../broken").mkdir()
    for number in range(12):
        Path(f"../broken/{number:02}.png").write_bytes(b"%d" % number)
    draw("texture", 9, folder="../few")
    Path("../few/copy.png").write_bytes(Path("../few/000.png").read_bytes())
    draw("texture", 12, 4, "../icons")
    draw("texture", 12, folder="data/mine")
    Path(".dvc").mkdir()
    Path(".dvc/config").touch()
    draw("texture", 12, folder=".dvc/mine")
    with pytest.raises(SystemExit, match=re.escape(words)):
        main(["start", folder])
    assert not Path("params.yaml").exists()


def test_an_edited_file_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    draw("texture")
    main(["recipe", "tiny", "--out", "params.yaml"])
    main(["start", "../mine", "--minutes", "20"])
    assert not Path("params.yaml.~1~").exists(), "a recipe can be written again"
    edited = Path("params.yaml").read_text(encoding="utf-8").replace("seed: 1", "seed: 2")
    Path("params.yaml").write_text(edited, encoding="utf-8")
    main(["start", "../mine"])
    assert Path("params.yaml.~1~").read_text(encoding="utf-8") == edited
    assert load(Path("params.yaml")).seed == 1
    out = capsys.readouterr().out
    assert "The old params.yaml is kept as params.yaml.~1~" in out
    assert "- 60 image files in ../mine" in out and "about 20 minutes on 2 CPU cores" in out
    main(["check"])


# --- how long trainings take ---------------------------------------------------------------------


def test_trainings_fill_the_minutes() -> None:
    """Two models on two cores: 10 s, and 2 s per kimg, for each."""
    draw("texture")
    known, said = started(minutes=10)
    assert max(model.kimg for model in known.models.values()) == 300  # of 295
    assert "about 10 minutes on 2 CPU cores" in said and "too short" not in said
    matched = known.models["matched"]
    assert matched.warm_up
    assert f"matched for {matched.warm_up.kimg:g} + {matched.kimg:g} kimg" in said


def test_a_time_that_is_too_short_names_one_that_is_not() -> None:
    draw("texture")
    known, said = started(minutes=0.1)
    steps = [1000 * model.kimg / model.batch for model in known.models.values()]
    assert 22 < min(steps) < 26  # one in each of 24 ticks
    minutes = re.search(r"fewer than 1000 steps\. Run this again with --minutes (\d+)", said)
    assert minutes, said
    assert "too short" not in started(minutes=int(minutes[1]))[1]


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_factor_is_the_inverse_of_the_time(slots: int) -> None:
    speeds = {"a": Speed(2.0, 5.0), "b": Speed(0.5, 20.0), "c": Speed(1.0, 0.0)}
    trainings = Trainings({"a": 50.0, "b": 90.0, "c": 20.0}, speeds, slots)
    assert math.isclose(trainings.seconds(trainings.factor(300.0)), 300.0)


@pytest.mark.parametrize(
    ("seconds", "slots", "together"),
    [([60, 60], 1, 120), ([60, 60], 2, 60), ([60, 90, 30], 2, 90), ([60], 4, 60)],
)
def test_time_with_fewer_cores_than_models(
    seconds: list[float], slots: int, together: float
) -> None:
    lengths = {str(number): value for number, value in enumerate(seconds)}
    speeds = dict.fromkeys(lengths, Speed(1.0, 0.0))
    assert Trainings(lengths, speeds, slots).seconds() == together


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (20, "less than a minute"),
        (70, "about 1 minute"),
        (420, "about 7 minutes"),
        (7200, "about 2 hours"),
    ],
)
def test_a_duration_is_in_words(seconds: float, words: str) -> None:
    assert about(seconds) == words


@pytest.mark.parametrize("warm_up", [False, True])
def test_the_real_training_is_timed(warm_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of it, and a warm-up of the same length takes as long again."""
    monkeypatch.setattr(loop, "CALIBRATION", 8)
    known = parse(recipe("tiny"))
    model = known.models["dcgan"]
    if warm_up:
        shared = model.model_dump(include={*params.WarmUp.model_fields})
        model = model.model_copy(update={"warm_up": params.WarmUp.model_validate(shared)})
    trained: list[tuple[float, bool]] = []
    real = loop.train

    def train(name: str, model: params.Model, settings: params.Train, **more: object) -> None:
        trained.append((model.kimg, settings.judge is not None))
        real(name, model, settings, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train", train)
    speed = measure(model, known.train, 1)
    assert speed.kimg > 0 <= speed.fixed
    assert trained == [(0.16, False), (0.96, False), (0.16, True), *trained[:2] * warm_up]
    assert [path.name for path in Path().iterdir()] == ["recipes"]


def recipe(name: str) -> dict[str, Any]:
    return recipes.values(ROOT / f"recipes/{name}.yaml", ROOT)
