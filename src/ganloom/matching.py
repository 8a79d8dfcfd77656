"""Statistics of real and fake images that the generator matches, without a discriminator.

There are two: the mean of a frozen network's features, and the distributions of small patches. A
batch is too small to estimate them, so that fakes are represented by moving statistics. These are
kept in a dictionary of tensors, the memory, which is part of the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import conv2d, normalize

from ganloom.features import LITE0, WIDTH, pooled
from ganloom.pyramid import pyramid
from ganloom.resampling import moved

# Half-life of the moving statistics of fakes, in images.
HALF_LIFE = 2000

FILTERS = 64
PATCH = 7
# Patches of an image at each level: about PLACES x PLACES.
PLACES = 16
# Probabilities of the quantiles, dense at the tails, where outliers are.
SHARES = torch.sigmoid(torch.linspace(-7, 7, 64))


# --- features ------------------------------------------------------------------------------------


def feature_memory(device: torch.device) -> dict[str, Tensor]:
    """Create the memory of ``feature_gradient``, of EfficientNet-Lite0's features.

    ``mean_real`` and ``mean_fake`` (1280,), and ``variance_real`` (), the sum of all variances.
    """
    return {
        "mean_real": torch.zeros(WIDTH, device=device),
        "variance_real": torch.ones((), device=device),
        "mean_fake": torch.zeros(WIDTH, device=device),
    }


@torch.no_grad()
def remember_features(
    memory: dict[str, Tensor], real: Iterable[Tensor], fake: Iterable[Tensor]
) -> None:
    """Compute the initial statistics of ``feature_gradient``.

    Args:
        memory: Memory from ``feature_memory``, filled in place.
        real: Batches of real images, (B, 3, R, R) in [-1, 1].
        fake: Batches of fakes.
    """
    seen = torch.cat([pooled(images, LITE0) for images in real])
    memory["mean_real"].copy_(seen.mean(dim=0))
    memory["variance_real"].copy_(seen.var(dim=0).sum())
    memory["mean_fake"].copy_(torch.cat([pooled(images, LITE0) for images in fake]).mean(dim=0))


def feature_gradient(fake: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Feature matching: how fakes have to change for the mean of their features to be the real one.

    Salimans et al. (2016), arXiv:1606.03498, section 3.1, with a frozen network instead of D. As
    it does not change, a moving mean of fakes may be used (dos Santos et al., 2019,
    arXiv:1904.02762).

    Args:
        fake: (B, 3, R, R) in [-1, 1].
        memory: ``mean_fake`` is updated in place.

    Returns:
        The gradient, (B, 3, R, R), that the squared distance of the means would have if the moving
        mean were that of this batch; and this distance, (), in units of ``variance_real``.
    """
    fake = fake.detach().requires_grad_()
    mean = pooled(fake, LITE0).mean(dim=0)
    _update(memory["mean_fake"], mean.detach(), len(fake))
    gap = memory["mean_fake"] - memory["mean_real"]
    pull = 2 * (gap * mean).sum() / memory["variance_real"]
    (gradient,) = torch.autograd.grad(pull, fake)
    return gradient, gap.square().sum() / memory["variance_real"]


# --- patches -------------------------------------------------------------------------------------


def patch_memory(resolution: int, device: torch.device) -> dict[str, Tensor]:
    """Create the memory of ``patch_gap``, for L levels of the pyramid, F filters and Q quantiles.

    ``filters`` (L, F, 3, 7, 7), scaled so that responses of real images have a standard deviation
    of 1; ``quantiles`` (L, F, Q) of these responses; ``shares_real`` and ``shares_fake``
    (L, F, Q), the shares of responses that are at most each quantile.
    """
    levels = len(list(pyramid(torch.zeros(1, 3, resolution, resolution))))
    statistic = (levels, FILTERS, len(SHARES))
    return {
        "filters": torch.zeros(levels, FILTERS, 3, PATCH, PATCH, device=device),
        "quantiles": torch.zeros(statistic, device=device),
        "shares_real": torch.zeros(statistic, device=device),
        "shares_fake": torch.zeros(statistic, device=device),
    }


@torch.no_grad()
def remember_patches(
    memory: dict[str, Tensor], real: Iterable[Tensor], fake: Iterable[Tensor], seed: int
) -> None:
    """Draw the filters, and compute the initial statistics of ``patch_gap``.

    Args:
        memory: Memory from ``patch_memory``, filled in place.
        real: Batches of real images, (B, 3, R, R) in [-1, 1].
        fake: Batches of fakes.
        seed: Seed of the filters.
    """
    drawn = torch.randn(FILTERS, 3, PATCH, PATCH, generator=torch.Generator().manual_seed(seed))
    memory["filters"].copy_(normalize(drawn.flatten(1)).view_as(drawn))
    for level, seen in enumerate(_all_responses(real, memory)):
        # At least a step of one byte: images of a single colour have no deviation.
        spread = seen.std(dim=1, keepdim=True).clamp_min(2 / 255)
        memory["filters"][level] /= spread[..., None, None]
        ordered = (seen / spread).sort(dim=1).values
        at = (SHARES.to(seen.device) * (ordered.shape[1] - 1)).round().long()
        memory["quantiles"][level] = ordered[:, at]
        above = torch.searchsorted(memory["quantiles"][level], ordered)
        memory["shares_real"][level] = _shares(above, len(SHARES))
    for level, seen in enumerate(_all_responses(fake, memory)):
        above = torch.searchsorted(memory["quantiles"][level], seen)
        memory["shares_fake"][level] = _shares(above, len(SHARES))


def patch_gap(fake: Tensor, memory: dict[str, Tensor]) -> Tensor:
    """Squared sliced Wasserstein distance between patches of fakes and of real images.

    As in texture synthesis (Heitz et al., 2021, arXiv:2006.07229; on patches, Elnekave and Weiss,
    2022, arXiv:2203.11862). The responses of a filter are one-dimensional, so that optimal
    transport maps each response of a fake to the response of real images at the same quantile.

    Args:
        fake: (B, 3, R, R) in [-1, 1].
        memory: ``shares_fake`` is updated in place.

    Returns:
        (), the mean over responses, filters and levels, in units of the variance of real responses.
        Its gradient moves each response to the one that it is mapped to.
    """
    gaps = []
    for level, responses in enumerate(_responses(fake, memory)):
        quantiles, shares_real, shares_fake = (
            memory[name][level] for name in ("quantiles", "shares_real", "shares_fake")
        )
        seen = responses.detach()
        above = torch.searchsorted(quantiles, seen)
        _update(shares_fake, _shares(above, len(SHARES)), len(fake))
        goal = _interpolated(shares_fake, shares_real, quantiles)  # of each quantile
        goals = _interpolated(seen, quantiles, goal, above)
        gaps.append((responses - goals).square().mean())
    return torch.stack(gaps).mean()


def _responses(images: Tensor, memory: dict[str, Tensor]) -> Iterator[Tensor]:
    """Responses (F, N) of each level, finest first, at some places of (B, 3, R, R).

    The places are a grid with a random offset.
    """
    for level, filters in zip(pyramid(images), memory["filters"], strict=True):
        step = math.ceil(level.shape[-1] / PLACES)
        first = torch.randint(step, (2, 1), device=level.device)
        rows, columns = first + torch.arange(level.shape[-1] - step + 1, device=level.device)
        seen = moved(level, rows.unsqueeze(0), columns.unsqueeze(0))
        places = conv2d(seen, filters, stride=step)
        yield places.transpose(0, 1).flatten(1).contiguous()


def _all_responses(batches: Iterable[Tensor], memory: dict[str, Tensor]) -> list[Tensor]:
    responses = [list(_responses(images, memory)) for images in batches]
    return [torch.cat(level, dim=1) for level in zip(*responses, strict=True)]


def _shares(above: Tensor, limits: int) -> Tensor:
    """Share of each row's values that is at most each limit.

    Args:
        above: (F, N) index of the first limit that is at least the value.
        limits: Number Q of limits.

    Returns:
        (F, Q).
    """
    rows, bins = len(above), limits + 1
    first = bins * torch.arange(rows, device=above.device).unsqueeze(1)
    index = (first + above).flatten()
    # Integers, whose sums do not depend on the order of a GPU's additions.
    counts = index.new_zeros(rows * bins).scatter_add_(0, index, torch.ones_like(index))
    return counts.view(rows, bins).cumsum(dim=1)[:, :-1] / above.shape[1]


def _interpolated(x: Tensor, at: Tensor, values: Tensor, above: Tensor | None = None) -> Tensor:
    """Piecewise linear interpolation through (at, values), constant beyond the ends.

    Args:
        x: (F, N).
        at: (F, Q), ascending in each row.
        values: (F, Q).
        above: (F, N) index of the first ``at`` that is at least x; None to search it.
    """
    above = torch.searchsorted(at, x) if above is None else above
    above = above.clamp(1, at.shape[1] - 1)
    first, last = at.gather(1, above - 1), at.gather(1, above)
    way = ((x - first) / (last - first).clamp_min(1e-12)).clamp(0, 1)
    return values.gather(1, above - 1).lerp(values.gather(1, above), way)


def _update(moving: Tensor, seen: Tensor, images: int) -> None:
    """Update a moving statistic by that of ``images`` images."""
    moving.lerp_(seen, 1 - 0.5 ** (images / HALF_LIFE))
