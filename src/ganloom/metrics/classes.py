"""Class accuracy of conditional samples, by a classifier trained on real images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from ganloom.metrics.kid import kid

# Images of a class that a KID needs.
FEWEST_OF_CLASS = 20

# Training images for the classifier, at most, and its inverse regularisation: its accuracy on MNIST
# is 81 % after 500 images and 90 % after 2,000, and lower with other values of C.
FITTED = 2000
C = 0.1


class Labelled(NamedTuple):
    """Features (N, D) and numbers of classes (N,)."""

    features: Tensor
    labels: NDArray[np.int64]

    def of(self, number: int) -> Tensor:
        return self.features[from_numpy(self.labels == number)]


class ClassScore(NamedTuple):
    """Results for one class.

    Attributes:
        name: Name of the class.
        asked: Number of samples generated for the class.
        named: Share of these that the classifier assigns to it; None without samples.
        holdout: Number of unseen real images of the class.
        holdout_named: Share of these that the classifier assigns to it; None without images.
        kid: KID between these samples and images; None if there are fewer than 20 of either.
    """

    name: str
    asked: int
    named: float | None
    holdout: int
    holdout_named: float | None
    kid: float | None


def class_scores(
    train: Labelled, unseen: Labelled | None, fake: Labelled, classes: list[str]
) -> tuple[dict[str, float], list[ClassScore]]:
    """Accuracy on samples of a logistic regression that is trained on real images.

    The GAN-test of Shmelkov et al. (2018). It is bounded by the accuracy on real images, which is
    returned as well, and does not measure variety: one good image for each class scores 1.

    Args:
        train: Training images, on which the classifier is trained.
        unseen: Real images that neither the model nor the classifier has seen, if there are any.
        fake: Samples, and the classes that they were generated for.
        classes: Names of the classes, in the order of their numbers.

    Returns:
        ``class_score``, the accuracy on samples, and ``class_score_holdout``, the accuracy on
        unseen images, if there are any of these classes; and the results of each class. Both are
        empty if all training images are of one class.
    """
    if len(np.unique(train.labels)) < 2:
        return {}, []
    # Imported here, as it takes 1.5 s and most collections have no classes.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000, tol=1e-6))
    model.fit(train.features.double().numpy(), train.labels)

    def right(of: Labelled) -> NDArray[np.bool_]:
        found = model.predict(of.features.double().numpy()) if len(of.labels) else of.labels
        return np.asarray(found == of.labels)

    samples, real = right(fake), None if unseen is None else right(unseen)
    numbers = {"class_score": float(samples.mean())}
    if real is not None and len(real):
        numbers["class_score_holdout"] = float(real.mean())
    return numbers, [
        _score(number, name, fake, samples, unseen, real) for number, name in enumerate(classes)
    ]


def _score(  # noqa: PLR0917
    number: int,
    name: str,
    fake: Labelled,
    right: NDArray[np.bool_],
    unseen: Labelled | None,
    real: NDArray[np.bool_] | None,
) -> ClassScore:
    asked = fake.labels == number
    of_class = np.zeros(0, bool) if unseen is None else unseen.labels == number
    distance = None
    if unseen is not None and min(asked.sum(), of_class.sum()) >= FEWEST_OF_CLASS:
        distance = kid(unseen.of(number), fake.of(number))
    return ClassScore(
        name,
        int(asked.sum()),
        float(right[asked].mean()) if asked.any() else None,
        int(of_class.sum()),
        float(real[of_class].mean()) if real is not None and of_class.any() else None,
        distance,
    )
