"""Files that several processes may write at once, and zip files that anybody may have made."""

from __future__ import annotations

import secrets
import zipfile
from pathlib import Path

OTHER_METHOD = "compressed in a way that is not read: only deflated"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by `tempfile`, whose files nobody else may read.
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def inflates_bit_by_bit(member: zipfile.ZipInfo) -> bool:
    """Whether reading n bytes of a zip's member inflates about as many.

    Python's readers of the other methods inflate all that they were fed, however large it becomes.
    """
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
