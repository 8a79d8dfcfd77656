"""Training of the enlarger: crops of originals are degraded and restored.

The loss is Charbonnier's, an absolute difference that is smooth at 0 (Lai et al., 2017,
arXiv:1704.03915). After part of the training, a small patch discriminator is added for rough crops,
so that they get edges instead of the mean of all plausible ones (Ledig et al., 2017,
arXiv:1609.04802).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from tqdm import tqdm

from ganloom import params
from ganloom.enlarging.degradation import degrade
from ganloom.enlarging.network import Enlarger, gains_by_bf16
from ganloom.images.arrays import apply_symmetry
from ganloom.images.shards import sha256
from ganloom.training import checkpoint, ema, record

BATCH = 8
LR, LAST_LR = 2e-3, 2e-5  # of the enlarger, decreasing linearly
LR_DISCRIMINATOR = 2e-4
CLEAN = 0.4  # share of crops that are not degraded
ADVERSARIAL_FROM = 0.3  # share of the training after which the discriminator is used
HALF_LIFE = 5000  # of the averaged weights, in crops

# Differences below this are squared. With plain absolute differences, parts that are exact already
# (flat areas of drawings) would outweigh the edges, and the network would not learn.
CHARBONNIER = 0.01

# Period of the discriminator's strides, in px. It sees each batch at a random offset. Without that,
# its gradients would have a grid of this period, and so would enlarged images.
PERIOD = 4

CHECKPOINT_SECONDS = 20.0


def discriminator() -> nn.Module:
    """Build a network from (B, 3, H, W) to a logit per patch: (B, 1, H / 4, W / 4)."""
    layers: list[nn.Module] = [nn.PixelUnshuffle(2)]
    for width, channels, kernel, stride in ((12, 32, 3, 1), (32, 48, 3, 1), (48, 64, 4, 2)):
        layers += [
            nn.Conv2d(width, channels, kernel, stride, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(64, 1, 3, padding=1))


def train(
    section: params.Enlarge, crops: NDArray[np.uint8], *, seed: int, threads: int, work: Path
) -> Enlarger:
    """Train an enlarger, or resume a training that was killed.

    Args:
        section: Network, length of the training, weight of the discriminator.
        crops: (N, S, S, 3) crops of originals, S a multiple of 8.
        seed: Seed of the random draws.
        threads: Number of threads of torch and BLAS, on which the bits depend.
        work: Folder for the checkpoint, which is deleted when the training is complete.

    Returns:
        The averaged network, in eval mode, on the CPU.

    Raises:
        BusyError: Another process runs the same training.
        DamagedError: The checkpoint is invalid.
    """
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    net = Enlarger(section.channels, section.layers).to(memory_format=torch.channels_last)
    critic = discriminator().to(memory_format=torch.channels_last)
    average: Enlarger = ema.shadow(net)  # type: ignore[assignment]  # a copy
    of_net = Adam(net.parameters(), LR, (0.9, 0.99), fused=True)
    of_critic = Adam(critic.parameters(), LR_DISCRIMINATOR, (0.5, 0.999), fused=True)
    networks = {"enlarger": net, "average": average, "discriminator": critic}
    optimizers = {"enlarger": of_net, "discriminator": of_critic}
    half = gains_by_bf16()

    facts = {"enlarge": section.model_dump(), "crops": sha256(crops.tobytes()), "seed": seed}
    facts |= {"threads": threads, **record.machine(torch.device("cpu"))}
    folder = work / f"enlarger-{checkpoint.fingerprint(facts, [])}"
    steps = max(1, round(section.kimg * 1000 / BATCH))

    def learn(step: int) -> None:
        done = step / steps
        of_net.param_groups[0]["lr"] = LR + (LAST_LR - LR) * done
        clean, rough, roughness, seen = _batch(crops, step, seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            made = net(rough, roughness).float()
        loss = ((made - clean).square() + CHARBONNIER**2).sqrt().mean()
        if section.adversarial and done >= ADVERSARIAL_FROM:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                of_clean, of_made = (critic(x[seen]).float() for x in (clean, made.detach()))
            hinge = F.relu(1 - of_clean).mean() + F.relu(1 + of_made).mean()
            of_critic.zero_grad(set_to_none=True)
            hinge.backward()
            of_critic.step()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                judged = critic(made[seen]).float()
            loss = loss - section.adversarial * (judged * roughness.view(-1, 1, 1, 1)).mean()
        of_net.zero_grad(set_to_none=True)
        loss.backward(inputs=list(net.parameters()))
        of_net.step()
        ema.update(average, net, ema.decay((step + 1) * BATCH, BATCH, HALF_LIFE))

    with checkpoint.hold(folder, "enlarger"):
        step = _resume(folder, networks, optimizers)
        progress = tqdm(
            desc="enlarger", total=steps * BATCH, initial=step * BATCH, unit="img", mininterval=1
        )
        saved = time.monotonic()
        while step < steps:
            learn(step)
            step += 1
            progress.update(BATCH)
            if time.monotonic() > saved + CHECKPOINT_SECONDS and step < steps:
                _save(folder, networks, optimizers, step)
                saved = time.monotonic()
        progress.close()
    return average.eval()


def _batch(
    crops: NDArray[np.uint8], step: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, tuple[Any, ...]]:
    """Build the batch of a step from seed and step.

    Returns:
        Clean crops, rough ones at half the side, their roughness, and the index of the part of the
        clean ones that the discriminator sees.
    """
    rng = np.random.default_rng([seed, 2, step])
    rows = rng.integers(len(crops), size=BATCH)
    turns = rng.integers(8, size=BATCH)
    drawn = torch.Generator().manual_seed(int(rng.integers(2**63)))
    pixels = np.stack([apply_symmetry(crops[row], k) for row, k in zip(rows, turns, strict=True)])
    clean = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    roughness, chance = torch.rand(2, BATCH, generator=drawn)
    roughness = roughness * (chance >= CLEAN)
    rough = degrade(clean, roughness, drawn)
    top, left = rng.integers(PERIOD, size=2)
    size = clean.shape[2] - PERIOD
    seen = (..., slice(top, top + size), slice(left, left + size))
    return clean, rough.contiguous(memory_format=torch.channels_last), roughness, seen


def _save(
    folder: Path, networks: dict[str, nn.Module], optimizers: dict[str, Adam], step: int
) -> None:
    tensors = {
        "networks": {name: net.state_dict() for name, net in networks.items()},
        "optimizers": {name: checkpoint.optimizer_state(o) for name, o in optimizers.items()},
    }
    checkpoint.save(folder, tensors, {"step": step})


def _resume(folder: Path, networks: dict[str, nn.Module], optimizers: dict[str, Adam]) -> int:
    """Continue from a checkpoint; return the number of completed steps."""
    try:
        saved = checkpoint.load(folder)
        if saved is None:
            return 0
        tensors, facts = saved
        for name, net in networks.items():
            net.load_state_dict(tensors["networks"][name])
        for name, optimizer in optimizers.items():
            # An optimizer has no state before its first step.
            for number, state in tensors["optimizers"].get(name, {}).items():
                parameter = optimizer.param_groups[0]["params"][int(number)]
                optimizer.state[parameter] = {
                    # The fused kernel requires the memory layout of the parameter.
                    key: torch.empty_like(parameter).copy_(x) if x.shape == parameter.shape else x
                    for key, x in state.items()
                }
        return int(facts["step"])
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as e:
        raise checkpoint.DamagedError(
            f"{folder / checkpoint.STATE}: damaged ({e!r}); to restart this training, remove "
            f"{folder}"
        ) from e
