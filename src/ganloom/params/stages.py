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
    """How pages and files are asked of the network."""

    contact: Annotated[str, AfterValidator(_sendable)] | None = Field(
        description="Who runs this: an address or page, told to every server (Wikimedia asks for "
        "one); null: nobody"
    )
    connections: Annotated[int, Field(ge=1, le=256)] = Field(
        description="Requests at the same time, in all"
    )
    connections_per_host: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Requests at the same time to one host (Wikimedia's files: 2 at most)"
    )
    timeout: Positive = Field(
        description="Seconds to wait for a look-up of a name, a connection, and the next bytes"
    )
    file_deadline: Positive = Field(
        description="Seconds for one file, with its redirects and further attempts"
    )
    deadline: Positive = Field(description="Seconds for all requests of one stage")
    attempts: Annotated[int, Field(ge=1, le=10)] = Field(
        description="Try a request so often when the server is busy or cannot be reached"
    )
    robots: bool = Field(description="Obey robots.txt and X-Robots-Tag")
    loopback: bool = Field(
        description="Also allow 127.0.0.1 and ::1, for a server of your own; other private "
        "addresses are never asked"
    )


class Fetch(Section):
    """Fetching originals."""

    max_bytes: Count = Field(description="Refuse files larger than this, in bytes")
    # Beyond, Pillow refuses by itself.
    max_pixels: Annotated[int, Field(ge=1, le=178_956_970)] = Field(
        description="Refuse pictures with more pixels, before decoding"
    )
    licences: Annotated[list[str], Field(min_length=1), Unique] | None = Field(
        description="Fetch only what has one of these licences, such as `CC0*` and "
        "`CC BY [0-9]*` (`CC BY*` allows NC and ND, too), never what has none; null: whatever it is"
    )
    max_lost: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Share of the pictures from the web that may be gone or out of reach; if it "
        "is more, the stage fails"
    )
    shards: Annotated[str, Field(min_length=1)] | None = Field(
        description="Folder of tar shards (data/raw of another project): pictures with a known "
        "sha256 are taken from there before the network is asked; null: none"
    )


class Dedup(Section):
    """Finding near-duplicates."""

    hash_size: Literal[8, 16] = Field(description="Side of the perceptual hash: 64 or 256 bits")
    max_distance: Annotated[int, Field(ge=0, le=64)] = Field(
        description="Bits in which the hashes of two near-duplicates may differ"
    )
    max_difference: Annotated[float, Field(ge=0, le=255)] = Field(
        description="Mean difference of their colour thumbnails at most, of 255, brightness apart"
    )
    min_contrast: Annotated[float, Field(ge=0, le=128)] = Field(
        description="Flatter pictures are copies only if every pixel is equal: "
        "contrast below this, of 255"
    )
    symmetries: bool = Field(description="Also find flipped and quarter-turned copies")
    deep: bool = Field(
        description="Also find crops and strong edits, with a network: 0.1 to 0.4 s a picture"
    )
    deep_similarity: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Cosine of the network's features from which on pictures are looked at as crops"
    )
    deep_correlation: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Correlation of the greys where the one picture lies in the other, at least"
    )


class Curate(Section):
    """Choosing what is trained on."""

    list: Name | None = Field(description="Manual decisions: data/curation/<list>.csv; null: none")
    min_side: Count = Field(description="Drop pictures with a shorter side, in px")
    min_contrast: Annotated[float, Field(ge=0, le=128)] = Field(
        description="Drop blank pictures: contrast below this, of 255"
    )
    holdout: Fraction = Field(
        description="Share of the clusters of each class that is held out, to measure against"
    )


Symmetry = Literal[1, 2, 4, 8]


class _Augment(Section):
    resolution: Annotated[int, Field(ge=8, le=1024)] = Field(
        description="Side of a training image in px: the largest that any model asks for"
    )
    border: Annotated[int, Field(ge=0, le=255)] | None = Field(
        description="Crop away a uniform border: tolerance to its colour, of 255; null: keep it"
    )
    symmetries: Symmetry = Field(
        description="1: as it is; 2: mirrored; 4: quarter turns; 8: both, all of the square's"
    )


class Slices(_Augment):
    """Random slices of the originals."""

    mode: Literal["slices"] = Field(description="slices of the pictures, or whole ones")
    count: Count = Field(description="Training images to make, exactly")
    holdout_count: Count = Field(description="Images to cut from the holdout")
    sizes: Annotated[list[Count], Field(min_length=1), Unique] = Field(
        description="Sides of a slice in px of the original, drawn evenly from those that fit"
    )
    max_angle: Annotated[float, Field(ge=0, le=180)] = Field(
        description="Rotate each slice by up to this many degrees either way"
    )


class Whole(_Augment):
    """Whole pictures."""

    mode: Literal["whole"] = Field(description="slices of the pictures, or whole ones")
    fit: Literal["crop", "pad", "stretch"] = Field(
        description="How to make it square: crop to the centre, pad with the border colour, stretch"
    )


Augment = Annotated[Slices | Whole, Field(discriminator="mode")]

# --- training ------------------------------------------------------------------------------------


class Judge(Section):
    """Looking at a model while it is trained, beside one half of the holdout."""

    every: Count = Field(description="Ticks between two looks")
    samples: Annotated[int, Field(ge=16)] = Field(
        description="Generated, training and holdout images at a look, each at most"
    )
    keep: Literal["best", "last"] = Field(
        description="Which state becomes the model: the one with the lowest KID, or the last"
    )
    patience: Count | None = Field(
        description="Stop after so many looks without a lower KID; null: never"
    )


class Train(Section):
    """What all trainings share."""

    ticks: Count = Field(description="Parts of a training: each logs, checkpoints, adds a frame")
    grid: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Side of the grid of fixed latents in the timeline"
    )
    judge: Judge | None = None


# --- sampling, inversion and metrics -------------------------------------------------------------


class Sample(Section):
    """Pictures from each trained generator."""

    grid: Annotated[int, Field(ge=1, le=32)] = Field(description="Side of the grid of samples")
    truncation: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Scale of the latents; less than 1 trades variety for likeness"
    )
    strips: Count = Field(description="Interpolations, one under the other")
    steps: Annotated[int, Field(ge=3)] = Field(description="Pictures per interpolation")
    loop_grid: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Side of the grid in the animations"
    )
    loop_frames: Annotated[int, Field(ge=2)] = Field(description="Frames of an animation, at least")
    fps: Annotated[int, Field(ge=1, le=60)] = Field(description="Frames per second")


# How far two pictures are apart: squares, structure at one scale or several, EfficientNet-Lite0.
LIKENESS = Literal["mse", "ssim", "ms_ssim", "features"]


class Predictor(Section):
    """A network that guesses, from a picture, what the generator was told."""

    channels: Count = Field(
        description="Channels at half the resolution; doubled with each halving, up to 16 times"
    )
    steps: Count = Field(
        description="Steps on the generator's own samples: what it was told against the guess"
    )
    image_steps: Annotated[int, Field(ge=0)] = Field(
        description="Steps after them on training images: each against what its guess generates"
    )
    image_loss: LIKENESS = Field(description="By how far two pictures are apart in these")
    lr: Positive = Field(description="Learning rate (Adam)")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")


class Invert(Section):
    """Recovering what each generator must be told to make a given picture, by optimisation."""

    images: Annotated[int, Field(ge=1, le=32)] = Field(
        description="Pictures to recover, from the holdout where there is one"
    )
    steps: Count = Field(description="Steps of Adam")
    starts: Count = Field(description="Attempts for each picture, of which the best is kept")
    loss: LIKENESS = Field(description="How far two pictures are apart")
    lr: Positive = Field(description="Learning rate at the start; falls to 0")
    # Not a part of a model: a change of its predictor is no reason to train it again.
    predictors: dict[Name, Predictor] | None = Field(
        default=None, description="For models, by their names: guesses that it begins with as well"
    )


class Paths(Section):
    """How evenly pictures change along interpolations."""

    count: Count = Field(description="Interpolations whose steps are measured")
    steps: Annotated[int, Field(ge=2, le=256)] = Field(description="Steps of each")


class Evaluate(Section):
    """Metrics of each model."""

    samples: Annotated[int, Field(ge=16)] = Field(
        description="Generated, training and holdout images to compare, each at most"
    )
    neighbours: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Samples shown beside the training image nearest to them"
    )
    nearest_k: Annotated[int, Field(ge=1, le=50)] = Field(
        description="k of precision, recall, density, coverage"
    )
    kid_subsets: Count = Field(description="Subsets drawn for the standard deviation of KID")
    kid_subset_size: Annotated[int, Field(ge=2)] = Field(description="Images in each")
    swd_projections: Count = Field(description="Directions of the sliced Wasserstein distance")
    paths: Paths | None = None
    inception: bool = Field(
        False,
        description="Also FID and KID on Inception's features; needs ganloom[inception] and 96 MB "
        "from GitHub, once",
    )


# --- enlarging and weaving -----------------------------------------------------------------------


class Enlarge(Section):
    """A network that enlarges what the models draw, trained on the originals; missing: none."""

    kimg: Positive = Field(description="Length of training: thousand crops of originals shown")
    channels: Annotated[int, Field(ge=4, le=512)] = Field(
        description="Channels of every convolution"
    )
    layers: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Convolutions between the first and the last"
    )
    adversarial: Annotated[float, Field(ge=0, le=1)] = Field(
        description="Weight of a discriminator of patches: more gives sharper edges, too much "
        "halos and weaves of single pixels; 0: none"
    )


WallpaperGroup = Literal["p1", "pm", "pmm", "cmm", "p4m", "p3m1", "p6m"]
FriezeGroup = Literal["p11", "p11g", "p11m", "pm11", "p112", "pm2g", "pm2m"]


class Weave(Section):
    """Seamless tiles and a cloth of each model, for textures; missing: none."""

    groups: Annotated[list[WallpaperGroup], Field(min_length=1), Unique] = Field(
        description="Wallpaper groups of the tiles; the first one is the cloth's"
    )
    border: FriezeGroup | None = Field(
        description="Frieze group of the cloth's border; null: no border"
    )
    drift: Annotated[float, Field(ge=0, le=1)] = Field(
        description="How far the cloth changes from its centre to its rim: 0 not at all, 1 as far "
        "as to another sample"
    )
    choose: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Weave the sample with the highest discriminator output of so many; 1: the "
        "first"
    )
    tile: Annotated[int, Field(ge=16, le=2048)] = Field(description="Width of a tile in px")
    size: Annotated[int, Field(ge=64, le=8192)] = Field(description="Side of the cloth in px")


# --- the report, and the whole file --------------------------------------------------------------


class Report(Section):
    """The page."""

    title: str = Field(min_length=1, description="Headline of the report")
    about: str = Field(description="A sentence or two on the collection and the purpose")
    experiments: (
        Annotated[
            list[Annotated[str, Field(min_length=1)]],
            Field(min_length=1),
            Unique,
        ]
        | None
    ) = Field(
        default=None,
        description="DVC's names of experiments (or branches, tags) to compare with what is here",
    )


class Params(Section):
    """Everything in ``params.yaml``."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        description="Every random draw comes from it"
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        description="Cores of one stage; torch's bits depend on it, so it is a parameter"
    )
    sources: Annotated[dict[Name, Source], Field(min_length=1)] = Field(
        description="Where pictures come from, each under a name of its own"
    )
    network: Network
    fetch: Fetch
    dedup: Dedup
    curate: Curate
    augment: Augment
    train: Train
    models: Annotated[dict[Name, Model], Field(min_length=1)] = Field(
        description="What is trained, each under a name of its own"
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
