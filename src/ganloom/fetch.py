"""Downloading and decoding of originals; each failure is recorded with its reason."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fnmatch
import itertools
import multiprocessing
import re
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import astuple, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ganloom import params, sources, tables
from ganloom.images import decoding
from ganloom.images.decoding import HEIC, INSTALL_HEIC
from ganloom.images.shards import ShardError, Shards, pack_shards, sha256
from ganloom.sources import NAMED_AS_PICTURE, FetchError, Reader, SourceError, paths
from ganloom.tables import Candidate, LogRow, ManifestRow, Provenance, TableError
from ganloom.web.client import Client, WebError, web_url
from ganloom.web.store import Kept, Store

# Errors of files that replace a deleted image.
_GONE = {"not an image", "empty file", "changed since it was listed"}
# An error that another download would not change.
_UNREAD = decoding.UnreadFormatError.KIND


class Job(NamedTuple):
    """Settings that all worker processes share.

    Attributes:
        specs: Sources by name.
        limits: Section ``fetch``.
        context: Seed and network settings, which sources need as well.
        raw: Folder for the tar shards of usable originals.
        kept: Folder of the store of downloads, with which an interrupted run continues.
        shards: Originals by sha256, which are used instead of a download.
    """

    specs: Mapping[str, params.Source]
    limits: params.Fetch
    context: sources.Context
    raw: Path
    kept: Path
    shards: Mapping[str, bytes]

    @property
    def spool(self) -> Path:
        """Folder of usable originals until they are packed, as ``<sha256>.<extension>``.

        It is inside the output, which engines delete, so that a kill leaves no files behind.
        """
        return self.raw / "spool"


class Result(NamedTuple):
    """Result of a candidate.

    Attributes:
        manifest: Its row of the manifest.
        log: Its row of the log.
        host: Host of the URL, whether or not it was asked; empty if the candidate is not on the
            web.
        lost: Whether the image is on the web, but was deleted or could not be reached.
    """

    manifest: ManifestRow
    log: LogRow
    host: str
    lost: bool


class LostError(RuntimeError):
    """Too few candidates could be fetched; the message gives the reasons and a remedy."""


def read_candidates(folder: Path, names: Collection[str]) -> list[Candidate]:
    """Read the candidates of the sources ``names``.

    Tables of other sources in ``folder``, such as removed ones, are ignored.

    Raises:
        SourceError: A table is missing or invalid, or there are no candidates.
    """
    found: list[Candidate] = []
    for name in names:
        path = folder / f"{name}.csv"
        try:
            found += tables.read(path, Candidate)
        except FileNotFoundError:
            raise SourceError(f"{path}: no such file; the stage search@{name} makes it") from None
        except TableError as error:
            raise SourceError(str(error)) from error
    if not found:
        raise SourceError(
            f"no candidates: {', '.join(names)} found nothing; try other keywords in params.yaml, "
            "or search again: dvc repro --force search@NAME"
        )
    return found


def open_shards(limits: params.Fetch) -> Mapping[str, bytes]:
    """Open the shards that ``fetch.shards`` names; empty without any.

    Raises:
        SourceError: The folder is missing, or holds no valid shards.
    """
    if limits.shards is None:
        return {}
    try:
        return Shards(Path(limits.shards))
    except ShardError as error:
        problem = paths.missing(limits.shards, "folder") or error
        raise SourceError(f"fetch.shards: {problem}") from error


def fetch(
    rows: Sequence[Candidate], job: Job, workers: int, tick: Callable[[], object]
) -> list[Result]:
    """Fetch candidates, and write the usable originals to tar shards.

    A candidate is usable if its licence is allowed, and its file is within the limits, matches the
    search result and decodes completely. Results depend neither on the number of ``workers`` nor on
    whether a file was downloaded, stored by an earlier run or read from shards.

    Args:
        rows: Candidates.
        job: Sources, limits and folders.
        workers: Number of decoding processes; downloads run in the calling process.
        tick: Function that is called after each candidate.

    Returns:
        A result per candidate, in the same order.

    Raises:
        SourceError: A source cannot be opened, or the shards are damaged.
    """
    # Opened here as well as in the workers, so that a download happens once, and so does an error.
    readers = open_readers(job)
    job.spool.mkdir(parents=True, exist_ok=True)
    try:
        if workers == 1 and not any(is_web(row.url) for row in rows):
            results = []
            for row in rows:
                results.append(_from_source(row, job, readers))
                tick()
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, context, _start_worker, (job,)) as pool:
                results = asyncio.run(_fetch_all(rows, job, pool, tick))
        pack_shards(job.raw, job.spool)
    except ShardError as error:
        raise SourceError(f"fetch.shards: {error}") from error
    finally:
        shutil.rmtree(job.spool)
    return results


async def _fetch_all(
    rows: Sequence[Candidate], job: Job, pool: Executor, tick: Callable[[], object]
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
                            if is_web(row.url)
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
    """Tell whether a candidate is downloaded, whatever its source."""
    return url.lower().startswith(("http://", "https://"))


def open_readers(job: Job) -> dict[str, Reader]:
    """Open the readers of all sources that have one; sources on the web have none.

    Raises:
        SourceError: A source cannot be opened; the message names it.
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


def merge(rows: Iterable[Candidate]) -> list[Candidate]:
    """Merge the candidates of each web address to the one with the most metadata.

    Its expected hash, size and class are taken from the others if they are missing.

    Args:
        rows: Candidates of all sources.

    Returns:
        Candidates sorted by id.

    Raises:
        SourceError: Two sources expect different bytes from the same address.
    """
    groups: dict[str, list[Candidate]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda row: row.id):
        groups[_address(row.url) if is_web(row.url) else row.id].append(row)
    merged = []
    for found in groups.values():
        if len({row.sha256 for row in found} - {None, ""}) > 1:
            raise SourceError(
                f"{' and '.join(row.id for row in found)} want different bytes (sha256) from "
                f"{found[0].url}; correct one of their lists"
            )
        best = max(found, key=_knowledge)  # the first of equals
        wanted = {
            name: next(filter(None, (getattr(row, name) for row in [best, *found])), "")
            for name in ("sha256", "bytes", "label")
        }
        merged.append(replace(best, **wanted))
    return sorted(merged, key=lambda row: row.id)


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


def _knowledge(row: Candidate) -> tuple[bool, int]:
    # The licence counts most: images without one can hardly be used.
    return bool(row.licence), sum(map(bool, astuple(row)))


# --- in the worker processes -------------------------------------------------------------------


_worker: tuple[Job, dict[str, Reader]]


def _start_worker(job: Job) -> None:
    global _worker  # noqa: PLW0603  (hands a worker what cannot be pickled)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process handles Ctrl-C
    _worker = job, open_readers(job)


def _from_source_in_worker(row: Candidate) -> Result:
    return _from_source(row, *_worker)


def _judge_in_worker(row: Candidate, path: Path | None) -> ManifestRow:
    """Build the manifest row of a file at ``path``, or in the shards."""
    job, _ = _worker
    return _judged(row, job, lambda: path.read_bytes() if path else job.shards[row.sha256 or ""])


def _from_source(row: Candidate, job: Job, readers: Mapping[str, Reader]) -> Result:
    started, clock = _now(), time.perf_counter()

    def read() -> bytes:
        _require_allowed(row, job.limits)
        if row.source not in readers:
            raise FetchError(f"not a web address: {row.url[:200]!r}")
        return readers[row.source](row.url)

    found = _judged(row, job, read)
    log = _log(found, started, time.perf_counter() - clock, taken_from="source")
    return Result(found, log, host="", lost=False)


def _judged(row: Candidate, job: Job, read: Callable[[], bytes]) -> ManifestRow:
    """Build the manifest row of a candidate; a usable file is written to the spool."""
    found = _unfetched(row)
    try:
        data = read()
        found = replace(found, sha256=sha256(data), bytes=str(len(data)))
        _require_within(job.limits, len(data))
        if row.sha256 and row.sha256 != found.sha256:
            raise FetchError("changed since it was listed: search again")
        info = decoding.probe(data, job.limits.max_pixels)
        _spool(job.spool / f"{found.sha256}.{info.extension}", data)
        return replace(found, width=str(info.width), height=str(info.height), mime=info.mime)
    except (FetchError, decoding.ImageError) as error:
        # A replay of this manifest must not request the wrong file that was served instead.
        return replace(_unfetched(row) if is_web(row.url) else found, error=_one_line(error))


# --- over the network --------------------------------------------------------------------------


class _Web:
    """Fetches candidates on the web: downloads here, decodes in the ``pool``."""

    def __init__(self, job: Job, client: Client, store: Store, pool: Executor) -> None:
        self._job, self._client, self._store, self._pool = job, client, store, pool

    async def fetch(self, row: Candidate) -> Result:
        """Take the file from the shards or the store, or download it."""
        job, url, host = self._job, row.url, _host(row.url)
        started = _now()
        try:
            _require_allowed(row, job.limits)
            if row.sha256 and row.sha256 in job.shards:
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
                # An unusable file may have been replaced since, unless its format is not supported.
                if _kind(found.error) in ("", _UNREAD):
                    return Result(found, log, host, lost=False)
            page = await self._client.get(url, job.limits.max_bytes)
            kept = await asyncio.to_thread(self._store.put, url, page.data, page.url)
            page = page._replace(data=b"")  # frees memory while the file waits for a worker
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
            return Result(found, log, host, lost=_kind(found.error) in _GONE)
        except FetchError as error:
            found = _unfetched(row, _one_line(error))
            return Result(found, _log(found, started, 0, attempts=0), host, lost=False)
        except WebError as error:
            found = _unfetched(row, _one_line(error))
            log = _log(
                found,
                started,
                error.seconds,
                attempts=error.attempts,
                http_status=error.status or "",
                taken_from="network",
            )
            return Result(found, log, host, lost=not error.refused)

    async def _judge(self, row: Candidate, kept: Kept | None) -> ManifestRow:
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, _judge_in_worker, row, kept.path if kept else None
        )


# --- placeholders ------------------------------------------------------------------------------


def _without_placeholders(rows: Sequence[Candidate], results: Sequence[Result]) -> list[Result]:
    """Fail candidates whose file is only a placeholder, such as ``removed.png`` for deleted images.

    A placeholder is a file to which candidates with different names are redirected, and whose own
    name is another one. Addresses that serve the same file without a redirect may be genuine
    copies. A candidate with an expected hash is never a placeholder.
    """
    names: dict[str, set[str]] = collections.defaultdict(set)
    places: dict[str, set[str]] = collections.defaultdict(set)
    unsure = [
        bool(r.log.final_url) and not row.sha256 for row, r in zip(rows, results, strict=True)
    ]
    for result in itertools.compress(results, unsure):
        found, final_url = result.manifest, result.log.final_url
        if not found.error and _name(final_url) != _name(found.url):
            names[found.sha256].add(_name(found.url))
            places[found.sha256].add(final_url)
    kept = []
    for row, result, is_unsure in zip(rows, results, unsure, strict=True):
        digest = result.manifest.sha256
        if is_unsure and len(names[digest]) > 1:
            reason = f"{len(names[digest])} different pictures lead to {min(places[digest])[:200]}"
            found = _unfetched(row, f"placeholder: {reason}")
            log = replace(result.log, status="failed")
            kept.append(Result(found, log, result.host, lost=True))
        else:
            kept.append(result)
    return kept


def _name(url: str) -> str:
    """Return the file name of a URL; for a script, which may serve many files, with the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    name = unquote(parts.path.rpartition("/")[2])
    return name if NAMED_AS_PICTURE.search(name) else f"{name}?{parts.query}"


def _clear(results: Sequence[Result], spool: Path, store: Store) -> None:
    """Delete placeholders from spool and store, so that the next run downloads these again."""
    used = {result.manifest.sha256 for result in results if not result.manifest.error}
    for path in spool.iterdir():
        if path.name.partition(".")[0] not in used:
            path.unlink()
    for result in results:
        if _kind(result.manifest.error) == "placeholder":
            store.forget(result.manifest.url)


# --- both --------------------------------------------------------------------------------------


def _require_allowed(row: Candidate, limits: params.Fetch) -> None:
    if row.refusal:
        raise FetchError(row.refusal)
    size = row.bytes or ""
    # int() refuses thousands of digits; the first 20 are enough for the comparison.
    _require_within(limits, int(size[:20]) if size.isdecimal() else 0)
    if limits.licences is None:
        return
    spellings = _spellings(row.licence)
    if not any(
        fnmatch.fnmatchcase(spelling, pattern.lower())
        for pattern in limits.licences
        for spelling in spellings
    ):
        raise FetchError(f"licence not allowed: {row.licence or 'unknown'}")


def _spellings(licence: str) -> set[str]:
    """Return a licence as written and in the spelling of Creative Commons; empty if it is unknown.

    "CC-BY-SA-4.0", as in SPDX identifiers, gives also "cc by-sa 4.0".
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
    # Two workers may have the same image; the name is the hash of the content.
    with contextlib.suppress(FileExistsError), path.open("xb") as file:
        file.write(data)


def _unfetched(row: Candidate, error: str = "") -> ManifestRow:
    """Build a manifest row without a file; the expected hash is kept."""
    known = {name: getattr(row, name) for name in tables.columns(Provenance)}
    return ManifestRow(**known, error=error, sha256=row.sha256 or "")


def _log(
    found: ManifestRow,
    retrieved_at: str,
    seconds: float,
    *,
    attempts: int = 1,
    http_status: int | str = "",
    taken_from: str = "",
    final_url: str = "",
) -> LogRow:
    return LogRow(
        id=found.id,
        retrieved_at=retrieved_at,
        status="failed" if found.error else "fetched",
        attempts=str(attempts),
        seconds=f"{seconds:.3f}",
        http_status=str(http_status),
        taken_from=taken_from,
        final_url=final_url,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _kind(error: str) -> str:
    return error.partition(":")[0]


# --- summaries ---------------------------------------------------------------------------------


def summary(
    listed: Sequence[Candidate], results: Sequence[Result], limits: params.Fetch
) -> list[str]:
    """Describe the results in lines of text.

    Args:
        listed: Candidates before they were merged.
        results: Result of each merged candidate.
        limits: Section ``fetch``.

    Raises:
        LostError: Nothing could be fetched, or see ``require_reached``.
    """
    lost = require_reached(results, limits)
    manifest = [result.manifest for result in results]
    fetched = [row.sha256 for row in manifest if not row.error]
    reasons, left_out = failures(manifest), unread(manifest)
    if not fetched:
        why = "; ".join(filter(None, [reasons, left_out]))
        raise LostError(f"none of {len(manifest)} candidates could be fetched: {why}")
    again = len(listed) - len(results)
    merged = f"{again} candidates share their address with another: merged" if again else ""
    counts = (
        f"fetched {len(fetched)} of {len(manifest)} candidates "
        f"({len(set(fetched))} different files); failed: {reasons or 'none'}"
    )
    lines = [merged, *by_host(results), *repeated(results), lost, counts, left_out]
    return list(filter(None, lines))


def failures(manifest: Iterable[ManifestRow]) -> str:
    """Count failed candidates by reason, most frequent first: ``12 truncated JPEG, 3 ...``."""
    reasons = collections.Counter(_kind(row.error) for row in manifest if row.error)
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def unread(manifest: Iterable[ManifestRow]) -> str:
    """Describe the files in unsupported formats, with a remedy; empty if there are none."""
    names = collections.Counter(
        row.error.removeprefix(f"{_UNREAD}: ").partition(";")[0]
        for row in manifest
        if _kind(row.error) == _UNREAD
    )
    if not names:
        return ""
    found = ", ".join(f"{count} {name}" for name, count in names.most_common())
    ways = []
    if names[HEIC]:
        again = "dvc repro --single-item --force fetch"
        ways.append(f"to read HEIC: {INSTALL_HEIC}, then: {again}")
    if others := len(set(names) - {HEIC}):
        which = "the others" if len(names) > others else "them"
        ways.append(f"convert {which} to PNG or JPEG, and run the same command again")
    return f"left out for their format: {found}; {'; '.join(ways)}"


def by_host(results: Sequence[Result], most: int = 10) -> list[str]:
    """Describe results and reasons of failures in a line per host, those with most rows first."""
    groups = collections.defaultdict(list)
    for result in results:
        if result.host:
            groups[result.host].append(result.manifest)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    rest = [row for _, rows in ordered[most:] for row in rows]
    shown = ordered[:most] + ([(f"{len(ordered) - most} other hosts", rest)] if rest else [])
    return [
        f"{host}: {sum(not row.error for row in rows)} of {len(rows)} fetched"
        + (f"; failed: {reasons}" if (reasons := failures(rows)) else "")
        for host, rows in shown
    ]


def repeated(results: Sequence[Result]) -> list[str]:
    """List files that three or more addresses of a host served, which may be placeholders."""
    groups = collections.defaultdict(list)
    for result in results:
        if result.host and not result.manifest.error:
            groups[result.host, result.manifest.sha256].append(result.manifest.url)
    return [
        f"{host}: {len(urls)} addresses gave the same file; copies, or a placeholder? {min(urls)}"
        for (host, _), urls in sorted(groups.items())
        if len(urls) >= 3
    ]


def require_reached(results: Sequence[Result], limits: params.Fetch) -> str:
    """Check that enough of the web could be reached.

    Returns:
        A sentence on what was lost; empty if nothing was.

    Raises:
        LostError: More than ``limits.max_lost`` of the candidates on the web were lost.
    """
    asked = [result for result in results if result.host]
    lost = [result for result in asked if result.lost]
    if not lost:
        return ""
    text = f"{len(lost)} of {len(asked)} images on the web are deleted or unreachable"
    if len(lost) > limits.max_lost * len(asked):
        hosts = "\n".join(f"  {line}" for line in by_host(lost))
        raise LostError(
            f"{text}, more than fetch.max_lost ({limits.max_lost:g}) allows:\n{hosts}\n"
            "Downloads are kept in work/fetch: run the same command later to continue; "
            "or raise fetch.max_lost to leave these out"
        )
    return f"{text}, which fetch.max_lost ({limits.max_lost:g}) allows"
