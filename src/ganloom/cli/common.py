"""What several commands share: trained models, and options that are checked."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from ganloom.enlarging.network import Enlarger
    from ganloom.models import Generator

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SEEDS = 0, 2**32 - 1  # as in params.yaml
TRUNCATIONS = 0.01, 2.0
SIDES = 16, 4096  # of an enlarged picture, in px


def trained(model: str) -> Path:
    """The file of a trained model; ends the command where there is none."""
    path = Path("results/models") / model / "generator.safetensors"
    if not path.exists():
        known = sorted(p.parent.name for p in Path("results/models").glob("*/*.safetensors"))
        sys.exit(
            f"{path} does not exist. Trained here: {', '.join(sorted(set(known))) or 'nothing'}; "
            f"to train it: snakemake --cores 8 {path}"
        )
    return path


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


def new_file(out: Path, suffixes: Sequence[str], *, force: bool) -> None:
    """End the command where ``--out`` is no file that may be written.

    Args:
        out: The file.
        suffixes: What it may end in, in lower case.
        force: Whether a file that is there may be replaced.
    """
    if out.suffix.lower() not in suffixes:
        sys.exit(f"--out {out} is not possible; allowed: a file that ends in {', '.join(suffixes)}")
    if not out.parent.is_dir():
        sys.exit(f"--out {out} is not possible: {out.parent} is not a folder")
    if out.is_dir():
        sys.exit(f"--out {out} is not possible: it is a folder")
    if out.exists() and not force:
        sys.exit(f"--out {out} is not possible: the file exists; --force replaces it")


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
