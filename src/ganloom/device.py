"""The device on which networks run."""

from __future__ import annotations

import torch


def best_device() -> torch.device:
    """Return the GPU if CUDA is available, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
