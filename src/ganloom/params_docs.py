"""The page on parameters, generated from the schema."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from ganloom.params import Params, Section
from ganloom.params.lookup import meaning, sections_in, tag_of


def markdown() -> str:
    """``docs/params.md``: every section of the schema, with type and range of each key."""
    seen: list[tuple[str, type[Section]]] = []
    _collect("", Params, seen)
    parts = [
        "# Parameters",
        "",
        "Generated from the schema (`src/ganloom/params`) by `ganloom docs`. All values are in",
        "`params.yaml`; there are no hidden defaults. A key marked `optional` may be missing: what",
        "it describes is then off. A section that may occur in several places is described at the",
        "first.",
    ]
    for path, section in seen:
        parts += ["", f"## {path or 'Top level'}", "", (section.__doc__ or "").strip(), ""]
        parts += ["| key | value | meaning |", "| --- | --- | --- |"]
        for name, field in section.model_fields.items():
            allowed = _allowed(field) + ("" if field.is_required() else ", optional")
            parts.append(f"| `{name}` | {allowed} | {meaning(field)} |")
    return "\n".join(parts) + "\n"


def _collect(path: str, section: type[Section], seen: list[tuple[str, type[Section]]]) -> None:
    if any(section is known for _, known in seen):
        return
    seen.append((path, section))
    for name, field in section.model_fields.items():
        inner = sections_in(field.annotation)
        here = f"{path}.{name}" if path else name
        if get_origin(field.annotation) is dict:
            here += ".<name>"
        for option in inner:
            tag = tag_of(inner)
            title = here
            if tag:
                title += f" ({tag}: {get_args(option.model_fields[tag].annotation)[0]})"
            _collect(title, option, seen)


def _allowed(field: FieldInfo) -> str:
    if sections_in(field.annotation):
        container = _container(field.annotation)
        if container is list:
            return "list of sections"
        return "name: section" if container is dict else "section"
    limits = []
    for rule in field.metadata:
        for symbol, attribute in ((">=", "ge"), (">", "gt"), ("<=", "le"), ("<", "lt")):
            if hasattr(rule, attribute):
                limits.append(f"{symbol} {getattr(rule, attribute)}")
    kind = _kind(field.annotation)
    return f"{kind} {', '.join(limits)}".strip()


def _container(annotation: Any) -> Any:
    """The type that holds the sections, list or dict; None if the value is a section."""
    origin = get_origin(annotation)
    if origin in (list, dict):
        return origin
    return next(filter(None, map(_container, get_args(annotation))), None)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is not None and arguments:
        options = arguments[:1] if hasattr(annotation, "__metadata__") else arguments
        return " or ".join(_kind(option) for option in options)
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(
        getattr(annotation, "__name__", ""), str(annotation)
    )
