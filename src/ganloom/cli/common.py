"""What several commands share: trained models, and options that are checked."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from ganloom.enlarging.network import Enlarger
    from ganloom.models import Generator
    from ganloom.trained import Trained

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SEEDS = 0, 2**32 - 1  # as in params.yaml
TRUNCATIONS = 0.01, 2.0
SIDES = 16, 4096  # of an enlarged picture, in px


def trained(model: str) -> Trained:
    """A finished model, or its former state while it is trained; ends the command without one."""
    from ganloom.trained import GENERATOR, MODELS
    from ganloom.trained import trained as find

    known = find(Path())
    if model in known:
        found = known[model]
        if found.finished:
            print(
                f"{model} is not in {MODELS}: it is being trained, or was removed. Using its last "
                f"finished training, of {found.finished}, from DVC's cache."
            )
        return found
    planned = _planned()
    close = difflib.get_close_matches(model, {*known, *planned}, n=1)
    here = f"trained here: {', '.join(known) or 'nothing'}"
    if model in planned:
        path = MODELS / model / GENERATOR
        sys.exit(f"--model {model} is not trained yet: snakemake --cores 8 {path} ({here})")
    hint = f"did you mean {close[0]}? " if close else ""
    untrained = [name for name in planned if name not in known]
    more = f"; in params.yaml, not trained yet: {', '.join(untrained)}" if untrained else ""
    sys.exit(f"--model {_short(model)} is not known; {hint}{here}{more}")


def _planned() -> list[str]:
    """The names under `models` in params.yaml; none where it cannot be read."""
    from ganloom.params import PARAMS_FILE, ParamsError, load

    try:
        return list(load(PARAMS_FILE).models)
    except (OSError, ParamsError):
        return []


def loaded(path: Path) -> tuple[Generator, dict[str, Any]]:
    """A trained model, as ``load_generator`` has it; ends the command where it is damaged."""
    import torch

    from ganloom.models import ModelError, load_generator

    try:
        return load_generator(path, torch.device("cpu"))
    except ModelError as error:
        sys.exit(str(error))


def within(option: str, value: float, low: float, high: float) -> None:
    """End the command where a number is not low <= value <= high; NaN never is."""
    if not low <= value <= high:
        sys.exit(f"{option} {value:.10g} is not possible; allowed: {low:.10g} to {high:.10g}")


def whole(option: str, value: str | int, low: int, high: int) -> int:
    """A whole number of the command line; ends the command where it is none or not in between."""
    try:
        number = int(value)
    except ValueError:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {low} to {high}")
    within(option, number, low, high)
    return number


def real(option: str, value: str | float, low: float, high: float) -> float:
    """A number of the command line; ends the command where it is none or not in between."""
    try:
        number = float(value)
    except ValueError:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {low:g} to {high:g}")
    within(option, number, low, high)
    return number


def one_of(option: str, value: str, allowed: Collection[str]) -> None:
    """End the command where a value is none of those allowed."""
    if value not in allowed:
        sys.exit(f"{option} {_short(value)} is not possible; allowed: {', '.join(allowed)}")


def _short(value: object) -> str:
    """What someone typed, in one line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."


def new_file(out: Path, suffixes: Sequence[str] | None, *, force: bool) -> None:
    """End the command where ``--out`` is no file that may be written.

    Args:
        out: The file.
        suffixes: What it may end in, in lower case; None: anything.
        force: Whether a file that is there may be replaced.
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
    """End the command where ``--out`` is anything but a folder that is new or empty."""
    if out.exists() and not out.is_dir():
        sys.exit(f"--out {out} is not possible: it is a file; name a folder")
    if out.exists() and any(out.iterdir()):
        sys.exit(
            f"--out {out} is not possible: the folder has files, which would be replaced or mixed "
            "with others; name a new folder, or delete this one first"
        )


def facts(model: str, found: Trained, **more: Any) -> dict[str, Any]:
    """What made a picture, for its metadata.

    Args:
        model: Name of the model.
        found: Files of the model.
        **more: What else is told of the picture.

    Returns:
        ``model``, ``sha256`` (of the generator's file), ``commit`` of the project where it has one,
        ``licences`` and ``credits`` of the collection where they are known, and what is given.
    """
    from ganloom.images.shards import sha256
    from ganloom.weaving.origin import origin

    at = _commit()
    return {
        "model": model,
        "sha256": sha256(found.generator.read_bytes()),
        **({"commit": at} if at else {}),
        **origin(Path()),
        **more,
    }


def _commit() -> str:
    """The project's commit for the metadata; "" without one, or if Git refuses to tell it."""
    from ganloom import git

    try:
        return git.commit(Path())
    except git.GitError as error:
        print(f"The file does not name the commit. {error}", file=sys.stderr)
        return ""


FORCE = "replace the file if it exists"


def class_number(label: str | None, model: str, classes: list[str], option: str) -> int | None:
    """The number of a class; ends the command where the model does not know it."""
    if label is None:
        return None
    if label not in classes:
        known = ", ".join(classes) or f"none: {model} was not told any"
        sys.exit(f"{option} {label} is not possible; classes: {known}")
    return classes.index(label)


def enlarger() -> Enlarger | None:
    """The enlarger of this project, if any; ends the command where it is damaged."""
    from ganloom.enlarging.network import EnlargerError, find

    try:
        return find(Path())
    except EnlargerError as error:
        sys.exit(str(error))


NO_ENLARGER = (
    "This project has no enlarger: {} are interpolated. To get one, add the section `enlarge` to "
    "params.yaml, as recipes/kene.yaml has it, and run again."
)


def cannot_write(out: Path, error: OSError) -> NoReturn:
    """End the command: a file cannot be written."""
    sys.exit(f"{out} cannot be written: {error.strerror or error}")
