"""Files that came over the network, kept until somebody removes the folder."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ganloom.files import write_whole


class Kept(NamedTuple):
    """One file in the store.

    Attributes:
        path: Where it lies.
        final_url: Where it came from in the end, after redirects.
        sha256: Of its content.
        retrieved_at: When it came, ISO 8601.
    """

    path: Path
    final_url: str
    sha256: str
    retrieved_at: str


class Store:
    """Files by the address that they came from.

    A killed or repeated download goes on where it was. Content lies in ``files/<sha256>``, what
    came from where in ``urls/<sha256 of the address>.json``; both are written beside and renamed,
    content first, so that there is no moment at which a kill leaves a wrong entry. Nothing in the
    folder is believed: an entry counts only while the content has the hash that it says.

    Args:
        folder: Made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._urls = folder / "urls"
        for each in (self._files, self._urls):
            each.mkdir(parents=True, exist_ok=True)

    def put(self, url: str, data: bytes, final_url: str) -> Kept:
        """Keep what came from ``url``, which led to ``final_url``."""
        digest, now = hashlib.sha256(data).hexdigest(), datetime.now(UTC)
        kept = Kept(self._files / digest, final_url, digest, now.isoformat(timespec="seconds"))
        write_whole(kept.path, data)
        entry = {
            "url": url,
            "final_url": final_url,
            "sha256": digest,
            "retrieved_at": kept.retrieved_at,
        }
        write_whole(self._entry(url), json.dumps(entry).encode())
        return kept

    def take(self, url: str, max_bytes: int) -> Kept | None:
        """What came from ``url`` earlier, if it is whole and within ``max_bytes``."""
        try:
            entry = json.loads(self._entry(url).read_bytes())
            digest, retrieved_at = entry["sha256"], entry["retrieved_at"]
            final_url = str(entry.get("final_url", url))  # earlier versions did not keep it
            if entry["url"] != url:
                return None
            datetime.fromisoformat(retrieved_at)
            path = self._files / digest
            if not path.is_file() or path.stat().st_size > max_bytes:
                return None
            with path.open("rb") as file:
                whole = hashlib.file_digest(file, "sha256").hexdigest() == digest
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return Kept(path, final_url, digest, retrieved_at) if whole else None

    def forget(self, url: str) -> None:
        """Ask for ``url`` again next time."""
        self._entry(url).unlink(missing_ok=True)

    def _entry(self, url: str) -> Path:
        return self._urls / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
