"""Open an untrusted bundle: none of its code is run, and only its models are read."""

from __future__ import annotations

import contextlib
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ganloom.files import OTHER_METHOD, inflates_bit_by_bit
from ganloom.models import GeneratorInfo, ModelError, load_generator, read_info, refusing

MAX_BYTES = 100_000_000  # of all files together
MAX_FILES = 1000
MAX_RESOLUTION = 512  # px: bounds the memory for a sample
MAX_BLOCKS = 10
MAX_LABEL = 200  # characters
MODEL = re.compile(r"models/([a-z][a-z0-9_]{0,99})\.safetensors")


class BundleError(ValueError):
    """A bundle cannot be written or opened. The message says why."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[dict[str, Path]]:
    """Open a bundle, and yield its checked models by name.

    Models of a zip file are unpacked to a temporary folder.

    Args:
        path: Folder or zip file from ``ganloom bundle``; not trusted.

    Raises:
        BundleError: If it is not a bundle, or contains anything unexpected.
    """
    with tempfile.TemporaryDirectory(prefix="ganloom_") as folder:
        if path.is_dir():
            models = _in_folder(path)
        elif path.is_file():
            models = _unpacked(path, Path(folder))
        else:
            raise BundleError(f"{path} does not exist")
        if not models:
            raise BundleError(f"{path} is not a bundle: it has no models/<name>.safetensors")
        for name, model in models.items():
            try:
                check(model)
            except ModelError as error:
                reason = str(error).removeprefix(f"{model}: ")
                raise BundleError(f"{path}: models/{name}.safetensors: {reason}") from None
        yield models


def check(path: Path) -> GeneratorInfo:
    """Load an untrusted generator and return its metadata.

    Raises:
        ModelError: If it is damaged, or its metadata is out of range.
    """
    with refusing(path, "a generator of ganloom"):
        try:
            info = read_info(path, GeneratorInfo)
        except OSError as error:
            raise ModelError(
                f"{path} is damaged or not a generator of ganloom: {error!r}"
            ) from None
    fits = (
        4 <= info.resolution <= MAX_RESOLUTION
        and 1 <= getattr(info.generator, "blocks", 1) <= MAX_BLOCKS
        and all(len(name) <= MAX_LABEL for name in (*info.classes, *info.pictures))
    )
    if not fits:
        raise ModelError(f"{path}: its metadata is out of range")
    load_generator(path, "cpu")
    return info


def _in_folder(folder: Path) -> dict[str, Path]:
    files = sorted((folder / "models").glob("*"))
    _count(folder, len(files), sum(file.lstat().st_size for file in files))
    models = {}
    for file in files:
        match = MODEL.fullmatch(f"models/{file.name}")
        if not match or file.is_symlink() or not file.is_file():
            raise BundleError(f"{folder}: models/{file.name!r} is not a model")
        models[match[1]] = file
    return models


def _unpacked(path: Path, folder: Path) -> dict[str, Path]:
    """Unpack only the models of a zip file to a folder, under safe names."""
    _count(path, 1, path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as bundle:
            members = bundle.infolist()
            _count(path, len(members), sum(member.file_size for member in members))
            models: dict[str, Path] = {}
            for member in members:
                name = PurePosixPath(member.filename)
                if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
                    raise BundleError(f"{path}: {member.filename!r} leads out of the bundle")
                if name.parts[:1] != ("models",) or member.is_dir():
                    continue
                match = MODEL.fullmatch(member.filename)
                if not match or match[1] in models:
                    raise BundleError(
                        f"{path}: {member.filename!r} is not a model, or is a duplicate"
                    )
                if not inflates_bit_by_bit(member):
                    raise BundleError(f"{path}: {member.filename} is {OTHER_METHOD}")
                # The sizes in the archive may be wrong, so the number of bytes is limited.
                with bundle.open(member) as file:
                    data = file.read(MAX_BYTES + 1)
                if len(data) != member.file_size:
                    raise BundleError(f"{path}: {member.filename} does not have the stated size")
                models[match[1]] = folder / f"{match[1]}.safetensors"
                models[match[1]].write_bytes(data)
            return models
    except BundleError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise BundleError(f"{path} is not a readable zip file: {error}") from None


def _count(path: Path, files: int, size: int) -> None:
    if files > MAX_FILES:
        raise BundleError(f"{path}: {files} files, more than {MAX_FILES}")
    if size > MAX_BYTES:
        raise BundleError(f"{path}: {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f}")
