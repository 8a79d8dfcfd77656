"""Encoding of animations: H.264 in MP4, WebP and GIF.

Frames are (T, H, W, 3) RGB, uint8. Equal frames give equal bytes.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray
from PIL import ExifTags, Image

Frame = NDArray[np.uint8]
Frames = NDArray[np.uint8]

# Least sides of a frame in px: players would blur smaller ones when they scale them.
MP4_SIDE = 512
IMAGE_SIDE = 256
# A size that posts and READMEs accept.
IMAGE_BYTES = 1_500_000
SUFFIXES = (".mp4", ".gif", ".webp")
GIF_FPS = 50  # browsers slow faster ones down to 10 frames per second
HOLD = 0.2  # share of a timelapse that shows the last image


def save(
    frames: Sequence[Frame] | Frames,
    path: Path,
    fps: int,
    *,
    as_is: bool = False,
    made: str = "",
) -> None:
    """Write an animation in the format of the suffix, one of ``SUFFIXES``.

    Args:
        frames: Frames of the animation; for an MP4 they are read one at a time.
        path: Path of the file.
        fps: Frames per second.
        as_is: Whether frames keep their size; otherwise small ones are enlarged, and images of more
            than ``IMAGE_BYTES`` are halved.
        made: Description of the origin in ASCII: the comment of an MP4 or GIF, the ImageDescription
            of a WebP's Exif data.

    Raises:
        OSError: The file cannot be written.
    """
    if path.suffix == ".mp4":
        save_mp4(frames, path, fps, 0 if as_is else MP4_SIDE, made)
    else:
        write = save_gif if path.suffix == ".gif" else save_webp
        side, most = (0, sys.maxsize) if as_is else (IMAGE_SIDE, IMAGE_BYTES)
        every = frames if isinstance(frames, np.ndarray) else np.stack(list(frames))
        write(enlarged(every, side), path, fps, most, made)


class TimelineError(ValueError):
    """The timeline is missing, or has a smaller grid; the message gives the reason."""


def timelapse(folder: Path, frames: int, resolution: int, grid: int | None = None) -> Frames:
    """Read the timeline of a training as frames; all images are shown equally long but the last.

    Args:
        folder: Folder of ``timeline.json``.
        frames: Number of frames T.
        resolution: Side of an image in the grids, in px.
        grid: Side of the upper left part of the grids to show; None: all.

    Raises:
        TimelineError: The timeline is missing, or its grids are smaller.
    """
    try:
        moments = json.loads((folder / "timeline.json").read_text(encoding="utf-8"))
        pictures = [np.asarray(_rgb(folder / moment["file"])) for moment in moments]
    except FileNotFoundError as error:
        raise TimelineError(
            f"{error.filename} does not exist; bring it back: dvc checkout {folder}"
        ) from None
    side = min(pictures[0].shape[:2])
    if grid and grid * resolution > side:
        raise TimelineError(f"the timeline shows grids of {side // resolution} at a side at most")
    if grid:
        pictures = [picture[: grid * resolution, : grid * resolution] for picture in pictures]
    shown = np.arange(frames) * len(moments) // max(1, round(frames * (1 - HOLD)))
    return np.stack(pictures)[shown.clip(max=len(moments) - 1)]


def _rgb(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def enlarged(frames: Frames, at_least: int) -> Frames:
    """Repeat each pixel until the longer side has ``at_least`` px."""
    factor = max(1, -(-at_least // max(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def save_mp4(
    frames: Sequence[Frame] | Frames, path: Path, fps: int, side: int = 0, made: str = ""
) -> None:
    """Write H.264 that all browsers and phones play: yuv420p, index at the start.

    The format requires even sides; the last row or column of an odd one is repeated.

    Args:
        frames: Frames, which are enlarged one at a time to save memory.
        path: Path of the file.
        fps: Frames per second.
        side: Least side of a frame in px.
        made: Comment of the file; "": none.
    """
    height, width = enlarged(frames[0][None], side).shape[1:3]
    even = ((0, height % 2), (0, width % 2), (0, 0))
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        if made:
            container.metadata["comment"] = made
        # A constant quantiser: otherwise x264 reduces the quality of the last frames, on which none
        # depends, and a loop is discontinuous. One thread: the bytes would depend on the cores.
        options = {"qp": "20", "preset": "medium", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        # Players guess a missing colour space in different ways.
        context = stream.codec_context
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for frame in frames:
            pixels = np.pad(enlarged(frame[None], side)[0], even, mode="edge")
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def save_webp(frames: Frames, path: Path, fps: int, max_bytes: int, made: str = "") -> None:
    """Write an endless WebP animation with the best quality within ``max_bytes``.

    Frames that are too large even with the lowest quality are halved in size until they fit.
    """
    for quality in (85, 60, 35):
        data = _webp(frames, fps, quality, made)
        if len(data) <= max_bytes:
            path.write_bytes(data)
            return
    save_webp(_halved(frames), path, fps, max_bytes, made)


def save_gif(frames: Frames, path: Path, fps: int, max_bytes: int, made: str = "") -> None:
    """Write an endless GIF with the most colours within ``max_bytes``; halve it like a WebP."""
    for colours in (256, 128, 64):
        data = _gif(frames, fps, colours, made)
        if len(data) <= max_bytes:
            path.write_bytes(data)
            return
    save_gif(_halved(frames), path, fps, max_bytes, made)


def _halved(frames: Frames) -> Frames:
    return np.stack([np.asarray(Image.fromarray(frame).reduce(2)) for frame in frames])


def _webp(frames: Frames, fps: int, quality: int, made: str) -> bytes:
    first, *rest = map(Image.fromarray, frames)
    exif = Image.Exif()
    if made:
        exif[ExifTags.Base.ImageDescription] = made
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
        exif=exif.tobytes() if made else b"",
    )
    return file.getvalue()


def _gif(frames: Frames, fps: int, colours: int, made: str) -> bytes:
    # A common palette: with palettes of their own, the static parts of frames would flicker.
    some = frames[:: max(1, len(frames) // 16)]
    palette = Image.fromarray(np.concatenate(some)).quantize(colours)
    first, *rest = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    )
    # GIF has units of 10 ms; rounding the ends, not the durations, keeps the mean speed.
    ends = (np.arange(len(frames) + 1) * 100 / fps).round() * 10
    file = io.BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=rest,
        duration=np.diff(ends).astype(int).tolist(),
        loop=0,
        comment=made.encode(),
    )
    return file.getvalue()
