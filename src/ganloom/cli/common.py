"""Shared by several commands: trained models, and validation of options."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from ganloom.enlarging.network import Enlarger
    from ganloom.models import Generator, GeneratorInfo
    from ganloom.trained import Trained

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SEEDS = 0, 2**32 - 1  # as in params.yaml
TRUNCATIONS = 0.01, 2.0
SIDES = 16, 4096  # of an enlarged image, in px


def trained(model: str) -> Trained:
    """Find a trained model, or its last training in DVC's cache; exit if there is none."""
    from ganloom.trained import GENERATOR, MODELS
    from ganloom.trained import trained as find

    models = find(Path())
    if model in models:
        files = models[model]
        if files.finished:
            print(
                f"{model} is not in {MODELS}: it is being trained, or was removed. Using its last "
                f"finished training, of {files.finished}, from DVC's cache."
            )
        return files
    planned = _planned()
    close = difflib.get_close_matches(model, {*models, *planned}, n=1)
    available = f"trained models: {', '.join(models) or 'none'}"
    if model in planned:
        path = MODELS / model / GENERATOR
        sys.exit(f"--model {model} is not trained yet: snakemake --cores 8 {path} ({available})")
    hint = f"did you mean {close[0]}? " if close else ""
    untrained = [name for name in planned if name not in models]
    more = f"; in params.yaml, not trained yet: {', '.join(untrained)}" if untrained else ""
    sys.exit(f"--model {_short(model)} does not exist; {hint}{available}{more}")


def _planned() -> list[str]:
    """Names under ``models`` in params.yaml; none if it is invalid."""
    from ganloom.params import PARAMS_FILE, ParamsError, load

    try:
        return list(load(PARAMS_FILE).models)
    except (OSError, ParamsError):
        return []


def loaded(path: Path) -> tuple[Generator, GeneratorInfo]:
    """Load a generator and its metadata; exit if the file is damaged."""
    import torch

    from ganloom.models import ModelError, load_generator

    try:
        return load_generator(path, torch.device("cpu"))
    except ModelError as error:
        sys.exit(str(error))


def within(option: str, value: float, low: float, high: float) -> None:
    """Exit unless low <= value <= high; also for NaN."""
    if not low <= value <= high:
        sys.exit(f"{option} {value:.10g} is not possible; allowed: {low:.10g} to {high:.10g}")


def whole(option: str, value: str | int, low: int, high: int) -> int:
    """Parse an integer; exit if it is invalid or out of range."""
    try:
        number = int(value)
    except ValueError:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {low} to {high}")
    within(option, number, low, high)
    return number


def real(option: str, value: str | float, low: float, high: float) -> float:
    """Parse a number; exit if it is invalid or out of range."""
    try:
        number = float(value)
    except ValueError:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {low:g} to {high:g}")
    within(option, number, low, high)
    return number


def one_of(option: str, value: str, allowed: Collection[str]) -> None:
    """Exit if a value is not allowed."""
    if value not in allowed:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {', '.join(allowed)}")


def _short(value: object) -> str:
    """Shorten user input to one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def new_file(out: Path, suffixes: Sequence[str] | None, *, force: bool) -> None:
    """Exit if the file ``--out`` may not be written.

    Args:
        out: Path of the file.
        suffixes: Allowed suffixes in lower case; None for any.
        force: Whether an existing file may be replaced.
    """
    if suffixes is not None and out.suffix.lower() not in suffixes:
        sys.exit(f"--out {out} is not possible; allowed: a file that ends in {', '.join(suffixes)}")
    if not out.parent.is_dir():
        sys.exit(f"--out {out} is not possible: {out.parent} is not a folder")
    if out.is_dir():
        sys.exit(f"--out {out} is not possible: it is a folder")
    if out.exists() and not force:
        sys.exit(f"--out {out} is not possible: the file exists; --force replaces it")


def new_folder(out: Path) -> None:
    """Exit unless ``--out`` is a new or empty folder."""
    if out.exists() and not out.is_dir():
        sys.exit(f"--out {out} is not possible: it is a file; name a folder")
    if out.exists() and any(out.iterdir()):
        sys.exit(
            f"--out {out} is not possible: the folder is not empty; name a new folder, or delete "
            "this one first"
        )


def facts(model: str, files: Trained, **more: Any) -> dict[str, Any]:
    """Metadata about the origin of an image.

    Args:
        model: Name of the model.
        files: Files of the model.
        **more: Further metadata.

    Returns:
        ``model``, ``sha256`` of the generator's file, ``commit`` of the project if it has one,
        ``licences`` and ``credits`` of the collection if they are known, and ``more``.
    """
    from ganloom.images.shards import sha256
    from ganloom.weaving.origin import origin

    commit = _commit()
    return {
        "model": model,
        "sha256": sha256(files.generator.read_bytes()),
        **({"commit": commit} if commit else {}),
        **origin(Path()),
        **more,
    }


def _commit() -> str:
    """Commit of the project; "" without one, or if Git refuses."""
    from ganloom import git

    try:
        return git.commit(Path())
    except git.GitError as error:
        print(f"The metadata lack the commit. {error}", file=sys.stderr)
        return ""


FORCE = "replace the file if it exists"


def class_number(label: str | None, model: str, classes: list[str], option: str) -> int | None:
    """Index of a class; exit if the model has no such class."""
    if label is None:
        return None
    if label not in classes:
        names = ", ".join(classes) or f"none; {model} is unconditional"
        sys.exit(f"{option} {label} is not possible; classes: {names}")
    return classes.index(label)


def enlarger() -> Enlarger | None:
    """Load the enlarger of the project, if any; exit if it is damaged."""
    from ganloom.enlarging.network import find
    from ganloom.models import ModelError

    try:
        return find(Path())
    except ModelError as error:
        sys.exit(str(error))


NO_ENLARGER = (
    "This project has no enlarger, so {} are interpolated. To train one, add the section `enlarge` "
    "to params.yaml, as in recipes/kene.yaml, and run the pipeline again."
)


def cannot_write(out: Path, error: OSError) -> NoReturn:
    """Exit because a file cannot be written."""
    sys.exit(f"{out} cannot be written: {error.strerror or error}")
