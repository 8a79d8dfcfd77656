"""Enlarge one model's samples; for textures, fold them into tiles and weave a cloth."""

import sys
from pathlib import Path
from typing import Any

from prelude import begin

params = begin()

import torch

from ganloom.files import write_json
from ganloom.weaving.gallery import Sampling, enlarged, woven


def main(name: str) -> None:
    torch.set_num_threads(params.threads)
    seed, truncation, grid = params.seed, params.sample.truncation, params.sample.grid
    sampling = Sampling(seed, truncation, grid, params.sample.loop_frames, params.sample.fps)
    out = Path(f"results/cloths/{name}")
    out.mkdir(parents=True, exist_ok=True)
    folders = Path(), Path(f"results/models/{name}"), out
    facts: dict[str, Any] = {}
    facts["enlarged"] = enlarged(
        *folders,
        sampling,
        augment=params.augment,
        evaluate=params.evaluate,
        max_pixels=params.fetch.max_pixels,
    )
    if params.weave:
        facts["sample"] = woven(*folders, sampling, params.weave)
        facts["weave"] = params.weave.model_dump()
    write_json(out / "cloth.json", facts, sort_keys=True)
    print(f"{name}: {', '.join(sorted(path.name for path in out.iterdir()))} in {out}")


if __name__ == "__main__":
    main(sys.argv[1])
