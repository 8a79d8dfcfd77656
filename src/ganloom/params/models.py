"""Models: networks, an objective, and how they are trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ganloom.params import rules
from ganloom.params.networks import Discriminator, Generator
from ganloom.params.types import Count, Fraction, Positive, Section, Sha256, Unique


class NonSaturating(Section):
    """Cross-entropy, with the non-saturating loss for G (Goodfellow et al., 2014)."""

    kind: Literal["nonsaturating"] = Field(description="Kind of objective")
    label_noise: Fraction = Field(
        description="Targets of D are drawn from [1 - noise, 1] for real, [0, noise] for fake"
    )


class Hinge(Section):
    """Hinge loss with a margin of 1 (Lim and Ye, 2017; Miyato et al., 2018)."""

    kind: Literal["hinge"] = Field(description="Kind of objective")


class Wasserstein(Section):
    """Wasserstein loss (Arjovsky et al., 2017); needs a penalty, a clip or spectral norm."""

    kind: Literal["wasserstein"] = Field(description="Kind of objective")
    critic_steps: Count = Field(description="Steps of the critic per step of G")


class Relativistic(Section):
    """Relativistic loss on pairs of real and fake (Jolicoeur-Martineau, 2019; R3GAN, 2024)."""

    kind: Literal["relativistic"] = Field(description="Kind of objective")


class Began(Section):
    """Equilibrium of the reconstruction errors of real and fake (Berthelot et al., 2017)."""

    kind: Literal["began"] = Field(description="Kind of objective")
    reconstruction: Literal["l1", "mse", "ms_ssim"] = Field(description="Reconstruction error of D")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Target ratio of the errors of fakes and real images; lower favours quality "
        "over diversity"
    )
    lambda_k: Positive = Field(description="Learning rate of the balance k")


Objective = Annotated[
    NonSaturating | Hinge | Wasserstein | Relativistic | Began, Field(discriminator="kind")
]


class Penalties(Section):
    """Regularisation of D in addition to the objective."""

    gradient: Positive | None = Field(
        default=None,
        description="Weight of the gradient penalty of WGAN-GP (Gulrajani et al., 2017)",
    )
    r1: Positive | None = Field(
        default=None,
        description="R1: weight / 2 of |gradient|^2 at real images (Mescheder et al., 2018)",
    )
    r2: Positive | None = Field(default=None, description="R2: the same at fakes")
    interval: Count | None = Field(
        default=None,
        description="Steps between penalties, which are scaled by it (lazy regularisation)",
    )
    clip: Positive | None = Field(
        default=None,
        description="Clip the weights of D to [-clip, clip] (Arjovsky et al., 2017)",
    )


class Code(Section):
    """Codes of InfoGAN: further inputs of G that D has to recover (Chen et al., 2016)."""

    categorical: list[Annotated[int, Field(ge=2)]] = Field(
        description="Number of values of each categorical code"
    )
    continuous: Annotated[int, Field(ge=0)] = Field(
        description="Number of continuous codes, uniform in [-1, 1]"
    )
    weight: Positive = Field(description="Weight of the cross-entropy of the categorical codes")
    weight_continuous: Annotated[float, Field(ge=0)] = Field(
        description="Weight of the squared error of the continuous codes"
    )
    weight_latent: Annotated[float, Field(ge=0)] = Field(
        description="Weight of the squared error of z, if D recovers it as well; 0: it does not"
    )


class Adam(Section):
    """Adam (Kingma and Ba, 2015)."""

    kind: Literal["adam"] = Field(description="Kind of optimizer")
    lr: Positive = Field(description="Learning rate")
    lr_discriminator: Positive | None = Field(
        default=None, description="Learning rate of D; missing: as G"
    )
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = Field(
        description="Decay rates of the first and second moments"
    )


class RmsProp(Section):
    """RMSprop, as in the first WGAN (Arjovsky et al., 2017)."""

    kind: Literal["rmsprop"] = Field(description="Kind of optimizer")
    lr: Positive = Field(description="Learning rate")
    lr_discriminator: Positive | None = Field(
        default=None, description="Learning rate of D; missing: as G"
    )


Optimizer = Annotated[Adam | RmsProp, Field(discriminator="kind")]


class InitFrom(Section):
    """Initial weights from another training, for all layers with the same name and shape."""

    folder: str = Field(
        min_length=1, description="Folder with generator.safetensors and discriminator.safetensors"
    )
    generator: Sha256 = Field(description="SHA-256 of generator.safetensors")
    discriminator: Sha256 | None = Field(
        description="SHA-256 of discriminator.safetensors; null: random weights for D"
    )
    freeze: Annotated[int, Field(ge=0)] = Field(
        description="Number of layers of D, from the image on, to freeze (Mo et al., 2020)"
    )
    keep_statistics: bool = Field(
        description="Freeze the running statistics of batch normalisation in G"
    )


class FeatureMatching(Section):
    """Match the mean features of fakes and real images in a frozen EfficientNet-Lite0."""

    weight: Positive = Field(
        description="Weight of the squared distance, in units of variance; not used in the warm-up"
    )
    images: Count = Field(description="Fakes per batch to use; each takes 20 ms on a CPU core")


class PatchMatching(Section):
    """Match the distributions of 7x7 px patches of fakes and real images, at several scales."""

    weight: Positive = Field(
        description="Weight of the squared sliced Wasserstein distance, in units of variance; not "
        "used in the warm-up"
    )


AUGMENTATIONS = Literal["color", "translation", "cutout", "shift", "symmetry", "affine"]


class WarmUp(Section):
    """First phase of the training, with the same generator; its values replace the model's."""

    kimg: Positive = Field(description="Length of the warm-up, in thousands of real images shown")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")
    discriminator: Discriminator
    objective: Objective
    penalties: Penalties | None = None
    optimizer: Optimizer
    diffaugment: Annotated[list[AUGMENTATIONS], Unique] = Field(
        description="Augmentations of all inputs of D"
    )


class Model(Section):
    """A generator, a discriminator and an objective."""

    resolution: Annotated[int, Field(ge=8, le=1024)] = Field(
        description="Side of the images, in px"
    )
    kimg: Positive = Field(description="Length of the training, in thousands of real images shown")
    batch: Annotated[int, Field(ge=2)] = Field(description="Images per step")
    ema_kimg: Positive = Field(
        description="Half-life of the moving average of the weights of G, in thousands of images"
    )
    generator: Generator
    discriminator: Discriminator
    objective: Objective
    penalties: Penalties | None = None
    feature_matching: FeatureMatching | None = None
    patch_matching: PatchMatching | None = None
    condition: Literal["onehot", "embedding", "picture"] | None = Field(
        default=None,
        description="Condition of G and D: the class as one-hot vector (Mirza and Osindero, 2014) "
        "or learned embedding, or the original (picture; Casanova et al., 2021)",
    )
    code: Code | None = None
    optimizer: Optimizer
    input_noise: Positive | None = Field(
        default=None,
        description="Standard deviation of Gaussian noise on all inputs of D; missing: none",
    )
    diffaugment: Annotated[list[AUGMENTATIONS], Unique] = Field(
        description="Augmentations of all inputs of D (Zhao et al., 2020); shift and symmetry are "
        "for textures"
    )
    init_from: InitFrom | None = None
    warm_up: WarmUp | None = None

    @property
    def warm_up_steps(self) -> int:
        """Steps of the warm-up; 0 without one."""
        return round(1000 * self.warm_up.kimg / self.warm_up.batch) if self.warm_up else 0

    @model_validator(mode="after")
    def _fits(self) -> Model:
        rules.check_model(self)
        return self
