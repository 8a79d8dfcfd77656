"""Pages and responses of Google Images, written from descriptions of those of 2026.

Nothing here was sent by Google. The form of a record and its escapes are what public parsers read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any


def record(number: int, **changes: Any) -> list[Any]:
    """The record of a result, whose title and addresses have what is hard to read."""
    known: dict[str, Any] = {
        "id": f"Id_{number:05d}-xyz",
        "url": f"https://example.org/kené%20{number}.jpg?a=1&b=[2]",
        "height": 600 + number,
        "width": 800,
        "page": f"https://example.org/page/{number}?q=a&r=b",
        "title": f'Kené "textile" \\ {number} </b> 布',
    } | changes
    thumbnail = f"https://encrypted-tbn0.gstatic.com/images?q=tbn:{number}&s"
    return [
        *(0, known["id"], [thumbnail, 225, 225]),
        [known["url"], known["height"], known["width"]],
        *(None, 0, "rgb(12,34,56)", None, 0),
        {
            "2000": [None, "example.org", "143KB"],
            "2001": [None, None, None, 3],
            "2003": [None, "ref", known["page"], known["title"], None, None],
        },
    ]


def numbers(found: Iterable[str]) -> list[int]:
    """The numbers of records in addresses of images, sorted."""
    return sorted(int(url.partition("%20")[2].partition(".")[0]) for url in found)


def script(value: Any) -> str:
    """JSON as in a script: `=`, `&`, `<` and `>` are escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char in "=&<>":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def escaped(text: str) -> str:
    """The text as a string in a script."""
    return json.dumps(text, ensure_ascii=False)


def page(*which: int, body: str = "") -> str:
    """A page of results: each record twice in inline scripts, and a tile for each."""
    records = [[None, [record(number)]] for number in which]
    tiles = "".join(
        f'<div data-docid="{record(n)[1]}" data-lpage="https://example.org/page/{n}"></div>'
        for n in which
    )
    return f"""<!doctype html><html><head><title>shipibo textiles - Google Search</title></head>
<body><a href="/httpservice/retry/enablejs">x</a><a href="/sorry/index">y</a>
<div id="search">{tiles}</div>
<script nonce="z">(function(){{var m={script({"a": records})};google.ldi={{}};}})();</script>
<script>var d={script([1, [None, records, "x"]])};</script>{body}</body></html>"""


def response(*which: int) -> str:
    """A response to scrolling, whose records are text in JSON, as `\\"`."""
    inner = script([None, [[None, [record(number)]] for number in which]])
    return f')]}}\'\n\n[["wrb",{escaped(inner)},null],{escaped(inner)}]'


def deeper(*which: int) -> str:
    """A response whose records are text in text in JSON, as `\\\\\\"`."""
    inner = script([None, [[None, [record(number)]] for number in which]])
    return f"[{escaped(json.dumps([inner], ensure_ascii=False))}]"


def entry(address: str, body: str, *, is_base64: bool = False, **more: Any) -> dict[str, Any]:
    """A request in a network record (HAR 1.2)."""
    data = body.encode()
    content: dict[str, Any] = {"size": len(data), "mimeType": "text/html; charset=UTF-8"}
    if is_base64:
        content |= {"text": base64.b64encode(data).decode(), "encoding": "base64"}
    else:
        content["text"] = body
    return {
        "_initiator": {"type": "script", "url": "https://www.gstatic.com/x.js?q=no"},
        "request": {"method": "GET", "url": address, "headers": [], "cookies": []},
        "response": {"status": 200, "content": content | more},
    }


def har(*entries: dict[str, Any]) -> str:
    """A network record, indented as Chrome saves it."""
    log = {"version": "1.2", "creator": {"name": "WebInspector"}, "entries": entries}
    return json.dumps({"log": log}, indent=2, ensure_ascii=False)
