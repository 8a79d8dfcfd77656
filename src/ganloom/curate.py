"""Selection of originals for training: manual lists, rules, and a split by group."""

from __future__ import annotations

import bisect
import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from ganloom import lists, params

COLUMNS = ("sha256", "decision", "reason")
MIN_PREFIX = 8


class CurationError(ValueError):
    """A manual list is invalid; the message gives file, line and remedy."""


class Decision(NamedTuple):
    """A line of a manual list, with the complete sha256."""

    sha256: str
    keep: bool
    reason: str
    line: int


class Picture(NamedTuple):
    """A fetched original: its file, its group and its properties.

    Attributes:
        sha256: Hash of the file.
        cluster: The sha256 of the keeper of its group.
        width: Width in px, upright.
        height: Height in px, upright.
        contrast: Standard deviation of grey, or the depth of thin lines if that is more; of 255.
        label: Class; "" without one.
        copies: Classes of the other candidates with the same file.
    """

    sha256: str
    cluster: str
    width: int
    height: int
    contrast: float
    label: str
    copies: tuple[str, ...] = ()


def pictures(manifest: pd.DataFrame, clusters: pd.DataFrame) -> list[Picture]:
    """Join the two tables by sha256; of several candidates with the same file, the first id counts.

    Args:
        manifest: data/manifest.csv, all columns as strings.
        clusters: data/clusters.csv.
    """
    every = manifest[manifest.error == ""].sort_values("id")
    labels: dict[str, list[str]] = defaultdict(list)
    for sha256, label in zip(every.sha256, every.label, strict=True):
        labels[sha256].append(label)
    fetched = every.drop_duplicates("sha256").astype({"width": int, "height": int})
    rows = clusters.merge(fetched, on="sha256").sort_values("sha256")[list(Picture._fields[:-1])]
    return [
        Picture(*row)._replace(copies=tuple(labels[row[0]][1:]))
        for row in rows.itertuples(index=False, name=None)
    ]


# --- manual lists ------------------------------------------------------------------------------


def decisions(folder: Path, section: params.Curate, known: Collection[str]) -> list[Decision]:
    """Read the manual list that ``section.list`` names in ``folder``; [] if it names none.

    Raises:
        CurationError: See ``read_list``.
    """
    return read_list(folder / f"{section.list}.csv", known) if section.list else []


def unfetched(
    decisions: Iterable[Decision], pictures: Iterable[Picture], section: params.Curate
) -> list[str]:
    """List the decisions on candidates that were not fetched, as warnings."""
    fetched = {picture.sha256 for picture in pictures}
    return [
        f"{section.list}.csv:{decision.line}: {decision.sha256[:12]} is a candidate, but was not "
        "fetched"
        for decision in decisions
        if decision.sha256 not in fetched
    ]


def read_list(path: Path, known: Collection[str]) -> list[Decision]:
    """Read a manual list: CSV with the columns sha256, decision (keep or drop) and reason.

    Args:
        path: Path of the list. A sha256 may be abbreviated to its first 8 digits or more.
        known: The sha256 of each candidate that has one.

    Raises:
        CurationError: The file or a line of it is invalid.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CurationError(
            f"{path}: no such file, although params.yaml sets curate.list; create it with the "
            f"first line `{','.join(COLUMNS)}`, or set `list: null`"
        ) from None
    # Repeated lines are no contradiction; the first one counts.
    decisions: dict[str, Decision] = {}
    for decision in parse_list(data, known, path):
        decisions.setdefault(decision.sha256, decision)
    return list(decisions.values())


def parse_list(data: bytes, known: Collection[str], path: Path) -> list[Decision]:
    """Parse all lines of a manual list, in their order; an original may occur several times.

    Args:
        data: Content of the file.
        known: The sha256 of each candidate that has one.
        path: Path for messages.

    Raises:
        CurationError: See ``read_list``.
    """
    try:
        text, separator = lists.table(lists.decoded(data), COLUMNS)
    except UnicodeDecodeError:
        raise CurationError(f"{path}: not UTF-8; {lists.WAY_OUT}") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    ordered = sorted(known)
    first: dict[str, Decision] = {}
    decisions = []
    try:
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise CurationError(
                f"{path}:1: missing {', '.join(missing)}; "
                f"the first line must be `{','.join(COLUMNS)}`"
            )
        for row in reader:
            decision = _decision(row, ordered, path, reader.line_num)
            before = first.setdefault(decision.sha256, decision)
            if before.keep != decision.keep:
                raise CurationError(
                    f"{path}:{decision.line}: contradicts line {before.line} on "
                    f"{decision.sha256[:12]}; remove one of them"
                )
            decisions.append(decision)
    except csv.Error as error:
        line = reader.line_num or 1  # 0: not even the header
        raise CurationError(f"{path}:{line}: not CSV: {error}") from None
    return decisions


def _decision(
    row: Mapping[str, str | None], known: Sequence[str], path: Path, line: int
) -> Decision:
    prefix, word, reason = ((row[column] or "").strip() for column in COLUMNS)
    prefix = prefix.lower()
    if word not in ("keep", "drop"):
        raise CurationError(f"{path}:{line}: decision {word!r} is not `keep` or `drop`")
    if len(prefix) < MIN_PREFIX:
        raise CurationError(f"{path}:{line}: sha256 {prefix!r} has fewer than {MIN_PREFIX} digits")
    start = bisect.bisect_left(known, prefix)  # sorted, so that equal prefixes are adjacent
    end = bisect.bisect_right(known, prefix + "~", lo=start)  # "~" sorts after all digits
    matches = known[start:end]
    if not matches:
        raise CurationError(
            f"{path}:{line}: no image has the sha256 {prefix}; "
            "see the column sha256 of data/manifest.csv"
        )
    if len(matches) > 1:
        raise CurationError(
            f"{path}:{line}: {prefix} is ambiguous; write more digits of one of "
            f"{', '.join(matches)}"
        )
    return Decision(matches[0], word == "keep", reason, line)


# --- rules -------------------------------------------------------------------------------------


class Curated(NamedTuple):
    """The result of a curation.

    Attributes:
        kept: data/kept.csv: sha256, label and split (``train`` or ``holdout``), by sha256.
        dropped: data/dropped.csv: sha256 and reason, by sha256.
        warnings: Problems with the classes, a sentence each.
        summary: Counts, in a sentence.
    """

    kept: pd.DataFrame
    dropped: pd.DataFrame
    warnings: list[str]
    summary: str


def curate(
    pictures: Collection[Picture], decisions: Iterable[Decision], section: params.Curate, seed: int
) -> Curated:
    """Drop originals by the manual list and the rules, and split the others.

    Args:
        pictures: Fetched originals.
        decisions: Manual list, which overrides the rules.
        section: Section ``curate``.
        seed: Seed of the split.

    Raises:
        CurationError: No original is left.
    """
    reasons = drop_reasons(pictures, decisions, section)
    counts = Counter(kind(reason) for reason in reasons.values())
    dropped = ", ".join(f"{n} {kind}" for kind, n in counts.most_common()) or "nothing"
    kept = [picture for picture in pictures if picture.sha256 not in reasons]
    if not kept:
        limits = {
            "too small": f"curate.min_side is {section.min_side} px",
            "blank": f"curate.min_contrast is {section.min_contrast:g}",
        }
        ways = [f"; {limit}: lower it in params.yaml" for k, limit in limits.items() if k in counts]
        raise CurationError(
            f"no image is left of {len(pictures)}; dropped: {dropped}{''.join(ways)}"
        )
    held_out = holdout(((p.cluster, p.label) for p in kept), section.holdout, seed)
    rows = [(p.sha256, p.label, "holdout" if p.cluster in held_out else "train") for p in kept]
    return Curated(
        pd.DataFrame(rows, columns=["sha256", "label", "split"]).sort_values("sha256"),
        pd.DataFrame(list(reasons.items()), columns=["sha256", "reason"]).sort_values("sha256"),
        class_warnings(pictures, kept, held_out, section.holdout),
        f"kept {len(kept)} of {len(pictures)} images, {len(held_out)} of their groups held out; "
        f"dropped: {dropped}",
    )


def drop_reasons(
    pictures: Iterable[Picture], decisions: Iterable[Decision], section: params.Curate
) -> dict[str, str]:
    """Return the reasons why originals are dropped, by sha256; the others are kept.

    A manual decision overrides the rules. Only the keeper of a group is kept: dropping it does not
    promote another copy, but a copy can be kept by hand.
    """
    manual = {decision.sha256: decision for decision in decisions}
    reasons = {}
    for picture in pictures:
        decision = manual.get(picture.sha256)
        if decision is None:
            reason = _fault(picture, section)
        elif decision.keep:
            reason = ""
        else:
            reason = ": ".join(filter(None, (f"list {section.list}", decision.reason)))
        if reason:
            reasons[picture.sha256] = reason
    return reasons


def _fault(picture: Picture, section: params.Curate) -> str:
    """Return the rule that an original violates; "" if there is none."""
    if picture.cluster != picture.sha256:
        return f"near-duplicate of {picture.cluster[:12]}"
    if min(picture.width, picture.height) < section.min_side:
        return f"too small: {picture.width}x{picture.height}"
    if picture.contrast < section.min_contrast:
        return "blank"
    return ""


def kind(reason: str) -> str:
    """Return the category of a reason, for counting."""
    return "near-duplicate" if reason.startswith("near-duplicate") else reason.partition(":")[0]


def holdout(pictures: Iterable[tuple[str, str]], share: float, seed: int) -> set[str]:
    """Choose the clusters to hold out; they are held out whole, so that no copy is trained on.

    The choice is stratified by class: about the same share of each. Within a class, clusters are
    ranked by a hash of seed and name, so that an additional cluster changes little.

    Args:
        pictures: Cluster and class of each original. A cluster with several classes is ranked in
            the first of them by name.
        share: Share of the clusters.
        seed: Seed of the choice.

    Returns:
        round(share * n) of n clusters; fewer if a class would have no cluster left for training.
    """
    classes: dict[str, set[str]] = defaultdict(set)  # of each cluster
    for cluster, label in pictures:
        classes[cluster].add(label)
    rank = {c: hashlib.sha256(f"{seed}:{c}".encode()).digest() for c in classes}
    strata: dict[str, list[str]] = defaultdict(list)
    for cluster in sorted(classes, key=rank.__getitem__):
        strata[min(classes[cluster])].append(cluster)
    # Rank within the class, 0 to 1: the first tenth of all clusters is a tenth of each class.
    place = {
        cluster: (number + 0.5) / len(members)
        for members in strata.values()
        for number, cluster in enumerate(members)
    }
    left = Counter(label for labels in classes.values() for label in labels)
    held: set[str] = set()
    for cluster in sorted(classes, key=lambda c: (place[c], rank[c])):
        if len(held) == round(share * len(classes)):
            break
        if all(left[label] > 1 for label in classes[cluster]):
            held.add(cluster)
            left.subtract(classes[cluster])
    return held


def class_copies(
    pictures: Collection[Picture], kept: Collection[Picture]
) -> Counter[tuple[str, str]]:
    """Count files by their class and that of the original kept in their place, if these differ.

    Args:
        pictures: All fetched originals.
        kept: Originals that were not dropped.
    """
    known = {picture.sha256: picture for picture in pictures}
    chosen = {picture.sha256 for picture in kept}
    copies: Counter[tuple[str, str]] = Counter()
    for picture in pictures:
        original = picture if picture.sha256 in chosen else known[picture.cluster]
        labels = (picture.label, *picture.copies)
        copies.update(
            (label, original.label) for label in labels if label not in ("", original.label)
        )
    return copies


def class_warnings(
    pictures: Collection[Picture],
    kept: Collection[Picture],
    held_out: Collection[str],
    share: float,
) -> list[str]:
    """List problems with the classes, a sentence each; empty without classes.

    Args:
        pictures: All fetched originals.
        kept: Originals that were not dropped.
        held_out: Clusters that are held out.
        share: Requested share of the clusters to hold out.
    """
    copies = class_copies(pictures, kept)
    every = {picture.label for picture in pictures} | {label for label, _ in copies}
    classes = {picture.label for picture in kept}
    measured = {picture.label for picture in kept if picture.cluster in held_out}
    warnings: list[str] = []
    if len(every) < 2:
        return warnings
    gone = every - classes - {""}
    for (label, other), count in sorted(copies.items()):
        place = f"of {_named([other])}" if other else "without a class"
        left = f", and no image of {_named([label])} is left" if label in gone else ""
        warnings.append(
            f"images of {_named([label])} that are dropped as copies or near-duplicates of images "
            f"{place}: {count}{left}; delete the copies in the wrong class, or keep "
            "near-duplicates by hand (curate.list)"
        )
    if gone := gone - {label for label, _ in copies}:
        warnings.append(f"all images of {_named(gone)} were dropped: see data/dropped.csv")
    unmeasured = classes - measured - {""} if share else set()
    groups = Counter(label for _, label in {(p.cluster, p.label) for p in kept})
    if single := {label for label in unmeasured if groups[label] == 1}:
        warnings.append(
            f"{_named(single)}: a single image each, near-duplicates aside, which is trained on, "
            "so that metrics do not cover it; add images, or move it to another class"
        )
    if small := unmeasured - single:
        warnings.append(
            f"no image of {_named(small)} is held out, because there are too few: metrics do not "
            "cover it; add images, or raise curate.holdout"
        )
    if "" in classes:
        count = sum(picture.label == "" for picture in kept)
        warnings.append(
            f"{count} images have no class, because they are not in a class folder or their source "
            "has no classes; a model with a condition cannot be trained on them"
        )
    return warnings


def _named(classes: Collection[str]) -> str:
    """Format up to ten classes."""
    names = [repr(name) for name in sorted(classes)]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{'class' if len(names) == 1 else 'classes'} {', '.join(names[:10])}{more}"
