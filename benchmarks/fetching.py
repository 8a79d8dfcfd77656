"""How fast files are fetched, beside `requests`: `python benchmarks/fetching.py`.

A server on loopback, in a process of its own, offers 600 JPEG of about 140 kB, at once and with
100 ms before each answer, as a server across the sea. Every way hashes what comes and writes it to
a file; 16 requests run at the same time, or one, in the plain loop. The processors' time is the
client's alone. `requests` with threads is what people write; it has no limits, no robots.txt, no
guard and no retries here. The last row is the whole stage: it also decodes every file, in two
processes, and packs it for the shards.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import requests
from aiohttp import web
from PIL import Image

from ganloom import params, sources
from ganloom.fetch import Job, fetch
from ganloom.web.client import Client
from ganloom.web.store import Store

ROOT = Path(__file__).resolve().parents[1]
COUNT = 600
TOGETHER = 16
LIMITS = params.load(ROOT / "params.yaml").fetch
NETWORK = params.load(ROOT / "params.yaml").network.model_copy(
    update={"loopback": True, "connections": TOGETHER, "connections_per_host": TOGETHER}
)


def picture(seed: int) -> bytes:
    """A JPEG of 640x480 px."""
    small = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC).save(
        file, "JPEG", quality=95
    )
    return file.getvalue()


def serve(ready: Connection) -> None:
    """Answer /SECONDS/NUMBER.jpg, for ever; tell the port and the files' mean size."""
    files = [picture(seed) for seed in range(COUNT)]

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.match_info["seconds"]))
        return web.Response(body=files[int(request.match_info["number"])])

    async def main() -> None:
        application = web.Application()
        application.router.add_get("/{seconds}/{number}.jpg", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send((runner.addresses[0][1], sum(map(len, files)) / COUNT))
        await asyncio.Event().wait()

    asyncio.run(main())


def keep(data: bytes, folder: Path) -> None:
    (folder / hashlib.sha256(data).hexdigest()).write_bytes(data)


def plain_loop(urls: list[str], folder: Path) -> None:
    for url in urls:
        keep(requests.get(url, timeout=30).content, folder)


def session_loop(urls: list[str], folder: Path) -> None:
    with requests.Session() as session:
        for url in urls:
            keep(session.get(url, timeout=30).content, folder)


def threads(urls: list[str], folder: Path) -> None:
    with ThreadPoolExecutor(TOGETHER) as pool:
        list(pool.map(lambda url: keep(requests.get(url, timeout=30).content, folder), urls))


def client(urls: list[str], folder: Path) -> None:
    store = Store(folder)

    async def one(client: Client, url: str) -> None:
        page = await client.get(url, LIMITS.max_bytes)
        await asyncio.to_thread(store.put, url, page.data, page.url)

    async def main() -> None:
        async with Client(NETWORK) as client:
            await asyncio.gather(*(one(client, url) for url in urls))

    asyncio.run(main())


def stage(urls: list[str], folder: Path) -> None:
    rows = [sources.candidate("web", f"{n}", url) for n, url in enumerate(urls)]
    context = sources.Context(1, NETWORK)
    job = Job({}, LIMITS, context, folder / "raw", folder / "kept", {})
    assert not any(r.manifest.error for r in fetch(rows, job, 2, lambda: None))


def cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(way: Callable[[list[str], Path], None], urls: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        wall, busy = time.perf_counter(), cpu()
        way(urls, Path(folder))
        wall, busy = time.perf_counter() - wall, cpu() - busy
    return f"{len(urls) / wall:8.0f} files/s {1000 * busy / len(urls):7.2f} ms CPU a file"


def main() -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port, size = here.recv()
    print(f"{COUNT} files of {size / 1000:.0f} kB")
    for delay in ("0", "0.1"):
        print(f"\n{float(delay) * 1000:.0f} ms before each answer")
        urls = [f"http://127.0.0.1:{port}/{delay}/{number}.jpg" for number in range(COUNT)]
        for name, way in {
            "requests.get in a loop": plain_loop,
            "requests.Session in a loop": session_loop,
            "requests.get in 16 threads": threads,
            "ganloom's client, 16 together": client,
            "ganloom's stage: also decoded": stage,
        }.items():
            print(f"  {name:32}{measure(way, urls[:100] if 'loop' in name else urls)}", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
