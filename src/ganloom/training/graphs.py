"""Steps as CUDA graphs: a GPU runs the hundreds of kernels of a step on one word from Python.

A step of a small network is over before Python has launched its next kernel, so that a GPU would
wait most of the time. See Nguyen et al. (2021), "Accelerating PyTorch with CUDA Graphs".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)
Step = Callable[[Key, Tensor, Tensor], None]

# Before a recording, so that what libraries set up once is not in it; as many as PyTorch's
# documentation asks for.
WARM_UP = 3


def recorded(step: Step[Key], keys: Iterable[Key], shown: Tensor, labels: Tensor) -> Step[Key]:
    """The step, recorded once for each key and replayed from then on.

    What it reads and writes has to lie where it lay when it was recorded: weights, moments,
    statistics. Random draws are others each time, as PyTorch moves its generator on.

    Args:
        step: Works on the device alone and reads nothing back. It is taken a few times for warming
            up: the caller has to put back what it changes.
        keys: All that it will be called with.
        shown: Images of the size that it will be called with.
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
