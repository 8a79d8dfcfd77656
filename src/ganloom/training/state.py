"""All that changes during a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from ganloom import models, params
from ganloom.nets.inputs import Inputs
from ganloom.training import checkpoint, ema, transfer
from ganloom.training.checkpoint import DamagedError, Tree

# What reading a damaged checkpoint raises.
_WRONG = (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RuntimeError)

# What a checkpoint holds as JSON.
_FACTS = ("step", "history", "frames", "started", "seconds", "joules", "resumed")


@dataclass
class State:
    """With this, and torch's random generators, a training goes on as if it had never stopped.

    Attributes:
        networks: generator, discriminator and average.
        optimizers: Of generator and discriminator.
        device: Where all of it lives.
        memory: What the objective keeps from step to step; its tensors, not copies.
        step: Steps done.
        sums: Since the last tick, for each name in the history: sum and count. Tensors that stay
            where they are, like all that a step writes: it may be a recorded one.
        history: A row for each tick.
        frames: Entries of timeline.json.
        best: Weights of average and discriminator where the KID was lowest; empty while none is
            kept.
        started: When the first process began, UTC.
        seconds: Time spent up to the last checkpoint, by all processes.
        joules: What the machine's processors used in that time; 0 where it cannot be read.
        resumed: How often a checkpoint was loaded.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    device: torch.device
    memory: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    best: Tree = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0
    joules: float = 0.0
    resumed: int = 0

    def note(self, seen: dict[str, Tensor]) -> None:
        """Add to the sums, on the device: to read a number now would be to wait for it."""
        for name, value in seen.items():
            total = self._total(name)
            total[0] += value.detach().double().sum()
            total[1] += value.numel()

    def _total(self, name: str) -> Tensor:
        if name not in self.sums:
            self.sums[name] = torch.zeros(2, dtype=torch.float64, device=self.device)
        return self.sums[name]

    def means(self) -> dict[str, float]:
        """Of what was noted since the last call, by name."""
        seen = {name: both.tolist() for name, both in sorted(self.sums.items())}
        for both in self.sums.values():
            both.zero_()
        return {name: value / count for name, (value, count) in seen.items() if count}

    def keep(self) -> None:
        """Remember the weights of now as the best ones."""
        self.best = {
            name: {key: value.cpu().clone() for key, value in net.state_dict().items()}
            for name, net in self.networks.items()
            if name != "generator"
        }

    def finite(self) -> bool:
        """Whether all that was noted since the last tick, and every weight, is a number."""
        values = [p for net in self.networks.values() for p in net.parameters()]
        return bool(torch.stack([v.isfinite().all() for v in [*values, *self.sums.values()]]).all())

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        tensors = {
            "networks": {name: net.state_dict() for name, net in self.networks.items()},
            "optimizers": {
                name: checkpoint.optimizer_state(optimizer)
                for name, optimizer in self.optimizers.items()
            },
            "memory": self.memory,
            "sums": self.sums,
            "best": self.best,
            "random": checkpoint.random_state(self.device),
        }
        checkpoint.save(folder, tensors, {name: getattr(self, name) for name in _FACTS})

    def load(self, folder: Path) -> bool:
        """Become what was saved in ``folder``; False where there is nothing.

        Raises:
            DamagedError: what is there is no checkpoint of this training.
        """
        try:
            return self._load(folder)
        except _WRONG as error:
            raise DamagedError(
                f"{folder / checkpoint.STATE}: damaged ({error!r}); to begin this training anew, "
                f"remove {folder}"
            ) from error

    def _load(self, folder: Path) -> bool:
        saved = checkpoint.load(folder)
        if saved is None:
            return False
        tensors, facts = saved
        for name, net in self.networks.items():
            net.load_state_dict(tensors["networks"][name])
        for name, optimizer in self.optimizers.items():
            checkpoint.set_optimizer_state(optimizer, tensors["optimizers"][name])
        for name, value in self.memory.items():
            value.copy_(tensors["memory"][name])
        for total in self.sums.values():
            total.zero_()
        for name, value in tensors.get("sums", {}).items():
            self._total(name).copy_(value)
        self.best = tensors.get("best", {})
        checkpoint.set_random_state(tensors["random"], self.device)
        for name in _FACTS:
            setattr(self, name, facts[name])
        return True


def fresh(model: params.Model, inputs: Inputs, device: torch.device) -> State:
    """Networks with random weights from torch's global generator, and their optimisers.

    With ``init_from``, weights of another training take the place of random ones where they fit.

    Raises:
        TransferError: these weights are not there, or are others than they should be.
    """
    generator = models.build_generator(model.generator, model.resolution, inputs, model.condition)
    discriminator = models.build_discriminator(model, inputs)
    players = {"generator": generator, "discriminator": discriminator}
    if model.init_from:
        transfer.begin(generator, discriminator, model.init_from)
    spec = model.optimizer
    rates = {"generator": spec.lr, "discriminator": spec.lr_discriminator or spec.lr}
    optimizers: dict[str, Optimizer] = {}
    for player, network in players.items():
        # The layout in which convolutions are fastest, on CPUs as on GPUs.
        network.to(device).to(memory_format=torch.channels_last)
        learning = [p for p in network.parameters() if p.requires_grad]
        # Capturable: counts its steps where a recorded step can, too.
        on_gpu = device.type == "cuda"
        match spec:
            case params.Adam():
                beta1, beta2 = spec.betas
                optimizer: Optimizer = Adam(
                    learning, rates[player], (beta1, beta2), fused=True, capturable=on_gpu
                )
            case params.RmsProp():
                optimizer = RMSprop(learning, rates[player], capturable=on_gpu)
        _begin(optimizer)
        optimizers[player] = optimizer
    return State({**players, "average": ema.shadow(generator)}, optimizers, device)


def _begin(optimizer: Optimizer) -> None:
    """Make moments and counters, which torch would only make in the first step; all are 0."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # with no gradient, weights stay what they are
    optimizer.zero_grad(set_to_none=True)
    for known in optimizer.state.values():
        for value in known.values():
            value.zero_()
