"""Hostile files: small real files of every kind that ganloom reads, mutated by number.

The same number gives the same file. ``hostile_trials.py`` feeds them to ganloom.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms
from torch import nn

from ganloom import models, params, recipes
from ganloom.images import encoding, formats
from ganloom.images.shards import sha256
from ganloom.nets.inputs import Inputs
from ganloom.sampling.predictor import InputPredictor, PredictorInfo
from ganloom.tables import Candidate, ManifestRow, columns
from ganloom.training import checkpoint
from ganloom.training.state import fresh

ROOT = Path(__file__).parents[1]


class Seed(NamedTuple):
    """A file before mutation.

    Attributes:
    name: File name.
    data: Bytes to mutate.
    seal: Function that makes the file from the mutated bytes: it corrects checksums and lengths, or
    compresses, so that mutations reach the inner layers.
    """

    name: str
    data: bytes
    seal: Callable[[bytes], bytes] = bytes


# --- pictures ----------------------------------------------------------------------------------


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


RGB = Image.fromarray(_noise(24, 40, 3))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pictures() -> list[Seed]:
    """Files of all formats that ganloom reads, in several variants."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    frames = {"save_all": True, "append_images": [Image.fromarray(_noise(24, 40, 3)[::-1])]}
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        *((form, RGB, {}) for form in formats.FORMATS if form != "HEIF"),  # which an extra reads
        *((form, RGB, frames) for form in ("GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF")),
        ("JPEG", RGB, {"exif": exif, "progressive": True}),
        ("JPEG", RGB.convert("CMYK"), {}),
        ("JPEG", RGB.convert("L"), {}),
        ("PNG", RGB.convert("P"), {"transparency": b"\0\x80"}),
        ("PNG", Image.fromarray(_noise(24, 40, 4)), {"exif": exif}),
        ("PNG", Image.fromarray(_noise(24, 40).astype(np.uint16) << 8), {}),
        ("WEBP", Image.fromarray(_noise(24, 40, 4)), {"lossless": True, "exif": exif}),
        ("BMP", RGB.convert("P"), {}),
        ("BMP", RGB.convert("1"), {}),
        ("TIFF", RGB.convert("LAB"), {}),
        *((form, RGB, {"icc_profile": SRGB}) for form in ("TIFF", "WEBP", "AVIF")),
        ("TIFF", Image.new("F", (8, 8), 0.5), {}),
        ("TIFF", RGB.convert("1"), {"compression": "group4"}),
        *(
            ("TIFF", RGB, {"compression": how, "exif": exif})
            for how in ("tiff_lzw", "jpeg", "tiff_adobe_deflate", "packbits")
        ),
        ("PPM", RGB.convert("1"), {}),
    ]
    seeds = [Seed(form.lower(), _encoded(image, form, **how)) for form, image, how in made]
    sealed = [Seed("png", seed.data, _with_sums) for seed in seeds if seed.name == "png"]
    plain = b"P3\n# a comment\n4 3\n255\n" + b"7 88 255\n" * 12
    return [*seeds, *sealed, Seed("ppm", plain), Seed("ppm", b"P1\n4 3\n" + b"0 1 1 0\n" * 3)]


def other_pictures() -> list[Seed]:
    """Files of all other formats that Pillow opens; none of their decoders may be reached.

    Formats that Pillow cannot write are noise after the magic bytes.
    """
    Image.init()
    seeds = []
    for form in sorted(set(Image.OPEN) & set(Image.SAVE) - set(formats.FORMATS) - {"MPO"}):
        for image in (RGB, RGB.convert("L"), RGB.convert("1"), Image.new("F", (8, 8))):
            try:
                seeds.append(Seed(form.lower(), _encoded(image, form)))
                break
            except (OSError, ValueError, KeyError):  # not in this mode, or not built in
                continue
    starts = {
        "psd": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x18\0\0\0\x28\0\x08\0\3",
        "xpm": b"/* XPM */\nstatic char *a[] = {",
        "fits": b"SIMPLE  =                    T",
        "ole": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "ps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file closefile\n",
        "svg": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>',
        "sun": b"\x59\xa6\x6a\x95\0\0\0\x28\0\0\0\x18\0\0\0\x18",
        "dcx": b"\xb1\x68\xde\x3a\0\1\0\0",
        "cur": b"\0\0\2\0\1\0",
        "wmf": b"\xd7\xcd\xc6\x9a\0\0",
        "fli": bytes(4) + b"\x11\xaf\1\0\x28\0\x18\0\x08\0",
        "hdf5": b"\x89HDF\r\n\x1a\n",
        "ftex": b"FTEX",
        "html": b"<!doctype html><html><script>",
    }
    return seeds + [Seed(name, start + _noise(400).tobytes()) for name, start in starts.items()]


def _with_sums(data: bytes) -> bytes:
    """A PNG with correct checksums of all complete chunks."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4])
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


# --- archives ----------------------------------------------------------------------------------

MEMBERS = {
    "cat/a.png": encoding.png(_noise(6, 8, 3)),
    "dog/deep/b.jpg": _encoded(RGB, "JPEG"),
    "notes.txt": b"words",
    "inner.zip": b"PK\5\6" + bytes(18),
}


def _zip(files: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in files.items():
            made.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def _tar(files: Mapping[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    return file.getvalue()


def _with_tar_sums(data: bytes) -> bytes:
    """A tar with correct checksums in all headers."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        header = fixed[at : at + 512]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(header)
    return bytes(fixed)


def archives() -> list[Seed]:
    tar = _tar(MEMBERS)
    long = _tar({"long/" * 40 + "\xe9.png": MEMBERS["cat/a.png"]}, tarfile.PAX_FORMAT)
    file = io.BytesIO()
    labels, classes = np.array([0, 1, 0]), np.array(["a", "b"])
    np.savez(file, images=_noise(3, 4, 5), labels=labels, classes=classes)
    return [
        Seed("a.zip", _zip(MEMBERS)),
        Seed("b.zip", _zip(MEMBERS, zipfile.ZIP_STORED)),
        Seed("a.tar", tar),
        Seed("b.tar", tar, _with_tar_sums),
        Seed("c.tar", long, _with_tar_sums),
        Seed("a.tar.gz", gzip.compress(tar, mtime=0)),
        Seed("b.tar.gz", tar, lambda data: gzip.compress(_with_tar_sums(data), 1, mtime=0)),
        Seed("a.tar.bz2", bz2.compress(tar)),
        Seed("a.tar.xz", lzma.compress(tar)),
        Seed("a.npz", file.getvalue()),
    ]


def shards() -> list[Seed]:
    """A file of data/raw: a tar of originals, named by hash."""
    data = MEMBERS["cat/a.png"]
    tar = _tar({f"{sha256(data)}.png": data})
    return [Seed("00.tar", tar), Seed("00.tar", tar, _with_tar_sums)]


# --- tables ------------------------------------------------------------------------------------

DIGESTS = [sha256(data) for data in MEMBERS.values()]


def _table(header: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
    lines = [header, *([row.get(column, "") for column in header] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def _row(source: str, number: int, url: str, **known: str) -> dict[str, str]:
    about = {"title": "A title", "creator": "Somebody", "licence": "CC0", "label": "cat"}
    return {"id": f"{source}/{number}", "source": source, "url": url, **about, **known}


ADDRESSES = [
    "https://example.org/a.png",
    "http://127.0.0.1:9/b.png",
    "http://[::1]/c.png",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/d.png",
    "http://[::ffff:192.168.0.1]/e.png",
    "http://0x7f.1/f.png",
    "http://2130706433/g.png",
]
WEB = [_row("web", number, url) for number, url in enumerate(ADDRESSES)]


def candidates() -> list[Seed]:
    """Candidate lists, as passed on in Git; their paths are in the folder of a trial."""
    header = [*columns(Candidate), "sha256", "bytes"]
    own = [
        _row("folder", 1, "file:pictures/a.png", sha256=DIGESTS[0], bytes="200"),
        _row("folder", 2, "file:pictures/../../secret.png"),
        _row("folder", 3, "file:///etc/passwd"),
        _row("archive", 1, "archive:0/cat/a.png"),
        _row("digits", 1, "digits:17"),
        _row("kene", 1, "kene:0"),
    ]
    return [
        Seed("candidates.csv", _table(header, own)),
        Seed("candidates.csv", _table(header, [*own[:1], *WEB])),
    ]


def address_lists() -> list[Seed]:
    lines = [json.dumps({**row, "sha256": DIGESTS[0]}) for row in WEB]
    return [
        Seed("list.csv", _table(["url", "sha256", "title"], WEB)),
        Seed("list.csv", manifest().data),
        Seed("list.jsonl", "\n".join(lines).encode()),
    ]


def curation_lists() -> list[Seed]:
    rows = [
        {"sha256": digest, "decision": word, "reason": reason, "who": "me"}
        for digest, word, reason in zip(
            DIGESTS, ("keep", "drop", "keep", "drop"), ("", '"a, b"', "x", "\u00e9"), strict=True
        )
    ]
    plain = _table(["sha256", "decision", "reason"], rows)
    return [
        Seed("mine.csv", plain),
        Seed("mine.csv", b"\xef\xbb\xbf" + _table(["who", "reason", "sha256", "decision"], rows)),
        Seed("mine.csv", plain.replace(b"\n", b"\r\n")),
    ]


def manifest() -> Seed:
    size = {"bytes": "200", "width": "8", "height": "6", "mime": "image/png"}
    url = "https://example.org/"
    rows = [_row("web", n, f"{url}{n}", sha256=digest, **size) for n, digest in enumerate(DIGESTS)]
    rows[-1] |= {"error": "empty file", "width": "", "height": "", "mime": ""}
    return Seed("manifest.csv", _table(columns(ManifestRow), rows))


def tables() -> list[Seed]:
    """Files that the pipeline writes and others read."""
    measures = {"cluster": DIGESTS[0], "keeper": "true", "contrast": "40.5", "blurred": "0.25"}
    rows = [{"sha256": digest, **measures} for digest in DIGESTS[:3]]
    kept = [{"sha256": digest, "label": "cat", "split": "train"} for digest in DIGESTS[:2]]
    return [
        manifest(),
        Seed("clusters.csv", _table(["sha256", *measures], rows)),
        Seed("kept.csv", _table(["sha256", "label", "split"], kept)),
    ]


# --- parameters --------------------------------------------------------------------------------


def params_files() -> list[Seed]:
    paths = [ROOT / "recipes" / f"{name}.yaml" for name in ("tiny", "digits", "bob_ross")]
    laughs = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return [
        *(Seed("params.yaml", recipes.whole(path, ROOT).encode()) for path in paths),
        Seed("params.yaml", "\n".join(["a0: &a0 ha", *laughs]).encode()),
        Seed("params.yaml", b"seed: &a {b: *a}\nsources: &c [*c]\n"),
        Seed("params.yaml", b"seed: !!python/object/apply:os.system ['touch hacked']\n"),
    ]


# --- weights -----------------------------------------------------------------------------------


def _safetensors(data: bytes, made: Callable[[bytes], bytes] = bytes) -> list[Seed]:
    """A file, and the same with a mutated header of unchanged length."""
    length = int.from_bytes(data[:8], "little")
    header, tensors = data[8 : 8 + length], data[8 + length :]

    def seal(mutated: bytes) -> bytes:
        return made(struct.pack("<Q", len(mutated)) + mutated + tensors)

    return [Seed("", data, made), Seed("", header, seal)]


def _model() -> params.Model:
    return params.parse(recipes.values(ROOT / "recipes/tiny.yaml", ROOT)).models["dcgan"]


def checkpoints() -> list[Seed]:
    state = fresh(_model(), Inputs(16, 0, (), 0), torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        state.save(Path(folder))
        data = (Path(folder) / checkpoint.STATE).read_bytes()
    return [seed._replace(name=checkpoint.STATE) for seed in _safetensors(data)]


def _networks() -> dict[str, bytes]:
    """Files of a conditional generator with codes, a discriminator and a predictor."""
    spec, told = _model(), Inputs(16, 2, (3,), 1)
    common: dict[str, Any] = {
        "model": "cats",
        "resolution": 16,
        "condition": "onehot",
        "classes": ["cat", "dog"],
        "inputs": told,
        "kimg": 0.5,
    }
    shown = models.DiscriminatorInfo(**common, discriminator=spec.discriminator, outputs=5)
    made = models.GeneratorInfo(**common, generator=spec.generator)
    guessed = PredictorInfo(model="cats", resolution=16, channels=4, inputs=told)
    networks: dict[str, tuple[nn.Module, models.Metadata]] = {
        "generator": (models.build_generator(spec.generator, 16, told, "onehot"), made),
        "discriminator": (models._discriminator(spec.discriminator, 16, told, "onehot", 5), shown),
        "predictor": (InputPredictor(4, 16, told), guessed),
    }
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (net, metadata) in networks.items():
            models.save(net, metadata, Path(folder) / name)
            files[name] = (Path(folder) / name).read_bytes()
    return files


def weights() -> list[Seed]:
    return [
        seed._replace(name=f"{name}.safetensors")
        for name, data in _networks().items()
        for seed in _safetensors(data)
    ]


def bundles() -> list[Seed]:
    data = _networks()["generator"]

    def pack(mutated: bytes) -> bytes:
        return _zip({"models/cats.safetensors": mutated, "README.md": b"# Cats"})

    return [
        Seed("bundle.zip", pack(data)),
        *(seed._replace(name="bundle.zip") for seed in _safetensors(data, pack)),
    ]


def samples() -> list[Seed]:
    """Files of a sample that the studio has saved."""
    numbers = [round(0.1 * n, 1) for n in range(16)]
    about = {"model": "cats", "model_sha256": "0" * 64, "v": numbers, "latent": 16}
    text = json.dumps({**about, "made": {"seed": 1}, "z": numbers})
    return [Seed("0123456789abcdef0123.json", text.encode())]


# --- mutations ---------------------------------------------------------------------------------

WORDS = [
    b"", b"-1", b"0", b"1", b"3", b"65535", b"4294967296", b"99999999999999999999", b"9" * 5000,
    b"1e999", b"-0.0", b"NaN", b"null", b"true", b"[]", b"{}", b'""', b"~", b"2001-99-99",
    b"../../x", b"/etc/passwd", b"file:///etc/passwd", b"file:pictures/%00", b"file://[",
    b"http://127.0.0.1/", b"http://[::1", b"http://user:pw@h/", b"http://\xc3\xa9.example/",
    b"archive:1/", b"archive:999999999/", b"digits:-1", b"digits:x", b"kene:", b"https:",
    b"\0", b"\r", b"\n", b'"', b"'", b",", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xa8",
    b"[" * 3000, b"{a: " * 3000, b'{"a":' * 3000, b"a" * 200_000, b"&a ", b"*a", b"<<: *a",
    b"!!python/name:os.system ", b"!!binary x", b"? ", b"%YAML 9.9\n", b"---\n", b"...\n",
]  # fmt: skip
NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 2**31 - 1, 2**31, 2**32 - 1]


def _place(rng: Random, data: bytearray) -> int:
    # Most of what can go wrong is decided near the start.
    return rng.randrange(min(len(data), rng.choice((64, 300, 1 << 30))) or 1)


def _flip(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _byte(rng: Random, data: bytearray, other: bytes) -> None:
    if data:
        data[_place(rng, data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(rng: Random, data: bytearray, other: bytes) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(rng: Random, data: bytearray, other: bytes) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 4, rng.randrange(64)))]


def _insert(rng: Random, data: bytearray, other: bytes) -> None:
    at = _place(rng, data)
    data[at:at] = rng.randbytes(rng.randrange(64))


def _repeat(rng: Random, data: bytearray, other: bytes) -> None:
    at = _place(rng, data)
    part = data[at : at + rng.randrange(1, 200)]
    data[at:at] = part * rng.choice((1, 2, 50))


def _number(rng: Random, data: bytearray, other: bytes) -> None:
    """Replace a number that may be a length."""
    width, at = rng.choice((2, 4, 8)), _place(rng, data)
    value = rng.choice((*NUMBERS, len(data), rng.randrange(2**16))) % 256**width
    data[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))


def _splice(rng: Random, data: bytearray, other: bytes) -> None:
    data[_place(rng, data) :] = other[_place(rng, bytearray(other)) :]


def _swap(rng: Random, data: bytearray, other: bytes) -> None:
    """Swap two parts of the file."""
    a, b = sorted((_place(rng, data), _place(rng, data)))
    size = min(b - a, rng.randrange(1, 200))
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def _word(rng: Random, data: bytearray, other: bytes) -> None:
    """Replace a word or number."""
    found = list(re.finditer(rb"[\w./:+-]+", bytes(data[: 1 << 16])))
    if found:
        start, end = rng.choice(found).span()
        data[start:end] = rng.choice(WORDS)


MUTATIONS = [_flip, _byte, _cut, _remove, _insert, _repeat, _number, _splice, _swap]
TEXT = re.compile(r"\.(csv|jsonl|json|yaml)$")


def mutated(seeds: Sequence[Seed], number: int) -> Seed:
    """A seed, mutated in one to eight places and sealed; the first ones are intact."""
    if number < len(seeds):
        return seeds[number]._replace(data=seeds[number].seal(seeds[number].data))
    rng = Random(f"{seeds[0].name} {number}")
    seed = rng.choice(seeds)
    data = bytearray(seed.data)
    is_text = TEXT.search(seed.name) or seed.data.startswith(b"{")
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        change = _word if is_text and rng.random() < 0.6 else rng.choice(MUTATIONS)
        change(rng, data, rng.choice(seeds).data)
    return seed._replace(data=seed.seal(bytes(data)))
