"""Training steps as CUDA graphs, which launch all kernels of a step at once.

Kernels of small networks take less time than Python needs to launch them, so that a GPU would be
idle most of the time. See Nguyen et al. (2021), "Accelerating PyTorch with CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)
Step = Callable[[Key, Tensor, Tensor], None]

# Steps before a capture, in which libraries initialise themselves; the number that PyTorch's
# documentation recommends.
WARM_UP = 3


def recorded(step: Step[Key], keys: Iterable[Key], shown: Tensor, labels: Tensor) -> Step[Key]:
    """Capture a step once for each key, and replay the captured graphs.

    The tensors that a step reads and writes (weights, moments, statistics) must stay in place.
    Random draws differ from replay to replay, as PyTorch advances its generator.

    Args:
        step: Function that works on the device only and reads nothing back. It is called a few
            times as a warm-up; the caller has to restore the state that this changes.
        keys: All keys with which it will be called.
        shown: Images of the size with which it will be called.
        labels: Their classes.
    """
    inputs = [torch.empty_like(value).copy_(value) for value in (shown, labels)]
    graphs = {}
    pool = torch.cuda.graph_pool_handle()  # shared: nothing in it outlives a step
    for key in keys:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                step(key, *inputs)
        torch.cuda.current_stream().wait_stream(aside)
        graphs[key] = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graphs[key], pool=pool):
            step(key, *inputs)

    def replay(key: Key, *values: Tensor) -> None:
        for home, value in zip(inputs, values, strict=True):
            home.copy_(value)
        graphs[key].replay()

    return replay
