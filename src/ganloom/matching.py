"""Matching: what can be said of fakes and of real images as sets, without a judge that learns.

Two things: the mean of a frozen network's features, and the distribution of small patches. Neither
changes while G learns, so each is compared with a moving statistic of fakes: one batch says too
little. A memory is a dictionary of tensors that a checkpoint keeps.
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

# Half-life of what is known of fakes, in images.
REMEMBERED = 2000

FILTERS = 64
PATCH = 7
# Patches of an image that are looked at, at each level: about so many by so many.
PLACES = 16
# Shares of which the quantiles are kept: close at the tails, where stray dots are.
SHARES = torch.sigmoid(torch.linspace(-7, 7, 64))


# --- features ------------------------------------------------------------------------------------


def feature_memory(device: torch.device) -> dict[str, Tensor]:
    """What ``feature_pull`` keeps of EfficientNet-Lite0's features.

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
    """Measure what ``feature_pull`` starts with.

    Args:
        memory: Of ``feature_memory``, filled in place.
        real: Batches of real images, (B, 3, R, R) in [-1, 1].
        fake: Of generated ones.
    """
    seen = torch.cat([pooled(images, LITE0) for images in real])
    memory["mean_real"].copy_(seen.mean(dim=0))
    memory["variance_real"].copy_(seen.var(dim=0).sum())
    memory["mean_fake"].copy_(torch.cat([pooled(images, LITE0) for images in fake]).mean(dim=0))


def feature_pull(fake: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A loss that draws the mean of fakes' features to that of real ones.

    Salimans et al. (2016), arXiv:1606.03498, section 3.1, with a frozen network in D's place: as it
    never changes, the mean of fakes may be a moving one (dos Santos et al., 2019,
    arXiv:1904.02762).

    Args:
        fake: (B, 3, R, R) in [-1, 1].
        memory: ``mean_fake`` is updated in place.

    Returns:
        The loss, (), whose slope is that of the squared distance of the means, as if this batch
        were all that the moving one is made of; and that distance, in units of
        ``variance_real``.
    """
    mean = pooled(fake, LITE0).mean(dim=0)
    _forget(memory["mean_fake"], mean.detach(), len(fake))
    gap = memory["mean_fake"] - memory["mean_real"]
    pull = 2 * (gap * mean).sum() / memory["variance_real"]
    return pull, gap.square().sum() / memory["variance_real"]


# --- patches -------------------------------------------------------------------------------------


def patch_memory(resolution: int, device: torch.device) -> dict[str, Tensor]:
    """What ``patch_gap`` keeps, with L the levels of the pyramid, F filters, and Q ``SHARES``.

    ``filters`` (L, F, 3, 7, 7), under which real images have a standard deviation of 1;
    ``quantiles`` (L, F, Q) of their responses; ``shares_real`` and ``shares_fake`` (L, F, Q), how
    many are not above each quantile.
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
    """Draw the filters, and measure what ``patch_gap`` starts with.

    Args:
        memory: Of ``patch_memory``, filled in place.
        real: Batches of real images, (B, 3, R, R) in [-1, 1].
        fake: Of generated ones.
        seed: Of the filters.
    """
    drawn = torch.randn(FILTERS, 3, PATCH, PATCH, generator=torch.Generator().manual_seed(seed))
    memory["filters"].copy_(normalize(drawn.flatten(1)).view_as(drawn))
    for level, seen in enumerate(_all_responses(real, memory)):
        # A step of a byte at least: images of one colour have none.
        spread = seen.std(dim=1, keepdim=True).clamp_min(2 / 255)
        memory["filters"][level] /= spread[..., None, None]
        ordered = (seen / spread).sort(dim=1).values
        at = (SHARES.to(seen.device) * (ordered.shape[1] - 1)).round().long()
        memory["quantiles"][level] = ordered[:, at]
        memory["shares_real"][level] = _shares(memory["quantiles"][level], ordered)
    for level, seen in enumerate(_all_responses(fake, memory)):
        memory["shares_fake"][level] = _shares(memory["quantiles"][level], seen)


def patch_gap(fake: Tensor, memory: dict[str, Tensor]) -> Tensor:
    """How far fakes' patches are from real ones': the squared sliced Wasserstein distance.

    As in texture synthesis (Heitz et al., 2021, arXiv:2006.07229; on patches, Elnekave and Weiss,
    2022, arXiv:2203.11862): in one dimension, which each filter's response is, the best way from
    one distribution to another takes the response below which a share of the fakes lies to the one
    below which as large a share of the real images does.

    Args:
        fake: (B, 3, R, R) in [-1, 1].
        memory: ``shares_fake`` is updated in place.

    Returns:
        (), the mean over responses, filters and levels, in units of real responses' variance. Its
        slope takes each response on its way.
    """
    gaps = []
    for level, responses in enumerate(_responses(fake, memory)):
        quantiles, shares_real, shares_fake = (
            memory[name][level] for name in ("quantiles", "shares_real", "shares_fake")
        )
        seen = responses.detach()
        _forget(shares_fake, _shares(quantiles, seen), len(fake))
        goals = _interpolated(seen, quantiles, _interpolated(shares_fake, shares_real, quantiles))
        gaps.append((responses - goals).square().mean())
    return torch.stack(gaps).mean()


def _responses(images: Tensor, memory: dict[str, Tensor]) -> Iterator[Tensor]:
    """Of each level, finest first: (F, N), of each filter at some places of (B, 3, R, R).

    The places are a grid that begins elsewhere each time.
    """
    for level, filters in zip(pyramid(images), memory["filters"], strict=True):
        step = math.ceil(level.shape[-1] / PLACES)
        first = torch.randint(step, (2, 1), device=level.device)
        rows, columns = first + torch.arange(level.shape[-1] - step + 1, device=level.device)
        seen = moved(level, rows.unsqueeze(0), columns.unsqueeze(0))
        places = conv2d(seen, filters, stride=step)
        yield places.transpose(0, 1).flatten(1).contiguous()


def _all_responses(batches: Iterable[Tensor], memory: dict[str, Tensor]) -> list[Tensor]:
    found = [list(_responses(images, memory)) for images in batches]
    return [torch.cat(level, dim=1) for level in zip(*found, strict=True)]


def _shares(limits: Tensor, values: Tensor) -> Tensor:
    """The share of each row's values that are at most each limit: (F, Q), (F, N) to (F, Q)."""
    rows, bins = len(limits), limits.shape[1] + 1
    first = bins * torch.arange(rows, device=limits.device).unsqueeze(1)
    index = (first + torch.searchsorted(limits, values)).flatten()
    # Whole numbers: their sums are the same in any order, so a GPU's bits are, too.
    counts = index.new_zeros(rows * bins).scatter_add_(0, index, torch.ones_like(index))
    return counts.view(rows, bins).cumsum(dim=1)[:, :-1] / values.shape[1]


def _interpolated(x: Tensor, at: Tensor, values: Tensor) -> Tensor:
    """The piecewise linear function through (at, values), constant beyond its ends.

    Args:
        x: (F, N).
        at: (F, Q), ascending in each row.
        values: (F, Q).
    """
    above = torch.searchsorted(at, x).clamp(1, at.shape[1] - 1)
    first, last = at.gather(1, above - 1), at.gather(1, above)
    way = ((x - first) / (last - first).clamp_min(1e-12)).clamp(0, 1)
    return values.gather(1, above - 1).lerp(values.gather(1, above), way)


def _forget(known: Tensor, seen: Tensor, images: int) -> None:
    """Move what is known towards what was seen in so many images."""
    known.lerp_(seen, 1 - 0.5 ** (images / REMEMBERED))
