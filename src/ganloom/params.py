"""The schema of ``params.yaml``: every knob, what it means and what it may be.

No value has a default here: whatever changes an artefact stands in ``params.yaml``, where DVC sees
it. The descriptions below are the only documentation of a key; ``params.yaml`` repeats them as
comments and ``docs/params.md`` is generated from them (a test holds both to this file).
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ganloom.geometry import doublings, resolutions

PARAMS_FILE = Path("params.yaml")
MAX_DEPTH = 50  # of sections and lists in each other: recipes have 5
MAX_VALUES = 100_000  # on one level


class ParamsError(ValueError):
    """``params.yaml`` cannot be used; the message names each key, its value and what is allowed."""


# --- kinds of value ----------------------------------------------------------------------------

# A dot or a dash in a name breaks DVC's look-up of `models.<name>.<key>`.
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def _rate(value: Any) -> Any:
    rates = value if isinstance(value, list) else [value]
    if not rates or any(
        isinstance(r, bool) or not isinstance(r, (int, float)) or not 0 <= r < 1 for r in rates
    ):
        raise PydanticCustomError(
            "rate", "Input should be one rate of 0 <= rate < 1, or a list with a rate per block"
        )
    return value


# One rate for every block, or a list with one per block.
Rates = Annotated[float | list[float], BeforeValidator(_rate)]


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise PydanticCustomError("unique", "Input should not name anything twice")
    return values


Unique = AfterValidator(_unique)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# --- sources -----------------------------------------------------------------------------------

Palette = Literal["ayahuasca", "river", "clay", "night"]
Motif = Literal["meander", "cross", "hexagon", "maze"]


class _Source(Section):
    path: str = Field(
        min_length=1,
        description="Folder or file to read, watched for changes; the source's own module if none",
    )


class KeneSource(_Source):
    """Geometric textile designs, drawn, "photographed" and scraped with the usual faults."""

    kind: Literal["kene"] = Field(description="Kind of source")
    designs: Count = Field(description="Distinct designs")
    size: Annotated[int, Field(ge=64, le=2048)] = Field(
        description="Longest side of a photograph in px"
    )
    faults: Annotated[float, Field(ge=0, le=4)] = Field(
        description="Faulty candidates (near-duplicates, junk, broken files) per design"
    )
    palettes: Annotated[list[Palette], Field(min_length=1), Unique] = Field(
        description="Colour schemes to draw from"
    )
    motifs: Annotated[list[Motif], Field(min_length=1), Unique] = Field(
        description="Motif families to draw from"
    )


class FolderSource(_Source):
    """A folder of pictures, read recursively; the first sub-folder is the class."""

    kind: Literal["folder"] = Field(description="Kind of source")
    licence: str | None = Field(
        description="Licence of the pictures, for the manifest and the credits; null: not known"
    )
    creator: str | None = Field(default=None, description="Author of the pictures, for the credits")


class TorchvisionSource(_Source):
    """A data set of torchvision, from a local root or downloaded."""

    kind: Literal["torchvision"] = Field(description="Kind of source")
    dataset: Literal[
        "CIFAR10", "CIFAR100", "CelebA", "FashionMNIST", "Flowers102", "KMNIST", "MNIST", "SVHN"
    ] = Field(description="Class in torchvision.datasets")
    split: Literal["train", "test", "valid", "all"] = Field(
        description="Part of the data set; which ones exist depends on it"
    )
    classes: Annotated[list[str], Unique] | None = Field(
        description="Class names to take; null: all"
    )
    limit: Count | None = Field(description="Take only the first so many; null: all")
    download: bool = Field(
        description="Download into work/torchvision instead of reading path (which is then "
        "the source's own module)"
    )


class DigitsSource(_Source):
    """The 1,797 handwritten digits of 8x8 px that scikit-learn ships."""

    kind: Literal["digits"] = Field(description="Kind of source")


def _words(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise PydanticCustomError("words", "Input should be words, on one line")
    return text


def _hash(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise PydanticCustomError("hash", "Input should be 64 hexadecimal digits, as of sha256sum")
    return text


class Keyword(Section):
    """What to search for."""

    text: Annotated[str, Field(max_length=200), AfterValidator(_words)] = Field(
        description="Words to search for"
    )
    max: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Pictures to take of what they find, at most"
    )


def _once(keywords: list[Keyword]) -> list[Keyword]:
    _unique([keyword.text for keyword in keywords])
    return keywords


class KeywordSource(_Source):
    """What the kinds that search the web by keyword share; their path is their own module."""

    keywords: Annotated[list[Keyword], Field(min_length=1), AfterValidator(_once)] = Field(
        description="Searches, merged by URL"
    )


class CommonsSource(KeywordSource):
    """Wikimedia Commons: free pictures with author and licence, through its API."""

    kind: Literal["commons"] = Field(description="Kind of source")
    # Wikimedia's servers answer no other width (mediawiki.org/wiki/Common_thumbnail_sizes).
    width: Literal[250, 330, 500, 960, 1280, 1920, 3840] | None = Field(
        description="Width in px of the scaled pictures to fetch; null: the originals"
    )


class OpenverseSource(KeywordSource):
    """Openverse: openly licensed pictures of many collections, through its API."""

    kind: Literal["openverse"] = Field(description="Kind of source")


class GoogleSource(KeywordSource):
    """Google Images: the search page as it is served without JavaScript, if it is."""

    kind: Literal["google"] = Field(description="Kind of source")


class BingSource(KeywordSource):
    """Bing Images: the search page as it is served without JavaScript."""

    kind: Literal["bing"] = Field(description="Kind of source")


class UrlsSource(_Source):
    """A list of addresses: a CSV or JSONL file, such as an earlier data/manifest.csv."""

    kind: Literal["urls"] = Field(description="Kind of source")


def _codec(name: str) -> str:
    try:
        is_usable = b"a.png".decode(name, "replace") == "a.png"
    except (LookupError, ValueError):  # not known, or not an encoding of text
        is_usable = False
    if not is_usable:
        raise PydanticCustomError(
            "codec", "Input should be an encoding that Python knows, such as 'cp949' or 'euc_jp'"
        )
    return name


class ArchiveSource(_Source):
    """Pictures in a zip, tar or npz file, local or downloaded; the first folder is the class."""

    kind: Literal["archive"] = Field(description="Kind of source")
    url: str | None = Field(
        description="Download it into work/archives instead of reading path (which is then the "
        "source's own module)"
    )
    sha256: Annotated[str, AfterValidator(_hash)] | None = Field(
        description="Refuse any other file; needed with a url; null: not checked"
    )
    max_bytes: Count = Field(description="Refuse a larger archive, in bytes")
    encoding: Annotated[str, AfterValidator(_codec)] | None = Field(
        default=None,
        description="Encoding of the names that are not UTF-8; null or missing: guessed from them",
    )
    licence: str | None = Field(
        description="Licence of the pictures, for the manifest and the credits; null: not known"
    )
    creator: str | None = Field(default=None, description="Author of the pictures, for the credits")


Source = Annotated[
    KeneSource
    | FolderSource
    | TorchvisionSource
    | DigitsSource
    | CommonsSource
    | OpenverseSource
    | GoogleSource
    | BingSource
    | UrlsSource
    | ArchiveSource,
    Field(discriminator="kind"),
]

# --- from pictures to training data --------------------------------------------------------------


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

# --- models ------------------------------------------------------------------------------------


class _Network(Section):
    channels: Count = Field(
        description="Channels of the finest level; doubled with each halving, up to 16 times"
    )


class _Generator(_Network):
    latent: Count = Field(description="Length of the latent vector z")


DropoutKind = Literal["element", "channel"]


class _WithDropout(Section):
    dropout: Rates = Field(
        description="Share of activations dropped: one rate, or one per block from the input on"
    )
    dropout_kind: DropoutKind = Field(
        description="Drop single activations, or whole channels of an image"
    )


class PlainGenerator(_Generator):
    """Dense layer, then transposed convolutions of one width, nothing normalised."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")
    dense: Count = Field(description="Channels of the dense layer's output")
    kernel: Literal[3, 5] = Field(description="Side of the last convolution in px")


class DcganGenerator(_Generator, _WithDropout):
    """Dense layer, then transposed convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each layer")


class SnganGenerator(_Generator, _WithDropout):
    """Dense layer, then upsampling and convolutions (Miyato et al., 2018, without residuals)."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    blocks: Count = Field(description="Doublings of the side after the dense layer")
    norm: Literal["batch", "none"] = Field(description="Normalisation after each layer")


class ResnetGenerator(_Generator):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class FastganGenerator(_Generator):
    """Gated upsampling with skip-layer excitation (Liu et al., 2021), the lighter form."""

    kind: Literal["fastgan"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(
        description="Channels at 128 px; 16 times as many at 4 px, 8 at 8, 4 at 16, 2 at 32 and 64"
    )


class BeganGenerator(_Generator):
    """Convolutions of one width with ELU, nearest upsampling, no norm (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of every convolution")


Generator = Annotated[
    PlainGenerator
    | DcganGenerator
    | SnganGenerator
    | ResnetGenerator
    | FastganGenerator
    | BeganGenerator,
    Field(discriminator="kind"),
]


class PlainDiscriminator(Section):
    """Strided convolutions of one width, nothing normalised, dropout before the last layer."""

    kind: Literal["plain"] = Field(description="Kind of network, a module of ganloom.nets")
    first: Count = Field(description="Channels of the first convolution, at full resolution")
    channels: Count = Field(description="Channels of every other convolution")
    kernel: Literal[3, 5] = Field(description="Side of the convolutions in px")
    dropout: Fraction = Field(description="Share of activations dropped before the last layer")


class DcganDiscriminator(_Network, _WithDropout):
    """Strided convolutions (Radford et al., 2015)."""

    kind: Literal["dcgan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation: after each layer but the first, or (spectral) of all weights"
    )
    minibatch_stddev: bool = Field(
        description="Show the last layer how much the batch varies (Karras et al., 2018)"
    )


class SnganDiscriminator(_Network, _WithDropout):
    """Pairs of convolutions, the second strided (Miyato et al., 2018)."""

    kind: Literal["sngan"] = Field(description="Kind of network, a module of ganloom.nets")
    norm: Literal["batch", "layer", "spectral", "none"] = Field(
        description="Normalisation: after each layer but the first, or (spectral) of all weights"
    )
    blocks: Count = Field(description="Halvings of the side")
    dense: Count | None = Field(description="Units of a dense layer before the last; null: none")


class ResnetDiscriminator(_Network):
    """Residual blocks without normalisation (after Huang et al., 2024, R3GAN)."""

    kind: Literal["resnet"] = Field(description="Kind of network, a module of ganloom.nets")


class ProjectedDiscriminator(Section):
    """Four small networks on a frozen EfficientNet-Lite0's mixed features (Sauer et al., 2021)."""

    kind: Literal["projected"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of the finest mixed features")
    side: Literal[64, 128, 256] = Field(
        description="Side in px to which smaller images are enlarged: 128 and 256 show more, slower"
    )
    pixels: Count | None = Field(
        default=None,
        description="Channels, at half the resolution, of a fifth network that judges the pixels",
    )


class BeganDiscriminator(Section):
    """An autoencoder: what it reproduces well is real (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of network, a module of ganloom.nets")
    channels: Count = Field(description="Channels of the first level; one more times each halving")
    hidden: Count = Field(description="Length of the code between encoder and decoder")


Discriminator = Annotated[
    PlainDiscriminator
    | DcganDiscriminator
    | SnganDiscriminator
    | ResnetDiscriminator
    | ProjectedDiscriminator
    | BeganDiscriminator,
    Field(discriminator="kind"),
]


class NonSaturating(Section):
    """Cross-entropy, with the generator's labels turned round (Goodfellow et al., 2014)."""

    kind: Literal["nonsaturating"] = Field(description="Kind of objective")
    label_noise: Fraction = Field(
        description="D's targets are drawn from [1 - noise, 1] (real) and [0, noise] (fake)"
    )


class Hinge(Section):
    """D only has to be right by a margin of 1 (Lim and Ye, 2017; Miyato et al., 2018)."""

    kind: Literal["hinge"] = Field(description="Kind of objective")


class Wasserstein(Section):
    """The critic's difference of means (Arjovsky et al., 2017); needs a clip or a penalty."""

    kind: Literal["wasserstein"] = Field(description="Kind of objective")
    critic_steps: Count = Field(description="Steps of the critic for one of the generator")


class Relativistic(Section):
    """Real against fake in pairs (Jolicoeur-Martineau, 2019; Huang et al., 2024, R3GAN)."""

    kind: Literal["relativistic"] = Field(description="Kind of objective")


class Began(Section):
    """Balance of two reconstruction errors (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of objective")
    reconstruction: Literal["l1", "mse", "ms_ssim"] = Field(description="Error of D's autoencoder")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Error of fakes over that of real images to keep: diversity against quality"
    )
    lambda_k: Positive = Field(description="How fast the balance k follows")


Objective = Annotated[
    NonSaturating | Hinge | Wasserstein | Relativistic | Began, Field(discriminator="kind")
]


class Penalties(Section):
    """What D's gradients or weights are held to, besides the objective."""

    gradient: Positive | None = Field(
        default=None,
        description="Weight of (|gradient| - 1)^2 between real and fake (Gulrajani, 2017)",
    )
    r1: Positive | None = Field(
        default=None,
        description="Weight / 2 of |gradient|^2 at real images (Mescheder et al., 2018)",
    )
    r2: Positive | None = Field(default=None, description="The same at fake images")
    interval: Count = Field(
        default=1, description="Steps between two penalties, which then weigh as many times more"
    )
    clip: Positive | None = Field(
        default=None,
        description="Clip all of D's weights to this size after its steps (Arjovsky, 2017)",
    )


class Code(Section):
    """What else the generator is told, and D has to find in its images (Chen et al., 2016)."""

    categorical: list[Annotated[int, Field(ge=2)]] = Field(
        description="Values of each categorical code"
    )
    continuous: Annotated[int, Field(ge=0)] = Field(
        description="How many codes from the interval [-1, 1]"
    )
    weight: Positive = Field(description="Weight of the categorical codes' cross-entropy")
    weight_continuous: Annotated[float, Field(ge=0)] = Field(
        description="Weight of the continuous codes' squared error"
    )
    weight_latent: Annotated[float, Field(ge=0)] = Field(
        description="Weight of the squared error with which D finds z as well; 0: it need not"
    )


class Adam(Section):
    """Adam (Kingma and Ba, 2015), one for each network."""

    kind: Literal["adam"] = Field(description="Kind of optimiser")
    lr: Positive = Field(description="Learning rate")
    lr_discriminator: Positive | None = Field(default=None, description="D's, if it has another")
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(
        description="Decay of the two moments"
    )


class RmsProp(Section):
    """RMSprop, which the first WGAN was trained with, one for each network."""

    kind: Literal["rmsprop"] = Field(description="Kind of optimiser")
    lr: Positive = Field(description="Learning rate")
    lr_discriminator: Positive | None = Field(default=None, description="D's, if it has another")


Optimizer = Annotated[Adam | RmsProp, Field(discriminator="kind")]


class InitFrom(Section):
    """Weights to begin with: those of another training, by the names and shapes of its layers."""

    folder: str = Field(
        min_length=1, description="With generator.safetensors and discriminator.safetensors"
    )
    generator: Annotated[str, AfterValidator(_hash)] = Field(
        description="sha256 of generator.safetensors"
    )
    discriminator: Annotated[str, AfterValidator(_hash)] | None = Field(
        description="sha256 of discriminator.safetensors; null: D begins with random weights"
    )
    freeze: Annotated[int, Field(ge=0)] = Field(
        description="Layers of D, from the image on, that keep these weights (Mo et al., 2020)"
    )
    keep_statistics: bool = Field(
        description="G's batch normalisation keeps the statistics of that training, so that each "
        "picture is made alone; false: those of each batch"
    )


class FeatureMatching(Section):
    """Draw the mean of a frozen EfficientNet-Lite0's features of fakes to that of real images."""

    weight: Positive = Field(
        description="Weight of their squared distance, in units of the real features' variance; "
        "a warm-up has none"
    )
    images: Count = Field(
        description="How many fakes of a batch are looked at: on a CPU each takes 20 ms of a core"
    )


class PatchMatching(Section):
    """Draw the distribution of fakes' patches of 7 x 7 px, at each scale, to that of real ones."""

    weight: Positive = Field(
        description="Weight of its squared sliced Wasserstein distance, in units of variance; "
        "a warm-up has none"
    )


AUGMENTATIONS = Literal["color", "translation", "cutout", "shift", "symmetry", "affine"]


class WarmUp(Section):
    """A training of the same generator before: what is said here takes the place of the model's."""

    kimg: Positive = Field(description="Length of it: thousand real images shown")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")
    discriminator: Discriminator
    objective: Objective
    penalties: Penalties | None = None
    optimizer: Optimizer
    diffaugment: Annotated[list[AUGMENTATIONS], Unique] = Field(
        description="Augmentations of what D sees"
    )


class Model(Section):
    """A generator, a discriminator and an objective."""

    resolution: Annotated[int, Field(ge=8, le=1024)] = Field(
        description="Side of the pictures in px"
    )
    kimg: Positive = Field(description="Length of training: thousand real images shown")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")
    ema_kimg: Positive = Field(
        description="Half-life of the averaged generator, in thousand images"
    )
    generator: Generator
    discriminator: Discriminator
    objective: Objective
    penalties: Penalties | None = None
    feature_matching: FeatureMatching | None = None
    patch_matching: PatchMatching | None = None
    condition: Literal["onehot", "embedding"] | None = Field(
        default=None,
        description="Tell both networks the class: as it is (Mirza and Osindero, 2014), or learned",
    )
    code: Code | None = None
    optimizer: Optimizer
    input_noise: Positive | None = Field(
        default=None, description="Standard deviation of noise on what D sees"
    )
    diffaugment: Annotated[list[AUGMENTATIONS], Unique] = Field(
        description="Augmentations of what D sees (Zhao et al., 2020); shift and symmetry: textures"
    )
    init_from: InitFrom | None = None
    warm_up: WarmUp | None = None

    def first(self) -> Model:
        """What the warm-up trains: this model with all that is said there."""
        assert self.warm_up
        changes = {name: getattr(self.warm_up, name) for name in WarmUp.model_fields}
        later = dict.fromkeys(("warm_up", "feature_matching", "patch_matching"))
        return self.model_copy(update=changes | later)

    @model_validator(mode="after")
    def _fits(self) -> Model:
        self._check()
        if self.warm_up:
            kind, own = self.warm_up.discriminator.kind, self.generator.kind
            if kind != own:
                # dvc.yaml knows the code of these two kinds.
                allowed = f"{own!r}, the generator's kind, of which the stage knows that it depends"
                raise _refusal("warm_up.discriminator.kind", kind, allowed)
            try:
                self.first()._check()
            except PydanticCustomError as error:
                assert error.context
                key = f"warm_up.{error.context['key']}"
                raise _refusal(key, error.context["value"], error.context["allowed"]) from None
        return self

    def _check(self) -> None:
        for part in ("generator", "discriminator"):
            spec = getattr(self, part)
            blocks = _levels(spec, self.resolution)
            rates = getattr(spec, "dropout", 0.0)
            if isinstance(rates, list) and len(rates) != blocks:
                raise _refusal(
                    f"{part}.dropout", rates, f"{blocks} rates at resolution {self.resolution}"
                )
        if self.kimg * 1000 < self.batch:
            raise _refusal("kimg", self.kimg, f"at least one batch ({self.batch / 1000} kimg)")
        # What would run but cannot work is refused with the reason.
        for senseless, key, value, allowed in self._combinations():
            if senseless:
                raise _refusal(key, value, allowed)

    def _combinations(self) -> Iterator[tuple[Any, str, Any, str]]:
        """Whether it makes no sense (true or false), the key at fault, its value, the way out."""
        objective, D, start = self.objective, self.discriminator, self.init_from
        penalties = self.penalties or Penalties()
        slope = penalties.gradient or penalties.r1 or penalties.r2
        norm = getattr(D, "norm", "none")
        critic = objective.kind == "wasserstein"
        projected, began = D.kind == "projected", D.kind == "began"
        yield (
            (objective.kind == "began") != began,
            "objective.kind",
            objective.kind,
            "'began' with a discriminator of kind 'began', and only with it: "
            "that objective compares what an autoencoder reproduces",
        )
        yield (
            projected and critic,
            "objective.kind",
            objective.kind,
            "another kind with a discriminator of kind 'projected': nothing bounds how fast the "
            "frozen network changes",
        )
        yield (
            projected and (slope or penalties.clip),
            "penalties",
            "given",
            "none with a discriminator of kind 'projected': gradients go through the frozen "
            "network, which no penalty can change",
        )
        yield (
            projected and (self.code or self.condition),
            "discriminator.kind",
            D.kind,
            "another kind with a code or a condition: the frozen network sees colours only",
        )
        yield (
            projected and start and start.freeze,
            "init_from.freeze",
            start and start.freeze,
            "0 with a discriminator of kind 'projected': its lower layers are frozen as it is",
        )
        yield (
            start and start.freeze and not start.discriminator,
            "init_from.freeze",
            start and start.freeze,
            "0 with init_from.discriminator: null, as random weights would be kept",
        )
        yield (
            began and (slope or penalties.clip),
            "penalties",
            "given",
            "none with a discriminator of kind 'began': the balance k bounds its error",
        )
        yield (
            began and (self.diffaugment or self.input_noise),
            "diffaugment",
            self.diffaugment,
            "[] and no input_noise with a discriminator of kind 'began': "
            "it reproduces what it is shown",
        )
        yield (
            began and self.condition,
            "condition",
            self.condition,
            "none with a discriminator of kind 'began': what it reproduces has no class; "
            "a code can steer it",
        )
        yield (
            getattr(objective, "reconstruction", None) == "ms_ssim" and self.resolution < 11,
            "objective.reconstruction",
            "ms_ssim",
            "l1 or mse below 11 px, the side of a window of MS-SSIM",
        )
        yield (
            norm == "batch" and (slope or critic),
            "discriminator.norm",
            norm,
            "layer, spectral or none: a penalty or a critic judges each image alone, "
            "batch normalisation mixes them",
        )
        # R1 is left out: its authors' successors use it with the spread of a batch (StyleGAN2).
        yield (
            getattr(D, "minibatch_stddev", False) and (penalties.gradient or critic),
            "discriminator.minibatch_stddev",
            True,
            "false: a critic or its penalty judges each image alone, not how a batch varies",
        )
        yield (
            norm == "spectral" and penalties.clip,
            "penalties.clip",
            penalties.clip,
            "null with discriminator.norm: spectral, which takes the size of weights off again",
        )
        yield (
            critic and not (penalties.gradient or penalties.clip or norm == "spectral"),
            "objective.kind",
            objective.kind,
            "with penalties.gradient, penalties.clip or discriminator.norm: spectral; "
            "nothing else bounds the critic",
        )
        yield (
            self.code and not (self.code.categorical or self.code.continuous),
            "code.continuous",
            0,
            "at least one code",
        )


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


class Train(Section):
    """What all trainings share."""

    ticks: Count = Field(description="Parts of a training: each logs, checkpoints, adds a frame")
    grid: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Side of the grid of fixed latents in the timeline"
    )
    judge: Judge | None = None


# --- looking and measuring -----------------------------------------------------------------------


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
        full = self.augment.resolution
        for name, model in self.models.items():
            if name == "reference":
                raise _refusal(
                    "models",
                    name,
                    "another name: results/metrics/reference.json is of real pictures",
                )
            if model.resolution not in resolutions(full):
                raise _refusal(
                    f"models.{name}.resolution",
                    model.resolution,
                    f"augment.resolution ({full}) or a half, quarter, ... of it",
                )
        if isinstance(self.augment, Slices):
            small = [size for size in self.augment.sizes if size < full]
            if small:
                raise _refusal(
                    "augment.sizes",
                    self.augment.sizes,
                    f"sides of at least augment.resolution ({full}): smaller ones would be blurred",
                )
        for name in self.invert.predictors or {}:
            if name not in self.models:
                raise _refusal("invert.predictors", name, f"the models: {', '.join(self.models)}")
        for name, source in self.sources.items():
            _check_source(name, source, self.network)
        for key in ("enlarge", "weave"):
            if key in self.model_fields_set and getattr(self, key) is None:
                raise _refusal(key, None, "a section; delete the line: DVC cannot read it as null")
        if self.weave and self.weave.size < 2 * self.weave.tile:
            raise _refusal(
                "weave.size",
                self.weave.size,
                f"at least twice weave.tile ({self.weave.tile})",
            )
        if self.evaluate.samples <= self.evaluate.nearest_k:
            raise _refusal(
                "evaluate.nearest_k",
                self.evaluate.nearest_k,
                f"less than evaluate.samples ({self.evaluate.samples})",
            )
        return self


def _check_source(name: str, source: Source, network: Network) -> None:
    own = f"src/ganloom/sources/{source.kind}.py"
    has_no_file = (
        isinstance(source, (KeneSource, DigitsSource, KeywordSource))
        or (isinstance(source, TorchvisionSource) and source.download)
        or (isinstance(source, ArchiveSource) and source.url is not None)
    )
    if has_no_file and source.path != own:
        raise _refusal(f"sources.{name}.path", source.path, repr(own))
    if isinstance(source, CommonsSource) and network.contact is None:
        raise _refusal(
            "network.contact",
            network.contact,
            "your e-mail address or a page about you: Wikimedia Commons, which the source "
            f"{name!r} searches, answers only those who say how they can be reached",
        )
    if isinstance(source, ArchiveSource) and source.url is not None and source.sha256 is None:
        raise _refusal(
            f"sources.{name}.sha256",
            source.sha256,
            "the hash of the file at its url, without which other bytes could come at any time",
        )


def _levels(spec: Any, resolution: int) -> int:
    """How many blocks a network has at a resolution; refuses a resolution that it cannot have."""
    if spec.kind == "sngan":
        base, rest = divmod(resolution, 2**spec.blocks)
        if rest or base < 4:
            raise _refusal("resolution", resolution, f"4 or more doubled {spec.blocks} times")
        return int(spec.blocks)
    if spec.kind == "fastgan" and resolution not in (32, 64, 128, 256):
        raise _refusal("resolution", resolution, "32, 64, 128 or 256 with kind 'fastgan'")
    try:
        return doublings(resolution)
    except ValueError as error:
        raise _refusal("resolution", resolution, str(error)) from None


def _refusal(key: str, value: Any, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        "combination", "{allowed}", {"key": key, "value": value, "allowed": allowed}
    )


# --- reading -----------------------------------------------------------------------------------


def load(path: Path = PARAMS_FILE) -> Params:
    """Read and check a params file.

    YAML 1.2 (as DVC reads it): under PyYAML's 1.1, `3e-05` would be a string.

    Raises:
        ParamsError: the file is missing, not YAML, or does not fit the schema.
    """
    from ruamel.yaml import YAML

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; copy one: cp recipes/kene.yaml {path}") from None
    # Beside its own errors, what Python says of a date, a number or a nesting that cannot be.
    except Exception as error:
        from ganloom.git import conflict

        raise ParamsError(conflict(Path(), path) or f"{path}: not YAML: {error}") from None
    return parse(data, str(path))


def parse(data: Any, where: str = "params") -> Params:
    """Check parameters that are already read; ``where`` begins the error message."""
    if not isinstance(data, dict):
        raise ParamsError(f"{where}: expected a mapping of sections, got {type(data).__name__}")
    if _is_endless(data):
        raise ParamsError(f"{where}: nested too deeply, or too much of it repeated by aliases (*)")
    for keys in _keys_that_are_not_text(data):
        raise ParamsError(f"{where}: {keys}: a key must be text; put it in quotes")
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        switched, rest = _switched(error.errors(), data)
        problems = switched + [_explain(detail, data) for detail in rest]
        raise ParamsError("\n".join(f"{where}: {problem}" for problem in problems)) from None


def _is_endless(data: Any) -> bool:
    """Whether aliases or brackets nest so far that looking at all of it would not end."""
    level = [data]
    for _ in range(MAX_DEPTH):
        inner = (x.values() if isinstance(x, dict) else x for x in level)
        values = list(itertools.islice(itertools.chain.from_iterable(inner), MAX_VALUES))
        level = [value for value in values if isinstance(value, (dict, list))]
        if len(values) == MAX_VALUES or not level:
            return bool(level)
    return True


def _keys_that_are_not_text(data: Any, path: str = "") -> Iterator[str]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in items:
        here = f"{path}.{key}" if path else str(key)
        if isinstance(data, dict) and not isinstance(key, str):
            yield here
        elif isinstance(value, (dict, list)):
            yield from _keys_that_are_not_text(value, here)


def _switched(errors: Sequence[ErrorDetails], data: Any) -> tuple[list[str], list[ErrorDetails]]:
    """One line for each section whose `kind` or `mode` was changed but not its other keys.

    Returns:
        These lines, and the errors that they do not explain.
    """
    by_section: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] in ("extra_forbidden", "missing"):
            keys = tuple(_keys(error["loc"], data))
            by_section.setdefault(keys[:-1], []).append(error)
    lines, explained = [], []
    for path, found in by_section.items():
        section, tag = section_at(path, data), _tag(path, data)
        if section is None or tag is None:
            continue
        extra = [error for error in found if error["type"] == "extra_forbidden"]
        names = [str(error["loc"][-1]) for error in extra]
        others = [other for other in _sections(path, data) if other is not section]
        owner = max(others, key=lambda other: len(other.model_fields.keys() & set(names)))
        foreign = [name for name in names if name in owner.model_fields]
        if not foreign:
            continue
        missing = [error for error in found if error["type"] == "missing"]
        lines.append(_switch(path, data, tag, foreign, [str(e["loc"][-1]) for e in missing]))
        explained += missing + [error for error in extra if error["loc"][-1] in foreign]
    return lines, [error for error in errors if error not in explained]


def _switch(
    path: Sequence[str], data: Any, tag: str, foreign: list[str], missing: list[str]
) -> str:
    """What to delete from a section and what to add, for the `kind` or `mode` that it has now."""
    one = len(foreign) == 1
    text = (
        f"{'.'.join([*path, tag])}: {_at(data, path)[tag]!r} does not have the "
        f"{'key' if one else 'keys'} {', '.join(foreign)}: delete {'it' if one else 'them'}"
    )
    if missing:
        added = (f"{key} ({_description([*path, key], data)})" for key in missing)
        text += f" and add {', '.join(added)}"
    return text


def _explain(error: ErrorDetails, data: Any) -> str:
    """One line: the key, its value, what is allowed, the closest spelling."""
    keys = list(_keys(error["loc"], data))
    path, value, context = ".".join(keys), error["input"], error.get("ctx", {})
    match error["type"]:
        case "combination":
            key = context["key"]
            if keys and not key.startswith(
                ("models.", "sources.", "network.", "augment.", "evaluate.", "invert.", "weave.")
            ):
                key = f"{path}.{key}"
            text = f"{key}: {context['value']!r} is not possible; allowed: {context['allowed']}"
        case "extra_forbidden":
            section = section_at(keys[:-1], data)
            fields = list(section.model_fields) if section else []
            hint = _did_you_mean(keys[-1], fields, cutoff=0.6)
            text = f"{path}: unknown key{hint} (allowed: {', '.join(fields)})"
        case "missing":
            text = f"{path}: missing key ({_description(keys, data)})"
        case "union_tag_not_found":
            text = f"{path}.{context['discriminator'].strip(chr(39))}: missing key"
        case "union_tag_invalid":
            options = context["expected_tags"]
            hint = _did_you_mean(context["tag"], re.findall(r"'([^']*)'", options))
            tag = context["discriminator"].strip("'")
            text = f"{path}.{tag}: {context['tag']!r} is not possible{hint} (allowed: {options})"
        case "string_type" if value is not None:
            text = f"{path}: {value!r} is not possible; allowed: text: put it in quotes"
        case _ if value is None:
            section = section_at(keys[:-1], data)
            field = section.model_fields.get(keys[-1]) if section else None
            is_optional = field is not None and not field.is_required()
            remedy = "delete the line" if is_optional else f"give a value ({_allowed(error)})"
            text = f"{path}: null is not possible; {remedy}"
        case "literal_error":
            options = context["expected"]
            hint = _did_you_mean(value, re.findall(r"'([^']*)'", options))
            text = f"{path}: {value!r} is not possible{hint} (allowed: {options})"
        case "string_pattern_mismatch":
            path = ".".join(key for key in keys if key != "[key]")
            text = (
                f"{path}: {value!r} is not a name; "
                "allowed: lower-case letters, digits and _, a letter first"
            )
        case _:
            text = f"{path}: {value!r} is not possible; allowed: {_allowed(error)}"
    return text


def _allowed(error: ErrorDetails) -> str:
    plain = {
        "string_type": "text",
        "dict_type": "a section",
        "model_type": "a section",
        "model_attributes_type": "a section",
    }
    allowed = error["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return plain.get(error["type"], allowed)


def _did_you_mean(value: Any, options: Sequence[str], cutoff: float = 0.4) -> str:
    close = difflib.get_close_matches(str(value), options, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def _keys(loc: Sequence[int | str], data: Any) -> Iterator[str]:
    """The path of an error as a user wrote it: pydantic adds the tags of unions to it."""
    here = data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(here, Mapping):
            if part in here:
                here = here[part]
            elif not last or part == "[key]":
                continue
        elif isinstance(here, list) and isinstance(part, int):
            here = here[part]
        else:
            continue
        yield str(part)


def _at(data: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def section_at(keys: Sequence[str], data: Any) -> type[Section] | None:
    """The class that describes the mapping under ``keys`` of a params file's ``data``."""
    options, tag = _sections(keys, data), _tag(keys, data)
    for option in options:
        if tag and _at(data, keys).get(tag) in get_args(option.model_fields[tag].annotation):
            return option
    return options[0] if options else None


def _sections(keys: Sequence[str], data: Any) -> list[type[Section]]:
    """The classes that may describe the mapping under ``keys``: several where it has a kind."""
    options: list[type[Section]] = [Params]
    for key in keys:
        inner: list[type[Section]] = []
        for option in options:
            field = option.model_fields.get(key)
            if field is not None:
                inner += sections_in(field.annotation)
        options = inner or options  # a name chosen by the user: sources.<name>, models.<name>
    return options


def _tag(keys: Sequence[str], data: Any) -> str | None:
    """The key that tells the classes under ``keys`` apart, `kind` or `mode`; None: only one."""
    options, value = _sections(keys, data), _at(data, keys)
    if len(options) > 1 and isinstance(value, Mapping):
        for tag in ("kind", "mode"):
            if all(tag in option.model_fields for option in options):
                return tag
    return None


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field's type is made of: one, or each member of a union or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return sections_in(get_args(annotation)[0])
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def _description(keys: Sequence[str], data: Any) -> str:
    section = section_at(keys[:-1], data)
    field = section.model_fields.get(keys[-1]) if section else None
    if field is None:
        return ""
    inner = sections_in(field.annotation)
    text = field.description or (inner[0].__doc__ or "" if inner else "")
    if get_origin(field.annotation) is Literal:
        text += f"; allowed: {', '.join(map(repr, get_args(field.annotation)))}"
    return text
