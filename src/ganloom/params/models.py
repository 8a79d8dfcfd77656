"""Models: networks, an objective, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ganloom.params import rules
from ganloom.params.networks import Discriminator, Generator
from ganloom.params.types import Count, Fraction, Positive, Section, Sha256, Unique


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
    interval: Count | None = Field(
        default=None,
        description="Steps between two penalties, which then weigh as many times more",
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
    generator: Sha256 = Field(description="sha256 of generator.safetensors")
    discriminator: Sha256 | None = Field(
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

    @model_validator(mode="after")
    def _fits(self) -> Model:
        rules.check_model(self)
        return self
