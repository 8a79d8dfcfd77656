"""Frames to files that play anywhere: H.264 in MP4, and animated WebP and GIF.

Frames are (T, H, W, 3) RGB, uint8. The same frames give the same bytes.
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

# Small pictures are enlarged: a player would blur them.
MP4_SIDE = 512
IMAGE_SIDE = 256
# What a post or a README can carry.
IMAGE_BYTES = 1_500_000
SUFFIXES = (".mp4", ".gif", ".webp")
GIF_FPS = 50  # browsers show faster ones at 10 frames a second
HOLD = 0.2  # share of a timelapse that shows its last moment


def save(
    frames: Sequence[Frame] | Frames,
    path: Path,
    fps: int,
    *,
    as_is: bool = False,
    made: str = "",
) -> None:
    """Write an animation in the format that the suffix names, one of ``SUFFIXES``.

    Args:
        frames: Frames of the animation; for an MP4 they are read one at a time.
        path: Path of the file.
        fps: Frames per second.
        as_is: Whether frames keep their size: otherwise small ones are enlarged, and images of
            more than ``IMAGE_BYTES`` halved.
        made: What made the animation, in ASCII: an MP4's or GIF's comment, the ImageDescription of
            a WebP's Exif data.

    Raises:
        OSError: the file cannot be written.
    """
    if path.suffix == ".mp4":
        save_mp4(frames, path, fps, 0 if as_is else MP4_SIDE, made)
    else:
        write = save_gif if path.suffix == ".gif" else save_webp
        side, most = (0, sys.maxsize) if as_is else (IMAGE_SIDE, IMAGE_BYTES)
        every = frames if isinstance(frames, np.ndarray) else np.stack(list(frames))
        write(enlarged(every, side), path, fps, most, made)


class TimelineError(ValueError):
    """There is no timeline, or not so large a grid in it; the message says so."""


def timelapse(folder: Path, frames: int, resolution: int, grid: int | None = None) -> Frames:
    """A training's timeline as frames: each moment for as long, and the last for longer.

    Args:
        folder: Of ``timeline.json``.
        frames: T.
        resolution: Side of a picture in its grids, in px.
        grid: Side of the part of them to show, the upper left one; all if none.

    Raises:
        TimelineError: the timeline is missing, or its grids are smaller.
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
    """Repeat each pixel so often that the longer side has ``at_least`` px."""
    factor = max(1, -(-at_least // max(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def save_mp4(
    frames: Sequence[Frame] | Frames, path: Path, fps: int, side: int = 0, made: str = ""
) -> None:
    """Write H.264 as every browser and phone plays it: yuv420p, index in front.

    That format needs even sides; an odd one gets its last row or column twice.

    Args:
        frames: They are enlarged one at a time: a minute of large ones is gigabytes.
        path: Path of the file.
        fps: Frames per second.
        side: Of a frame in px, at least.
        made: The file's comment; "": none.
    """
    height, width = enlarged(frames[0][None], side).shape[1:3]
    even = ((0, height % 2), (0, width % 2), (0, 0))
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        if made:
            container.metadata["comment"] = made
        # A constant quantiser: otherwise x264 saves on the last frames, as none depends on them,
        # and a loop jumps where it begins again. One thread: bytes would depend on the cores.
        options = {"qp": "20", "preset": "medium", "threads": "1"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        # Players guess the colour space of a file that does not say it, and guess differently.
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
    """Write an endless WebP animation in the best quality that ``max_bytes`` allow.

    Frames that do not fit even in the worst one are halved in size until they do.
    """
    for quality in (85, 60, 35):
        data = _webp(frames, fps, quality, made)
        if len(data) <= max_bytes:
            path.write_bytes(data)
            return
    save_webp(_halved(frames), path, fps, max_bytes, made)


def save_gif(frames: Frames, path: Path, fps: int, max_bytes: int, made: str = "") -> None:
    """Write an endless GIF of as many colours as ``max_bytes`` allow, or halve it as a WebP."""
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
    # One palette for all: with one of its own, a frame's still parts would flicker.
    some = frames[:: max(1, len(frames) // 16)]
    palette = Image.fromarray(np.concatenate(some)).quantize(colours)
    first, *rest = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    )
    # A GIF counts hundredths of a second; rounding each time would change the speed.
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
