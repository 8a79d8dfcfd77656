"""ICC profiles (version 2) of RGB, grey and CMYK for tests."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

Curve = Callable[[np.ndarray], np.ndarray]  # encoded 0 to 1 -> linear

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
PRIMARIES = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65),
    "Display P3": ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
    "ProPhoto": ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), D50),
}
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def srgb_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_encoded(v: np.ndarray) -> np.ndarray:
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)


CURVES: dict[str, Curve] = {
    "sRGB": srgb_linear,
    "Adobe RGB": lambda v: v ** (563 / 256),
    "Display P3": srgb_linear,
    "ProPhoto": lambda v: np.where(v < 1 / 32, v / 16, v**1.8),
}


def _xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1, (1 - x - y) / y])


def matrix(name: str) -> np.ndarray:
    """Linear RGB to XYZ under D50: (3, 3)."""
    *primaries, white = PRIMARIES[name]
    columns = np.stack([_xyz(*each) for each in primaries], axis=1)
    to_xyz = columns * np.linalg.solve(columns, _xyz(*white))
    cones = (BRADFORD @ _xyz(*D50)) / (BRADFORD @ _xyz(*white))
    return np.linalg.inv(BRADFORD) @ np.diag(cones) @ BRADFORD @ to_xyz


def to_srgb(name: str, pixels: np.ndarray) -> np.ndarray:
    """sRGB values of 8-bit colours by formula: the same shape, 0 to 255, not rounded."""
    linear = CURVES[name](pixels / 255)
    return 255 * srgb_encoded(linear @ (np.linalg.inv(matrix("sRGB")) @ matrix(name)).T)


def rgb_profile(name: str) -> bytes:
    columns = matrix(name).T
    tags = {b"wtpt": _xyz_tag(_xyz(*D50))}
    tags |= {f"{c}XYZ".encode(): _xyz_tag(columns[i]) for i, c in enumerate("rgb")}
    tags |= {f"{c}TRC".encode(): _curve_tag(CURVES[name]) for c in "rgb"}
    return _profile(b"RGB ", tags)


def grey_profile(curve: Curve) -> bytes:
    return _profile(b"GRAY", {b"wtpt": _xyz_tag(_xyz(*D50)), b"kTRC": _curve_tag(curve)})


def _xyz_tag(value: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in value))


def _curve_tag(curve: Curve) -> bytes:
    values = np.round(65535 * curve(np.linspace(0, 1, 4096))).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(values)) + values.tobytes()


def _profile(
    space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ "
) -> bytes:
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79), **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12x4s28x3i", start + len(body), b"test", 0x02400000, kind, space, pcs,
        b"acsp", *(round(65536 * v) for v in _xyz(*D50)),
    )  # fmt: skip
    return header.ljust(128, b"\0") + table + body


def cmyk_profile(lab: np.ndarray) -> bytes:
    """Corners of a printing condition: (2, 2, 2, 2, 3) CIELAB for 0 or 100 % of C, M, Y and K."""
    scaled = np.round(lab * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    ramp = bytes(range(256))
    one = struct.pack(">9i", *(65536 * np.eye(3, dtype=int).ravel()))
    table = b"mft1\0\0\0\0\4\3\2\0" + one + 4 * ramp + scaled.tobytes() + 3 * ramp
    return _profile(b"CMYK", {b"wtpt": _xyz_tag(_xyz(*D50)), b"A2B0": table}, b"prtr", b"Lab ")


def srgb_of_lab(lab: np.ndarray) -> np.ndarray:
    """CIELAB under D50 to sRGB by formula: (..., 3), 0 to 255, not rounded."""
    f = (lab[..., :1] + 16) / 116 + lab[..., 1:] / [500, -200]
    f = np.concatenate([f[..., :1], (lab[..., :1] + 16) / 116, f[..., 1:]], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _xyz(*D50)
    return 255 * srgb_encoded(xyz @ np.linalg.inv(matrix("sRGB")).T)
