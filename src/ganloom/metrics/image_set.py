"""Sets of images to compare, with their features."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganloom.features import LITE2, features
from ganloom.metrics.cache import remembered


class ImageSet(NamedTuple):
    """Images in random order and their features.

    Attributes:
        images: (N, R, R, 3) RGB.
        features: (N, 1280) features of EfficientNet-Lite2.
    """

    images: NDArray[np.uint8]
    features: Tensor

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> ImageSet:
        """Compute the features of images, which are not cached."""
        return cls(images, features(images, LITE2))

    @classmethod
    def cached(cls, images: NDArray[np.uint8], cache: Path) -> ImageSet:
        """Read the features of images from the folder ``cache``; compute those it does not have."""
        return cls(images, remembered(images, LITE2, cache))

    def first(self, n: int) -> ImageSet:
        """The first ``n`` images."""
        return ImageSet(self.images[:n], self.features[:n])
