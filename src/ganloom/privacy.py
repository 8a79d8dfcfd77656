"""What is given away does not say who made it, nor whose home it was made in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONTACT = "network.contact"
HOME = "$HOME"  # not ~, which is nothing in YAML


def homes() -> Iterator[Path]:
    """The user's home, and where it is if that is a link; nothing where there is none."""
    try:
        home = Path.home()
    except RuntimeError:  # a number without a name, as in some containers
        return
    yield home
    yield home.resolve()


def renamed(text: str, places: Mapping[Path, str]) -> str:
    """A text that calls folders otherwise; neither the root nor a part of another name is one."""
    for place in sorted(places, key=lambda place: -len(str(place))):
        if place.is_absolute() and place != Path(place.anchor):
            whole = rf"(?<![\w.-]){re.escape(str(place))}(?![\w-]|\.\w)"
            text = re.sub(whole, places[place], text)
    return text


def without_home(text: str) -> str:
    """A text with `$HOME` for the user's home."""
    return renamed(text, dict.fromkeys(homes(), HOME))


def shareable(text: str) -> str:
    """The text of a params.yaml as it is, but with no contact, and `$HOME` for the user's home.

    Raises:
        YAMLError: it is not YAML.
    """
    return without_home(_without_contact(text))


def _without_contact(text: str) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - the doctor works without it

    node = YAML(typ="safe", pure=True).compose(text)
    for key in CONTACT.split("."):
        node = _value(node, key)
    if node is None or not node.value:
        return text
    begin, end = node.start_mark.index, node.end_mark.index
    end = len(text[:end].rstrip())  # that of a text in lines of its own is the next word
    anchor = f"&{node.anchor} " if node.anchor else ""  # else an alias of it would lead nowhere
    return f"{text[:begin]}{anchor}null{text[end:]}"


def _value(node: Any, key: str) -> Any:
    pairs = node.value if node is not None and node.id == "mapping" else []
    return next((value for name, value in pairs if name.value == key), None)
