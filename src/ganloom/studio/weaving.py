"""The page that weaves: a sample as a seamless tile, and as a cloth with a border."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from ganloom.enlarging.network import Enlarger
from ganloom.sampling.files import tagged_png
from ganloom.sampling.latents import new
from ganloom.studio.generation import ModelName, Seed, class_number, pictures, told_by, with_codes
from ganloom.studio.generators import Generators
from ganloom.studio.guard import FOR_EVER, Asked, page, posted
from ganloom.studio.samples import Sample, SampleError, Samples, sample
from ganloom.weaving.groups import FRIEZES, WALLPAPERS, fold, moved
from ganloom.weaving.tile import make_tile
from ganloom.weaving.weave import Pattern, drift, facts, tile_within, weave

Array = NDArray[np.uint8]

WIDTHS = (256, 512, 1024)  # px of a tile that the page offers
LEAST, MOST = 64, 1024  # px of a tile
CLOTH, DPI = 4096, 300  # of the cloth to download
SHOWN = 2048  # px of a cloth on the page
FEW = 4  # steps of a drift in a preview
PREVIEW_TILE, PREVIEW_CLOTH = 128, 512  # px
REMEMBERED = 1000  # settings
DRAWN = 4  # settings whose samples are remembered: while the place changes, they stay the same

Place = Annotated[float, Field(ge=0, lt=2, allow_inf_nan=False)]
Make = Callable[[Sample], bytes]


class _Weave(Asked):
    model: ModelName
    seed: Seed
    group: Literal["p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"]
    border: Literal["p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"] | None = None
    place: Annotated[list[Place], Field(min_length=2, max_length=2)]
    width: Annotated[int, Field(ge=LEAST, le=MOST)]  # of a tile, in px
    drift: Annotated[float, Field(ge=0, le=1)]
    truncation: Annotated[float, Field(gt=0, le=1)]
    label: str | None = None  # a class
    # None: drawn
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]


class _Which(Asked):
    name: str


class Weaves:
    """Settings of tiles and cloths by name; their pictures are made when they are asked for.

    Settings are a `Sample`: what the generator is told in the centre of the cloth, and in `made`
    the pattern and the rest. So the same settings have the same name.

    Args:
        generators: Models and enlarger.
        folder: Folder of the kept ones: ``<name>.json``, and ``<name>.png`` with the tile or, with
            a border or a drift, a cloth.
    """

    def __init__(self, generators: Generators, folder: Path) -> None:
        self.generators, self.samples = generators, Samples(folder)
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, Sample] = OrderedDict()
        self._drawn: OrderedDict[tuple[Any, ...], Array] = OrderedDict()

    def add(self, asked: _Weave) -> Sample:
        """Settle what the generator is told, and draw its samples.

        Raises:
            HTTPException, ModelError, EnlargerError, FloatingPointError: it cannot be woven.
        """
        loaded, enlarger = self.generators.load(asked.model), self.generators.enlarger()
        told = loaded.net.inputs
        # As `ganloom generate -n 1` draws.
        v = new(told, 1, asked.seed, class_number(loaded, asked.label))
        v[:, : told.latent] *= asked.truncation
        v = with_codes(told, v, asked.codes)
        made = asked.model_dump(exclude={"model"}) | {"enlarger_sha256": enlarger.digest}
        known = sample(asked.model, loaded, v[0], made)
        self._samples(known)
        with self._lock:
            _remember(self._asked, known.name, known, REMEMBERED)
        return known

    def get(self, name: str) -> Sample:
        """Settings by name, of what was asked for lately or is kept.

        Raises:
            HTTPException: there are none.
            SampleError: their file is damaged.
        """
        with self._lock:
            if name in self._asked:
                return self._asked[name]
        kept = self.samples.kept().get(name)
        if kept is None:
            raise HTTPException(404, f"there is no weave {name} any more; make it again")
        _read(kept)
        return kept

    def preview(self, known: Sample) -> bytes:
        """The tile, or a cloth if one is needed to show it: small, and interpolated at once."""
        if _needs_cloth(known):
            cloth = self._cloth(known, PREVIEW_CLOTH, None, few=True)
            return _png(cloth, self._facts(known, "preview", cloth), fast=True)
        tile = self._tile(known, min(PREVIEW_TILE, known.made["width"]), None)
        return _png(tile, self._facts(known, "preview", tile))

    def shown(self, known: Sample) -> bytes:
        """The same at full size."""
        if not _needs_cloth(known):
            return self.tile(known)
        cloth = self._cloth(known, SHOWN, self._net(known))
        return _png(cloth, self._facts(known, "cloth", cloth), fast=True)

    def tile(self, known: Sample) -> bytes:
        """The tile of the sample in the centre of the cloth."""
        tile = self._tile(known, known.made["width"], self._net(known))
        return _png(tile, self._facts(known, "tile", tile))

    def cloth(self, known: Sample) -> bytes:
        """A cloth to print."""
        cloth = self._cloth(known, CLOTH, self._net(known))
        return _png(cloth, self._facts(known, "cloth", cloth) | {"dpi": DPI}, fast=True, dpi=DPI)

    def compared(self, known: Sample) -> bytes:
        """The sample, its pixels repeated, beside the tile."""
        tile = self._tile(known, known.made["width"], self._net(known))
        image = Image.fromarray(self._samples(known)[0])
        side = len(tile)
        before = np.asarray(image.resize((side, side), Image.Resampling.NEAREST))
        both = np.concatenate([before, tile], axis=1)
        return _png(both, self._facts(known, "sample and tile", both))

    def keep(self, known: Sample) -> None:
        """Write settings and picture to the disk."""
        if known.name not in self.samples.kept():
            net = self._net(known)
            if _needs_cloth(known):
                picture = self._cloth(known, SHOWN // 2, net)
            else:
                picture = self._tile(known, known.made["width"], net)
            self.samples.add(known, picture)
        self.samples.keep(known.name)

    def _tile(self, known: Sample, width: int, net: Enlarger | None) -> Array:
        pattern = _read(known)
        drawn = moved(self._samples(known)[0], *pattern.place)
        return make_tile(drawn, pattern.group, width, net)

    def _cloth(self, known: Sample, side: int, net: Enlarger | None, *, few: bool = False) -> Array:
        """As many tiles as the cloth to download has, at another size.

        Args:
            known: The settings.
            side: Side of the cloth in px.
            net: Enlarger of the tiles.
            few: Make fewer steps of a drift.
        """
        samples = self._samples(known)
        if few and len(samples) > 1:
            samples = samples[np.linspace(0, len(samples) - 1, FEW).round().astype(int)]
        tile = tile_within(CLOTH, known.made["width"]) * side // CLOTH
        return weave(samples, _read(known), (side, side), net, tile)

    def _samples(self, known: Sample) -> Array:
        """From the centre of the cloth to its rim: (K, R, R, 3), R even."""
        seed, way = known.made["seed"], known.made["drift"]
        key = (known.model_sha256, *known.v, seed, way)
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        loaded = self.generators.load(known.model)
        v: Tensor = drift(loaded.net, told_by(known, loaded), way, seed)
        made = pictures(loaded, v)
        even = made.shape[1] // 2 * 2
        made = made[:, :even, :even]
        with self._lock:
            _remember(self._drawn, key, made, DRAWN)
        return made

    def _net(self, known: Sample) -> Enlarger | None:
        """The enlarger that belongs to these settings.

        Raises:
            HTTPException: it was another one.
        """
        enlarger = self.generators.enlarger()
        if enlarger.digest != known.made.get("enlarger_sha256"):
            raise HTTPException(409, "the enlarger has changed since; weave again")
        return enlarger.net

    def _facts(self, known: Sample, what: str, picture: Array) -> dict[str, Any]:
        made = known.made
        told = {name: made[name] for name in ("label", "codes") if made.get(name)}
        return facts(
            _read(known),
            picture=what,
            size=[picture.shape[1], picture.shape[0]],
            tile=made["width"],
            model=known.model,
            model_sha256=known.model_sha256,
            enlarger_sha256=None if what == "preview" else made["enlarger_sha256"],
            seed=made["seed"],
            truncation=made["truncation"],
            drift=made["drift"],
            **told,
        )


def _read(known: Sample) -> Pattern:
    """The pattern, from settings that may have been read from a file.

    Raises:
        SampleError: they are incomplete or out of range.
    """
    try:
        made = {name: known.made[name] for name in _Weave.model_fields if name != "model"}
        asked = _Weave.model_validate(made | {"model": known.model})
    except (KeyError, ValidationError):
        raise SampleError(f"the kept weave {known.name} is damaged; delete it") from None
    x, y = asked.place
    return Pattern(asked.group, asked.border, (x, y))


def _needs_cloth(known: Sample) -> bool:
    """Whether one tile, repeated, is not all of it."""
    return bool(known.made["border"] or known.made["drift"])


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)


def _png(
    picture: Array,
    about: dict[str, Any],
    *,
    fast: bool = False,
    dpi: int | None = None,
) -> bytes:
    """Encode a picture.

    Args:
        picture: (H, W, 3).
        about: What made it, for the metadata.
        fast: Several times faster, and a little larger.
        dpi: Resolution in print.
    """
    options: dict[str, Any] = {"dpi": (dpi, dpi)} if dpi else {}
    text = json.dumps(about, sort_keys=True)
    return tagged_png(picture, text, compress_level=1 if fast else 6, **options)


def _across(group: str) -> int:
    """Sides of a sample that the width of a tile is."""
    return math.ceil(fold(np.zeros((12, 12, 3), np.uint8), group).shape[1] / 12)


def patterns() -> dict[str, Any]:
    """The choices of the page."""
    return {
        "groups": [
            {"name": name, "symmetries": group.symmetries, "across": _across(name)}
            for name, group in WALLPAPERS.items()
        ],
        "borders": [
            {"name": name, "symmetries": group.symmetries} for name, group in FRIEZES.items()
        ],
        "widths": WIDTHS,
        "cloth": CLOTH,
    }


def routes(generators: Generators, folder: Path) -> list[Route]:
    """Routes of the page, of its pictures and of what is kept.

    Args:
        generators: Models and enlarger.
        folder: Folder of kept weaves.
    """
    weaves = Weaves(generators, folder)
    previewing = asyncio.Lock()  # not the model's turn: a preview must not wait for a large picture

    def get_patterns(request: Request) -> Response:
        return JSONResponse(patterns() | {"enlarger": generators.has_enlarger})

    async def post_weave(request: Request) -> Response:
        asked = await posted(request, _Weave)
        async with previewing:
            known = await run_in_threadpool(weaves.add, asked)
        return JSONResponse({"name": known.name, "cloth": _needs_cloth(known)})

    def file(make: Make, *, large: bool = True) -> Callable[[Request], Awaitable[Response]]:
        async def get(request: Request) -> Response:
            known = await run_in_threadpool(weaves.get, request.path_params["name"])
            async with generators.turn(known.model) if large else previewing:
                if await request.is_disconnected():  # nobody wants it any more
                    return Response(status_code=499)
                data = await run_in_threadpool(make, known)
            return Response(data, media_type="image/png", headers={"cache-control": FOR_EVER})

        return get

    def kept_ones() -> dict[str, Any]:
        return {
            "kept": [
                {"name": name, "model": one.model, "sha256": one.model_sha256, "made": one.made}
                for name, one in weaves.samples.kept().items()
                if _usable(one)
            ],
            "folder": str(folder),
        }

    def get_kept(request: Request) -> Response:
        return JSONResponse(kept_ones())

    async def post_keep(request: Request) -> Response:
        name = (await posted(request, _Which)).name
        known = await run_in_threadpool(weaves.get, name)
        async with generators.turn(known.model):
            await run_in_threadpool(weaves.keep, known)
        return JSONResponse(await run_in_threadpool(kept_ones))

    async def post_forget(request: Request) -> Response:
        name = (await posted(request, _Which)).name
        await run_in_threadpool(weaves.samples.forget, name)
        return JSONResponse(await run_in_threadpool(kept_ones))

    def get_kept_picture(request: Request) -> Response:
        _, data = weaves.samples.get(request.path_params["name"])
        return Response(data, media_type="image/png", headers={"cache-control": FOR_EVER})

    return [
        page("/weave", "weave.html"),
        Route("/api/patterns", get_patterns),
        Route("/api/weave", post_weave, methods=["POST"]),
        Route("/api/weaves", get_kept),
        Route("/api/weaves/keep", post_keep, methods=["POST"]),
        Route("/api/weaves/forget", post_forget, methods=["POST"]),
        Route("/weaves/{name}/preview.png", file(weaves.preview, large=False)),
        Route("/weaves/{name}/shown.png", file(weaves.shown)),
        Route("/weaves/{name}/tile.png", file(weaves.tile)),
        Route("/weaves/{name}/cloth.png", file(weaves.cloth)),
        Route("/weaves/{name}/compared.png", file(weaves.compared)),
        Route("/weaves/{name}/kept.png", get_kept_picture),
    ]


def _usable(known: Sample) -> bool:
    try:
        _read(known)
    except SampleError:
        return False
    return True
