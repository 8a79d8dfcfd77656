"""Messages for errors that end a stage and that only the user can resolve, such as a full disk."""

from __future__ import annotations

import errno
import os
import re
import sys
from pathlib import Path
from types import TracebackType

ROOM = (
    "make room (dvc gc --all-commits --all-experiments removes what no commit or experiment uses)"
)
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EROFS: "make it writable",
    errno.EACCES: "make it yours, readable and writable",
}
# Errors of Python's pools, whose worker the system has killed, of Python and of torch.
OUT_OF_MEMORY = {"BrokenProcessPool", "MemoryError", "OutOfMemoryError"}


def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a sentence for such an error, and the traceback of any other: a ``sys.excepthook``."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nStopped; the same command continues.", file=sys.stderr)
        return
    if kind.__name__ in OUT_OF_MEMORY:
        sys.__excepthook__(kind, error, trace)
        print(
            "error: probably not enough memory; run fewer stages at once (--cores), or lower "
            "threads, batch, channels or resolution in params.yaml",
            file=sys.stderr,
        )
        return
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) and re.search(r"requested and \d+ written", str(error)):
        number = errno.ENOSPC  # numpy does not give the reason of a partial write
    if number in REMEDIES:
        # An error of a write, unlike one of an open, does not name the file.
        where = getattr(error, "filename", None) or Path.cwd()
        print(
            f"error: {where}: {os.strerror(number)}; {REMEDIES[number]}, then run the same command "
            "again",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)
