"""The page that generates: pictures from a seed, and which of them are kept."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from torch import Tensor
from torch.nn import functional as F

from ganloom.nets.inputs import Inputs
from ganloom.sampling.files import tagged_png
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import new
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import FOR_EVER, Asked, page, posted
from ganloom.studio.samples import Sample, Samples, sample
from ganloom.weaving.tile import enlarged

MOST = 64  # pictures of one seed
LARGE = 1024  # px of a large picture
PIXELS = 2**18  # that a generator makes at a time: what lies between needs far more memory

Seed = Annotated[int, Field(ge=0, lt=2**32)]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


class _Generate(Asked):
    model: ModelName
    seed: Seed
    count: Annotated[int, Field(ge=1, le=MOST)]
    truncation: Annotated[float, Field(gt=0, le=1)]
    label: str | None = None  # a class
    # None: drawn
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]


class _Which(Asked):
    name: str


def routes(generators: Generators, samples: Samples) -> list[Route]:
    """Those of the page, of the models and of single pictures."""

    def get_models(request: Request) -> Response:
        return JSONResponse({"models": generators.listing(), "most": MOST})

    async def post_generate(request: Request) -> Response:
        asked = await posted(request, _Generate)
        async with generators.turn(asked.model):
            names = await run_in_threadpool(_generate, asked)
        return JSONResponse({"pictures": names})

    def _generate(asked: _Generate) -> list[str]:
        loaded = generators.load(asked.model)
        told = loaded.net.inputs
        # As `ganloom generate` draws: the same seed and number give the same pictures.
        v = new(told, asked.count, asked.seed, class_number(loaded, asked.label))
        v[:, : told.latent] *= asked.truncation
        v = with_codes(told, v, asked.codes)
        made_of = pictures(loaded, v)
        made: dict[str, Any] = asked.model_dump(exclude={"model"}, exclude_defaults=True)
        return [
            samples.add(sample(asked.model, loaded, row, made | {"number": i}), picture)
            for i, (row, picture) in enumerate(zip(v, made_of, strict=True))
        ]

    def get_kept(request: Request) -> Response:
        kept = [
            {"name": name, "model": one.model, "made": one.made}
            for name, one in samples.kept().items()
        ]
        return JSONResponse({"kept": kept, "folder": str(samples.folder)})

    async def post_keep(request: Request) -> Response:
        await run_in_threadpool(samples.keep, (await posted(request, _Which)).name)
        return await run_in_threadpool(get_kept, request)

    async def post_forget(request: Request) -> Response:
        await run_in_threadpool(samples.forget, (await posted(request, _Which)).name)
        return await run_in_threadpool(get_kept, request)

    def get_png(request: Request) -> Response:
        _, png = samples.get(request.path_params["name"])
        return Response(png, media_type="image/png", headers={"cache-control": FOR_EVER})

    async def get_large(request: Request) -> Response:
        known, _ = await run_in_threadpool(samples.get, request.path_params["name"])
        async with generators.turn(known.model):
            png = await run_in_threadpool(_large, known)
        return Response(png, media_type="image/png", headers={"cache-control": "no-cache"})

    def _large(known: Sample) -> bytes:
        enlarger = generators.enlarger()
        picture = enlarged(samples.picture(known.name), LARGE, enlarger.net)
        about = known.model_dump() | {"enlarger_sha256": enlarger.digest, "width": LARGE}
        return tagged_png(picture, json.dumps(about, sort_keys=True))

    def get_json(request: Request) -> Response:
        known, _ = samples.get(request.path_params["name"])
        return Response(known.text(), media_type="application/json")

    return [
        page("/generate", "generate.html"),
        Route("/api/models", get_models),
        Route("/api/generate", post_generate, methods=["POST"]),
        Route("/api/kept", get_kept),
        Route("/api/keep", post_keep, methods=["POST"]),
        Route("/api/forget", post_forget, methods=["POST"]),
        Route("/samples/{name}.png", get_png),
        Route("/samples/{name}.json", get_json),
        Route("/samples/{name}/large.png", get_large),
    ]


def pictures(loaded: Loaded, v: Tensor) -> NDArray[np.uint8]:
    """What a generator makes of v: (N, width) to (N, R, R, 3), fewer large ones at a time.

    Raises:
        FloatingPointError: as ``generate``.
    """
    batch = max(1, min(64, PIXELS // loaded.about["resolution"] ** 2))
    return generate(loaded.net, v, batch)


# --- classes and codes ---------------------------------------------------------------------------


def class_number(loaded: Loaded, label: str | None) -> int | None:
    """Which class a name means; None: none was asked for.

    Raises:
        HTTPException: the model does not know it.
    """
    if label is None:
        return None
    classes: list[str] = loaded.about["classes"]
    if label not in classes:
        known = ", ".join(classes) or "none: it was not told any"
        raise HTTPException(400, f"class {label!r} is not possible; classes: {known}")
    return classes.index(label)


def with_codes(told: Inputs, v: Tensor, codes: list[float | None]) -> Tensor:
    """Set codes, first the categorical ones (a value's number), then the continuous ones.

    Args:
        told: The columns.
        v: (N, told.width).
        codes: One for each code, None where it stays as it is; or none at all.

    Raises:
        HTTPException: there are not so many codes, or one has no such value.
    """
    kinds = [*told.categorical, *[0] * told.continuous]
    if codes and len(codes) != len(kinds):
        raise HTTPException(400, f"codes: this model has {len(kinds)}, not {len(codes)}")
    v, at = v.clone(), told.latent + told.classes
    for values, code in zip(kinds, codes, strict=False):
        if code is not None and values:
            if code not in range(values):
                raise HTTPException(400, f"codes: {code:g} is no number from 0 to {values - 1}")
            v[:, at : at + values] = F.one_hot(torch.tensor(int(code)), values)
        elif code is not None:
            if not -1 <= code <= 1 or not np.isfinite(code):
                raise HTTPException(400, f"codes: {code:g} is not between -1 and 1")
            v[:, at] = code
        at += values or 1
    return v


def told_by(known: Sample, loaded: Loaded) -> Tensor:
    """What a sample's generator was told: (1, width).

    Raises:
        HTTPException: it was another generator.
    """
    if known.model_sha256 != loaded.digest or len(known.v) != loaded.net.inputs.width:
        words = f"the picture {known.name} was made by {known.model}"
        raise HTTPException(400, f"{words}: another model, or an earlier training of this one")
    return torch.tensor([known.v])
