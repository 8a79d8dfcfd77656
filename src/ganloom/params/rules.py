"""Combinations of values that are refused, with the reason and the way out.

The validators of ``Model`` and ``Params`` call ``check_model`` and ``check_params``. The first rule
that is broken raises a ``PydanticCustomError`` of type "combination".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

from ganloom.geometry import doublings, resolutions
from ganloom.params.sources import (
    ArchiveSource,
    BingSource,
    CommonsSource,
    GoogleSource,
    Source,
)

if TYPE_CHECKING:
    from ganloom.params.models import Model, WarmUp
    from ganloom.params.stages import Network, Params


def refusal(key: str, value: Any, allowed: str) -> PydanticCustomError:
    """The error for a combination.

    Args:
        key: Path of the key to change, from the section that is checked on.
        value: Its value.
        allowed: What it may be instead, and why.
    """
    return PydanticCustomError(
        "combination", "{allowed}", {"key": key, "value": value, "allowed": allowed}
    )


# --- one model -----------------------------------------------------------------------------------


def check_model(model: Model) -> None:
    """Refuse a model that could not be trained, or whose training could not work."""
    _check_training(model, model)
    if not model.warm_up:
        return
    kind, own = model.warm_up.discriminator.kind, (model.discriminator.kind, model.generator.kind)
    if kind not in own:
        # dvc.yaml lists the modules of the model's generator and discriminator only.
        allowed = (
            f"{' or '.join(map(repr, dict.fromkeys(own)))}, a kind that the model has already, so "
            "that a change of its code retrains the model"
        )
        raise refusal("warm_up.discriminator.kind", kind, allowed)
    try:
        _check_training(model, model.warm_up)
    except PydanticCustomError as error:
        assert error.context
        key = f"warm_up.{error.context['key']}"
        raise refusal(key, error.context["value"], error.context["allowed"]) from None


def _check_training(model: Model, training: Model | WarmUp) -> None:
    """Check the training of a model, or its warm-up.

    Args:
        model: Gives what a warm-up cannot change: generator, resolution, code, condition.
        training: Gives the rest, such as discriminator and objective.
    """
    _check_network("generator", model.generator, model.resolution)
    _check_network("discriminator", training.discriminator, model.resolution)
    if training.kimg * 1000 < training.batch:
        raise refusal("kimg", training.kimg, f"at least one batch ({training.batch / 1000} kimg)")
    _check_objective(training)
    _check_projected(model, training)
    _check_start(model)
    _check_began(model, training)
    _check_picture(model, training)
    _check_texture(model)
    _check_norm(training)
    _check_critic(training)
    _check_code(model)


def _check_network(part: str, spec: Any, resolution: int) -> None:
    blocks = _blocks(spec, resolution)
    rates = getattr(spec, "dropout", 0.0)
    if isinstance(rates, list) and len(rates) != blocks:
        raise refusal(f"{part}.dropout", rates, f"{blocks} rates at resolution {resolution}")


def _blocks(spec: Any, resolution: int) -> int:
    """How many blocks a network has; refuses a resolution that it cannot have."""
    if spec.kind == "sngan":
        base, rest = divmod(resolution, 2**spec.blocks)
        if rest or base < 4:
            raise refusal("resolution", resolution, f"4 or more doubled {spec.blocks} times")
        return int(spec.blocks)
    if spec.kind == "fastgan" and resolution not in (32, 64, 128, 256):
        raise refusal("resolution", resolution, "32, 64, 128 or 256 with kind 'fastgan'")
    try:
        return doublings(resolution)
    except ValueError as error:
        raise refusal("resolution", resolution, str(error)) from None


def _check_objective(training: Model | WarmUp) -> None:
    kind = training.objective.kind
    if (kind == "began") != (training.discriminator.kind == "began"):
        raise refusal(
            "objective.kind",
            kind,
            "'began' with a discriminator of kind 'began', and only with it: "
            "that objective compares what an autoencoder reproduces",
        )


def _check_projected(model: Model, training: Model | WarmUp) -> None:
    if training.discriminator.kind != "projected":
        return
    if training.objective.kind == "wasserstein":
        raise refusal(
            "objective.kind",
            training.objective.kind,
            "another kind with a discriminator of kind 'projected': nothing bounds how fast the "
            "frozen network changes",
        )
    if _has_penalty(training):
        raise refusal(
            "penalties",
            "given",
            "none with a discriminator of kind 'projected': gradients go through the frozen "
            "network, which no penalty can change",
        )
    if model.code or model.condition:
        raise refusal(
            "discriminator.kind",
            training.discriminator.kind,
            "another kind with a code or a condition: the frozen network sees colours only",
        )
    if model.init_from and model.init_from.freeze:
        raise refusal(
            "init_from.freeze",
            model.init_from.freeze,
            "0 with a discriminator of kind 'projected': its lower layers are frozen as it is",
        )


def _check_start(model: Model) -> None:
    start = model.init_from
    if start and start.freeze and not start.discriminator:
        raise refusal(
            "init_from.freeze",
            start.freeze,
            "0 with init_from.discriminator: null, as random weights would be kept",
        )


def _check_began(model: Model, training: Model | WarmUp) -> None:
    if training.objective.kind != "began":
        return
    if _has_penalty(training):
        raise refusal(
            "penalties",
            "given",
            "none with a discriminator of kind 'began': the balance k bounds its error",
        )
    if training.diffaugment or model.input_noise:
        raise refusal(
            "diffaugment",
            training.diffaugment,
            "[] and no input_noise with a discriminator of kind 'began': "
            "it reproduces what it is shown",
        )
    if model.condition:
        raise refusal(
            "condition",
            model.condition,
            "none with a discriminator of kind 'began': what it reproduces has no class; "
            "a code can steer it",
        )
    if training.objective.reconstruction == "ms_ssim" and model.resolution < 11:
        raise refusal(
            "objective.reconstruction",
            "ms_ssim",
            "l1 or mse below 11 px, the side of a window of MS-SSIM",
        )


def _check_picture(model: Model, training: Model | WarmUp) -> None:
    if model.condition == "picture" and training.discriminator.kind != "compact":
        raise refusal(
            "discriminator.kind",
            training.discriminator.kind,
            "'compact' with the condition 'picture': other kinds have no features to project",
        )
    if training.discriminator.kind == "compact" and training.discriminator.pairs:
        if model.condition != "picture":
            raise refusal("discriminator.pairs", True, "false without the condition 'picture'")
        if training.batch % 2:
            raise refusal("batch", training.batch, "an even number with discriminator.pairs")


def _check_texture(model: Model) -> None:
    if model.generator.kind != "texture":
        return
    cells = model.resolution >> doublings(model.resolution)
    field = model.generator.local * cells**2
    if model.generator.latent <= field:
        raise refusal(
            "generator.latent",
            model.generator.latent,
            f"more than {field}, the local numbers of {cells} x {cells} cells with kind 'texture': "
            "the rest is the style",
        )


def _has_penalty(training: Model | WarmUp) -> bool:
    penalties = training.penalties
    return bool(
        penalties and (penalties.gradient or penalties.r1 or penalties.r2 or penalties.clip)
    )


def _check_norm(training: Model | WarmUp) -> None:
    """Refuse what mixes the images of a batch where each is judged alone."""
    D, penalties = training.discriminator, training.penalties
    is_critic = training.objective.kind == "wasserstein"
    gradient = penalties and penalties.gradient
    at_images = penalties and (penalties.r1 or penalties.r2)
    if getattr(D, "norm", "none") == "batch" and (gradient or at_images or is_critic):
        raise refusal(
            "discriminator.norm",
            "batch",
            "layer, spectral or none: a penalty or a critic judges each image alone, "
            "batch normalisation mixes them",
        )
    # R1 is allowed: its authors' successors use it with the spread of a batch (StyleGAN2).
    if getattr(D, "minibatch_stddev", False) and (gradient or is_critic):
        raise refusal(
            "discriminator.minibatch_stddev",
            True,
            "false: a critic or its penalty judges each image alone, not how a batch varies",
        )


def _check_critic(training: Model | WarmUp) -> None:
    """Refuse bounds on D that cancel each other, and a critic without any."""
    is_spectral = getattr(training.discriminator, "norm", "none") == "spectral"
    gradient = training.penalties and training.penalties.gradient
    clip = training.penalties and training.penalties.clip
    if is_spectral and clip:
        raise refusal(
            "penalties.clip",
            clip,
            "null with discriminator.norm: spectral, which takes the size of weights off again",
        )
    if training.objective.kind == "wasserstein" and not (gradient or clip or is_spectral):
        raise refusal(
            "objective.kind",
            training.objective.kind,
            "with penalties.gradient, penalties.clip or discriminator.norm: spectral; "
            "nothing else bounds the critic",
        )


def _check_code(model: Model) -> None:
    if model.code and not (model.code.categorical or model.code.continuous):
        raise refusal("code.continuous", 0, "at least one code")


# --- the whole file ------------------------------------------------------------------------------


def check_params(params: Params) -> None:
    """Refuse sections that do not fit each other."""
    _check_resolutions(params)
    for name in params.invert.predictors or {}:
        if name not in params.models:
            raise refusal("invert.predictors", name, f"the models: {', '.join(params.models)}")
    for name, source in params.sources.items():
        _check_source(name, source, params.network)
    for key in ("enlarge", "weave"):
        if key in params.model_fields_set and getattr(params, key) is None:
            raise refusal(key, None, "a section; delete the line: DVC cannot read it as null")
    if params.weave and params.weave.size < 2 * params.weave.tile:
        raise refusal(
            "weave.size",
            params.weave.size,
            f"at least twice weave.tile ({params.weave.tile})",
        )
    if params.evaluate.samples <= params.evaluate.nearest_k:
        raise refusal(
            "evaluate.nearest_k",
            params.evaluate.nearest_k,
            f"less than evaluate.samples ({params.evaluate.samples})",
        )


def _check_resolutions(params: Params) -> None:
    full = params.augment.resolution
    for name, model in params.models.items():
        if name == "reference":
            raise refusal(
                "models",
                name,
                "another name: results/metrics/reference.json is of real pictures",
            )
        if model.resolution not in resolutions(full):
            raise refusal(
                f"models.{name}.resolution",
                model.resolution,
                f"augment.resolution ({full}) or a half, quarter, ... of it",
            )
    if params.augment.mode == "slices" and min(params.augment.sizes) < full:
        raise refusal(
            "augment.sizes",
            params.augment.sizes,
            f"sides of at least augment.resolution ({full}): smaller ones would be blurred",
        )


def _check_source(name: str, source: Source, network: Network) -> None:
    own = f"src/ganloom/sources/{source.kind}.py"
    if not source.reads_path and source.path != own:
        raise refusal(f"sources.{name}.path", source.path, repr(own))
    if isinstance(source, CommonsSource) and network.contact is None:
        raise refusal(
            "network.contact",
            network.contact,
            "your e-mail address or a page about you: Wikimedia Commons, which the source "
            f"{name!r} searches, answers only those who say how they can be reached",
        )
    if isinstance(source, ArchiveSource) and source.url is not None and source.sha256 is None:
        raise refusal(
            f"sources.{name}.sha256",
            source.sha256,
            "the hash of the file at its url, without which other bytes could come at any time",
        )
    if isinstance(source, GoogleSource | BingSource):
        _check_search_engine(f"sources.{name}", source, own)
    if isinstance(source, GoogleSource) and source.way == "browser" and network.robots:
        raise refusal(
            "network.robots",
            True,
            "false, at your own responsibility: Google's robots.txt and terms disallow searches by "
            f"programs, such as the source {name!r}; with `way: saved`, you search by hand",
        )


def _check_search_engine(key: str, source: GoogleSource | BingSource, own: str) -> None:
    if source.way == "saved" and source.path == own:
        allowed = "a folder or file: what you saved, or the table of `ganloom search`"
        raise refusal(f"{key}.path", source.path, allowed)
    if source.way == "saved" and source.keywords is not None:
        searches = [keyword.text for keyword in source.keywords]
        raise refusal(f"{key}.keywords", searches, "null, with `way: saved`: the files are read")
    if source.way != "saved" and source.keywords is None:
        allowed = f"a list of searches, with `way: {source.way}`"
        raise refusal(f"{key}.keywords", None, allowed)
    if isinstance(source, GoogleSource):
        asks = source.way == "searxng"
        if asks and not f"{source.instance}".startswith(("http://", "https://")):
            allowed = "the address of your instance of SearXNG, such as 'http://127.0.0.1:8888'"
            raise refusal(f"{key}.instance", source.instance, allowed)
        if not asks and source.instance is not None:
            raise refusal(f"{key}.instance", source.instance, f"null, with `way: {source.way}`")
