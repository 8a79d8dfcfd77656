"""Errors of pydantic, rendered as lines for the user: key, value, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from ganloom.params.lookup import description, section_at, sections_at, tag_at, value_at


def explain(errors: Sequence[ErrorDetails], data: Any) -> list[str]:
    """A line for each error in ``data``, or for several that have one cause."""
    switched, rest = _switched(errors, data)
    return switched + [_explain(error, data) for error in rest]


def _switched(errors: Sequence[ErrorDetails], data: Any) -> tuple[list[str], list[ErrorDetails]]:
    """One line for each section whose `kind` or `mode` was changed but not its other keys.

    Returns:
        These lines, and the errors that they do not explain.
    """
    by_section: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for error in errors:
        if error["type"] in ("extra_forbidden", "missing"):
            keys = tuple(_keys(error["loc"], data))
            by_section.setdefault(keys[:-1], []).append(error)
    lines, explained = [], []
    for path, found in by_section.items():
        section, tag = section_at(path, data), tag_at(path, data)
        if section is None or tag is None:
            continue
        extra = [error for error in found if error["type"] == "extra_forbidden"]
        names = [str(error["loc"][-1]) for error in extra]
        others = [other for other in sections_at(path, data) if other is not section]
        owner = max(others, key=lambda other: len(other.model_fields.keys() & set(names)))
        foreign = [name for name in names if name in owner.model_fields]
        if not foreign:
            continue
        missing = [error for error in found if error["type"] == "missing"]
        lines.append(_switch(path, data, tag, foreign, [str(e["loc"][-1]) for e in missing]))
        explained += missing + [error for error in extra if error["loc"][-1] in foreign]
    return lines, [error for error in errors if error not in explained]


def _switch(
    path: Sequence[str], data: Any, tag: str, foreign: list[str], missing: list[str]
) -> str:
    """What to delete from a section and what to add, for the `kind` or `mode` that it has now."""
    one = len(foreign) == 1
    text = (
        f"{'.'.join([*path, tag])}: {value_at(path, data)[tag]!r} does not have the "
        f"{'key' if one else 'keys'} {', '.join(foreign)}: delete {'it' if one else 'them'}"
    )
    if missing:
        added = (f"{key} ({description([*path, key], data)})" for key in missing)
        text += f" and add {', '.join(added)}"
    return text


def _explain(error: ErrorDetails, data: Any) -> str:
    """One line: the key, its value, what is allowed, the closest spelling."""
    keys = list(_keys(error["loc"], data))
    path, value, context = ".".join(keys), error["input"], error.get("ctx", {})
    match error["type"]:
        case "combination":
            key = context["key"]
            if keys and not key.startswith(
                ("models.", "sources.", "network.", "augment.", "evaluate.", "invert.", "weave.")
            ):
                key = f"{path}.{key}"
            text = f"{key}: {context['value']!r} is not possible; allowed: {context['allowed']}"
        case "extra_forbidden":
            section = section_at(keys[:-1], data)
            fields = list(section.model_fields) if section else []
            hint = _did_you_mean(keys[-1], fields, cutoff=0.6)
            text = f"{path}: unknown key{hint} (allowed: {', '.join(fields)})"
        case "missing":
            text = f"{path}: missing key ({description(keys, data)})"
        case "union_tag_not_found":
            text = f"{path}.{context['discriminator'].strip(chr(39))}: missing key"
        case "union_tag_invalid":
            options = context["expected_tags"]
            hint = _did_you_mean(context["tag"], re.findall(r"'([^']*)'", options))
            tag = context["discriminator"].strip("'")
            text = f"{path}.{tag}: {context['tag']!r} is not possible{hint} (allowed: {options})"
        case "string_type" if value is not None:
            text = f"{path}: {value!r} is not possible; allowed: text: put it in quotes"
        case _ if value is None:
            section = section_at(keys[:-1], data)
            field = section.model_fields.get(keys[-1]) if section else None
            is_optional = field is not None and not field.is_required()
            remedy = "delete the line" if is_optional else f"give a value ({_allowed(error)})"
            text = f"{path}: null is not possible; {remedy}"
        case "literal_error":
            options = context["expected"]
            hint = _did_you_mean(value, re.findall(r"'([^']*)'", options))
            text = f"{path}: {value!r} is not possible{hint} (allowed: {options})"
        case "string_pattern_mismatch":
            path = ".".join(key for key in keys if key != "[key]")
            text = (
                f"{path}: {value!r} is not a name; "
                "allowed: lower-case letters, digits and _, a letter first"
            )
        case _:
            text = f"{path}: {value!r} is not possible; allowed: {_allowed(error)}"
    return text


def _allowed(error: ErrorDetails) -> str:
    plain = {
        "string_type": "text",
        "dict_type": "a section",
        "model_type": "a section",
        "model_attributes_type": "a section",
    }
    allowed = error["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return plain.get(error["type"], allowed)


def _did_you_mean(value: Any, options: Sequence[str], cutoff: float = 0.4) -> str:
    close = difflib.get_close_matches(str(value), options, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def _keys(loc: Sequence[int | str], data: Any) -> Iterator[str]:
    """The path of an error as a user wrote it: pydantic adds the tags of unions to it."""
    here = data
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        if isinstance(here, Mapping):
            if part in here:
                here = here[part]
            elif not last or part == "[key]":
                continue
        elif isinstance(here, list) and isinstance(part, int):
            here = here[part]
        else:
            continue
        yield str(part)
