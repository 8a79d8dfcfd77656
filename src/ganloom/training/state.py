"""The state of a training."""

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

# Raised by reading a damaged checkpoint.
_WRONG = (SafetensorError, AttributeError, KeyError, TypeError, ValueError, RuntimeError)

# Attributes that a checkpoint stores as JSON.
_FACTS = ("step", "history", "frames", "started", "seconds", "joules", "resumed")


@dataclass
class TrainingState:
    """Everything that a training changes, apart from torch's random generators.

    A training that loads it continues bit for bit.

    Attributes:
        networks: ``generator``, ``discriminator`` and ``average``.
        optimizers: Optimisers of ``generator`` and ``discriminator``.
        device: Device of all tensors.
        memory: State of the objective; its own tensors, not copies.
        step: Number of steps done.
        sums: Sum and count since the last tick, by name in the history. The tensors stay in place,
            as a step may be a recorded CUDA graph.
        history: A row for each tick.
        frames: Entries of timeline.json.
        best: Weights of average and discriminator at the lowest KID; empty if none are kept.
        started: Start of the first process, UTC.
        seconds: Time spent up to the last checkpoint, by all processes.
        joules: Energy used by the machine's processors in that time; 0 where it cannot be read.
        resumed: Number of times that a checkpoint was loaded.
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

    def note(self, values: dict[str, Tensor]) -> None:
        """Add values to the sums, on the device, because reading a number would wait for it."""
        for name, value in values.items():
            total = self._total(name)
            total[0] += value.detach().double().sum()
            total[1] += value.numel()

    def _total(self, name: str) -> Tensor:
        if name not in self.sums:
            self.sums[name] = torch.zeros(2, dtype=torch.float64, device=self.device)
        return self.sums[name]

    def means(self) -> dict[str, float]:
        """Return the means of the noted values since the last call, by name."""
        totals = {name: total.tolist() for name, total in sorted(self.sums.items())}
        for total in self.sums.values():
            total.zero_()
        return {name: value / count for name, (value, count) in totals.items() if count}

    def keep(self) -> None:
        """Keep the present weights as the best ones."""
        self.best = {
            name: {key: value.cpu().clone() for key, value in net.state_dict().items()}
            for name, net in self.networks.items()
            if name != "generator"
        }

    def finite(self) -> bool:
        """Tell whether all values noted since the last tick and all weights are finite."""
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
        """Load the checkpoint in ``folder``; False if there is none.

        Raises:
            DamagedError: The file is not a checkpoint of this training.
        """
        try:
            return self._load(folder)
        except _WRONG as error:
            raise DamagedError(
                f"{folder / checkpoint.STATE}: damaged ({error!r}); to restart this training, "
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


def fresh(model: params.Model, inputs: Inputs, device: torch.device) -> TrainingState:
    """Create networks with random weights from torch's global generator, and their optimisers.

    With ``init_from``, weights of another training replace random ones of the same name and shape.

    Raises:
        TransferError: These weights are missing, or are not the expected ones.
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
        # The memory format in which convolutions are fastest, on CPUs and on GPUs.
        network.to(device).to(memory_format=torch.channels_last)
        learning = [p for p in network.parameters() if p.requires_grad]
        # Capturable optimisers count their steps on the GPU, as CUDA graphs require.
        on_gpu = device.type == "cuda"
        match spec:
            case params.Adam():
                beta1, beta2 = spec.betas
                optimizer: Optimizer = Adam(
                    learning, rates[player], (beta1, beta2), fused=True, capturable=on_gpu
                )
            case params.RmsProp():
                optimizer = RMSprop(learning, rates[player], capturable=on_gpu)
        _create_state(optimizer)
        optimizers[player] = optimizer
    return TrainingState({**players, "average": ema.shadow(generator)}, optimizers, device)


def _create_state(optimizer: Optimizer) -> None:
    """Create moments and counters, all 0, which torch would create in the first step."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # gradients are 0, so weights do not change
    optimizer.zero_grad(set_to_none=True)
    for known in optimizer.state.values():
        for value in known.values():
            value.zero_()
