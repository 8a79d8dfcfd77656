"""Latents, paths between them, and animations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ganloom.images.sheets import grid
from ganloom.nets.inputs import Inputs
from ganloom.sampling.animation import (
    TimelineError,
    enlarged,
    save,
    save_gif,
    save_mp4,
    save_webp,
    timelapse,
)
from ganloom.sampling.conditional import class_knob, code_knobs, morphs, stacked, turned
from ganloom.sampling.generate import film, generate
from ganloom.sampling.latents import circle, inputs, latents, slerp
from ganloom.sampling.paths import PathError, closed_path, legs

T = torch.linspace(0, 1, 9)


def frames(count: int = 12, height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """A bright square that moves in a circle over a smooth gradient."""
    y, x = np.mgrid[:height, :width]
    film = np.empty((count, height, width, 3), np.uint8)
    film[...] = np.stack([x * 4, y * 6, 0 * x + 90], -1)
    for i, angle in enumerate(np.arange(count) * 2 * math.pi / count):
        top = int(height / 2 + height / 4 * math.sin(angle)) - 3
        left = int(width / 2 + width / 4 * math.cos(angle)) - 3
        film[i, top : top + 6, left : left + 6] = (240, 230, 60)
    return film


# --- latents -------------------------------------------------------------------------------------


def test_latents_are_normal_and_depend_on_seed_and_stream() -> None:
    z = latents(2000, 16, 1, "grid")
    assert z.shape == (2000, 16)
    assert float(z.mean()) == pytest.approx(0, abs=0.02)
    assert float(z.std()) == pytest.approx(1, abs=0.02)
    assert torch.equal(z, latents(2000, 16, 1, "grid"))
    others = [latents(2000, 16, 2, "grid"), latents(2000, 16, 1, "loop"), latents(2000, 16, 1)]
    assert not any(torch.equal(z, other) for other in others)


vectors = st.lists(
    st.floats(-1024, 1024, width=32, allow_subnormal=False), min_size=3, max_size=3
).map(torch.tensor)


@given(a=vectors, b=vectors)
def test_slerp_interpolates_norms(a: torch.Tensor, b: torch.Tensor) -> None:
    # In float32, the squares in the norm of a tiny vector would underflow.
    path, a, b, t = (x.double() for x in (slerp(a, b, T), a, b, T))
    assert path.isfinite().all()
    scale = float(torch.maximum(a.norm(), b.norm()))
    torch.testing.assert_close(path[0], a, rtol=1e-5, atol=1e-6 * scale)
    torch.testing.assert_close(path[-1], b, rtol=1e-5, atol=1e-6 * scale)
    torch.testing.assert_close(
        path.norm(dim=1), torch.lerp(a.norm(), b.norm(), t), rtol=1e-5, atol=1e-6 * scale
    )


def test_slerp_has_even_angles_and_supports_batches() -> None:
    a, b = latents(10, 64, 1).chunk(2)
    path = slerp(a, b, T)
    assert path.shape == (9, 5, 64)
    cosine = torch.cosine_similarity(path[1:], path[:-1], dim=-1)
    torch.testing.assert_close(cosine, cosine[:1].expand_as(cosine), rtol=0, atol=1e-5)
    torch.testing.assert_close(path[:, 2], slerp(a[2], b[2], T))


@pytest.mark.parametrize("b", [[2.0, 0.0], [-2.0, 0.0], [0.0, 0.0], [2.0, 1e-7], [-2.0, 1e-7]])
def test_slerp_of_parallel_vectors(b: list[float]) -> None:
    a, end = torch.tensor([2.0, 0.0]), torch.tensor(b)
    path = slerp(a, end, T)
    torch.testing.assert_close(path.norm(dim=1), torch.lerp(a.norm(), end.norm(), T))
    torch.testing.assert_close(path[-1], end, rtol=0, atol=1e-6)


@pytest.mark.parametrize("count", [2, 7, 48])
def test_circles_are_closed_with_constant_norm(count: int) -> None:
    walk = circle(latents(3, 32, 1), latents(3, 32, 2), count).double()
    assert walk.shape == (count, 3, 32)
    norms = walk.norm(dim=-1)
    torch.testing.assert_close(norms, norms[:1].expand_as(norms), rtol=1e-6, atol=0)
    # The step from the last frame to the first is a step like all others: no seam, no stop.
    steps = (walk.roll(-1, 0) - walk).norm(dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-5, atol=0)
    assert float(steps.min()) > 0
    assert np.unique(norms[0]).size == 3


# --- pictures ------------------------------------------------------------------------------------


class Painter(nn.Module):
    """Draws the first three entries of each latent as a flat colour."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return (self.scale * z[:, :3, None, None]).expand(-1, -1, 4, 4)


def test_generate_maps_range_to_all_byte_values() -> None:
    z = torch.tensor([[-1.0, 0.0, 1.0], [-3.0, 0.5, 3.0], [1.0, 1.0, 1.0]])
    pictures = generate(Painter(), z, batch=2)
    assert pictures.shape == (3, 4, 4, 3)
    assert pictures[:, 0, 0].tolist() == [[0, 128, 255], [0, 191, 255], [255, 255, 255]]


def test_generate_refuses_nan() -> None:
    with pytest.raises(FloatingPointError, match="training failed"):
        generate(Painter(), torch.full((1, 3), torch.nan))


# --- classes and codes ---------------------------------------------------------------------------

TOLD = Inputs(latent=5, classes=3, categorical=(4, 2), continuous=2)


class ClassPainter(nn.Module):
    """Draws the class as red, green or blue, and the first entry of z as brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        z, condition, _ = TOLD.parts(v)
        colour = 2 * condition * z[:, :1].sigmoid() * self.scale - 1
        return colour[:, :, None, None].expand(-1, -1, 4, 4)


def test_class_grid_has_a_class_per_column() -> None:
    every = turned(inputs(TOLD, 2, 1), class_knob(TOLD))
    sheet = grid(generate(ClassPainter(), every.flatten(0, 1)), every.shape[1])
    assert sheet.shape == (8, 12, 3)
    for row in range(2):
        tiles = sheet[4 * row, ::4]
        assert tiles.argmax(axis=1).tolist() == [0, 1, 2]
        assert len(set(tiles.max(axis=1).tolist())) == 1, "a row is one latent"
    assert sheet[0].max() != sheet[4].max()


def test_morph_keeps_the_latent_and_interpolates_classes_linearly() -> None:
    v = inputs(TOLD, 1, 1)
    paths = [turned(v, knob)[0] for knob in morphs(TOLD, 5)]
    for start, path in enumerate(paths):
        z, condition, code = TOLD.parts(path)
        true_z, _, true_code = TOLD.parts(v)
        assert torch.equal(z, true_z.expand_as(z))
        assert torch.equal(code, true_code.expand_as(code))
        end = (start + 1) % 3
        assert condition[:, start].tolist() == [1, 0.75, 0.5, 0.25, 0]
        assert condition[:, end].tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert torch.equal(condition.sum(dim=1), torch.ones(5))


def test_sweep_changes_only_its_code() -> None:
    v = inputs(TOLD, 3, 1)
    knobs = code_knobs(TOLD, 5)
    assert [len(knob.settings) for knob in knobs] == [4, 2, 5, 5]
    for knob in knobs:
        every = turned(v, knob)
        rest = torch.ones(TOLD.width, dtype=torch.bool)
        rest[knob.columns] = False
        assert torch.equal(every[..., rest], v[:, None, rest].expand(-1, len(knob.settings), -1))
        assert torch.equal(every[0, :, knob.columns], every[2, :, knob.columns])
    # What changes is where the generator looks for it.
    changed = [TOLD.codes(TOLD.parts(turned(v, knob)[0])[2]) for knob in knobs]
    assert torch.equal(changed[0][0][0], torch.eye(4))
    assert torch.equal(changed[1][0][1], torch.eye(2))
    assert changed[2][1][:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert changed[3][1][:, 1].tolist() == [-1, -0.5, 0, 0.5, 1]


# --- closed paths --------------------------------------------------------------------------------

KINDS = ("loop", "walk", "sine", "morph", "sweep")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [60, 97])
def test_paths_are_closed(kind: str, count: int) -> None:
    way = closed_path(kind, TOLD, 4, count, 1).double()
    assert way.shape == (count, 4, TOLD.width)
    steps = (way.roll(-1, 0) - way).norm(dim=-1)
    assert (steps[-1] <= steps[:-1].max(dim=0).values * (1 + 1e-5)).all()
    # No jump anywhere: twice the frames, steps half as long.
    finer = closed_path(kind, TOLD, 4, 2 * count, 1).double()
    half = (finer.roll(-1, 0) - finer).norm(dim=-1)
    if kind != "walk":  # a longer one leads through more latents
        assert float(half.max()) < 0.6 * float(steps.max())
    assert torch.equal(way.float(), closed_path(kind, TOLD, 4, count, 1))
    assert not torch.equal(way.float(), closed_path(kind, TOLD, 4, count, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_film_loops_without_a_jump(kind: str) -> None:
    shown = film(ClassPainter(), closed_path(kind, TOLD, 4, 120, 1)).astype(int)
    assert shown.shape == (120, 8, 8, 3)
    steps = np.abs(np.roll(shown, -1, axis=0) - shown).mean((1, 2, 3))
    assert steps[-1] <= steps[:-1].max()


def test_each_path_changes_only_its_inputs() -> None:
    for kind in KINDS:
        z, rest = closed_path(kind, TOLD, 2, 80, 1).tensor_split([TOLD.latent], dim=2)
        still, moving = (rest, z) if kind in ("loop", "walk", "sine") else (z, rest)
        assert torch.equal(still, still[:1].expand_as(still)), kind
        assert not torch.equal(moving, moving[:1].expand_as(moving)), kind
    assert not torch.equal(
        closed_path("loop", TOLD, 2, 80, 1)[0], closed_path("walk", TOLD, 2, 80, 1)[0]
    )


def test_walk_stays_near_the_sphere_and_scales_with_duration() -> None:
    told = Inputs(latent=256)
    short, long = (closed_path("walk", told, 1, count, 1)[:, 0] for count in (96, 480))
    norms = torch.cat([short, long]).norm(dim=1) / 16
    assert float((norms - 1).abs().max()) < 0.2
    # Random latents are all but perpendicular to each other.
    for way, stops in ((short, 3), (long, 10)):
        at = way[:: len(way) // stops][:stops]
        cosines = torch.corrcoef(at) - torch.eye(stops)
        assert float(cosines.abs().max()) < 0.3


def test_sine_path_equals_shipibo_gans() -> None:
    way = closed_path("sine", Inputs(latent=3), 2, 4, 1)
    torch.testing.assert_close(way - way[0], torch.tensor([0.0, 1, 0, -1])[:, None, None] + 0 * way)


def test_morph_shows_all_classes_and_sweep_all_values() -> None:
    _, told, _ = TOLD.parts(closed_path("morph", TOLD, 1, 60, 1)[:, 0])
    torch.testing.assert_close(told.sum(dim=1), torch.ones(60))
    assert told[::20].tolist() == torch.eye(3).tolist()

    frames = 4 * legs("sweep", TOLD)
    way = closed_path("sweep", TOLD, 1, frames, 1)[:, 0]
    _, _, code = TOLD.parts(way)
    categorical, continuous = TOLD.codes(code)
    for values in categorical:
        assert torch.equal(values.max(dim=0).values, torch.ones(values.shape[1]))
        torch.testing.assert_close(values.sum(dim=1), torch.ones(frames))
    assert continuous.min(dim=0).values.tolist() == [-1, -1]
    assert continuous.max(dim=0).values.tolist() == [1, 1]
    # One code at a time.
    stood = [(value == value.roll(1, 0)).flatten(1).all(dim=1) for value in categorical]
    stood += [value == value.roll(1, 0) for value in continuous.T]
    assert int((~torch.stack(stood)).sum(dim=0).max()) == 1


def test_impossible_path_is_refused_with_the_reason() -> None:
    with pytest.raises(PathError, match="no classes to morph"):
        closed_path("morph", Inputs(latent=3), 1, 100, 1)
    with pytest.raises(PathError, match="no codes to sweep"):
        closed_path("sweep", Inputs(latent=3, classes=3), 1, 100, 1)
    with pytest.raises(PathError, match="5 frames are too few for this morph: it takes 6"):
        closed_path("morph", TOLD, 1, 5, 1)


# --- one under the other -------------------------------------------------------------------------


def test_sheets_of_different_widths_are_stacked() -> None:
    sheet = stacked([np.zeros((2, 3, 3), np.uint8), np.zeros((1, 5, 3), np.uint8)], gap=1)
    assert (sheet[..., 0] == 0).tolist() == [
        [True, True, True, False, False],
        [True, True, True, False, False],
        [False] * 5,
        [True] * 5,
    ]


# --- animations ----------------------------------------------------------------------------------


def decode(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def test_mp4_frames_are_playable_in_browsers(tmp_path: Path) -> None:
    film = frames()
    path = tmp_path / "loop.mp4"
    save_mp4(film, path, 24)
    with av.open(str(path)) as container:
        assert len(container.streams) == 1
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 24
        assert (stream.width, stream.height) == (48, 32)
    seen = decode(path)
    assert seen.shape == film.shape
    assert np.abs(seen[..., 1].astype(int) - film[..., 1]).mean() < 6
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before it has all arrived


def test_mp4_quality_does_not_drop_at_the_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 40, (2, 16, 16, 3))
    angle = (np.arange(48) * 2 * math.pi / 48)[:, None, None, None]
    film = enlarged((128 + np.cos(angle) * a + np.sin(angle) * b).clip(0, 255).astype(np.uint8), 64)
    save_mp4(film, tmp_path / "loop.mp4", 24)
    error = np.abs(decode(tmp_path / "loop.mp4").astype(int) - film).mean((1, 2, 3))
    assert error[-4:].mean() < 1.1 * error[12:36].mean()


def test_mp4_sides_are_made_even(tmp_path: Path) -> None:
    save_mp4(frames(3, 31, 45), tmp_path / "odd.mp4", 10)
    assert decode(tmp_path / "odd.mp4").shape == (3, 32, 46, 3)


def test_webp_loops_endlessly_within_its_size_limit(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (4, 64, 64, 3), np.uint8)
    for animation, limit in [(frames(), 100_000), (noise, 6_000)]:
        path = tmp_path / "loop.webp"
        save_webp(animation, path, 20, limit)
        assert path.stat().st_size <= limit
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == len(animation)
            assert picture.info["loop"] == 0
            picture.seek(1)
            picture.load()
            assert picture.info["duration"] == 50


def test_gif_loops_endlessly_at_its_speed_within_its_size_limit(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (24, 64, 64, 3), np.uint8)
    for animation, limit in [(frames(24), 100_000), (noise, 40_000)]:
        path = tmp_path / "loop.gif"
        save_gif(animation, path, 24, limit)
        assert path.stat().st_size <= limit
        with Image.open(path) as picture:
            assert getattr(picture, "n_frames", 1) == 24
            assert picture.info["loop"] == 0
            shown = 0
            for n in range(24):
                picture.seek(n)
                shown += picture.info["duration"]
                if animation is not noise:
                    seen = np.asarray(picture.convert("RGB")).astype(int)
                    assert np.abs(seen - animation[n]).mean() < 6
            assert shown == 1000


def test_animation_format_follows_suffix_and_is_reproducible(
    tmp_path: Path,
) -> None:
    magic = {"mp4": b"ftyp", "gif": b"GIF89a", "webp": b"WEBP"}
    for suffix, mark in magic.items():
        for name in ("a", "b"):
            save(frames(), tmp_path / f"{name}.{suffix}", 24)
        data = (tmp_path / f"a.{suffix}").read_bytes()
        assert mark in data[:16]
        assert data == (tmp_path / f"b.{suffix}").read_bytes()
    assert decode(tmp_path / "a.mp4").shape[2] >= 512  # no player has to blur small pictures


def make_timeline(folder: Path, moments: int) -> None:
    """Grids of 2 x 2 images of 4 px that become brighter over time."""
    folder.mkdir(parents=True)
    names = [f"kimg_{n}.png" for n in range(moments)]
    for n, name in enumerate(names):
        Image.new("RGB", (8, 8), (10 * n, 0, 0)).save(folder / name)
    (folder / "timeline.json").write_text(json.dumps([{"file": n, "kimg": 1} for n in names]))


def test_timelapse_holds_the_last_frame_longer(tmp_path: Path) -> None:
    make_timeline(tmp_path / "timeline", 4)
    shown = timelapse(tmp_path / "timeline", 20, 4)
    assert shown.shape == (20, 8, 8, 3)
    assert shown[:, 0, 0, 0].tolist() == [0] * 4 + [10] * 4 + [20] * 4 + [30] * 8
    assert timelapse(tmp_path / "timeline", 20, 4, 1).shape == (20, 4, 4, 3)
    assert timelapse(tmp_path / "timeline", 1, 4).shape == (1, 8, 8, 3)
    with pytest.raises(TimelineError, match="grids of 2 at a side at most"):
        timelapse(tmp_path / "timeline", 20, 4, 3)
    with pytest.raises(TimelineError, match="does not exist"):
        timelapse(tmp_path / "other", 20, 4)


def test_enlarged_animation_repeats_pixels() -> None:
    film = frames(2, 20, 30)
    big = enlarged(film, 100)
    assert big.shape == (2, 80, 120, 3)
    assert np.array_equal(big[:, ::4, ::4], film)
    assert np.array_equal(big[:, 3::4, 3::4], film)
    assert enlarged(film, 10).shape == film.shape
