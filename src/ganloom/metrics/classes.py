"""Whether samples show the class that was asked for, as a classifier of real pictures sees it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from ganloom.metrics.distances import kid

# Of a class, for a KID of it.
FEWEST_OF_CLASS = 20

# Training images that the classifier is fitted to, at most, and how loosely: it names 81 % of MNIST
# digits right after 500 images and 90 % after 2,000, and fewer when fitted tighter or looser.
FITTED = 2000
C = 0.1


class Labelled(NamedTuple):
    """Features (N, D) and the numbers of their classes (N,)."""

    features: Tensor
    labels: NDArray[np.int64]

    def of(self, number: int) -> Tensor:
        return self.features[from_numpy(self.labels == number)]


class ClassScore(NamedTuple):
    """What is said of one class.

    Attributes:
        name: Of the class.
        asked: Samples of which it was asked for.
        named: Share of these that the classifier names so; None where there are none.
        holdout: Unseen real pictures of it.
        holdout_named: Share of these that the classifier names so; None where there are none.
        kid: Between these samples and those pictures; None where one are fewer than 20.
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
    """Accuracy of a logistic regression that was fitted to real pictures, on samples.

    The GAN-test of Shmelkov et al. (2018). It cannot be better than the classifier is, so that is
    told as well, and it says nothing of variety: one good picture for each class is enough for 1.

    Args:
        train: Training images, to fit it to.
        unseen: Real pictures that neither saw; None: there are none.
        fake: Samples, and the classes that were asked for.
        classes: Names of the classes, in the order of their numbers.

    Returns:
        ``class_score``, the share of samples that are named as asked, and, where there are unseen
        pictures of these classes, ``class_score_holdout``, the share of those that are named right;
        the same of every class. Nothing where all training images are of one class.
    """
    if len(np.unique(train.labels)) < 2:
        return {}, []
    # A second and a half, and most collections have no classes.
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
