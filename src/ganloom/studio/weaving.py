"""The page ``/weave``: a sample as a seamless tile, and as a cloth with a border."""

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
from ganloom.sampling.latents import new
from ganloom.sampling.saving import tagged_png
from ganloom.studio.generation import ModelName, Seed, class_number, input_of, pictures, with_codes
from ganloom.studio.generators import Generators
from ganloom.studio.guard import FOR_EVER, Payload, page, posted
from ganloom.studio.samples import SampleError, Samples, StoredSample, sample
from ganloom.weaving.groups import FRIEZES, WALLPAPERS, fold
from ganloom.weaving.native import is_torus
from ganloom.weaving.weave import ClothPattern, drift, facts, tile_of, tile_within, weave

Array = NDArray[np.uint8]

WIDTHS = (256, 512, 1024)  # px, widths of a tile that the page offers
LEAST, MOST = 64, 1024  # px, width of a tile
CLOTH, DPI = 4096, 300  # side in px and resolution of the cloth to download
SHOWN = 2048  # px, side of a cloth on the page
FEW = 4  # samples of a drift in a preview
PREVIEW_TILE, PREVIEW_CLOTH = 128, 512  # px
REMEMBERED = 1000  # settings
DRAWN = 4  # settings whose samples stay in memory, since a change of place does not affect them

Place = Annotated[float, Field(ge=0, lt=2, allow_inf_nan=False)]
Make = Callable[[StoredSample], bytes]


class _Weave(Payload):
    model: ModelName
    seed: Seed
    group: Literal["p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"]
    border: Literal["p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"] | None = None
    place: Annotated[list[Place], Field(min_length=2, max_length=2)]
    width: Annotated[int, Field(ge=LEAST, le=MOST)]  # of a tile, in px
    drift: Annotated[float, Field(ge=0, le=1)]
    truncation: Annotated[float, Field(gt=0, le=1)]
    label: str | None = None  # a class
    # Code values; None: drawn from the seed.
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]


class _Name(Payload):
    name: str


class Weaves:
    """Settings of tiles and cloths by name. Their images are generated on request.

    Settings are stored as a ``Sample``: the input of the generator for the centre of the cloth, and
    in ``made`` the pattern and the other settings. Equal settings have equal names.

    Args:
        generators: Models and enlarger.
        folder: Folder of the kept settings, ``<name>.json``, and their images, ``<name>.png``: the
            tile or, with a border or a drift, a cloth.
    """

    def __init__(self, generators: Generators, folder: Path) -> None:
        self.generators, self.samples = generators, Samples(folder)
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, StoredSample] = OrderedDict()
        self._drawn: OrderedDict[tuple[Any, ...], Array] = OrderedDict()

    def add(self, payload: _Weave) -> StoredSample:
        """Store settings, and generate their samples.

        Raises:
            HTTPException, ModelError, FloatingPointError: If that is impossible.
        """
        loaded, enlarger = self.generators.load(payload.model), self.generators.enlarger()
        layout = loaded.net.inputs
        # The same draws as `ganloom generate -n 1`.
        v = new(layout, 1, payload.seed, class_number(loaded, payload.label))
        v[:, : layout.latent] *= payload.truncation
        v = with_codes(layout, v, payload.codes)
        made = payload.model_dump(exclude={"model"}) | {"enlarger_sha256": enlarger.digest}
        settings = sample(payload.model, loaded, v[0], made)
        self._samples(settings)
        with self._lock:
            _remember(self._recent, settings.name, settings, REMEMBERED)
        return settings

    def get(self, name: str) -> StoredSample:
        """Return settings by name, if they are in memory or kept.

        Raises:
            HTTPException: If they are neither.
            SampleError: If their file is damaged.
        """
        with self._lock:
            if name in self._recent:
                return self._recent[name]
        kept = self.samples.kept().get(name)
        if kept is None:
            raise HTTPException(404, f"the weave {name} is no longer available; create it again")
        _read(kept)
        return kept

    def preview(self, settings: StoredSample) -> bytes:
        """Small tile, or a small cloth if there is a border or a drift; interpolated, so fast."""
        if _needs_cloth(settings):
            cloth = self._cloth(settings, PREVIEW_CLOTH, None, few=True)
            return _png(cloth, self._facts(settings, "preview", cloth), fast=True)
        tile = self._tile(settings, min(PREVIEW_TILE, settings.made["width"]), None)
        return _png(tile, self._facts(settings, "preview", tile))

    def shown(self, settings: StoredSample) -> bytes:
        """Tile or cloth in the size of the page."""
        if not _needs_cloth(settings):
            return self.tile(settings)
        cloth = self._cloth(settings, SHOWN, self._net(settings))
        return _png(cloth, self._facts(settings, "cloth", cloth), fast=True)

    def tile(self, settings: StoredSample) -> bytes:
        """Tile of the sample in the centre of the cloth."""
        tile = self._tile(settings, settings.made["width"], self._net(settings))
        return _png(tile, self._facts(settings, "tile", tile))

    def cloth(self, settings: StoredSample) -> bytes:
        """Cloth to print."""
        cloth = self._cloth(settings, CLOTH, self._net(settings))
        return _png(cloth, self._facts(settings, "cloth", cloth) | {"dpi": DPI}, fast=True, dpi=DPI)

    def compared(self, settings: StoredSample) -> bytes:
        """The sample, enlarged by repeating pixels, next to the tile."""
        tile = self._tile(settings, settings.made["width"], self._net(settings))
        image = Image.fromarray(self._samples(settings)[0])
        side = len(tile)
        before = np.asarray(image.resize((side, side), Image.Resampling.NEAREST))
        both = np.concatenate([before, tile], axis=1)
        return _png(both, self._facts(settings, "sample and tile", both))

    def keep(self, settings: StoredSample) -> None:
        """Write settings and image to disk."""
        if settings.name not in self.samples.kept():
            net = self._net(settings)
            if _needs_cloth(settings):
                picture = self._cloth(settings, SHOWN // 2, net)
            else:
                picture = self._tile(settings, settings.made["width"], net)
            self.samples.add(settings, picture)
        self.samples.keep(settings.name)

    def _tile(self, settings: StoredSample, width: int, net: Enlarger | None) -> Array:
        sample, pattern = self._samples(settings)[0], _read(settings)
        return tile_of(sample, pattern, width, net, periodic=self._repeats(settings))

    def _cloth(
        self, settings: StoredSample, side: int, net: Enlarger | None, *, few: bool = False
    ) -> Array:
        """Weave a cloth with as many tiles as the one to download.

        Args:
            settings: Settings.
            side: Side of the cloth in px.
            net: Enlarger of the tiles.
            few: Whether to use fewer samples of a drift.
        """
        samples = self._samples(settings)
        if few and len(samples) > 1:
            samples = samples[np.linspace(0, len(samples) - 1, FEW).round().astype(int)]
        tile = tile_within(CLOTH, settings.made["width"]) * side // CLOTH
        size, periodic = (side, side), self._repeats(settings)
        return weave(samples, _read(settings), size, net, tile, periodic=periodic)

    def _repeats(self, settings: StoredSample) -> bool:
        """Whether samples of the model repeat without a seam."""
        return is_torus(self.generators.load(settings.model).net)

    def _samples(self, settings: StoredSample) -> Array:
        """(K, R, R, 3) samples from the centre of the cloth to its edges, R even."""
        seed, strength = settings.made["seed"], settings.made["drift"]
        key = (settings.model_sha256, *settings.v, seed, strength)
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        loaded = self.generators.load(settings.model)
        v: Tensor = drift(loaded.net, input_of(settings, loaded), strength, seed)
        made = pictures(loaded, v)
        even = made.shape[1] // 2 * 2
        made = made[:, :even, :even]
        with self._lock:
            _remember(self._drawn, key, made, DRAWN)
        return made

    def _net(self, settings: StoredSample) -> Enlarger | None:
        """Return the enlarger, which must be the one of these settings.

        Raises:
            HTTPException: If it has changed.
        """
        enlarger = self.generators.enlarger()
        if enlarger.digest != settings.made.get("enlarger_sha256"):
            raise HTTPException(409, "the enlarger has changed; create the weave again")
        return enlarger.net

    def _facts(self, settings: StoredSample, what: str, picture: Array) -> dict[str, Any]:
        made = settings.made
        inputs = {name: made[name] for name in ("label", "codes") if made.get(name)}
        return facts(
            _read(settings),
            picture=what,
            size=[picture.shape[1], picture.shape[0]],
            tile=made["width"],
            model=settings.model,
            model_sha256=settings.model_sha256,
            enlarger_sha256=None if what == "preview" else made["enlarger_sha256"],
            seed=made["seed"],
            truncation=made["truncation"],
            drift=made["drift"],
            **inputs,
        )


def _read(settings: StoredSample) -> ClothPattern:
    """Validate settings, which may come from a file, and return their pattern.

    Raises:
        SampleError: If they are incomplete or out of range.
    """
    try:
        made = {name: settings.made[name] for name in _Weave.model_fields if name != "model"}
        payload = _Weave.model_validate(made | {"model": settings.model})
    except (KeyError, ValidationError):
        raise SampleError(f"the kept weave {settings.name} is damaged; delete it") from None
    x, y = payload.place
    return ClothPattern(payload.group, payload.border, (x, y))


def _needs_cloth(settings: StoredSample) -> bool:
    """Whether the result is more than one repeated tile."""
    return bool(settings.made["border"] or settings.made["drift"])


def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any, most: int) -> None:
    memory[key] = value
    memory.move_to_end(key)
    while len(memory) > most:
        memory.popitem(last=False)


def _png(
    picture: Array,
    metadata: dict[str, Any],
    *,
    fast: bool = False,
    dpi: int | None = None,
) -> bytes:
    """Encode an image as PNG.

    Args:
        picture: (H, W, 3).
        metadata: Origin of the image, as metadata of the file.
        fast: Whether to compress less, which is several times faster.
        dpi: Print resolution.
    """
    options: dict[str, Any] = {"dpi": (dpi, dpi)} if dpi else {}
    text = json.dumps(metadata, sort_keys=True)
    return tagged_png(picture, text, compress_level=1 if fast else 6, **options)


def _across(group: str) -> int:
    """Width of a tile in sides of a sample."""
    return math.ceil(fold(np.zeros((12, 12, 3), np.uint8), group).shape[1] / 12)


def patterns() -> dict[str, Any]:
    """Symmetry groups and sizes that the page offers."""
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
    """Routes of the page, of its images and of kept settings.

    Args:
        generators: Models and enlarger.
        folder: Folder of kept settings.
    """
    weaves = Weaves(generators, folder)
    # Not the lock of the model: a preview must not wait for a large image.
    previewing = asyncio.Lock()

    def get_patterns(request: Request) -> Response:
        return JSONResponse(patterns() | {"enlarger": generators.has_enlarger})

    async def post_weave(request: Request) -> Response:
        payload = await posted(request, _Weave)
        async with previewing:
            settings = await run_in_threadpool(weaves.add, payload)
        return JSONResponse({"name": settings.name, "cloth": _needs_cloth(settings)})

    def file(make: Make, *, large: bool = True) -> Callable[[Request], Awaitable[Response]]:
        async def get(request: Request) -> Response:
            settings = await run_in_threadpool(weaves.get, request.path_params["name"])
            async with generators.turn(settings.model) if large else previewing:
                if await request.is_disconnected():  # the page has requested another one since
                    return Response(status_code=499)
                data = await run_in_threadpool(make, settings)
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
        name = (await posted(request, _Name)).name
        settings = await run_in_threadpool(weaves.get, name)
        async with generators.turn(settings.model):
            await run_in_threadpool(weaves.keep, settings)
        return JSONResponse(await run_in_threadpool(kept_ones))

    async def post_forget(request: Request) -> Response:
        name = (await posted(request, _Name)).name
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


def _usable(settings: StoredSample) -> bool:
    try:
        _read(settings)
    except SampleError:
        return False
    return True
