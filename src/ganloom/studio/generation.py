"""The page ``/generate``: samples from a seed, and which of them are kept."""

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
from ganloom.sampling.generate import generate
from ganloom.sampling.latents import new
from ganloom.sampling.saving import tagged_png
from ganloom.studio.generators import Generators, Loaded
from ganloom.studio.guard import FOR_EVER, Payload, page, posted
from ganloom.studio.samples import Samples, StoredSample, sample
from ganloom.weaving.tile import enlarged

MOST = 64  # samples per request
LARGE = 1024  # px, side of an enlarged sample
PIXELS = 2**18  # of a batch, which bounds the memory for the generator's activations

Seed = Annotated[int, Field(ge=0, lt=2**32)]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


class _Generate(Payload):
    model: ModelName
    seed: Seed
    count: Annotated[int, Field(ge=1, le=MOST)]
    truncation: Annotated[float, Field(gt=0, le=1)]
    label: str | None = None  # a class
    # Code values; None: drawn from the seed.
    codes: Annotated[list[float | None], Field(default_factory=list, max_length=1000)]


class _Name(Payload):
    name: str


def routes(generators: Generators, samples: Samples) -> list[Route]:
    """Routes of the page, of the models and of single samples."""

    def get_models(request: Request) -> Response:
        return JSONResponse({"models": generators.listing(), "most": MOST})

    async def post_generate(request: Request) -> Response:
        payload = await posted(request, _Generate)
        async with generators.turn(payload.model):
            names = await run_in_threadpool(_generate, payload)
        return JSONResponse({"pictures": names})

    def _generate(payload: _Generate) -> list[str]:
        loaded = generators.load(payload.model)
        layout = loaded.net.inputs
        # The same draws as `ganloom generate`: the same seed and count give the same samples.
        v = new(layout, payload.count, payload.seed, class_number(loaded, payload.label))
        v[:, : layout.latent] *= payload.truncation
        v = with_codes(layout, v, payload.codes)
        images = pictures(loaded, v)
        made: dict[str, Any] = payload.model_dump(exclude={"model"}, exclude_defaults=True)
        return [
            samples.add(sample(payload.model, loaded, row, made | {"number": i}), picture)
            for i, (row, picture) in enumerate(zip(v, images, strict=True))
        ]

    def get_kept(request: Request) -> Response:
        kept = [
            {"name": name, "model": one.model, "made": one.made}
            for name, one in samples.kept().items()
        ]
        return JSONResponse({"kept": kept, "folder": str(samples.folder)})

    async def post_keep(request: Request) -> Response:
        await run_in_threadpool(samples.keep, (await posted(request, _Name)).name)
        return await run_in_threadpool(get_kept, request)

    async def post_forget(request: Request) -> Response:
        await run_in_threadpool(samples.forget, (await posted(request, _Name)).name)
        return await run_in_threadpool(get_kept, request)

    def get_png(request: Request) -> Response:
        _, png = samples.get(request.path_params["name"])
        return Response(png, media_type="image/png", headers={"cache-control": FOR_EVER})

    async def get_large(request: Request) -> Response:
        chosen, _ = await run_in_threadpool(samples.get, request.path_params["name"])
        async with generators.turn(chosen.model):
            png = await run_in_threadpool(_large, chosen)
        return Response(png, media_type="image/png", headers={"cache-control": "no-cache"})

    def _large(chosen: StoredSample) -> bytes:
        enlarger = generators.enlarger()
        picture = enlarged(samples.picture(chosen.name), LARGE, enlarger.net)
        metadata = chosen.model_dump() | {"enlarger_sha256": enlarger.digest, "width": LARGE}
        return tagged_png(picture, json.dumps(metadata, sort_keys=True))

    def get_json(request: Request) -> Response:
        chosen, _ = samples.get(request.path_params["name"])
        return Response(chosen.text(), media_type="application/json")

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
    """Generate images from inputs v (N, width), in batches of limited size: (N, R, R, 3).

    Raises:
        FloatingPointError: As in ``generate``.
    """
    batch = max(1, min(64, PIXELS // loaded.info.resolution**2))
    return generate(loaded.net, v, batch)


# --- classes and codes ---------------------------------------------------------------------------


def class_number(loaded: Loaded, label: str | None) -> int | None:
    """Index of a class; None if no class is given.

    Raises:
        HTTPException: If the model has no such class.
    """
    if label is None:
        return None
    classes = loaded.info.classes
    if label not in classes:
        names = ", ".join(classes) or "none; the model is unconditional"
        raise HTTPException(400, f"class {label!r} does not exist; classes: {names}")
    return classes.index(label)


def with_codes(layout: Inputs, v: Tensor, codes: list[float | None]) -> Tensor:
    """Return inputs with some codes replaced.

    Args:
        layout: Layout of v.
        v: (N, layout.width) inputs of the generator.
        codes: Values of the categorical codes (an index), then of the continuous codes (in
            [-1, 1]); None does not change a code. An empty list leaves all.

    Raises:
        HTTPException: If the number of codes is wrong, or a value is out of range.
    """
    kinds = [*layout.categorical, *[0] * layout.continuous]
    if codes and len(codes) != len(kinds):
        raise HTTPException(400, f"this model has {len(kinds)} codes, not {len(codes)}")
    v, at = v.clone(), layout.latent + layout.conditions
    for values, code in zip(kinds, codes, strict=False):
        if code is not None and values:
            if code not in range(values):
                raise HTTPException(400, f"code {code:g} is not an integer from 0 to {values - 1}")
            v[:, at : at + values] = F.one_hot(torch.tensor(int(code)), values)
        elif code is not None:
            if not -1 <= code <= 1 or not np.isfinite(code):
                raise HTTPException(400, f"code {code:g} is not between -1 and 1")
            v[:, at] = code
        at += values or 1
    return v


def input_of(source: StoredSample, loaded: Loaded) -> Tensor:
    """Input of the generator that made a sample: (1, width).

    Raises:
        HTTPException: If another generator made it.
    """
    if source.model_sha256 != loaded.digest or len(source.v) != loaded.net.inputs.width:
        raise HTTPException(
            400,
            f"the sample {source.name} is from another model, or an earlier training of this one: "
            f"{source.model}",
        )
    return torch.tensor([source.v])
