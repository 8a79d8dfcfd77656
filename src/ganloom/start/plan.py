"""From the look at a folder to a parameter file: the table of recipes, and the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganloom import recipes
from ganloom.enlarging.crops import SIDE
from ganloom.params.loading import read
from ganloom.start.look import Look, StartError


@dataclass(frozen=True)
class Choice:
    """What a kind of image needs.

    Attributes:
        data: Recipe of everything but the models: how images are cut, enlarged and woven.
        models: Recipe of the models.
        names: Names of these models.
        augment: What is different in the section ``augment``.
        sides: Larger sides in px than the recipe's, to use if there is enough time.
    """

    data: str
    models: str
    names: tuple[str, ...]
    augment: Mapping[str, Any] = field(default_factory=dict)
    sides: tuple[int, ...] = (64,)


# Edit here if other recipes suit a kind of image better. The first model is what the second one
# is compared with: two of them take no longer than one on two cores.
WHOLE = ("dcgan_diffaug", "matched")
KINDS = {
    "texture": Choice("batik", "batik", ("dcgan", "matched"), {"symmetries": 8}, (64, 128)),
    "drawing": Choice("pokemon", "pokemon", WHOLE, {"fit": "pad", "symmetries": 2}),
    "photograph": Choice("cifar10_cars", "pokemon", WHOLE, {"fit": "crop", "symmetries": 2}),
}
CLASSES = "digits"  # of its models, those with a condition

TEXTURE, THING = 0.2, 0.3  # unevenness of textures at most, of things at least
GROUND = 0.5  # share of the border in one colour, from which things are on a plain ground
FEWEST = 10  # images
FEW = {"texture": 60, "drawing": 500, "photograph": 400}  # images: with fewer, results are poor
PER_CLASS = 150  # images of the smallest class, for a conditional model
SHOWN = 5  # unreadable files to name
SMALLEST = 8  # px of the shorter side
SMALL_DRAWING = 64  # px of the shorter side: perceptual hashes of different drawings are equal
MARGIN = 1.5  # shorter side of images, at least, in sides of samples larger than the recipe's


@dataclass(frozen=True)
class Plan:
    """Parameters for a folder, before the lengths of trainings are fitted.

    Attributes:
        values: Values of the whole parameter file.
        reasons: Sentences on what was seen and chosen.
        larger: Larger sides of samples in px for which the images are large enough, ascending.
    """

    values: dict[str, Any]
    reasons: list[str]
    larger: list[int]


def plan(path: Path, look: Look, kind: str | None = None, larger: int | None = None) -> Plan:
    """Choose parameters for a folder.

    Args:
        path: The folder, as written to the file.
        look: What is in it.
        kind: Key of ``KINDS``; None to tell by the images.
        larger: Side of samples in px, one of ``Plan.larger``; None for that of the recipe.

    Raises:
        StartError: The images are too few or too small.
        ParamsError: A recipe cannot be read.
    """
    _check(path, look)
    kind, why = (kind, f"Used as you said: --kind {kind}.") if kind else _kind(path, look)
    small = look.small_side
    if kind == "texture" and small < _resolution(KINDS[kind].data):
        kind = _thing(look)
        why += " They are too small for slices, so they are used whole."
    choice = KINDS[kind]
    given, side = read(recipes.find(choice.data)), _resolution(choice.data)
    conditional, classes = _classes(look)
    source = CLASSES if conditional else choice.models
    models = recipes.values(recipes.find(source))
    chosen = {
        name: model
        for name, model in models["models"].items()
        if ("condition" in model if conditional else name in choice.names)
    }

    augment = {**given["augment"], **choice.augment}
    is_cut = augment["mode"] == "slices"
    if larger:
        side = augment["resolution"] = larger
    least = _least(side, look, is_cut)
    if is_cut:
        augment["sizes"] = [least]
    if conditional and kind == "drawing":
        augment["symmetries"] = 1  # mirrored letters are others
    if small < SIDE:  # the enlarger learns from crops of this side
        given.pop("enlarge", None)
    else:
        given.setdefault("enlarge", {})
    if kind == "drawing" and look.side < SMALL_DRAWING:
        given["dedup"] = {"max_distance": 0, "symmetries": False}
    name = path.resolve().name
    given |= {
        "sources": {"mine": {"kind": "folder", "path": str(path)}},
        "curate": {**given.get("curate", {}), "min_side": least},
        "augment": augment,
        "train": models["train"],
        "models": chosen,
        "report": {"title": name, "about": f"{look.readable} images in the folder {name}."},
    }
    for model in chosen.values():
        model["resolution"] = model["resolution"] * side // models["augment"]["resolution"]
        if not is_cut:  # slices are many
            for training in (model, model.get("warm_up")):
                if training:
                    training["batch"] = min(training["batch"], look.readable // 2)
    recipe = choice.data if source == choice.data else f"{choice.data} with the models of {source}"
    used = f"slices of {least} px" if is_cut else "whole images"
    reasons = [
        *_seen(path, look),
        why,
        *classes,
        f"Recipe {recipe}: {used}, scaled to {side} px (augment). Images with a shorter side of "
        f"less than {least} px are dropped (curate.min_side).",
    ]
    if look.readable < FEW[kind]:
        reasons.append(f"These are few {kind}s: from {FEW[kind]} images on, results are better.")
    sides = () if conditional else choice.sides
    return Plan(
        recipes.complete(given), reasons, [side for side in sides if small >= MARGIN * side]
    )


def _check(path: Path, look: Look) -> None:
    if look.readable < FEWEST:
        raise StartError(
            f"{path}: {look.readable} different images can be read, too few to learn from; collect "
            f"at least {FEWEST}, better {FEW['texture']} (docs/sources.md has searches), or cut "
            "large pictures of a pattern into several files"
            + "".join(f"\n  {name}" for name in look.unreadable[:SHOWN])
        )
    if look.side < SMALLEST:
        raise StartError(
            f"{path}: the images are too small: half of them have a side of {look.side} px or "
            f"less, and {SMALLEST} px are needed; collect larger ones, perhaps the originals of "
            "these thumbnails"
        )


def _least(side: int, look: Look, is_cut: bool) -> int:
    """Return the side of a slice, or the least side of a whole image."""
    small = look.small_side
    if not is_cut:
        return min(side, small)
    # A slice shows a quarter of an image's side, and more than a training image if it can, but no
    # more than two thirds, so that slices differ.
    return max(side, min(max(2 * side, look.side // 4), 2 * small // 3) // side * side)


def _resolution(recipe: str) -> int:
    return int(recipes.values(recipes.find(recipe))["augment"]["resolution"])


def _thing(look: Look) -> str:
    return "drawing" if look.ground >= GROUND else "photograph"


def _kind(path: Path, look: Look) -> tuple[str, str]:
    """Return the kind of the images, and why."""
    measured = f"unevenness {look.unevenness:.2f}"
    if look.unevenness <= TEXTURE:
        return "texture", (
            f"Textures: detail is spread evenly over each image ({measured}; textures have at "
            f"most {TEXTURE}). If they are things: --kind drawing or --kind photograph."
        )
    thing = _thing(look)
    ground = f"{look.ground:.0%} of their border has one colour"
    if look.unevenness < THING:
        return thing, (
            f"Unsure whether these are textures ({measured}, between {TEXTURE} and {THING}), so "
            "they are used whole (augment.mode), which shows all of each image. If they are "
            f"textures: ganloom start {path} --kind texture. {ground}: used as {thing}s."
        )
    shown = "Drawings or objects on a plain ground" if thing == "drawing" else "Photographs"
    return thing, (
        f"{shown}: detail is uneven ({measured}; textures have at most {TEXTURE}), and {ground}. "
        "If this is wrong: --kind, with texture, drawing or photograph."
    )


def _classes(look: Look) -> tuple[bool, list[str]]:
    """Return whether a model can be conditional, and what to say about class folders."""
    names = [name for name in look.classes if name]
    if not names:
        return False, []
    found = f"{len(names)} class folders"
    if len(names) == 1:
        return False, ["There is one class folder, so models have no classes."]
    if loose := look.classes.get("", 0):
        return False, [
            f"{found}, but {loose} images outside of them: models have no classes. Move these "
            "into a class folder, or away, and run this again."
        ]
    smallest = min(names, key=lambda name: look.classes[name])
    if look.classes[smallest] < PER_CLASS:
        return False, [
            f"{found}, but only {look.classes[smallest]} images in {smallest}: with fewer than "
            f"{PER_CLASS} in each, models have no classes. To use them all the same, set "
            "models.NAME.condition: onehot."
        ]
    return True, [f"{found} with {PER_CLASS} images or more: models are conditional."]


def _seen(path: Path, look: Look) -> Iterator[str]:
    """Say what is in the folder, and what is wrong with it."""
    low, high = min(look.sides), max(look.sides)
    sides = f"{low} px" if low == high else f"{low} to {high} px, in the median {look.side} px"
    some = "" if look.looked_at == look.count else f" ({look.looked_at} of them looked at)"
    yield f"{look.count} image files in {path}{some}, with a shorter side of {sides}."
    if look.unreadable:
        more = len(look.unreadable) - SHOWN
        yield (
            f"{len(look.unreadable)} cannot be read, and will be left out: "
            + "; ".join(look.unreadable[:SHOWN])
            + (f"; and {more} more" if more > 0 else "")
            + "."
        )
    yield from look.warnings
