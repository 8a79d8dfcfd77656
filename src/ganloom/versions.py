"""Versions of ganloom and of what it uses."""

from __future__ import annotations

import importlib.metadata

from ganloom import __version__

UNKNOWN = "unknown"


def version(package: str) -> str:
    """Return the version of a package; ``UNKNOWN`` where no metadata of it are installed.

    ganloom's version is that of the source that runs, whether it is installed or not.
    """
    if package == "ganloom":
        return __version__
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
