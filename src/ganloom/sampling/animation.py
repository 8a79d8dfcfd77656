"""Frames to files that play anywhere: H.264 in MP4, and animated WebP.

Frames are (T, H, W, 3) RGB, uint8. The same frames give the same bytes.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[np.uint8]


def enlarged(frames: Frames, at_least: int) -> Frames:
    """Repeat each pixel so often that the longer side has ``at_least`` px."""
    factor = -(-at_least // max(frames.shape[1:3]))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def save_mp4(frames: Frames, path: Path, fps: int) -> None:
    """Write H.264 as every browser and phone plays it: yuv420p, index in front.

    That format needs even sides; an odd one gets its last row or column twice.
    """
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        # A constant quantiser: otherwise x264 saves on the last frames, as none depends on them,
        # and a loop jumps where it begins again. One thread: bytes would depend on the cores.
        options = {"qp": "20", "preset": "medium", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        # Players guess the colour space of a file that does not say it, and guess differently.
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def save_webp(frames: Frames, path: Path, fps: int, max_bytes: int) -> None:
    """Write an endless WebP animation in the best quality that ``max_bytes`` allow.

    Frames that do not fit even in the worst one are halved in size until they do.
    """
    for quality in (85, 60, 35):
        data = _webp(frames, fps, quality)
        if len(data) <= max_bytes:
            break
    else:
        small = [np.asarray(Image.fromarray(frame).reduce(2)) for frame in frames]
        return save_webp(np.stack(small), path, fps, max_bytes)
    path.write_bytes(data)
    return None


def _webp(frames: Frames, fps: int, quality: int) -> bytes:
    first, *rest = map(Image.fromarray, frames)
    file = io.BytesIO()
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=round(1000 / fps),
        loop=0,
        quality=quality,
        method=4,
    )
    return file.getvalue()
