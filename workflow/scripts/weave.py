"""Enlarge one model's samples; for textures, fold them into tiles and weave a cloth."""

import json
import sys
from pathlib import Path

from prelude import begin

params = begin()

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganloom.enlarging import proof
from ganloom.enlarging.crops import Originals
from ganloom.enlarging.network import PATH, Enlarger, enlarge, find
from ganloom.images.encoding import png
from ganloom.images.sheets import grid
from ganloom.models import Generator, load_discriminator, load_generator
from ganloom.params import Weave
from ganloom.sampling.animation import save
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import inputs, new
from ganloom.sampling.paths import closed_path
from ganloom.weaving.tile import make_tile
from ganloom.weaving.weave import Pattern, choose, drift, pictures, weave

SLICES = Path("data/slices")
SHOWN = 128  # least px of a sample in the sheet of enlarged samples
FILM_TILE = 256  # px
CLOTH_SIDE, CLOTH_QUALITY = 1024, 80  # of the preview for web pages


def main() -> None:
    name = sys.argv[1]
    torch.set_num_threads(params.threads)
    home, out = Path(f"results/models/{name}"), Path(f"results/cloths/{name}")
    out.mkdir(parents=True, exist_ok=True)
    net, about = load_generator(home / "generator.safetensors", "cpu")
    enlarger = find(Path())
    facts: dict[str, object] = {"enlarged": {}}
    if enlarger:
        facts["enlarged"] = compared(net, enlarger, about["resolution"])
        v = inputs(net.inputs, params.sample.grid**2, params.seed, "grid")
        v[:, : net.inputs.latent] *= params.sample.truncation
        doublings = max(1, int(np.ceil(np.log2(SHOWN / about["resolution"]))))
        sheet = grid(enlarge(enlarger, generate(net, v), doublings), params.sample.grid)
        (out / "enlarged.png").write_bytes(png(sheet))
    if params.weave:
        v, facts["sample"] = chosen(net, home, params.weave)
        woven(net, v, params.weave, enlarger, out)
        facts["weave"] = params.weave.model_dump()
    (out / "cloth.json").write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n")
    print(f"{name}: {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")


def compared(net: Generator, enlarger: Enlarger, resolution: int) -> dict[str, object]:
    """Measure distances of enlarged and interpolated samples to originals, at each size."""
    known = json.loads(PATH.with_suffix(".json").read_text())
    originals = Originals(Path("data/raw"), params.augment, params.fetch.max_pixels)
    reach = known["reach"] * params.augment.resolution / resolution
    v = inputs(net.inputs, proof.MOST, params.seed, "evaluate")
    samples = generate(net, v)
    found: dict[str, object] = {}
    for number, side in enumerate(proof.sizes(resolution, reach), start=1):
        pair = proof.real_beside(originals, SLICES, side, params.seed)
        if pair:
            found[str(side)] = {
                "enlarger": proof.distances(
                    pair[0], enlarge(enlarger, samples, number), params.evaluate, params.seed
                ),
                "bicubic": proof.distances(
                    pair[0], proof.interpolated(samples, side), params.evaluate, params.seed
                ),
            }
    return found


def chosen(net: Generator, home: Path, section: Weave) -> tuple[Tensor, dict[str, object]]:
    """Choose the sample with the highest discriminator output."""
    v = new(net.inputs, section.choose, params.seed)
    v[:, : net.inputs.latent] *= params.sample.truncation
    number = 0
    if section.choose > 1:
        judge, _ = load_discriminator(home / "discriminator.safetensors", "cpu")
        number = choose(judge, net, v)
    return v[number : number + 1], {"number": number, "of": section.choose}


def woven(net: Generator, v: Tensor, section: Weave, enlarger: Enlarger | None, out: Path) -> None:
    pattern = Pattern(section.groups[0], section.border)
    samples = pictures(net, drift(net, v, section.drift, params.seed))
    (out / "sample.png").write_bytes(png(samples[0]))
    for group in section.groups:
        tile = make_tile(samples[0], group, section.tile, enlarger)
        (out / f"tile_{group}.png").write_bytes(png(tile))
    cloth = weave(samples, pattern, (section.size, section.size), enlarger, section.tile)
    (out / "cloth.png").write_bytes(png(cloth))
    shown = Image.fromarray(cloth).resize((CLOTH_SIDE, CLOTH_SIDE), Image.Resampling.LANCZOS)
    shown.save(out / "cloth.webp", quality=CLOTH_QUALITY, method=6)
    save(film(net, pattern, enlarger), out / "loop.mp4", params.sample.fps)


def film(net: Generator, pattern: Pattern, enlarger: Enlarger | None) -> NDArray[np.uint8]:
    """Make tiles along a closed path through the latents: (T, H, W, 3)."""
    path = closed_path("loop", net.inputs, 1, params.sample.loop_frames, params.seed)
    path[..., : net.inputs.latent] *= params.sample.truncation
    samples = pictures(net, path[:, 0])
    tiles = [make_tile(sample, pattern.group, FILM_TILE, enlarger) for sample in samples]
    return np.stack([np.tile(tile, (2, 2, 1)) for tile in tiles])


if __name__ == "__main__":
    main()
