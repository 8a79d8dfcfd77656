"""Commands that make images: content, metadata, and errors."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from conftest import full_disk
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from test_studio_pages import CLASSES, save_model

from ganloom import models, params, tables
from ganloom.cli import main, weave
from ganloom.enlarging import network
from ganloom.images.shards import sha256
from ganloom.nets.inputs import Inputs
from ganloom.sampling.latents import new
from ganloom.tables import KeptRow, ManifestRow
from ganloom.weaving import gallery
from ganloom.weaving.groups import FRIEZES, WALLPAPERS
from ganloom.weaving.origin import CREDITS, LENGTH, origin
from ganloom.weaving.tile import make_tile

CLOTH = ManifestRow(
    id="1",
    source="a",
    page="https://example.org/1",
    title="Manta\n roja",
    creator="Señora Q.",
    licence="CC BY 4.0",
    sha256="aa",
)
PLAIN = Inputs(latent=16)
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a conditional model with codes, an unconditional one, and an enlarger."""
    save_model(tmp_path, "animals")
    strengthen(save_model(tmp_path, "plain", PLAIN))
    torch.manual_seed(0)
    net = network.Enlarger(8, 2)
    info = network.EnlargerInfo(channels=8, layers=2, kimg=1.0)
    models.save(net, info, tmp_path / network.PATH)
    other = ManifestRow(
        id="2", source="a", title="Other", creator="Nobody", licence="CC0", sha256="bb"
    )
    tables.write(tmp_path / "data/manifest.csv", ManifestRow, [CLOTH, other])
    kept = KeptRow(sha256="aa", label="", split="train")
    tables.write(tmp_path / "data/kept.csv", KeptRow, [kept])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def strengthen(path: Path) -> None:
    """Scale the weights of a new generator so that its samples differ as those of a trained one."""
    net, about = models.load_generator(path, "cpu")
    next(net.parameters()).data *= 20
    models.save(net, about, path)


def save_discriminator(model: str, told: Inputs) -> Path:
    spec = params.DcganDiscriminator(
        kind="dcgan", channels=4, norm="none", dropout=0.0, dropout_kind="element",
        minibatch_stddev=False,
    )  # fmt: skip
    condition: Literal["onehot"] | None = "onehot" if told.classes else None
    torch.manual_seed(3)
    net = models._discriminator(spec, 16, told, condition, 1)
    about = models.DiscriminatorInfo(
        model=model,
        resolution=16,
        kimg=1.0,
        discriminator=spec,
        condition=condition,
        classes=CLASSES[: told.classes],
        outputs=1,
        inputs=told,
    )
    path = Path("results/models") / model / "discriminator.safetensors"
    models.save(net, about, path)
    return path


def pixels(path: str | Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def made(path: str | Path) -> dict[str, Any]:
    """Metadata of a file."""
    with Image.open(path) as picture:
        text = picture.getexif()[270] if picture.format == "TIFF" else picture.info[models.METADATA]
    assert text.isascii()
    return json.loads(text)


def files() -> set[Path]:
    return {path for path in Path().rglob("*") if path.is_file()}


def run(command: str) -> None:
    main(command.split())


def refused(command: str, words: str) -> None:
    """Assert that the command ends with one line and leaves no file."""
    before = files()
    with pytest.raises(SystemExit, match=re.escape(words)) as error:
        run(command)
    assert isinstance(error.value.code, str)  # printed; the exit status is 1
    assert "\n" not in error.value.code
    assert files() == before


# --- weave ---------------------------------------------------------------------------------------


def test_help_lists_all_symmetry_groups() -> None:
    assert list(WALLPAPERS) == list(weave.GROUPS)
    assert list(FRIEZES) == list(weave.BORDERS)


@pytest.mark.parametrize("out", ["a.png", "a.TIF", "a.tiff"])
def test_tile_file_has_size_resolution_and_metadata(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"weave --model plain --seed 5 --size 128 --dpi 150 --place 0.5,1 --out {out}")
    with Image.open(out) as picture:
        assert picture.size == (128, 128)
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    told = made(out)
    model = Path("results/models/plain/generator.safetensors")
    expected = {
        "model": "plain",
        "sha256": sha256(model.read_bytes()),
        "enlarger": sha256(network.PATH.read_bytes()),
        "seed": 5,
        "number": 0,
        "group": "p4m",
        "drift": 0,
        "choose": None,
        "place": [0.5, 1],
        "truncation": 1,
        "size": [128, 128],
        "tile": 128,
        "licences": ["CC BY 4.0"],
        "credits": ["Manta roja, by Señora Q., CC BY 4.0, https://example.org/1"],
    }
    assert {key: told.get(key) for key in expected} == expected
    assert capsys.readouterr().out == f"{out}: 128 x 128 px, 2.2 x 2.2 cm at 150 dpi\n"


@pytest.mark.parametrize(("group", "height"), [("p4m", 128), ("pm", 64), ("p6m", 220)])
def test_tile_repeats_and_its_height_depends_on_the_group(group: str, height: int) -> None:
    run(f"weave --model plain --size 128 --group {group} --out a.png")
    tile = pixels("a.png")
    assert abs(len(tile) - height) <= 4
    assert tile.shape[1] == 128
    if group != "pm":  # its top and bottom are blended, not mirrored
        np.testing.assert_array_equal(tile, tile[::-1])
    np.testing.assert_array_equal(tile, tile[:, ::-1])


def test_cloth_has_the_requested_size_and_repeats_its_tile() -> None:
    run("weave --model plain --size 320x192 --tile 64 --out a.png")
    cloth = pixels("a.png")
    assert cloth.shape == (192, 320, 3)
    np.testing.assert_array_equal(cloth[:, :-64], cloth[:, 64:])
    np.testing.assert_array_equal(cloth[:-64], cloth[64:])
    assert made("a.png")["tile"] == 64


@pytest.mark.parametrize(("size", "tile", "width"), [("70", 72, 72), ("190x100", 96, 190)])
def test_tile_width_matches_the_metadata(size: str, tile: int, width: int) -> None:
    run(f"weave --model plain --size {size} --tile 80 --group p1 --out a.png")
    assert made("a.png")["tile"] == tile
    picture = pixels("a.png")
    assert picture.shape[1] == width
    np.testing.assert_array_equal(picture[:, tile:], picture[:, :-tile][:, : width - tile])


def save_texture() -> None:
    spec = params.TextureGenerator(kind="texture", channels=4, latent=40, local=2, palette=4)
    torch.manual_seed(2)
    net = models.build_generator(spec, 16, Inputs(40))
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.weight.data.mul_(10)
    about = models.GeneratorInfo(
        model="texture", resolution=16, kimg=1.0, generator=spec, condition=None, classes=[],
        inputs=Inputs(40),
    )  # fmt: skip
    models.save(net, about, Path("results/models/texture/generator.safetensors"))


def test_texture_is_woven_without_repetition_and_without_a_seam() -> None:
    save_texture()
    run("weave --model texture --group p1 --size 320x192 --tile 64 --out a.png")
    cloth = pixels("a.png").astype(int)
    assert cloth.shape == (192, 320, 3)
    assert np.abs(cloth[:, :-64] - cloth[:, 64:]).mean() > 1
    for axis in (0, 1):
        change = np.abs(cloth - np.roll(cloth, 1, axis)).mean(axis=(1 - axis, 2))
        assert change[0] < 1.5 * change[1:].max()
    run("weave --model texture --group p4m --size 128 --tile 64 --out b.png")
    folded = pixels("b.png")
    np.testing.assert_array_equal(folded[:64], folded[64:])


@pytest.mark.parametrize(("groups", "whole"), [(["p1", "p4m"], True), (["p4m", "p1"], False)])
def test_cloth_of_a_texture_is_a_whole_only_without_symmetry(
    groups: list[Any], whole: bool, tmp_path: Path
) -> None:
    save_texture()
    section = params.Weave(groups=groups, border=None, drift=0.0, choose=1, tile=64, size=128)
    sampling = gallery.Sampling(seed=1, truncation=1.0, grid=2, frames=2, fps=2)
    home = Path("results/models/texture")
    told = gallery.woven(Path(), home, tmp_path, sampling, section)
    assert told == {"number": 0, "of": 1, "whole": whole}
    cloth = pixels(tmp_path / "cloth.png")
    assert (cloth[:64] == cloth[64:]).all() != whole


def test_texture_tile_is_its_sample() -> None:
    save_texture()
    network.PATH.unlink()
    run("generate --model texture --seed 3 -n 1 --out samples")
    run("weave --model texture --group p1 --seed 3 --size 64 --out a.png")
    (sample,) = Path("samples").glob("*.png")
    expected = make_tile(pixels(sample), "p1", 64, None, periodic=True)
    np.testing.assert_array_equal(pixels("a.png"), expected)


def test_border_always_gives_a_cloth() -> None:
    run("weave --model plain --size 256 --border p11 --out a.png")
    assert pixels("a.png").shape == (256, 256, 3)
    told = made("a.png")
    assert (told["border"], told["tile"]) == ("p11", 32)


def test_drift_changes_the_edges_but_not_the_centre() -> None:
    command = "weave --model plain --size 256 --tile 64"
    run(f"{command} --out still.png")
    run(f"{command} --drift 0.8 --out drifts.png")
    still, drifts = pixels("still.png").astype(int), pixels("drifts.png").astype(int)
    difference = abs(still - drifts).mean(axis=2)
    assert difference[126:130, 126:130].max() < 3
    assert difference[:16].mean() > 8


def test_same_options_give_same_file_and_seeds_differ() -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(f"weave --model plain --seed {seed} --size 128 --out {name}.png")
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_choose_selects_the_highest_discriminator_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_discriminator("plain", PLAIN)
    run("weave --model plain --seed 4 --size 64 --choose 40 --out a.png")
    told = made("a.png")
    assert told["choose"] == 40
    assert f"Sample {told['number']} of 0 to 39," in capsys.readouterr().out
    # The other samples of `ganloom generate`, and what the discriminator says of each.
    run("generate --model plain --seed 4 -n 40 --out out")
    net, _ = models.load_discriminator(
        Path("results/models/plain/discriminator.safetensors"), "cpu"
    )
    shown = np.stack([pixels(path) for path in sorted(Path("out").iterdir())])
    x = torch.from_numpy(shown).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        assert told["number"] == int(net(x).logits.argmax())
    assert told["number"] > 0


def test_choose_respects_the_class() -> None:
    save_discriminator("animals", Inputs(latent=16, classes=3, categorical=(4,), continuous=1))
    run("weave --model animals --class dog --size 64 --choose 5 --out a.png")
    assert made("a.png")["class"] == "dog"


def test_weave_without_an_enlarger_interpolates(capsys: pytest.CaptureFixture[str]) -> None:
    network.PATH.unlink()
    run("weave --model plain --size 128 --out a.png")
    assert "the section `enlarge` to params.yaml" in capsys.readouterr().out
    assert made("a.png")["enlarger"] is None


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ('{"reach": 2.0}', "detail for tiles of up to 64 px; these have 128 px, so finer"),
        ('{"reach": 4}', "detail for tiles of up to 128 px; these have 128 px.\n"),
        ('{"reach": "far"}', None),
        ('{"reach": NaN}', None),
        ("[]", None),
        ("{", None),
    ],
)
def test_weave_reports_up_to_which_size_originals_have_detail(
    known: str, words: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("results/enlarger/enlarger.json").write_text(known)
    run("weave --model plain --size 128 --out a.png")
    printed = capsys.readouterr().out
    assert words in printed if words else "originals" not in printed


def test_missing_credits_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/kept.csv").unlink()
    run("weave --model plain --size 64 --out a.png")
    assert "The metadata lack credits" in capsys.readouterr().out
    assert not {"credits", "licences"} & set(made("a.png"))


def test_metadata_stays_small_for_large_collections() -> None:
    title = "é" * 5000
    manifest = [
        replace(CLOTH, sha256=f"{i}", title=title, creator=f"N{i:04}", licence=f"L{i:04}")
        for i in range(1000)
    ]
    tables.write(Path("data/manifest.csv"), ManifestRow, manifest)
    kept = [KeptRow(sha256=f"{i}", label="", split="train") for i in range(1000)]
    tables.write(Path("data/kept.csv"), KeptRow, kept)
    found = origin(Path())
    assert len(found["credits"]) == CREDITS + 1
    assert found["credits"][-1] == "and 800 more: ganloom credits"
    assert max(map(len, found["credits"])) == LENGTH
    assert len(found["licences"]) == 51


@pytest.mark.parametrize(
    "command",
    [
        "weave --model plain --size 64 --out a.png",
        "mix --model plain --from 1 --to 2 --out a.tif",
        "animate --model plain --kind loop --seconds 0.2 --grid 1 --out a.webp",
        "edit photo.png --model plain --steps 2 --out a.png",
        "bundle --model plain --out a.zip",
        "credits --out a.md",
        "export kept --format stylegan --out a.zip",
    ],
)
def test_file_is_replaced_only_with_force(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (16, 16), "red").save("photo.png")
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setattr("ganloom.export.export", lambda *args: args[-1].write_text("new"))
    out = Path(command.rsplit(maxsplit=1)[-1])
    out.write_text("mine")
    refused(command, f"--out {out} is not possible: the file exists; --force replaces it")
    assert out.read_text() == "mine"
    run(f"{command} --force")
    assert out.read_bytes() != b"mine"


@pytest.mark.parametrize(
    "command",
    [
        "generate --model plain -n 2 --out out",
        "bundle --model plain --out out",
        "export kept --format folder --out out",
    ],
)
def test_existing_folder_is_neither_mixed_nor_replaced(command: str) -> None:
    Path("out").mkdir()
    Path("out/plain_0.png").write_text("mine")
    refused(command, "--out out is not possible: the folder is not empty")
    assert Path("out/plain_0.png").read_text() == "mine"
    refused(command.replace(" out", " out/plain_0.png"), "it is a file")


def test_empty_folder_is_filled_but_not_a_second_time() -> None:
    Path("out").mkdir()
    run("generate --model plain -n 2 --out out")
    refused("generate --model plain -n 200 --seed 1 --out out", "name a new folder")
    assert sorted(path.name for path in Path("out").iterdir()) == ["plain_0.png", "plain_1.png"]


def test_interrupted_command_leaves_no_files(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> Iterator[NDArray[np.uint8]]:
        yield np.zeros((16, 16, 3), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr("ganloom.sampling.generate.generate", interrupted)
    before = files()
    with pytest.raises(SystemExit) as stopped:
        run("generate --model plain -n 2 --out out")
    assert stopped.value.code == 130
    assert files() == before
    assert "nothing was written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "plian",
            "--model plian does not exist; did you mean plain? trained models: animals, plain",
        ),
        ("dcgann", "did you mean dcgan? "),
        ("dcgan", "--model dcgan is not trained yet: snakemake --cores 8 results/models/dcgan/"),
        (
            "qqq",
            "does not exist; trained models: animals, plain; in params.yaml, not trained yet: dcg",
        ),
    ],
)
def test_misspelt_model_gets_a_suggestion(name: str, words: str) -> None:
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    for command in ("generate", "bundle"):
        refused(f"{command} --model {name} --out out", words)


@pytest.mark.parametrize("out", ["a.png", "a.tif"])
def test_full_disk_leaves_existing_files_intact(out: str) -> None:
    Path(out).write_text("mine")
    before = files()
    with full_disk(1000), pytest.raises(SystemExit, match=f"{out} cannot be written"):
        run(f"weave --model plain --size 128 --out {out} --force")
    assert Path(out).read_text() == "mine"
    assert files() == before


SIZES = "allowed: a number such as 4096, or WIDTHxHEIGHT such as 4096x2048, of 64 to 16384 px"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--out a.jpg", "--out a.jpg is not possible; allowed: a file that ends in .png, .tif, .t"),
        ("--out no/a.png", "--out no/a.png is not possible: no is not a folder"),
        ("--out data.png/", "--out data.png is not possible: it is a folder"),
        ("--size 63", f"--size 63 is not possible; {SIZES}"),
        ("--size 16385", f"--size 16385 is not possible; {SIZES}"),
        ("--size 100x", f"--size 100x is not possible; {SIZES}"),
        ("--size 100x100x100", "is not possible"),
        ("--size ١٢٨", "--size ١٢٨ is not possible"),
        (f"--size {'9' * 5000}", "is not possible"),
        ("--group p5", "--group p5 is not possible; allowed: p1, pm, pmm, cmm, p4m, p3m1, p6m"),
        ("--border p4m", "--border p4m is not possible; allowed: p11, p11g"),
        ("--tile 15", "--tile 15 is not possible; allowed: 16 to 4096"),
        ("--tile x", "--tile x is not possible; allowed: 16 to 4096"),
        (f"--tile {'9' * 5000}", "is not possible; allowed: 16 to 4096"),
        ("--border p11 --tile 200 --size 256", "--tile 200 is not possible: the border would be"),
        ("--dpi 0", "--dpi 0 is not possible; allowed: 1 to 4800"),
        ("--drift 1.1 --size 1024", "--drift 1.1 is not possible; allowed: 0 to 1"),
        ("--drift nan", "--drift nan is not possible; allowed: 0 to 1"),
        ("--drift 0.5", "--drift 0.5 is not possible for one tile; for a cloth, allowed: --size"),
        ("--seed -1", "--seed -1 is not possible; allowed: 0 to 4294967295"),
        ("--seed 1.5", "--seed 1.5 is not possible; allowed: 0 to 4294967295"),
        ("--choose 0", "--choose 0 is not possible; allowed: 1 to 1000"),
        ("--choose 3", "--choose 3 is not possible: results/models/plain/discriminator.safete"),
        ("--truncation 0", "--truncation 0 is not possible; allowed: 0.01 to 2"),
        ("--class cat", "--class cat is not possible; classes: none; plain is unconditional"),
        ("--place 1", "--place 1 is not possible; allowed: X,Y such as 0.5,0.25, each 0 to 2"),
        ("--place 0,inf", "--place 0,inf is not possible"),
        ("--model other", "trained models: animals, plain"),
    ],
)
def test_impossible_cloth_is_refused_with_the_reason(options: str, words: str) -> None:
    Path("data.png").mkdir()
    refused(f"weave --model plain --out a.png {options}", words)


def test_damaged_enlarger_is_named() -> None:
    network.PATH.write_bytes(b"x")
    refused(
        "weave --model plain --out a.png",
        "enlarger.safetensors is damaged or not an enlarger of ganloom",
    )


# --- generate and animate ------------------------------------------------------------------------


def test_generated_images_have_provenance_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganloom.git.commit", lambda _: "c0ffee")
    run("generate --model animals -n 4 --seed 9 --class dog --sheet --out out")
    told = made("out/dog/animals_2.png")
    model = Path("results/models/animals/generator.safetensors")
    net, _ = models.load_generator(model, "cpu")
    with torch.inference_mode():
        (again,) = models.to_uint8(net(torch.tensor([told.pop("v")])))
    np.testing.assert_allclose(pixels("out/dog/animals_2.png").astype(int), again, atol=1)
    sheet = made("out/sheet.png")
    assert sheet["credits"] == ["Manta roja, by Señora Q., CC BY 4.0, https://example.org/1"]
    assert sheet.items() >= {"seed": 9, "count": 4, "commit": "c0ffee"}.items()
    assert told == {
        "commit": "c0ffee",
        "licences": ["CC BY 4.0"],
        "latent": 16,
        "model": "animals",
        "sha256": sha256(model.read_bytes()),
        "seed": 9,
        "count": 4,
        "number": 2,
        "truncation": 1.0,
        "class": "dog",
        "size": 16,
    }


def test_generated_images_can_be_enlarged_with_a_contact_sheet() -> None:
    for folder in ("out", "again"):
        run(f"generate --model plain -n 5 --size 48 --sheet --out {folder}")
    names = ["plain_0.png", "plain_1.png", "plain_2.png", "plain_3.png", "plain_4.png", "sheet.png"]
    assert sorted(os.listdir("out")) == names  # noqa: PTH208
    for name in names:
        assert Path("out", name).read_bytes() == Path("again", name).read_bytes()
    assert pixels("out/plain_3.png").shape == (48, 48, 3)
    assert made("out/plain_3.png")["size"] == 48
    sheet = pixels("out/sheet.png")
    assert sheet.shape == (2 * 52 + 4, 3 * 52 + 4, 3)
    np.testing.assert_array_equal(sheet[4:52, 4:52], pixels("out/plain_0.png"))
    np.testing.assert_array_equal(sheet[56:104, 4:52], pixels("out/plain_3.png"))


@pytest.mark.parametrize("command", ["generate", "animate", "mix"])
def test_metadata_names_interpolated_images(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    network.PATH.unlink()
    rest = {
        "generate": "-n 1 --out out",
        "animate": "--kind loop --seconds 0.2 --grid 1 --out a.gif",
        "mix": "--from 1 --to 2 --out a.png",
    }[command]
    run(f"{command} --model plain --size 32 {rest}")
    assert "This project has no enlarger" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
def test_animations_have_the_requested_size(suffix: str) -> None:
    run(
        f"animate --model plain --kind loop --seconds 0.5 --fps 10 --grid 2 --size 40 "
        f"--out a.{suffix}"
    )
    if suffix == "mp4":
        with av.open("a.mp4") as film:
            frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert [frame.shape for frame in frames] == [(80, 80, 3)] * 5
    else:
        with Image.open(f"a.{suffix}") as picture:
            assert picture.size == (80, 80)
            assert len(list(ImageSequence.Iterator(picture))) == 5


def test_enlarged_animation_shows_the_same_frames() -> None:
    command = "animate --model plain --kind walk --seconds 1 --fps 8 --grid 2"
    run(f"{command} --out small.webp")
    network.PATH.unlink()
    run(f"{command} --size 128 --out large.webp")
    for number in (0, 5):
        shown = []
        for name in ("small", "large"):
            with Image.open(f"{name}.webp") as film:
                film.seek(number)
                shown.append(np.asarray(film.convert("RGB").resize((32, 32)), int))
        assert abs(shown[0] - shown[1]).mean() < 6


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("generate -n 1 --out out --size 15", "--size 15 is not possible; allowed: 16 to 4096"),
        ("generate -n 1 --out out --size x", "--size x is not possible; allowed: 16 to 4096"),
        ("animate --kind loop --out a.mp4 --size 1025", "x 4100 px as .mp4; allowed: up to 1024"),
        ("animate --kind loop --out a.gif --size 400", "px as .gif; allowed: up to 341"),
        (
            "animate --kind loop --out a.gif --seconds 120 --fps 50 --grid 16 --size 16",
            "make it shorter, or --grid 1",
        ),
    ],
)
def test_absurd_sizes_are_refused(command: str, words: str) -> None:
    refused(f"{command} --model plain", words)


# --- mix -----------------------------------------------------------------------------------------


def test_mix_strip_starts_and_ends_with_its_seeds() -> None:
    run("mix --model plain --from 3 --to 7 --steps 5 --out a.png")
    strip = pixels("a.png")
    assert strip.shape == (16, 5 * 16, 3)
    for seed, shown in ((3, strip[:, :16]), (7, strip[:, -16:])):
        run(f"generate --model plain -n 1 --seed {seed} --out {seed}")
        np.testing.assert_allclose(pixels(f"{seed}/plain_0.png").astype(int), shown, atol=1)
    told = made("a.png")
    assert (told["from"], told["to"], told["steps"], told["linear"]) == (3, 7, 5, False)


def test_linear_mix_differs_from_spherical_mix() -> None:
    for name, option in (("a", ""), ("b", "--linear"), ("c", "--linear")):
        run(f"mix --model plain --from 3 --to 7 {option} --size 32 --out {name}.png")
    assert pixels("a.png").shape == (32, 8 * 32, 3)
    a, b, c = (Path(f"{name}.png").read_bytes() for name in "abc")
    assert a != b == c


@pytest.mark.parametrize("suffix", ["mp4", "gif", "webp"])
def test_animations_have_provenance_metadata(suffix: str) -> None:
    run(f"mix --model plain --from 3 --to 7 --steps 2 --out mix.{suffix}")
    run(f"animate --model plain --kind loop --seconds 0.2 --grid 1 --seed 4 --out loop.{suffix}")
    for name, facts in (("mix", {"from": 3, "to": 7}), ("loop", {"seed": 4, "kind": "loop"})):
        if suffix == "mp4":
            with av.open(f"{name}.mp4") as film:
                text = film.metadata["comment"]
        else:
            with Image.open(f"{name}.{suffix}") as film:
                text = film.getexif().get(270) or film.info["comment"].decode()
        told = json.loads(text)
        assert told["licences"] == ["CC BY 4.0"]
        assert told["model"] == "plain"
        assert told.items() >= facts.items()


def test_class_mix_keeps_latent_and_codes() -> None:
    run("mix --model animals --from-class cat --to-class dog --seed 2 --out a.png")
    net, _ = models.load_generator(Path("results/models/animals/generator.safetensors"), "cpu")
    v = new(net.inputs, 1, 2).repeat(2, 1)
    v[:, 16:19] = torch.eye(3)[:2]
    with torch.inference_mode():
        cat, dog = models.to_uint8(net(v)).astype(int)
    strip = pixels("a.png")
    np.testing.assert_allclose(strip[:, :16], cat, atol=1)
    np.testing.assert_allclose(strip[:, -16:], dog, atol=1)


@pytest.mark.parametrize("suffix", ["gif", "webp", "mp4"])
def test_mix_animation_goes_there_and_back(suffix: str) -> None:
    run(f"mix --model plain --from 1 --to 2 --steps 6 --size 64 --out a.{suffix}")
    if suffix == "mp4":
        with av.open("a.mp4") as film:
            frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    else:
        with Image.open(f"a.{suffix}") as picture:
            shown = ImageSequence.Iterator(picture)
            frames = [np.asarray(frame.convert("RGB")) for frame in shown]
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 10
    first = frames[1].astype(int)
    assert abs(first - frames[-1]).mean() < abs(first - frames[5]).mean() / 2


MIXED = "mix needs two ends of one kind: --from SEED --to SEED, or --from-class NAME --to-class NAM"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", MIXED),
        ("--from 1", MIXED),
        ("--from 1 --to-class dog", MIXED),
        ("--from 1 --to 2 --from-class cat --to-class dog", MIXED),
        ("--from x --to 2", "--from x is not possible; allowed: 0 to 4294967295"),
        ("--from 1 --to -2", "--to -2 is not possible; allowed: 0 to 4294967295"),
        ("--from 1 --to 2 --seed 3", "--seed 3 cannot be combined with --from and --to"),
        ("--from 1 --to 2 --steps 1", "--steps 1 is not possible; allowed: 2 to 100"),
        ("--from 1 --to 2 --size 5000", "--size 5000 is not possible; allowed: 16 to 4096"),
        ("--from 1 --to 2 --steps 90 --size 4096", "million pixels in all; allowed: up to 1727"),
        ("--from 1 --to 2 --out a.avi", "--out a.avi is not possible; allowed: a file that ends"),
        ("--from-class cat --to-class cow", "--to-class cow is not possible; classes: cat, dog"),
        ("--from-class cat --to-class dog --seed x", "--seed x is not possible"),
    ],
)
def test_impossible_mix_is_refused_with_the_reason(options: str, words: str) -> None:
    refused(f"mix --model animals --out a.png {options}", words)


# --- edit ----------------------------------------------------------------------------------------


def photograph(path: str = "photo.png") -> None:
    y, x = np.mgrid[:40, :60]
    Image.fromarray(np.stack([x * 4, y * 6, 0 * x + 90], -1).astype(np.uint8)).save(path)


def test_photograph_is_reconstructed_and_edited(capsys: pytest.CaptureFixture[str]) -> None:
    photograph()
    command = "edit photo.png --model animals --steps 3 --loss mse"
    for name in "ab":
        run(f"{command} --out {name}.png")
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    sheet = pixels("a.png")
    # Three classes, a code of four values, a continuous one; beside the photograph and its copy.
    assert sheet.shape == (3 * 16, (2 + 5) * 16, 3)
    told = made("a.png")
    assert told["photo"] == sha256(Path("photo.png").read_bytes())
    assert told["rows"] == ["class: cat, dog, <b>owl</b>", "code 1", "code 2"]
    assert "PSNR" in capsys.readouterr().out
    red = sheet[:16, :16, 0].astype(int)  # the photograph becomes redder to the right
    assert (np.diff(red, axis=1) >= 0).all()


def test_unconditional_model_is_edited_along_directions() -> None:
    photograph()
    run("edit photo.png --model plain --steps 2 --loss mse --size 32 --out a.png")
    sheet = pixels("a.png")
    assert sheet.shape == (8 * 32, (2 + 4) * 32, 3)
    cells = sheet.reshape(8, 32, 6, 32, 3).swapaxes(1, 2)
    np.testing.assert_array_equal(cells[0, 1], cells[5, 1])
    assert all(abs(cells[0, 1].astype(int) - cells[0, i]).mean() > 1 for i in range(2, 6))


@pytest.mark.parametrize(
    ("photo", "options", "words"),
    [
        ("none.png", "", "PHOTO none.png does not exist"),
        ("data", "", "PHOTO data is not a file"),
        ("text.png", "", "text.png: not an image"),
        ("large.png", "", "large.png: too many pixels: 60x40, more than 100 (fetch.max_pixels)"),
        ("photo.png", "--steps 0", "--steps 0 is not possible; allowed: 1 to 10000"),
        ("photo.png", "--loss x", "--loss x is not possible; allowed: ms_ssim, ssim, mse, featur"),
        ("photo.png", "--size 4096", "million pixels in all; allowed: up to 3575"),
        ("photo.png", "--out a.gif", "--out a.gif is not possible; allowed: a file that ends in"),
    ],
)
def test_unusable_photograph_is_named(photo: str, options: str, words: str) -> None:
    photograph()
    photograph("large.png")
    Path("text.png").write_text("hello")
    if photo == "large.png":
        recipe = Path(__file__).parents[1] / "params.yaml"
        Path("params.yaml").write_text(
            re.sub(r"max_pixels: \d+", "max_pixels: 100", recipe.read_text())
        )
    refused(f"edit {photo} --model animals --loss mse --steps 1 --out a.png {options}", words)


def test_oversized_photograph_is_not_read_completely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganloom.cli.mix.BYTES", 50)
    photograph()
    refused("edit photo.png --model plain --out a.png", "PHOTO photo.png is too large; allowed: 50")
