"""Recipes: short files that name only what differs from ``recipes/base.yaml``.

A mapping is merged into the base's mapping, a section with a ``kind`` or ``mode`` into the base of
that kind; any other value, such as a list, replaces the base's. Optional keys and sections are used
only if the recipe names them.
"""

from __future__ import annotations

import difflib
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarstring import (
    DoubleQuotedScalarString,
    FoldedScalarString,
    LiteralScalarString,
)

from ganloom.params import Params, ParamsError, Section
from ganloom.params.loading import read
from ganloom.params.lookup import meaning, sections_in, tag_of
from ganloom.params.messages import explain

FOLDER = Path("recipes")
BASE = "base.yaml"

# For each section of the schema, its keys in order, and the values that recipes share.
Bases = Mapping[type[Section], Mapping[str, Any]]


def paths(project: Path = Path()) -> list[Path]:
    """List the recipes of a project by name."""
    return sorted(path for path in (project / FOLDER).glob("*.yaml") if path.name != BASE)


def find(name: str) -> Path:
    """Find a recipe by its path, or by its name in ``recipes``, with or without ``.yaml``.

    Raises:
        ParamsError: There is none.
    """
    known = {path.stem: path for path in paths()}
    for path in (Path(name), FOLDER / name, FOLDER / f"{name}.yaml"):
        if path.is_file() and path != FOLDER / BASE:
            return path
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ParamsError(f"{name}: no such recipe{hint} (in {FOLDER}: {', '.join(known)})")


def whole(path: Path, project: Path = Path()) -> str:
    """Return the text of the whole params file that a recipe describes.

    It begins with the recipe's first comment, and explains each key where it first occurs. The text
    of a recipe that names every value is returned unchanged.

    Raises:
        ParamsError: The recipe is not YAML, or does not fit the schema. The message names file,
            line and key. Combinations of values, such as a search without a contact, are left to
            the stage ``check``: they may be corrected in the params file.
    """
    marked, base = read(path, "rt"), read(project / FOLDER / BASE, "rt")
    given = _plain(marked)
    merged = _merged(given, _plain(base))
    _check(merged, marked, path)
    text = path.read_text(encoding="utf-8")
    if merged == given:
        return text
    return written(merged, itertools.takewhile(lambda line: line.startswith("#"), text.split("\n")))


def values(path: Path, project: Path = Path()) -> dict[str, Any]:
    """Return the values of the whole params file, not checked against the schema.

    Raises:
        ParamsError: The recipe is not YAML, or not a mapping.
    """
    return complete(read(path), project)


def complete(recipe: Mapping[str, Any], project: Path = Path()) -> dict[str, Any]:
    """Merge the values of a recipe into the base, not checked against the schema."""
    return _merged(recipe, read(project / FOLDER / BASE))


def written(values: Mapping[str, Any], header: Iterable[str]) -> str:
    """Return the text of a whole params file, with a comment on each key.

    Args:
        values: Complete values that fit the schema.
        header: Lines of the comment at the top, each with its ``#``.
    """
    return "\n".join([*header, *_Writer().lines(values, Params)]) + "\n"


def is_untouched(text: bytes, project: Path = Path()) -> bool:
    """Whether a params file is what a recipe of the project describes, without any edit."""
    first_line = text.partition(b"\n")[0] + b"\n"
    for path in paths(project):
        if path.read_bytes().startswith(first_line):
            try:
                return whole(path, project).encode() == text
            except ParamsError:
                return False
    return False


# --- merging -------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Drop the comments, anchors and flow style of YAML; numbers and text keep their notation."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, ScalarBoolean):
        return bool(value)
    if (
        isinstance(value, str)
        and "\n" in value
        and not isinstance(value, (FoldedScalarString, LiteralScalarString))
    ):
        return DoubleQuotedScalarString(value)  # the style that needs one line
    if hasattr(value, "comment"):  # of a block of text
        del value.comment
    if hasattr(value, "anchor"):
        value.anchor.always_dump = False
    return value


def _merged(given: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Merge a recipe into the base. Keys and kinds that the schema does not have are kept."""
    bases: dict[type[Section], Mapping[str, Any]] = {}
    for section, values in _sections(base, Params):
        bases.setdefault(section, values)
    return _merge(given, Params, bases)


def _sections(
    base: Mapping[str, Any], section: type[Section]
) -> Iterator[tuple[type[Section], Mapping[str, Any]]]:
    """Yield each section of the base file, from the outermost on, with its values."""
    yield section, base
    for key, value in base.items():
        field = section.model_fields.get(key)
        if field is None or not isinstance(value, Mapping):
            continue
        options = sections_in(field.annotation)
        tag = tag_of(options)
        for option in options:
            if tag is None:
                yield from _sections(value, option)
            elif (kind := _kind(option, tag)) in value:
                yield from _sections({tag: kind, **(value[kind] or {})}, option)


def _merge(given: Mapping[str, Any], section: type[Section], bases: Bases) -> dict[str, Any]:
    base = bases.get(section, {})
    merged = {}
    for key in dict.fromkeys([*base, *given]):
        field = section.model_fields.get(key)
        if key in given:
            value = given[key]
        elif field and not field.is_required():
            continue
        elif field and base[key] is None and type(None) not in get_args(field.annotation):
            continue  # every recipe has a value of its own
        else:
            value = {} if isinstance(base[key], Mapping) else base[key]
        merged[key] = _merge_value(value, field, bases) if field else value
    return merged


def _merge_value(value: Any, field: FieldInfo, bases: Bases) -> Any:
    if _is_named(field) and isinstance(value, Mapping):
        return {name: _merge_section(entry, field, bases) for name, entry in value.items()}
    return _merge_section(value, field, bases)


def _merge_section(value: Any, field: FieldInfo, bases: Bases) -> Any:
    section = _section_of(value, field)
    return _merge(value, section, bases) if section else value


def _section_of(value: Any, field: FieldInfo) -> type[Section] | None:
    """Find the section that describes a value; None if it is no mapping, or of unknown kind."""
    if not isinstance(value, Mapping):
        return None
    options = sections_in(field.annotation)
    tag = tag_of(options)
    return next((o for o in options if tag is None or value.get(tag) == _kind(o, tag)), None)


def _kind(section: type[Section], tag: str) -> str:
    (kind,) = get_args(section.model_fields[tag].annotation)
    return str(kind)


def _is_named(field: FieldInfo) -> bool:
    """Whether the keys of the value are names that a user chooses, as in ``models``."""
    annotation = field.annotation
    return any(get_origin(option) is dict for option in (annotation, *get_args(annotation)))


# --- errors --------------------------------------------------------------------------------------


def _check(merged: Mapping[str, Any], marked: Mapping[str, Any], path: Path) -> None:
    try:
        Params.model_validate(merged)
    except ValidationError as error:
        errors = [e for e in error.errors() if e["type"] != "combination"]
        if errors:
            lines = (f"{_place(path, marked, line)}: {line}" for line in explain(errors, merged))
            raise ParamsError("\n".join(lines)) from None


def _place(path: Path, marked: Any, message: str) -> str:
    """Find the line that a message is about, or the one that begins the section.

    Args:
        path: The recipe.
        marked: Its values, as ruamel.yaml reads them with their lines.
        message: Begins with the keys, separated by dots, and a colon.

    Returns:
        ``path:line``, or the path alone if the recipe does not have the section.
    """
    place = str(path)
    for key in message.partition(":")[0].split("."):
        step = int(key) if isinstance(marked, CommentedSeq) and key.isdigit() else key
        is_marked = isinstance(marked, (CommentedMap, CommentedSeq)) and marked.lc.data
        if not is_marked or step not in marked.lc.data:
            break  # missing, or from a YAML merge key (<<)
        place = f"{path}:{marked.lc.data[step][0] + 1}"
        marked = marked[step]
    return place


# --- writing -------------------------------------------------------------------------------------


class Representer(RoundTripRepresenter):
    """Writes null as ``null``, instead of an empty value."""

    def represent_null(self, _: None) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")


# In a class of its own: ruamel keeps representers for the whole process, also those of DVC.
Representer.add_representer(type(None), Representer.represent_null)


class _Writer:
    """YAML in block style, with a comment on each key where it first occurs."""

    def __init__(self) -> None:
        self._explained: set[tuple[str, str]] = set()
        self._yaml = YAML()
        self._yaml.indent(mapping=2, sequence=4, offset=2)
        self._yaml.width = 2**20  # long text has only the line breaks of the recipe
        self._yaml.Representer = Representer

    def lines(self, values: Mapping[str, Any], section: type[Section] | None) -> Iterator[str]:
        """Write a section, not indented."""
        assert section, "checked before"
        for key, value in values.items():
            field = section.model_fields[key]
            if section is Params and isinstance(value, Mapping):
                yield ""
            comment = self._comment(key, value, field)  # before those of the keys in it
            first, *rest = self._entry(key, value, field)
            yield first + comment
            yield from rest

    def _comment(self, key: str, value: Any, field: FieldInfo) -> str:
        section = None if field.description else _section_of(value, field)
        text = (section.__doc__ or "").strip() if section else meaning(field)
        if (key, text) in self._explained:
            return ""
        self._explained.add((key, text))
        return f"  # {text}"

    def _entry(self, key: str, value: Any, field: FieldInfo) -> Iterator[str]:
        if not value or not sections_in(field.annotation):
            yield from self._dump(key, value)
            return
        yield f"{key}:"
        if isinstance(value, list):
            for entry in value:
                first, *rest = self.lines(entry, _section_of(entry, field))
                yield from (f"  - {first}", *(f"    {line}" for line in rest))
        elif _is_named(field):
            for name, entry in value.items():
                lines = self.lines(entry, _section_of(entry, field))
                (first,) = self._dump(name, {})  # in quotes if it is a word of YAML, such as null
                yield from (f"  {first.removesuffix(' {}')}", *(f"    {line}" for line in lines))
        else:
            yield from (f"  {line}" for line in self.lines(value, _section_of(value, field)))

    def _dump(self, key: str, value: Any) -> list[str]:
        text = io.StringIO()
        self._yaml.dump({key: value}, text)
        lines = text.getvalue().removesuffix("\n").split("\n")
        if isinstance(value, str) and not isinstance(value, DoubleQuotedScalarString):
            is_block = isinstance(value, (FoldedScalarString, LiteralScalarString))
            has_place = is_block or len(lines) == 1  # for a comment behind its first line
            if not has_place or self._yaml.load(text.getvalue()) != {key: value}:
                return self._dump(key, DoubleQuotedScalarString(value))
        return lines
