"""Directions of z along which the images of a generator change most.

GANSpace (Härkönen et al., 2020, arXiv:2004.02546): the principal components of the first layer's
output for random z, and the change of z that moves along each of them.
"""

from __future__ import annotations

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from ganloom.models import Generator
from ganloom.sampling.latents import latents

SAMPLES = 2000  # of z; more hardly change the first components


def directions(net: Generator, count: int, seed: int) -> Tensor:
    """Find directions, the strongest first.

    Args:
        net: Generator in eval mode. Its first linear layer is analysed, with uniform classes and
            codes of 0.
        count: Number of directions, at most the length of z.
        seed: Seed of the samples.

    Returns:
        (count, latent) float32 on the CPU: the change of z for one standard deviation of the
        component. As signs of components are arbitrary, the largest entry of each is positive.
    """
    layout = net.inputs
    first = next(module for module in net.net.modules() if isinstance(module, nn.Linear))
    z = latents(SAMPLES, layout.latent, seed, "directions")
    v = torch.zeros(SAMPLES, layout.width)
    v[:, : layout.latent] = z
    v[:, layout.latent : layout.latent + layout.conditions] = 1 / max(layout.conditions, 1)
    with torch.inference_mode():
        made = first(net.front(v.to(first.weight.device))).cpu()
    components = PCA(count, svd_solver="randomized", random_state=seed, whiten=True)
    along = torch.from_numpy(components.fit_transform(made.double().numpy()))
    solution = torch.linalg.lstsq(along, z.double()).solution
    strongest = solution.gather(1, solution.abs().argmax(dim=1, keepdim=True))
    return (solution * strongest.sign()).float()
