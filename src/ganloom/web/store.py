"""Persistent store of downloaded files."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ganloom.files import write_whole


class Kept(NamedTuple):
    """A file in the store.

    Attributes:
        path: Path of the file.
        final_url: Its URL after redirects.
        sha256: Hash of its content.
        retrieved_at: Time of the download, ISO 8601.
    """

    path: Path
    final_url: str
    sha256: str
    retrieved_at: str


class Store:
    """Downloaded files by URL, so that an interrupted or repeated download continues.

    The content is in ``files/<sha256>``, the metadata in ``urls/<sha256 of the URL>.json``. Both
    are written atomically, content first, so that a kill cannot leave a wrong entry. The folder is
    not trusted: an entry is valid only if the content has the recorded hash.

    Args:
        folder: Folder of the store; created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "files"
        self._urls = folder / "urls"
        for each in (self._files, self._urls):
            each.mkdir(parents=True, exist_ok=True)

    def put(self, url: str, data: bytes, final_url: str) -> Kept:
        """Store the response to ``url``, whose redirects ended at ``final_url``."""
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
        """Return the stored response to ``url`` if it is intact and within ``max_bytes``."""
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
        """Delete the entry of ``url``."""
        self._entry(url).unlink(missing_ok=True)

    def _entry(self, url: str) -> Path:
        return self._urls / f"{hashlib.sha256(url.encode()).hexdigest()}.json"
