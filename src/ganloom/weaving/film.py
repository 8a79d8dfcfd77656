"""Animations of enlarged pictures, which are made one frame at a time."""

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
    """Frames whose pictures are enlarged when a frame is asked for: few are in memory.

    Args:
        frames: (T, H, W, 3), grids of square pictures.
        side: Side of a picture in them, in px.
        size: The same when it is enlarged.
        enlarger: Network that enlarges; None: pictures are interpolated.
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
        # A timelapse shows each moment for several frames.
        if self._last is None or not np.array_equal(self._last[0], frame):
            self._last = frame, self._made(frame)
        return self._last[1]

    def _made(self, frame: Array) -> Array:
        side = self._side
        rows, columns = frame.shape[0] // side, frame.shape[1] // side
        cells = frame.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
        pictures = cells.reshape(-1, side, side, 3)
        return grid(enlarged_all(pictures, self._size, self._enlarger), columns)
