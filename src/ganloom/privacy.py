"""Removal of personal data from published files: the contact, and the user's home folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONTACT = "network.contact"
HOME = "$HOME"  # not ~, which is null in YAML


def homes() -> Iterator[Path]:
    """Yield the home folder, and its target if it is a link; nothing if there is none."""
    try:
        home = Path.home()
    except RuntimeError:  # a user id without a name, as in some containers
        return
    yield home
    yield home.resolve()


def renamed(text: str, places: Mapping[Path, str]) -> str:
    """Replace folders in a text; neither the root nor a part of another name is replaced."""
    for place in sorted(places, key=lambda place: -len(str(place))):
        if place.is_absolute() and place != Path(place.anchor):
            whole = rf"(?<![\w.-]){re.escape(str(place))}(?![\w-]|\.\w)"
            text = re.sub(whole, places[place], text)
    return text


def without_home(text: str) -> str:
    """Replace the user's home in a text by `$HOME`."""
    return renamed(text, dict.fromkeys(homes(), HOME))


def shareable(text: str) -> str:
    """Remove the contact from the text of a params.yaml, and replace the home folder by `$HOME`.

    Raises:
        YAMLError: The text is not YAML.
    """
    return without_home(_without_contact(text))


def _without_contact(text: str) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - `ganloom doctor` works without it

    node = YAML(typ="safe", pure=True).compose(text)
    for key in CONTACT.split("."):
        node = _value(node, key)
    if node is None or not node.value:
        return text
    begin, end = node.start_mark.index, node.end_mark.index
    end = len(text[:end].rstrip())  # a block scalar ends at the next token
    anchor = f"&{node.anchor} " if node.anchor else ""  # an alias may refer to it
    return f"{text[:begin]}{anchor}null{text[end:]}"


def _value(node: Any, key: str) -> Any:
    pairs = node.value if node is not None and node.id == "mapping" else []
    return next((value for name, value in pairs if name.value == key), None)
