"""Fetching originals: every candidate's bytes, or the reason why not."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ganloom import images, params, sources
from ganloom.sources import CANDIDATE, FetchError, Reader, Row, SourceError

MANIFEST = (*CANDIDATE, "error", "sha256", "bytes", "width", "height", "mime")
LOG = ("id", "retrieved_at", "status", "attempts", "seconds")


class Job(NamedTuple):
    """What every worker process needs to know.

    Attributes:
        specs: The sources by name.
        limits: The section ``fetch``.
        context: What a source may need beside its parameters.
        spool: Usable originals are written here as ``<sha256>.<extension>``.
    """

    specs: Mapping[str, params.Source]
    limits: params.Fetch
    context: sources.Context
    spool: Path


class Result(NamedTuple):
    """One row for the manifest and one for the log."""

    manifest: Row
    log: Row


def fetch(rows: Sequence[Row], job: Job, workers: int) -> Iterator[Result]:
    """Fetch candidates, in their order.

    A candidate is usable when its file is within the limits, is what the search saw and decodes
    whole. The results do not depend on the number of ``workers``.

    Raises:
        SourceError: a source cannot be opened at all.
    """
    # Also here, so that a source that needs a download makes it once, and one that cannot be
    # opened says so once.
    readers = open_readers(job)
    if workers == 1:
        yield from (_fetch_one(row, job, readers) for row in rows)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (job,)) as pool:
        yield from pool.map(_fetch_in_worker, rows, chunksize=8)


def open_readers(job: Job) -> dict[str, Reader]:
    """A reader for each source.

    Raises:
        SourceError: a source cannot be opened; the message names it.
    """
    readers = {}
    for name, spec in job.specs.items():
        try:
            readers[name] = sources.module(spec.kind).reader(spec, job.context)
        except SourceError as error:
            raise SourceError(f"sources.{name}: {error}") from error
    return readers


_worker: tuple[Job, dict[str, Reader]]


def _start_worker(job: Job) -> None:
    global _worker  # noqa: PLW0603  (the way to hand a worker what cannot be pickled)
    _worker = job, open_readers(job)


def _fetch_in_worker(row: Row) -> Result:
    return _fetch_one(row, *_worker)


def _fetch_one(row: Row, job: Job, readers: Mapping[str, Reader]) -> Result:
    started, clock = datetime.now(UTC), time.perf_counter()
    found = {column: row[column] for column in CANDIDATE} | dict.fromkeys(
        MANIFEST[len(CANDIDATE) :], ""
    )
    try:
        _require_within(job.limits, int(row.get("bytes") or 0))
        data = readers[row["source"]](row["url"])
        found |= {"sha256": images.sha256(data), "bytes": str(len(data))}
        _require_within(job.limits, len(data))
        if row.get("sha256", found["sha256"]) != found["sha256"]:
            raise FetchError("changed since it was listed: search again")
        info = images.probe(data, job.limits.max_pixels)
        _spool(job.spool / f"{found['sha256']}.{info.extension}", data)
        found |= {"width": str(info.width), "height": str(info.height), "mime": info.mime}
    except (FetchError, images.ImageError) as error:
        found["error"] = " ".join(str(error).split())
    log = {
        "id": row["id"],
        "retrieved_at": started.isoformat(timespec="seconds"),
        "status": "failed" if found["error"] else "fetched",
        "attempts": "1",
        "seconds": f"{time.perf_counter() - clock:.3f}",
    }
    return Result(found, log)


def _require_within(limits: params.Fetch, size: int) -> None:
    if size > limits.max_bytes:
        raise FetchError(f"file too large: {size} bytes, more than {limits.max_bytes}")


def _spool(path: Path, data: bytes) -> None:
    # Two workers may hold the same picture: the file's name is its content's hash.
    with contextlib.suppress(FileExistsError), path.open("xb") as file:
        file.write(data)


def failures(manifest: Sequence[Row]) -> str:
    """Failed candidates by kind of reason, most frequent first: ``12 truncated JPEG, 3 ...``."""
    reasons = collections.Counter(
        row["error"].partition(":")[0] for row in manifest if row["error"]
    )
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
