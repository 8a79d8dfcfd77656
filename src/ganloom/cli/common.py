"""What several commands share: trained models, and options that are checked."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ganloom.models import Generator

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SEEDS = 0, 2**32 - 1  # as in params.yaml
TRUNCATIONS = 0.01, 2.0


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
