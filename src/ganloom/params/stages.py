"""Sections of the stages, and ``Params``, which holds all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from ganloom.params import rules
from ganloom.params.models import Model
from ganloom.params.sources import Source
from ganloom.params.types import Count, Fraction, Name, Positive, Section, Unique

# --- from images to training data ----------------------------------------------------------------


def _sendable(value: str) -> str:
    if not (value.strip() and value.isascii() and value.isprintable()):
        raise PydanticCustomError("header", "Input should be one line of ASCII text")
    return value


class Network(Section):
    """HTTP requests of the stages search and fetch."""

    contact: Annotated[str, AfterValidator(_sendable)] | None = Field(
        description="Your e-mail address or web page, sent to every server; Wikimedia requires it; "
        "null: none"
    )
    connections: Annotated[int, Field(ge=1, le=256)] = Field(
        description="Maximum number of simultaneous requests"
    )
    connections_per_host: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Maximum number of simultaneous requests to one host; never more than 2 to "
        "upload.wikimedia.org, and 1 to artic.edu and api.inaturalist.org"
    )
    timeout: Positive = Field(
        description="Time limit for a DNS lookup, a connection and the next bytes, in seconds"
    )
    file_deadline: Positive = Field(
        description="Time limit for a file, with redirects and retries, in seconds"
    )
    deadline: Positive = Field(description="Time limit for all requests of a stage, in seconds")
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        description="Maximum number of attempts if a server is busy or unreachable"
    )
    robots: bool = Field(description="Respect robots.txt and X-Robots-Tag")
    loopback: bool = Field(
        description="Allow requests to this machine (127.0.0.1, ::1); other private addresses are "
        "always refused"
    )


class Fetch(Section):
    """Download and storage of the originals."""

    max_bytes: Count = Field(description="Maximum size of a file, in bytes")
    # Beyond, Pillow refuses by itself.
    max_pixels: Annotated[int, Field(ge=1, le=178_956_970)] = Field(
        description="Maximum number of pixels of an image, checked before decoding"
    )
    licences: Annotated[list[str], Field(min_length=1), Unique] | None = Field(
        description="Patterns of allowed licences, such as `CC0*` and `CC BY [0-9]*` (`CC BY*` "
        "includes NC and ND); images without a licence are refused; null: all are "
        "allowed"
    )
    max_lost: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Maximum fraction of images from the web that cannot be downloaded; above it, "
        "the stage fails"
    )
    shards: Annotated[str, Field(min_length=1)] | None = Field(
        description="Folder of tar shards, such as data/raw of another project: images with a known"
        " SHA-256 are read from it instead of downloaded; null: none"
    )


class Dedup(Section):
    """Detection of near-duplicates."""

    hash_size: Literal[8, 16] = Field(
        description="Side of the perceptual hash: 8 (64 bits) or 16 (256 bits)"
    )
    max_distance: Annotated[int, Field(ge=0, le=64)] = Field(
        description="Maximum Hamming distance of the hashes, in bits"
    )
    max_difference: Annotated[float, Field(ge=0, le=255)] = Field(
        description="Maximum mean difference of the colour thumbnails without brightness, of 255"
    )
    min_contrast: Annotated[float, Field(ge=0, le=128)] = Field(
        description="Contrast, of 255, below which images are duplicates only if all pixels are "
        "equal"
    )
    symmetries: bool = Field(
        description="Also find near-duplicates that are flipped or rotated by quarter turns"
    )
    deep: bool = Field(
        description="Also find crops and strong edits, with a network; 0.1 to 0.4 s per image"
    )
    deep_similarity: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Minimum cosine similarity of features for two images to be compared"
    )
    deep_correlation: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Minimum correlation of grey values where one image contains the other"
    )


class Curate(Section):
    """Selection of originals."""

    list: Name | None = Field(
        description="List of manual decisions, data/curation/<list>.csv; null: none"
    )
    min_side: Count = Field(description="Minimum length of the shorter side, in px")
    min_contrast: Annotated[float, Field(ge=0, le=128)] = Field(
        description="Minimum contrast, of 255; drops blank images"
    )
    holdout: Fraction = Field(
        description="Fraction of each class to hold out, counted in clusters of near-duplicates"
    )


Symmetry = Literal[1, 2, 4, 8]


class _Augment(Section):
    resolution: Annotated[int, Field(ge=8, le=1024)] = Field(
        description="Side of the training images, in px; models use it, or a half, a quarter, ... "
        "of it"
    )
    border: Annotated[int, Field(ge=0, le=255)] | None = Field(
        description="Tolerance for cropping a uniform border, of 255; null: no cropping"
    )
    symmetries: Symmetry = Field(
        description="Augmentation by symmetries: 1: none; 2: mirroring; 4: quarter turns; 8: both"
    )


class Slices(_Augment):
    """Random slices of the originals."""

    mode: Literal["slices"] = Field(
        description="Training images: slices (random crops) or whole images"
    )
    count: Count = Field(description="Number of slices for training")
    holdout_count: Count = Field(description="Number of slices of the holdout")
    sizes: Annotated[list[Count], Field(min_length=1), Unique] = Field(
        description="Sides of the crops in px of the original, chosen uniformly among those that "
        "fit"
    )
    max_angle: Annotated[float, Field(ge=0, le=180)] = Field(
        description="Maximum rotation of a crop in either direction, in degrees"
    )


class Whole(_Augment):
    """Whole images."""

    mode: Literal["whole"] = Field(
        description="Training images: slices (random crops) or whole images"
    )
    fit: Literal["crop", "pad", "stretch"] = Field(
        description="How to make an image square: crop the centre, pad with the border colour, or "
        "stretch"
    )


Augment = Annotated[Slices | Whole, Field(discriminator="mode")]

# --- training ------------------------------------------------------------------------------------


class Judge(Section):
    """Evaluation during training, on one half of the holdout."""

    every: Count = Field(description="Ticks between two evaluations")
    samples: Annotated[int, Field(ge=16)] = Field(
        description="Maximum number of samples, training images and holdout images in an evaluation"
    )
    keep: Literal["best", "last"] = Field(
        description="Checkpoint to keep: best (with the lowest KID) or last"
    )
    patience: Count | None = Field(
        description="Stop after this number of evaluations without a lower KID; null: never"
    )


class Train(Section):
    """Settings of all trainings."""

    ticks: Count = Field(
        description="Number of parts of a training; each ends with a log entry, a checkpoint and a "
        "time-lapse frame"
    )
    grid: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Rows and columns of the grid in the time-lapse"
    )
    judge: Judge | None = None


# --- sampling, inversion and metrics -------------------------------------------------------------


class Sample(Section):
    """Samples and animations of each model."""

    grid: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Rows and columns of the grid of samples"
    )
    truncation: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Scale of the latents; below 1, samples vary less and look more typical"
    )
    strips: Count = Field(description="Number of interpolations")
    steps: Annotated[int, Field(ge=3)] = Field(description="Images per interpolation")
    loop_grid: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Rows and columns of the grid in animations"
    )
    loop_frames: Annotated[int, Field(ge=2)] = Field(
        description="Minimum number of frames of an animation"
    )
    fps: Annotated[int, Field(ge=1, le=60)] = Field(description="Frames per second")


# How far two pictures are apart: squares, structure at one scale or several, EfficientNet-Lite0.
LIKENESS = Literal["mse", "ssim", "ms_ssim", "features"]


class Predictor(Section):
    """Network that predicts the input of the generator from an image."""

    channels: Count = Field(
        description="Channels at half resolution; doubled at each halving, at most 16-fold"
    )
    steps: Count = Field(
        description="Training steps on samples, with the squared error of the predicted input"
    )
    image_steps: Annotated[int, Field(ge=0)] = Field(
        description="Further steps on training images, with the error of the reconstruction"
    )
    image_loss: LIKENESS = Field(description="Reconstruction error in the further steps")
    lr: Positive = Field(description="Learning rate of Adam")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")


class Invert(Section):
    """GAN inversion: optimisation of the generator input that reproduces a given image."""

    images: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Number of images to reconstruct, from the holdout if there is one"
    )
    steps: Count = Field(description="Steps of Adam per image")
    starts: Count = Field(
        description="Number of starting points per image; the best result is kept"
    )
    loss: LIKENESS = Field(description="Reconstruction error")
    lr: Positive = Field(description="Initial learning rate; decays to 0")
    # Not a part of a model: a change of its predictor is no reason to train it again.
    predictors: dict[Name, Predictor] | None = Field(
        default=None,
        description="Predictors by name of model; their predictions are further starting points",
    )


class Paths(Section):
    """Perceptual smoothness of interpolations."""

    count: Count = Field(description="Number of interpolations")
    steps: Annotated[int, Field(ge=2, le=256)] = Field(description="Steps per interpolation")


class Evaluate(Section):
    """Metrics of each model."""

    samples: Annotated[int, Field(ge=16)] = Field(
        description="Maximum number of samples, training images and holdout images to compare"
    )
    neighbours: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Number of samples to show next to their nearest training image"
    )
    nearest_k: Annotated[int, Field(ge=1, le=50)] = Field(
        description="k of the k nearest neighbours in precision, recall, density and coverage"
    )
    kid_subsets: Count = Field(description="Number of subsets for the standard deviation of KID")
    kid_subset_size: Annotated[int, Field(ge=2)] = Field(description="Images per subset")
    swd_projections: Count = Field(
        description="Number of projections of the sliced Wasserstein distance"
    )
    paths: Paths | None = None
    inception: bool = Field(
        False,
        description="Also compute FID and KID with Inception features; needs ganloom[inception], "
        "and downloads 96 MB from GitHub once",
    )


# --- enlarging and weaving -----------------------------------------------------------------------


class Enlarge(Section):
    """Super-resolution network, trained on the originals; without this section: none."""

    kimg: Positive = Field(description="Length of the training, in thousands of crops shown")
    channels: Annotated[int, Field(ge=4, le=512)] = Field(
        description="Channels of every convolution"
    )
    layers: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Number of convolutions between the first and the last one"
    )
    adversarial: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Weight of a patch discriminator: higher sharpens edges, too high adds halos "
        "and pixel patterns; 0: none"
    )


WallpaperGroup = Literal["p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"]
FriezeGroup = Literal["p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"]


class Weave(Section):
    """Seamless tiles and a cloth of each model, for textures; without this section: none."""

    groups: Annotated[list[WallpaperGroup], Field(min_length=1), Unique] = Field(
        description="Wallpaper groups of the tiles; the cloth has the first one"
    )
    border: FriezeGroup | None = Field(
        description="Frieze group of the border of the cloth; null: no border"
    )
    drift: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Change of the pattern from the centre of the cloth to its edges: 0: none, 1: "
        "to another sample"
    )
    choose: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Number of samples of which the one with the highest discriminator output is "
        "woven"
    )
    tile: Annotated[int, Field(ge=16, le=2048)] = Field(description="Width of a tile, in px")
    size: Annotated[int, Field(ge=64, le=8192)] = Field(description="Side of the cloth, in px")


# --- the report, and the whole file --------------------------------------------------------------


class Report(Section):
    """Content of the report."""

    title: str = Field(min_length=1, description="Title of the report")
    about: str = Field(
        description="Description of the collection and the purpose, in a sentence or two"
    )
    experiments: (
        Annotated[
            list[Annotated[str, Field(min_length=1)]],
            Field(min_length=1),
            Unique,
        ]
        | None
    ) = Field(
        default=None,
        description="DVC experiments, branches or tags to compare this run with",
    )


class Params(Section):
    """All sections of ``params.yaml``."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(description="Seed of all random numbers")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        description="CPU threads per stage; results of PyTorch depend on it in the last bits"
    )
    sources: Annotated[dict[Name, Source], Field(min_length=1)] = Field(
        description="Sources of images, by name"
    )
    network: Network
    fetch: Fetch
    dedup: Dedup
    curate: Curate
    augment: Augment
    train: Train
    models: Annotated[dict[Name, Model], Field(min_length=1)] = Field(
        description="Models to train, by name"
    )
    sample: Sample
    enlarge: Enlarge | None = None
    weave: Weave | None = None
    evaluate: Evaluate
    invert: Invert
    report: Report

    @model_validator(mode="after")
    def _fits(self) -> Params:
        rules.check_params(self)
        return self
