"""Fetching: originals in shards, and a reason for each failure."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from conftest import Server
from PIL import Image
from ruamel.yaml import YAML

from ganloom import params, sources, tables
from ganloom.fetch import (
    Job,
    LostError,
    Result,
    by_host,
    failures,
    fetch,
    merge,
    repeated,
    require_reached,
    unread,
)
from ganloom.images import encoding
from ganloom.images.shards import Shards, sha256
from ganloom.sources import SourceError
from ganloom.tables import Candidate, LogRow, ManifestRow

ROOT = Path(__file__).parents[1]
NETWORK = params.load(ROOT / "params.yaml").network
CONTEXT = sources.Context(1, NETWORK)
LIMITS = params.Fetch(max_bytes=20_000, max_pixels=10_000, licences=None, max_lost=0.2, shards=None)


def png(height: int = 20, width: int = 30, seed: int = 0) -> bytes:
    shape = (height, width, 3)
    return encoding.png(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> params.FolderSource:
    files = {
        "a.png": png(),
        "copy_of_a.jpg": png(),
        "b/turned.png": png(30, 20, seed=1),
        "broken.png": png(seed=2)[:-400],
        "empty.png": b"",
        "page.jpg": b"<html>gone</html>",
        "large.png": png(90, 90),
        "wide.png": encoding.png(np.zeros((10, 1001, 3), np.uint8)),
    }
    for name, data in files.items():
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return params.FolderSource(kind="folder", path=str(tmp_path / "pictures"), licence="CC0")


def fetched(
    spec: params.FolderSource, rows: list[Candidate], raw: Path, workers: int = 1
) -> dict[str, ManifestRow]:
    job = Job({"mine": spec}, LIMITS, CONTEXT, raw, raw.parent / "kept", {})
    results = fetch(rows, job, workers, lambda: None)
    assert [result.log.id for result in results] == [row.id for row in rows]
    return {result.manifest.id.removeprefix("mine/"): result.manifest for result in results}


def test_every_candidate_is_fetched_or_has_an_error(
    folder: params.FolderSource, tmp_path: Path
) -> None:
    manifest = fetched(folder, sources.candidates("mine", folder, CONTEXT), tmp_path / "raw")
    errors = {key: row.error for key, row in manifest.items()}
    assert errors == {
        "a.png": "",
        "b/turned.png": "",
        "broken.png": "truncated PNG",
        "copy_of_a.jpg": "",
        "empty.png": "empty file",
        "large.png": f"file too large: {len(png(90, 90))} bytes, more than 20000",
        "page.jpg": "not an image: an HTML page",
        "wide.png": "too many pixels: 1001x10, more than 10000 (fetch.max_pixels)",
    }
    assert failures(list(manifest.values())) == (
        "1 truncated PNG, 1 empty file, 1 file too large, 1 not an image, 1 too many pixels"
    )

    shards = Shards(tmp_path / "raw")
    assert set(shards) == {row.sha256 for row in manifest.values() if not row.error}
    assert len(shards) == 2  # a copy under another name is the same original
    turned = manifest["b/turned.png"]
    assert shards[turned.sha256] == png(30, 20, seed=1)
    assert (turned.width, turned.height, turned.mime) == ("20", "30", "image/png")
    assert (turned.label, turned.licence) == ("b", "CC0")
    assert manifest["copy_of_a.jpg"].mime == "image/png"  # by content, not by name
    broken = manifest["broken.png"]
    assert broken.sha256 == sha256(png(seed=2)[:-400])
    assert (broken.bytes, broken.width) == (str(len(png(seed=2)) - 400), "")


def test_result_does_not_depend_on_the_number_of_workers(
    folder: params.FolderSource, tmp_path: Path
) -> None:
    rows = sources.candidates("mine", folder, CONTEXT)
    alone = fetched(folder, rows, tmp_path / "alone")
    together = fetched(folder, list(reversed(rows)), tmp_path / "together", workers=2)
    assert alone == together
    for path in (tmp_path / "alone").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()


def test_file_changed_after_the_search_fails(folder: params.FolderSource, tmp_path: Path) -> None:
    rows = sources.candidates("mine", folder, CONTEXT)
    Path(folder.path, "a.png").write_bytes(png(seed=9))
    Path(folder.path, "b/turned.png").unlink()
    manifest = fetched(folder, rows, tmp_path / "raw")
    assert manifest["a.png"].error.startswith("changed since it was listed")
    assert manifest["a.png"].sha256 == sha256(png(seed=9))
    assert manifest["b/turned.png"].error == "cannot be read: No such file or directory"
    assert manifest["copy_of_a.jpg"].error == ""


def test_source_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    spec = params.TorchvisionSource(
        kind="torchvision",
        dataset="MNIST",
        path=str(tmp_path),
        split="test",
        classes=None,
        limit=None,
        download=False,
    )
    with pytest.raises(SourceError, match=r"sources\.mnist: MNIST \(test\)"):
        fetch([], Job({"mnist": spec}, LIMITS, CONTEXT, tmp_path, tmp_path, {}), 1, lambda: None)


# --- over the network --------------------------------------------------------------------------

NOWHERE = params.FolderSource(kind="folder", path=".", licence="")


def listed(key: str, url: str, **known: str) -> Candidate:
    return sources.candidate("mine", key, url, **known)


def from_the_web(
    rows: list[Candidate],
    project: Path,
    limits: params.Fetch = LIMITS,
    workers: int = 1,
    shards: Mapping[str, bytes] | None = None,
) -> list[Result]:
    network = NETWORK.model_copy(update={"loopback": True, "attempts": 1})
    job = Job(
        {"mine": NOWHERE},
        limits,
        CONTEXT._replace(network=network),
        project / "raw",
        project / "kept",
        shards or {},
    )
    results = fetch(rows, job, workers, lambda: None)
    return results


def errors(results: list[Result]) -> list[str]:
    return [result.manifest.error for result in results]


def logged(results: list[Result], column: str) -> list[str]:
    return [getattr(result.log, column) for result in results]


@pytest.mark.usefixtures("outside")
def test_web_candidates_are_fetched_or_have_an_error(server: Server, tmp_path: Path) -> None:
    server.serve("/robots.txt", b"User-agent: *\nDisallow: /private/\n")
    bomb = encoding.png(np.zeros((400, 400, 3), np.uint8))
    urls = {
        "a.jpg": server.serve("/a.jpg", png(), Content_Type="text/html"),
        "b.png": server.serve("/b.png", png(seed=2)[:-400]),
        "bomb.png": server.serve("/bomb.png", bomb),
        "empty.png": server.serve("/empty.png"),
        "gone.png": server.url("/gone.png"),
        "large.png": server.serve("/large.png", png(90, 90)),
        "page.png": server.serve("/page.png", b"<!DOCTYPE html><title>No longer here</title>"),
        "private.png": server.serve("/private/a.png", png()),
        "secret.png": server.serve("/secret.png", status=302, Location="http://169.254.169.254/"),
    }
    results = from_the_web([listed(key, url) for key, url in urls.items()], tmp_path)
    assert errors(results) == [
        "",
        "truncated PNG",
        "too many pixels: 400x400, more than 10000 (fetch.max_pixels)",
        "empty file",
        "HTTP 404: Not Found",
        "file too large: more than 20000 bytes",
        "not an image: an HTML page",
        "forbidden by robots.txt",
        "refused address: 169.254.169.254 is no public address",
    ]
    assert results[0].manifest.mime == "image/png"
    assert Shards(tmp_path / "raw")[results[0].manifest.sha256] == png()
    assert logged(results, "http_status") == ["200"] * 4 + ["404", "200", "200", "", ""]
    assert logged(results, "status") == ["fetched"] + ["failed"] * 8
    lost = [result.manifest.id for result in results if result.lost]
    assert lost == ["mine/empty.png", "mine/gone.png", "mine/page.png"]
    assert by_host(results) == [
        "127.0.0.1: 1 of 9 fetched; failed: 1 truncated PNG, 1 too many pixels, 1 empty file, "
        "1 HTTP 404, 1 file too large, 1 not an image, 1 forbidden by robots.txt, "
        "1 refused address"
    ]


UNREAD = {
    "a.jxl": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
    "b.nef": b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    "d.svg": b"<svg/>",
    "e.jxl": b"\xff\x0a" + bytes(40),
}


@pytest.mark.usefixtures("outside")
def test_unsupported_formats_do_not_count_as_lost(server: Server, tmp_path: Path) -> None:
    rows = [listed(name, server.serve(f"/{name}", data)) for name, data in UNREAD.items()]
    results = from_the_web(rows, tmp_path)
    assert errors(results) == [
        "format not read: JPEG XL; convert it to PNG or JPEG",
        "format not read: camera RAW; convert it to PNG or JPEG",
        "format not read: SVG; convert it to PNG or JPEG",
        "format not read: JPEG XL; convert it to PNG or JPEG",
    ]
    assert require_reached(results, LIMITS) == ""
    manifest = [result.manifest for result in results]
    assert failures(manifest) == "4 format not read"
    heic = "format not read: HEIC; pip install --editable '.[heic]'"
    assert unread([*manifest, replace(manifest[0], error=heic)]) == (
        "left out for their format: 2 JPEG XL, 1 camera RAW, 1 SVG, 1 HEIC; to read HEIC: "
        "pip install --editable '.[heic]', then: dvc repro --single-item --force fetch; "
        "convert the others to PNG or JPEG, and run the same command again"
    )
    assert unread(manifest[:1]) == (
        "left out for their format: 1 JPEG XL; "
        "convert them to PNG or JPEG, and run the same command again"
    )
    assert unread([replace(row, error="") for row in manifest]) == ""


def test_unsupported_files_of_a_folder_are_named(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, data in UNREAD.items():
        (pictures / name).write_bytes(data)
    (pictures / "without_suffix").write_bytes(UNREAD["a.jxl"])
    (pictures / "film.mp4").write_bytes(b"\0\0\0\x10ftypisom" + bytes(40))  # no picture
    Image.new("RGB", (40, 30), "red").save(pictures / "f.avif")
    spec = params.FolderSource(kind="folder", path=str(pictures), licence="CC0")
    manifest = fetched(spec, sources.candidates("mine", spec, CONTEXT), tmp_path / "raw")
    assert list(manifest) == [*UNREAD, "f.avif", "without_suffix"]
    assert manifest["f.avif"].mime == "image/avif"
    assert manifest["d.svg"].sha256 == sha256(UNREAD["d.svg"])
    assert failures(manifest.values()) == "5 format not read"


@pytest.mark.usefixtures("outside")
def test_invalid_row_fails_alone(folder: params.FolderSource, tmp_path: Path) -> None:
    good = sources.candidates("mine", folder, CONTEXT)[0]
    rows = [
        good,
        listed("nul", f"file://{folder.path}/%00.png"),
        listed("no host", "http://[::1"),
        listed("blank", "http://[::ffff:192.1 .0.1]/e.png"),
        listed("no path", "file://["),
        listed("long", good.url, bytes="9" * 5000),
    ]
    spool = tmp_path / "spool"
    spool.mkdir()
    job = Job({"mine": folder}, LIMITS, CONTEXT, spool, tmp_path / "kept", {})
    assert [error.partition(":")[0] for error in errors(fetch(rows, job, 1, lambda: None))] == [
        "",
        "not a file",
        "not a web address",
        "not a web address",
        "not a file",
        "file too large",
    ]


def redirect(server: Server, path: str, to: str) -> str:
    return server.serve(path, status=302, Location=to)


@pytest.mark.usefixtures("outside")
def test_placeholder_images_are_not_fetched(server: Server, tmp_path: Path) -> None:
    removed = server.serve("/removed.png", png(seed=1))
    moved = server.serve("/new/4.png", png(seed=4))
    urls = {
        "1": redirect(server, "/1.png", removed),
        "2": redirect(server, "/2.png", server.serve("/en/removed.png", png(seed=1))),
        "3": redirect(server, "/show", removed) + "?id=3",
        "asked for": removed,
        "copy": server.serve("/copy.png", png(seed=5)),
        "copy 2": server.serve("/copy_2.png", png(seed=5)),
        "copy 3": redirect(server, "/five.png", server.url("/copy.png")),
        "moved": redirect(server, "/4.png", moved),
        "moved 2": redirect(server, "/old/4.png", moved),
        "wanted": redirect(server, "/6.png", removed),
    }
    rows = [listed(key, url, licence="CC0") for key, url in urls.items()]
    rows[-1] = replace(rows[-1], sha256=sha256(png(seed=1)))
    first = from_the_web(rows, tmp_path / "first")
    reason = f"placeholder: 3 different pictures lead to {server.url('/en/removed.png')}"
    assert errors(first) == [reason] * 4 + [""] * 6
    assert [result.lost for result in first] == [True] * 4 + [False] * 6
    assert logged(first, "status") == ["failed"] * 4 + ["fetched"] * 6
    assert {result.manifest.sha256 for result in first[:4]} == {""}
    assert repeated(first) == [
        f"127.0.0.1: 3 addresses gave the same file; copies, or a placeholder? {urls['copy']}"
    ]
    # Whatever it is called, it is not among the originals, unless somebody wants it.
    assert sha256(png(seed=1)) in Shards(tmp_path / "first" / "raw")
    again = from_the_web(rows[:-1], tmp_path / "again")
    assert [result.manifest for result in again] == [result.manifest for result in first[:-1]]
    assert sha256(png(seed=1)) not in Shards(tmp_path / "again" / "raw")

    # Neither where a file was kept nor the number of workers makes a difference, and what was
    # removed may be back.
    shutil.copytree(tmp_path / "again" / "kept", tmp_path / "back" / "kept")
    server.serve("/1.png", png(seed=9))
    back = from_the_web(rows[:-1], tmp_path / "back", workers=2)
    assert back[0].manifest.sha256 == sha256(png(seed=9))
    assert errors(back)[1:] == [reason.replace("3 diff", "2 diff")] * 3 + [""] * 5
    assert logged(back, "taken_from") == ["network"] * 4 + ["kept"] * 5


def test_fetch_is_reproducible_for_any_order_workers_and_origin(
    server: Server, tmp_path: Path
) -> None:
    rows = [
        listed(f"{number}", server.serve(f"/{number}.png", png(seed=number)), licence="CC0")
        for number in range(6)
    ]
    rows += [listed("copy", server.serve("/copy", png(seed=0))), listed("gone", server.url("/x"))]
    rows[5] = replace(rows[5], sha256=sha256(png(seed=5)))
    first = from_the_web(rows, tmp_path / "first")
    shutil.copytree(tmp_path / "first" / "kept", tmp_path / "again" / "kept")
    again = from_the_web(rows[::-1], tmp_path / "again", workers=2)[::-1]
    other = from_the_web(rows, tmp_path / "other", workers=2)
    manifests = [[result.manifest for result in results] for results in (first, again, other)]
    assert manifests[0] == manifests[1] == manifests[2]
    assert logged(first, "taken_from") == logged(other, "taken_from") == ["network"] * 8
    assert logged(again, "taken_from") == ["kept"] * 7 + ["network"]
    assert logged(again, "retrieved_at")[:7] == logged(first, "retrieved_at")[:7]
    assert server.asked()["/0.png"] == 2
    for path in (tmp_path / "first" / "raw").glob("*.tar"):
        for project in ("again", "other"):
            assert path.read_bytes() == (tmp_path / project / "raw" / path.name).read_bytes()


@pytest.mark.usefixtures("outside")
def test_any_server_response_can_be_recorded(server: Server, tmp_path: Path) -> None:
    places = [b"http://\xff\xfe/", b"\xed\xa0\x80://x", b"http://a\x01\xe9/", b"ftp://\xff"]
    rows = [
        listed(f"{n}", server.serve_raw(f"/{n}", b"HTTP/1.1 302 \xff\r\nLocation: %b\r\n\r\n" % to))
        for n, to in enumerate(places)
    ]
    results = from_the_web(rows, tmp_path)
    assert all(errors(results))
    manifest = tmp_path / "manifest.csv"
    tables.write(manifest, ManifestRow, [result.manifest for result in results])
    assert [row.error for row in tables.read(manifest, ManifestRow)] == errors(results)


@pytest.mark.usefixtures("outside")
def test_unusable_download_is_requested_again(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.png", png()[:-400])
    rows = [listed("a", url)]
    assert errors(from_the_web(rows, tmp_path / "one")) == ["truncated PNG"]
    server.serve("/a.png", png())
    shutil.copytree(tmp_path / "one" / "kept", tmp_path / "two" / "kept")
    assert errors(from_the_web(rows, tmp_path / "two")) == [""]


@pytest.mark.usefixtures("outside")
def test_damaged_cached_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    rows = [listed("a", server.serve("/a.png", png()))]
    from_the_web(rows, tmp_path / "one")
    shutil.copytree(tmp_path / "one" / "kept", tmp_path / "two" / "kept")
    for path in (tmp_path / "two" / "kept" / "files").iterdir():
        path.write_bytes(png(seed=6))
    results = from_the_web(rows, tmp_path / "two")
    assert results[0].manifest.sha256 == sha256(png())
    assert logged(results, "taken_from") == ["network"]


@pytest.mark.usefixtures("outside")
def test_unexpected_file_fails_and_counts_as_lost(server: Server, tmp_path: Path) -> None:
    url = server.serve("/a.png", png(seed=1))
    wanted = sha256(png())
    (result,) = from_the_web([listed("a", url, sha256=wanted)], tmp_path)
    assert result.manifest.error.startswith("changed since it was listed")
    # What was wanted stays known: to who replays the manifest, and to lists of decisions.
    assert result.manifest.sha256 == wanted
    assert result.lost


@pytest.mark.usefixtures("outside")
def test_failed_row_keeps_only_the_expected_hash(server: Server, tmp_path: Path) -> None:
    wanted = sha256(png())
    page = server.serve("/page", b"<html>sorry</html>")
    rows = [
        listed("a", server.url("/gone"), sha256=wanted),
        listed("b", server.url("/gone-too")),
        listed("c", page),
    ]
    results = from_the_web(rows, tmp_path)
    assert [result.manifest.sha256 for result in results] == [wanted, "", ""]
    assert [result.manifest.bytes for result in results] == ["", "", ""]


@pytest.mark.usefixtures("outside")
def test_disallowed_licence_is_refused_before_the_download(server: Server, tmp_path: Path) -> None:
    limits = LIMITS.model_copy(update={"licences": ["cc by [0-9]*", "Public domain", "cc0*"]})
    licences = ["CC-BY-4.0", "CC0-1.0", "public domain", "CC BY-NC 4.0", "All rights reserved", ""]
    rows = [
        listed(f"{number}", server.serve(f"/{number}.png", png()), licence=licence)
        for number, licence in enumerate(licences)
    ]
    results = from_the_web(rows, tmp_path, limits)
    assert errors(results) == [
        *[""] * 3,
        "licence not allowed: CC BY-NC 4.0",
        "licence not allowed: All rights reserved",
        "licence not allowed: unknown",
    ]
    assert not any(result.lost for result in results)
    assert set(server.asked()) == {"/robots.txt", "/0.png", "/1.png", "/2.png"}
    assert logged(results, "attempts") == ["1"] * 3 + ["0"] * 3


@pytest.mark.parametrize("licence", ["", "unknown", "Unknown "])
def test_missing_licence_matches_no_pattern(tmp_path: Path, licence: str) -> None:
    limits = LIMITS.model_copy(update={"licences": ["*"]})
    (result,) = from_the_web(
        [listed("a", "http://127.0.0.1:9/", licence=licence)], tmp_path, limits
    )
    assert result.manifest.error.startswith("licence not allowed")


def test_merged_rows_keep_the_expected_hash() -> None:
    url = "https://example.org/a.png"
    pinned = listed("a", url, sha256="1" * 64, label="river")
    licensed = listed("b", url, licence="CC0", creator="R. Vasquez")
    (row,) = merge([pinned, licensed])
    assert (row.id, row.licence) == (licensed.id, "CC0")
    assert (row.sha256, row.label) == ("1" * 64, "river")
    with pytest.raises(SourceError, match="want different bytes"):
        merge([pinned, replace(licensed, sha256="2" * 64)])


@pytest.mark.usefixtures("outside")
def test_originals_are_read_from_shards_without_a_request(server: Server, tmp_path: Path) -> None:
    rows = [listed(f"{n}", server.serve(f"/{n}.png", png(seed=n))) for n in range(3)]
    first = from_the_web(rows, tmp_path / "first")
    replayed = [
        replace(row, sha256=result.manifest.sha256) for row, result in zip(rows, first, strict=True)
    ]
    server.stop()
    shards = Shards(tmp_path / "first" / "raw")
    results = from_the_web(replayed, tmp_path / "again", shards=shards)
    assert [result.manifest for result in results] == [result.manifest for result in first]
    assert logged(results, "taken_from") == ["shards"] * 3
    for path in (tmp_path / "first" / "raw").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "again" / "raw" / path.name).read_bytes()
    # What is not there is asked for.
    (result,) = from_the_web(rows[:1], tmp_path / "third", shards=shards)
    assert result.manifest.error == "cannot connect: Connection refused"


def test_candidates_with_the_same_address_are_merged() -> None:
    url = "http://a.example/1.png"
    rows = [
        listed("b", url, title="One"),
        listed("c", f"{url}#part", licence="CC0", creator="Ana", title="One"),
        listed("d", "HTTP://A.example:80/1.png", licence="CC0"),
        listed("e", "http://a.example/2.png"),
        listed("a", "file:1.png"),
        listed("f", "file:1.png"),
        listed("g", "http://[/1.png"),
        listed("h", "http://a.example/3.png", title="One"),
        listed("i", "http://a.example/3.png", title="Two"),
    ]
    merged = [row.id for row in merge(rows)]
    assert merged == ["mine/a", "mine/c", "mine/e", "mine/f", "mine/g", "mine/h"]
    assert merge(reversed(rows)) == merge(rows)


LOG = LogRow(**dict.fromkeys(tables.columns(LogRow), ""))


def lost(count: int, of: int, host: str = "a.example") -> list[Result]:
    return [
        Result(
            ManifestRow(id=f"{n}", source="web", error="HTTP 404: Not Found" if n < count else ""),
            LOG,
            host,
            lost=n < count,
        )
        for n in range(of)
    ]


def test_lost_images_are_reported_up_to_a_limit_and_fail_above() -> None:
    limits = LIMITS.model_copy(update={"max_lost": 0.2})
    assert require_reached(lost(0, 10), limits) == ""
    assert require_reached([*lost(0, 5), *lost(2, 5, "b.example")], limits) == (
        "2 of 10 images on the web are deleted or unreachable, which fetch.max_lost (0.2) allows"
    )
    with pytest.raises(LostError) as raised:
        require_reached([*lost(1, 5), *lost(2, 5, "b.example")], limits)
    assert str(raised.value).startswith(
        "3 of 10 images on the web are deleted or unreachable, more than fetch.max_lost (0.2) "
        "allows:\n  b.example: 0 of 2 fetched; failed: 2 HTTP 404\n"
        "  a.example: 0 of 1 fetched; failed: 1 HTTP 404\n"
    )
    assert require_reached(lost(0, 5, host=""), limits) == ""


def test_summary_of_many_hosts_is_short() -> None:
    results = [result for n in range(13) for result in lost(1, 2, f"{n:02}.example")]
    lines = by_host([*results, *lost(0, 3, "most.example")])
    assert lines[0] == "most.example: 3 of 3 fetched"
    assert lines[1] == "00.example: 1 of 2 fetched; failed: 1 HTTP 404"
    assert lines[-1] == "4 other hosts: 4 of 8 fetched; failed: 4 HTTP 404"
    assert len(lines) == 11


# --- the stages --------------------------------------------------------------------------------


def stage(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script, *rest = arguments
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / f"{script}.py"), *rest]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def write_params(project: Path, source: dict[str, Any], **changes: Any) -> None:
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["sources"] = {"mine": source}
    values.update(changes)
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def test_search_and_fetch_stages_run_in_order(folder: params.FolderSource, tmp_path: Path) -> None:
    write_params(tmp_path, dict(folder), threads=2)
    (tmp_path / "data" / "candidates").mkdir(parents=True)
    (tmp_path / "data" / "candidates" / "removed.csv").write_text("a source of former params\n")
    for arguments in (["check"], ["search", "mine"], ["fetch"]):
        done = stage(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert "fetched 5 of 8 candidates (4 different files); failed: 1 " in done.stdout
    assert (tmp_path / "data" / ".checked").is_file()
    manifest = tables.read(tmp_path / "data" / "manifest.csv", ManifestRow)
    assert [row.id for row in manifest] == sorted(row.id for row in manifest)
    log = tables.read(tmp_path / "data" / "fetch_log.csv", LogRow)
    assert [row.status for row in log].count("fetched") == 5
    assert all(row.retrieved_at.endswith("+00:00") for row in log)
    assert {path.name for path in (tmp_path / "data" / "raw").iterdir()} == {
        f"0{digit}.tar" for digit in "0123456789abcdef"
    }


def test_fetching_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "pictures" / name).write_bytes(b"")
    write_params(tmp_path, {"kind": "folder", "path": "pictures", "licence": ""})
    assert stage(tmp_path, "search", "mine").returncode == 0
    done = stage(tmp_path, "fetch")
    assert done.returncode == 1
    assert "none of 2 candidates could be fetched: 2 empty file" in done.stderr


def test_missing_path_is_refused_by_the_check(tmp_path: Path) -> None:
    write_params(tmp_path, {"kind": "folder", "path": "nowhere", "licence": ""})
    done = stage(tmp_path, "check")
    assert done.returncode == 1
    assert "error: sources.mine.path: 'nowhere': no such file or folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / ".checked").exists()


# --- the stages, over the network --------------------------------------------------------------


def write_web_project(project: Path, rows: list[Candidate], **limits: Any) -> None:
    """A project with candidates on the web."""
    network = dict(NETWORK) | {"loopback": True, "attempts": 1}
    write_params(
        project,
        {"kind": "folder", "path": ".", "licence": ""},
        network=network,
        fetch=dict(LIMITS) | limits,
    )
    tables.write(project / "data" / "candidates" / "mine.csv", Candidate, rows)


def test_killed_download_resumes(server: Server, tmp_path: Path) -> None:
    """The last file hangs; fetch is killed once it is requested and all others have arrived."""
    others, asked = 6, threading.Event()
    rows = [listed(f"{n}", server.serve(f"/{n}.png", png(seed=n))) for n in range(others)]
    kept = tmp_path / "project" / "work" / "fetch" / "urls"

    async def hold(request: web.Request) -> web.Response:
        while len(list(kept.glob("*.json"))) < others:
            await asyncio.sleep(0.01)
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.routes["/last.png"] = hold
    rows.append(listed("last", server.url("/last.png")))
    (tmp_path / "project").mkdir()
    write_web_project(tmp_path / "project", rows)
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / "fetch.py")]
    with subprocess.Popen(
        command, cwd=tmp_path / "project", stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            assert asked.wait(60)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    server.serve("/last.png", png(seed=others))
    shutil.rmtree(tmp_path / "project" / "data" / "raw")  # as the engines do
    done = stage(tmp_path / "project", "fetch")
    assert done.returncode == 0, done.stderr
    assert server.asked() == {
        "/robots.txt": 2,
        "/last.png": 2,
        **{f"/{n}.png": 1 for n in range(others)},
    }

    # The same, never killed.
    (tmp_path / "whole").mkdir()
    write_web_project(tmp_path / "whole", rows)
    assert stage(tmp_path / "whole", "fetch").returncode == 0
    for name in ("manifest.csv", *(f"raw/0{digit}.tar" for digit in "0123456789abcdef")):
        paths = [tmp_path / project / "data" / name for project in ("project", "whole")]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_too_many_lost_images_fail_but_keep_downloads(server: Server, tmp_path: Path) -> None:
    rows = [listed(f"{n}", server.serve(f"/{n}.png", png(seed=n))) for n in range(3)]
    rows += [listed("gone", server.url("/gone.png")), listed("page", server.url("/page.png"))]
    server.serve("/page.png", b"<html>Parked</html>")
    rows.append(listed("drawing", server.serve("/drawing.svg", b"<svg/>")))
    write_web_project(tmp_path, rows, max_lost=0.3)
    done = stage(tmp_path, "fetch")
    assert done.returncode == 1
    assert "error: 2 of 6 images on the web are deleted or unreachable, more than" in done.stderr
    assert "127.0.0.1: 0 of 2 fetched; failed: 1 HTTP 404, 1 not an image" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "manifest.csv").exists()

    write_web_project(tmp_path, rows, max_lost=0.4)
    done = stage(tmp_path, "fetch")
    assert done.returncode == 0, done.stderr
    assert "2 of 6 images on the web are deleted or unreachable, which" in done.stdout
    assert (
        "127.0.0.1: 3 of 6 fetched; failed: 1 format not read, 1 HTTP 404, 1 not an image"
    ) in done.stdout
    assert "fetched 3 of 6 candidates (3 different files)" in done.stdout
    assert "\nleft out for their format: 1 SVG; convert them to PNG or JPEG, and run" in done.stdout
    assert server.asked()["/drawing.svg"] == 1
    assert server.asked()["/0.png"] == 1
    assert server.asked()["/gone.png"] == 2


def test_fetch_stage_replays_from_shards_and_merges(server: Server, tmp_path: Path) -> None:
    rows = [listed("a", server.serve("/a.png", png()), sha256=sha256(png()))]
    rows.append(replace(rows[0], id="mine/b", sha256=""))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    write_web_project(tmp_path / "first", rows)
    assert stage(tmp_path / "first", "fetch").returncode == 0
    server.stop()
    write_web_project(tmp_path / "second", rows, shards="../first/data/raw")
    done = stage(tmp_path / "second", "fetch")
    assert done.returncode == 0, done.stderr
    assert "1 candidates share their address with another: merged" in done.stdout
    names = ["manifest.csv", *(f"raw/0{digit}.tar" for digit in "0123456789abcdef")]
    for name in names:
        paths = [tmp_path / project / "data" / name for project in ("first", "second")]
        assert paths[0].read_bytes() == paths[1].read_bytes()

    write_web_project(tmp_path / "second", rows, shards="nowhere")
    done = stage(tmp_path / "second", "fetch")
    assert done.returncode == 1
    assert "error: fetch.shards: no such file or folder, seen from /" in done.stderr


def test_earlier_manifest_is_replayed_offline(server: Server, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    rows = [
        listed(f"{n}", server.serve(f"/{n}.png", png(seed=n)), licence="CC0", creator=f"Ana {n}")
        for n in range(3)
    ]
    write_web_project(first, rows)
    assert stage(first, "fetch").returncode == 0
    server.stop()
    write_params(
        second,
        {"kind": "urls", "path": "../first/data/manifest.csv"},
        fetch=dict(LIMITS) | {"shards": "../first/data/raw"},
    )
    for arguments in (["check"], ["search", "mine"], ["fetch"]):
        done = stage(second, *arguments)
        assert done.returncode == 0, done.stderr
    assert "fetched 3 of 3 candidates" in done.stdout
    columns = ("url", "sha256", "licence", "creator", "error", "width", "height", "mime")
    before, after = (
        sorted(
            tuple(getattr(row, column) for column in columns)
            for row in tables.read(project / "data" / "manifest.csv", ManifestRow)
        )
        for project in (first, second)
    )
    assert before == after
    for path in (first / "data" / "raw").iterdir():
        assert path.read_bytes() == (second / "data" / "raw" / path.name).read_bytes()


def test_loopback_is_refused_by_default_in_fetch(server: Server, tmp_path: Path) -> None:
    write_web_project(tmp_path, [listed("a", server.serve("/a.png", png()))])
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("loopback: true", "loopback: false"))
    done = stage(tmp_path, "fetch")
    assert done.returncode == 1
    assert "none of 1 candidates could be fetched: 1 refused address" in done.stderr
    assert server.seen == []
