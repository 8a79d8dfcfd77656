"""Animations of enlarged images, computed one frame at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ganloom.enlarging.network import Enlarger
from ganloom.images.sheets import grid
from ganloom.weaving.tile import enlarged_all

Array = NDArray[np.uint8]


class Film(Sequence[Array]):
    """A sequence of frames whose images are enlarged on access, to save memory.

    Args:
        frames: (T, H, W, 3) grids of square images.
        side: Side of an image in the grids, in px.
        size: Side of an enlarged image, in px.
        enlarger: Network that enlarges; None: images are interpolated.
    """

    def __init__(self, frames: Array, side: int, size: int, enlarger: Enlarger | None) -> None:
        self._frames, self._side, self._size, self._enlarger = frames, side, size, enlarger
        self._last: tuple[Array, Array] | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Array]:
        for i in tqdm(range(len(self)), "enlarged frames", mininterval=1, leave=False):
            yield self[i]

    @overload
    def __getitem__(self, at: int) -> Array: ...
    @overload
    def __getitem__(self, at: slice) -> list[Array]: ...
    def __getitem__(self, at: int | slice) -> Array | list[Array]:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        frame = self._frames[at]
        # A timelapse repeats each frame several times.
        if self._last is None or not np.array_equal(self._last[0], frame):
            self._last = frame, self._made(frame)
        return self._last[1]

    def _made(self, frame: Array) -> Array:
        side = self._side
        rows, columns = frame.shape[0] // side, frame.shape[1] // side
        cells = frame.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
        pictures = cells.reshape(-1, side, side, 3)
        return grid(enlarged_all(pictures, self._size, self._enlarger), columns)
