"""Which section of the schema describes which mapping of a params file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ganloom.params.stages import Params
from ganloom.params.types import Section


def section_at(keys: Sequence[str], data: Any) -> type[Section] | None:
    """The class that describes the mapping under ``keys`` of a params file's ``data``."""
    options, tag = sections_at(keys, data), tag_at(keys, data)
    for option in options:
        if tag and value_at(keys, data).get(tag) in get_args(option.model_fields[tag].annotation):
            return option
    return options[0] if options else None


def sections_at(keys: Sequence[str], data: Any) -> list[type[Section]]:
    """The classes that may describe the mapping under ``keys``: several where it has a kind."""
    options: list[type[Section]] = [Params]
    for key in keys:
        inner: list[type[Section]] = []
        for option in options:
            field = option.model_fields.get(key)
            if field is not None:
                inner += sections_in(field.annotation)
        options = inner or options  # a name chosen by the user: sources.<name>, models.<name>
    return options


def tag_at(keys: Sequence[str], data: Any) -> str | None:
    """The key that tells the classes under ``keys`` apart, `kind` or `mode`; None: only one."""
    return tag_of(sections_at(keys, data)) if isinstance(value_at(keys, data), Mapping) else None


def tag_of(options: Sequence[type[Section]]) -> str | None:
    """The key that tells these classes apart, `kind` or `mode`; None: there is only one."""
    if len(options) > 1:
        for tag in ("kind", "mode"):
            if all(tag in option.model_fields for option in options):
                return tag
    return None


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field's type is made of: one, or each member of a union or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return sections_in(get_args(annotation)[0])
    return [section for inner in get_args(annotation) for section in sections_in(inner)]


def meaning(field: FieldInfo) -> str:
    """The description of a key; without one, those of the sections that it may hold."""
    inner = sections_in(field.annotation)
    return field.description or " / ".join((s.__doc__ or "").strip() for s in inner)


def description(keys: Sequence[str], data: Any) -> str:
    """What the schema says of the last of ``keys``, with its options; "" of an unknown key."""
    section = section_at(keys[:-1], data)
    field = section.model_fields.get(keys[-1]) if section else None
    if field is None:
        return ""
    inner = sections_in(field.annotation)
    text = field.description or (inner[0].__doc__ or "" if inner else "")
    if get_origin(field.annotation) is Literal:
        text += f"; allowed: {', '.join(map(repr, get_args(field.annotation)))}"
    return text


def value_at(keys: Sequence[str], data: Any) -> Any:
    """The value under ``keys``, which are indices where ``data`` has lists."""
    for key in keys:
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data
