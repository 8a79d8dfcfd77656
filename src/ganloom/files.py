"""Writing files, and checks of untrusted zip files."""

from __future__ import annotations

import json
import secrets
import zipfile
from pathlib import Path
from typing import Any

OTHER_METHOD = "compressed in a way that is not read: only deflated"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically; parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not with `tempfile`, whose files only their owner can read.
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any, *, sort_keys: bool = False) -> None:
    """Write indented JSON with a final newline; parent folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=sort_keys)
    path.write_text(f"{text}\n", encoding="utf-8")


def inflates_bit_by_bit(member: zipfile.ZipInfo) -> bool:
    """Tell whether reading n bytes of a zip's member decompresses about as many.

    Python's readers of other methods decompress all of their input, however large the result.
    """
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
