"""Fetching originals: every candidate's bytes, or the reason why not."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fnmatch
import itertools
import multiprocessing
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ganloom import params, sources
from ganloom.images import decoding
from ganloom.images.decoding import HEIC, INSTALL_HEIC
from ganloom.images.shards import sha256
from ganloom.sources import (
    CANDIDATE,
    NAMED_AS_PICTURE,
    FetchError,
    Reader,
    Row,
    SourceError,
)
from ganloom.web.client import Client, WebError, web_url
from ganloom.web.store import Kept, Store

MANIFEST = (*CANDIDATE, "error", "sha256", "bytes", "width", "height", "mime")
LOG = (
    "id",
    "retrieved_at",
    "status",
    "attempts",
    "seconds",
    "http_status",
    "taken_from",
    "final_url",
)

# What comes in the place of a picture that is gone.
_GONE = {"not an image", "empty file", "changed since it was listed"}
# What will come again, however often it is asked for.
_UNREAD = decoding.UnreadFormatError.KIND


class Job(NamedTuple):
    """What every worker process needs to know.

    Attributes:
        specs: The sources by name.
        limits: The section ``fetch``.
        context: Seed and network, which sources need, too.
        spool: Usable originals are written here as ``<sha256>.<extension>``.
        kept: Folder of what came over the network, by which an interrupted run goes on.
        shards: Originals by sha256, taken before the network is asked.
    """

    specs: Mapping[str, params.Source]
    limits: params.Fetch
    context: sources.Context
    spool: Path
    kept: Path
    shards: Mapping[str, bytes]


class Result(NamedTuple):
    """One row for the manifest and one for the log.

    Attributes:
        manifest: Columns ``MANIFEST``.
        log: Columns ``LOG``.
        host: That was asked, or would have been; empty for what is not on the web.
        lost: Whether it is on the web but gone or out of reach.
    """

    manifest: Row
    log: Row
    host: str
    lost: bool


class LostError(RuntimeError):
    """Too much of the web was out of reach; the message says what, and what to do."""


def fetch(rows: Sequence[Row], job: Job, workers: int, tick: Callable[[], object]) -> list[Result]:
    """Fetch candidates.

    A candidate is usable when its licence is allowed, its file is within the limits, is what the
    search saw and decodes whole. Results do not depend on the number of ``workers``, and neither on
    whether a file came over the network, was kept from an earlier run or taken from shards.

    Args:
        rows: The candidates.
        job: Sources, limits and folders.
        workers: Processes that decode; requests are made beside them.
        tick: Called after each candidate.

    Returns:
        One result a candidate, in their order.

    Raises:
        SourceError: a source cannot be opened at all.
    """
    # Also here, so that a source that needs a download makes it once, and one that cannot be
    # opened says so once.
    readers = open_readers(job)
    if workers == 1 and not any(is_web(row["url"]) for row in rows):
        results = []
        for row in rows:
            results.append(_from_source(row, job, readers))
            tick()
        return results
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (job,)) as pool:
        return asyncio.run(_fetch_all(rows, job, pool, tick))


async def _fetch_all(
    rows: Sequence[Row], job: Job, pool: Executor, tick: Callable[[], object]
) -> list[Result]:
    loop, store = asyncio.get_running_loop(), Store(job.kept)

    async def ticking(awaited: Awaitable[Result]) -> Result:
        result = await awaited
        tick()
        return result

    async with Client(job.context.network) as client:
        web = _Web(job, client, store, pool)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        ticking(
                            web.fetch(row)
                            if is_web(row["url"])
                            else loop.run_in_executor(pool, _from_source_in_worker, row)
                        )
                    )
                    for row in rows
                ]
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
    results = _without_placeholders(rows, [task.result() for task in tasks])
    _clear(results, job.spool, store)
    return results


def is_web(url: str) -> bool:
    """Whether a candidate is asked of the network, whatever its source."""
    return url.lower().startswith(("http://", "https://"))


def open_readers(job: Job) -> dict[str, Reader]:
    """A reader for each source that has one: those on the web have none.

    Raises:
        SourceError: a source cannot be opened; the message names it.
    """
    readers = {}
    for name, spec in job.specs.items():
        module = sources.module(spec.kind)
        if not hasattr(module, "reader"):
            continue
        try:
            readers[name] = module.reader(spec, job.context)
        except SourceError as error:
            raise SourceError(f"sources.{name}: {error}") from error
    return readers


def merge(rows: Iterable[Row]) -> list[Row]:
    """One row for each address on the web: of several, the one that knows most.

    Which bytes are wanted, and their class, it takes from the others where it does not know.

    Args:
        rows: Candidates of all sources.

    Returns:
        Sorted by id.

    Raises:
        SourceError: two sources want different bytes from one address.
    """
    groups: dict[str, list[Row]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda row: row["id"]):
        groups[_address(row["url"]) if is_web(row["url"]) else row["id"]].append(row)
    merged = []
    for found in groups.values():
        if len({row.get("sha256") for row in found} - {None, ""}) > 1:
            raise SourceError(
                f"{' and '.join(row['id'] for row in found)} want different bytes (sha256) from "
                f"{found[0]['url']}; correct one of their lists"
            )
        best = max(found, key=_knowledge)  # the first of equals
        wanted = {
            key: next(filter(None, (row.get(key, "") for row in [best, *found])), "")
            for key in ("sha256", "bytes", "label")
        }
        merged.append(best | wanted)
    return sorted(merged, key=lambda row: row["id"])


def _address(url: str) -> str:
    try:
        return str(web_url(url))
    except WebError:
        return url


def _host(url: str) -> str:
    try:
        return urlsplit(_address(url)).hostname or ""
    except ValueError:
        return ""


def _knowledge(row: Row) -> tuple[bool, int]:
    # The licence first: without it, a picture is worth little.
    return bool(row["licence"]), sum(bool(value) for value in row.values())


# --- in the worker processes -------------------------------------------------------------------


_worker: tuple[Job, dict[str, Reader]]


def _start_worker(job: Job) -> None:
    global _worker  # noqa: PLW0603  (the way to hand a worker what cannot be pickled)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who waits for it
    _worker = job, open_readers(job)


def _from_source_in_worker(row: Row) -> Result:
    return _from_source(row, *_worker)


def _judge_in_worker(row: Row, path: Path | None) -> Row:
    """Manifest row of a file that lies at ``path``, or in the shards."""
    job, _ = _worker
    return _judged(row, job, lambda: path.read_bytes() if path else job.shards[row["sha256"]])


def _from_source(row: Row, job: Job, readers: Mapping[str, Reader]) -> Result:
    started, clock = _now(), time.perf_counter()

    def read() -> bytes:
        _require_allowed(row, job.limits)
        if row["source"] not in readers:
            raise FetchError(f"not a web address: {row['url'][:200]!r}")
        return readers[row["source"]](row["url"])

    found = _judged(row, job, read)
    log = _log(found, started, time.perf_counter() - clock, taken_from="source")
    return Result(found, log, host="", lost=False)


def _judged(row: Row, job: Job, read: Callable[[], bytes]) -> Row:
    """The manifest's row of a candidate; its file goes to the spool if it is usable."""
    found = _blank(row)
    try:
        data = read()
        found |= {"sha256": sha256(data), "bytes": str(len(data))}
        _require_within(job.limits, len(data))
        if (row.get("sha256") or found["sha256"]) != found["sha256"]:
            raise FetchError("changed since it was listed: search again")
        info = decoding.probe(data, job.limits.max_pixels)
        _spool(job.spool / f"{found['sha256']}.{info.extension}", data)
        found |= {"width": str(info.width), "height": str(info.height), "mime": info.mime}
    except (FetchError, decoding.ImageError) as error:
        found["error"] = _one_line(error)
        if is_web(row["url"]):
            # What came instead is nobody's: who replays this manifest must not look for it.
            found |= {"sha256": row.get("sha256", ""), "bytes": ""}
    return found


# --- over the network --------------------------------------------------------------------------


class _Web:
    """Fetches candidates on the web: downloads here, decodes in the ``pool``."""

    def __init__(self, job: Job, client: Client, store: Store, pool: Executor) -> None:
        self._job, self._client, self._store, self._pool = job, client, store, pool

    async def fetch(self, row: Row) -> Result:
        """A candidate's file: from the shards, kept from an earlier run, or from its host."""
        job, url, host = self._job, row["url"], _host(row["url"])
        started = _now()
        try:
            _require_allowed(row, job.limits)
            if row.get("sha256") in job.shards:
                found = await self._judge(row, None)
                log = _log(found, started, 0, attempts=0, taken_from="shards")
                return Result(found, log, host, lost=False)
            kept = await asyncio.to_thread(self._store.take, url, job.limits.max_bytes)
            if kept is not None:
                found = await self._judge(row, kept)
                log = _log(
                    found,
                    kept.retrieved_at,
                    0,
                    attempts=0,
                    taken_from="kept",
                    final_url=kept.final_url,
                )
                # What was no use may be another file, or a whole one, by now; not another format.
                if _kind(found["error"]) in ("", _UNREAD):
                    return Result(found, log, host, lost=False)
            page = await self._client.get(url, job.limits.max_bytes)
            kept = await asyncio.to_thread(self._store.put, url, page.data, page.url)
            page = page._replace(data=b"")  # many wait for a worker: they must not fill the memory
            found = await self._judge(row, kept)
            log = _log(
                found,
                kept.retrieved_at,
                page.seconds,
                attempts=page.attempts,
                http_status=page.status,
                taken_from="network",
                final_url=page.url,
            )
            return Result(found, log, host, lost=_kind(found["error"]) in _GONE)
        except FetchError as error:
            found = _blank(row) | {"error": _one_line(error)}
            return Result(found, _log(found, started, 0, attempts=0), host, lost=False)
        except WebError as error:
            found = _blank(row) | {"error": _one_line(error)}
            log = _log(
                found,
                started,
                error.seconds,
                attempts=error.attempts,
                http_status=error.status or "",
                taken_from="network",
            )
            return Result(found, log, host, lost=not error.refused)

    async def _judge(self, row: Row, kept: Kept | None) -> Row:
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _judge_in_worker, row, kept.path if kept else None
        )


# --- placeholders ------------------------------------------------------------------------------


def _without_placeholders(rows: Sequence[Row], results: Sequence[Result]) -> list[Result]:
    """Fail candidates that only have a placeholder, such as a ``removed.png`` for all that is gone.

    A placeholder is a file to which candidates of different names are redirected, and which does
    not have their names. Where several addresses give the same file without a redirect, they may
    as well be honest copies; a candidate whose hash was listed is what was wanted.
    """
    names: dict[str, set[str]] = collections.defaultdict(set)
    places: dict[str, set[str]] = collections.defaultdict(set)
    unsure = [
        bool(r.log["final_url"]) and not row.get("sha256")
        for row, r in zip(rows, results, strict=True)
    ]
    for result in itertools.compress(results, unsure):
        found, final_url = result.manifest, result.log["final_url"]
        if not found["error"] and _name(final_url) != _name(found["url"]):
            names[found["sha256"]].add(_name(found["url"]))
            places[found["sha256"]].add(final_url)
    kept = []
    for row, result, is_unsure in zip(rows, results, unsure, strict=True):
        digest = result.manifest["sha256"]
        if is_unsure and len(names[digest]) > 1:
            reason = f"{len(names[digest])} different pictures lead to {min(places[digest])[:200]}"
            found = _blank(row) | {"error": f"placeholder: {reason}"}
            log = result.log | {"status": "failed"}
            kept.append(Result(found, log, result.host, lost=True))
        else:
            kept.append(result)
    return kept


def _name(url: str) -> str:
    """What a URL calls its file; of a script, which may serve many, with the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    name = unquote(parts.path.rpartition("/")[2])
    return name if NAMED_AS_PICTURE.search(name) else f"{name}?{parts.query}"


def _clear(results: Sequence[Result], spool: Path, store: Store) -> None:
    """Delete placeholders, and ask for the pictures again next time."""
    used = {result.manifest["sha256"] for result in results if not result.manifest["error"]}
    for path in spool.iterdir():
        if path.name.partition(".")[0] not in used:
            path.unlink()
    for result in results:
        if _kind(result.manifest["error"]) == "placeholder":
            store.forget(result.manifest["url"])


# --- both --------------------------------------------------------------------------------------


def _require_allowed(row: Row, limits: params.Fetch) -> None:
    if row.get("refusal"):
        raise FetchError(row["refusal"])
    size = row.get("bytes") or ""
    # Python reads no number of thousands of digits; these are enough.
    _require_within(limits, int(size[:20]) if size.isdecimal() else 0)
    if limits.licences is None:
        return
    spellings = _spellings(row["licence"])
    if not any(
        fnmatch.fnmatchcase(spelling, pattern.lower())
        for pattern in limits.licences
        for spelling in spellings
    ):
        raise FetchError(f"licence not allowed: {row['licence'] or 'unknown'}")


def _spellings(licence: str) -> set[str]:
    """A licence as it is written and as Creative Commons writes it; none if it is unknown.

    "CC-BY-SA-4.0", as software says, is "cc by-sa 4.0", too.
    """
    written = licence.strip().lower()
    if written in ("", "unknown"):
        return set()
    return {written, re.sub(r"^(cc0|cc)-(?:(by[a-z-]*)-)?(?=\d)", _spaced, written)}


def _spaced(match: re.Match[str]) -> str:
    return " ".join(filter(None, match.groups())) + " "


def _require_within(limits: params.Fetch, size: int) -> None:
    if size > limits.max_bytes:
        raise FetchError(f"file too large: {size} bytes, more than {limits.max_bytes}")


def _spool(path: Path, data: bytes) -> None:
    # Two workers may hold the same picture: the file's name is its content's hash.
    with contextlib.suppress(FileExistsError), path.open("xb") as file:
        file.write(data)


def _blank(row: Row) -> Row:
    """A row without a file; which one was wanted stays known."""
    known = {column: row[column] for column in CANDIDATE}
    empty = dict.fromkeys(MANIFEST[len(CANDIDATE) :], "")
    return known | empty | {"sha256": row.get("sha256", "")}


def _log(
    found: Row,
    retrieved_at: str,
    seconds: float,
    *,
    attempts: int = 1,
    http_status: int | str = "",
    taken_from: str = "",
    final_url: str = "",
) -> Row:
    return {
        "id": found["id"],
        "retrieved_at": retrieved_at,
        "status": "failed" if found["error"] else "fetched",
        "attempts": str(attempts),
        "seconds": f"{seconds:.3f}",
        "http_status": str(http_status),
        "taken_from": taken_from,
        "final_url": final_url,
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _kind(error: str) -> str:
    return error.partition(":")[0]


# --- what came of it ---------------------------------------------------------------------------


def failures(manifest: Iterable[Row]) -> str:
    """Failed candidates by kind of reason, most frequent first: ``12 truncated JPEG, 3 ...``."""
    reasons = collections.Counter(_kind(row["error"]) for row in manifest if row["error"])
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def unread(manifest: Iterable[Row]) -> str:
    """What was left out for its format, and the way out; nothing if nothing was."""
    names = collections.Counter(
        row["error"].removeprefix(f"{_UNREAD}: ").partition(";")[0]
        for row in manifest
        if _kind(row["error"]) == _UNREAD
    )
    if not names:
        return ""
    found = ", ".join(f"{count} {name}" for name, count in names.most_common())
    ways = [f"to read HEIC: {INSTALL_HEIC}"] if names[HEIC] else []
    if others := len(set(names) - {HEIC}):
        ways.append(f"convert {'the others' if len(names) > others else 'them'} to PNG or JPEG")
    ways.append("then fetch again: dvc repro --single-item --force fetch")
    return f"left out for their format: {found}; {'; '.join(ways)}"


def by_host(results: Sequence[Result], most: int = 10) -> list[str]:
    """A line for each host, those with most candidates first: what came, what failed and why."""
    groups = collections.defaultdict(list)
    for result in results:
        if result.host:
            groups[result.host].append(result.manifest)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    rest = [row for _, rows in ordered[most:] for row in rows]
    shown = ordered[:most] + ([(f"{len(ordered) - most} other hosts", rest)] if rest else [])
    return [
        f"{host}: {sum(not row['error'] for row in rows)} of {len(rows)} fetched"
        + (f"; failed: {reasons}" if (reasons := failures(rows)) else "")
        for host, rows in shown
    ]


def repeated(results: Sequence[Result]) -> list[str]:
    """A line for each file that three or more addresses of a host gave: perhaps a placeholder."""
    groups = collections.defaultdict(list)
    for result in results:
        if result.host and not result.manifest["error"]:
            groups[result.host, result.manifest["sha256"]].append(result.manifest["url"])
    return [
        f"{host}: {len(urls)} addresses gave the same file; copies, or a placeholder? {min(urls)}"
        for (host, _), urls in sorted(groups.items())
        if len(urls) >= 3
    ]


def require_reached(results: Sequence[Result], limits: params.Fetch) -> str:
    """Check that not too much of the web was out of reach.

    Returns:
        A sentence on what was lost; nothing if all was reached.

    Raises:
        LostError: it is more than ``limits.max_lost`` of the candidates on the web.
    """
    asked = [result for result in results if result.host]
    lost = [result for result in asked if result.lost]
    if not lost:
        return ""
    text = f"{len(lost)} of {len(asked)} pictures on the web are gone or out of reach"
    if len(lost) > limits.max_lost * len(asked):
        hosts = "\n".join(f"  {line}" for line in by_host(lost))
        raise LostError(
            f"{text}, more than fetch.max_lost ({limits.max_lost:g}) allows:\n{hosts}\n"
            "What came is kept in work/fetch: run the same command later, it goes on from there; "
            "or raise fetch.max_lost to do without them"
        )
    return f"{text}, which fetch.max_lost ({limits.max_lost:g}) allows"
