"""Directions of z along which a generator's pictures change most.

GANSpace (Härkönen et al., 2020, arXiv:2004.02546): the principal components of what the first
layer makes of random z, and for each the change of z that leads along it. Nobody names them: what
one does is seen when it is followed.
"""

from __future__ import annotations

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from ganloom.models import Generator
from ganloom.sampling.latents import latents

SAMPLES = 2000  # of z; more change the first components hardly


def directions(net: Generator, count: int, seed: int) -> Tensor:
    """Find directions, the strongest first.

    Args:
        net: In eval mode. Its first linear layer is looked at, classes and codes in the middle.
        count: How many; not more than z is long.
        seed: Of the samples.

    Returns:
        (count, latent) float32 on the CPU: added to z, one standard deviation of the component. The
        longest entry of each is positive, as the sign of a component is arbitrary.
    """
    told = net.inputs
    first = next(module for module in net.net.modules() if isinstance(module, nn.Linear))
    z = latents(SAMPLES, told.latent, seed, "directions")
    v = torch.zeros(SAMPLES, told.width)
    v[:, : told.latent] = z
    v[:, told.latent : told.latent + told.classes] = 1 / max(told.classes, 1)
    with torch.inference_mode():
        made = first(net.front(v.to(first.weight.device))).cpu()
    components = PCA(count, svd_solver="randomized", random_state=seed, whiten=True)
    along = torch.from_numpy(components.fit_transform(made.double().numpy()))
    found = torch.linalg.lstsq(along, z.double()).solution
    strongest = found.gather(1, found.abs().argmax(dim=1, keepdim=True))
    return (found * strongest.sign()).float()
