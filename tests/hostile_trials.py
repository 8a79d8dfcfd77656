"""What ganloom says to hostile files: read, or refused in its own words, and nothing else.

    python tests/hostile_trials.py --count 20000

tries 20,000 mutated pictures and 1,000 files of every other kind (``KINDS``): archives, lists,
tables, parameters, weights, checkpoints, bundles. It takes some minutes; a tenth is tried with the
other tests. A fault is

- an exception that is none of ganloom's own, or one without words;
- more than 10 s of processor, or more than 256 MB of memory above what an intact file needs;
- a file written outside of the trial's folder, a secret file read, a process started, a pickle
  opened, a name looked up or a private address asked;
- the death of the process.

Trials run in child processes, which say the number of each before they begin it: a fault is named
by its kind and number, and `--only KIND NUMBER` tries that one alone.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import faulthandler
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import hostile
import numpy as np
import torch
from hostile import DIGESTS, MEMBERS, ROOT, Seed

from ganloom import cli, curate, fetch, models, params, recipes, sources, tables
from ganloom.bundle import read as bundle
from ganloom.dedup import fingerprint
from ganloom.images import decoding, encoding
from ganloom.images.decoding import ImageError
from ganloom.images.shards import ShardError, Shards, sha256, write_shards
from ganloom.models import ModelError
from ganloom.nets.inputs import Inputs
from ganloom.sampling.predictor import load_predictor
from ganloom.sources import FetchError, SourceError
from ganloom.studio import collection, decisions, editing
from ganloom.studio.generators import Generators
from ganloom.studio.samples import SampleError, Samples
from ganloom.tables import Candidate, ManifestRow, TableError
from ganloom.training import checkpoint, state
from ganloom.web import client
from ganloom.web.address import Guard

CPU_SECONDS = 10.0
MEMORY = 256 << 20  # bytes above what intact files need
PATIENCE = 900.0  # s without a word from a child, however busy the machine is
SECRET = Path("secret.png")  # beside the folder that candidates are read from
TINY = params.parse(recipes.values(ROOT / "recipes/tiny.yaml", ROOT))
NETWORK = TINY.network.model_copy(update={"attempts": 1, "timeout": 5.0})
LIMITS = TINY.fetch.model_copy(update={"max_pixels": 1_000_000})
CONTEXT = sources.Context(1, NETWORK)


class Refused(Exception):  # noqa: N818  (no error of the trial)
    """ganloom refused the file with this message."""


@contextlib.contextmanager
def refusing(*errors: type[BaseException]) -> Iterator[None]:
    """Convert ganloom's own errors to a refusal, after checking their messages."""
    try:
        yield
    except errors as error:
        words = str(error)
        assert re.search(r"\w.*\s.*\w", words), f"no words: {words!r}"
        assert "Traceback" not in words, words
        raise Refused(words) from None


# --- what each kind of file is given to ----------------------------------------------------------


def picture(name: str, data: bytes) -> None:
    """The stages fetch, dedup and augment, and an upload to the studio."""
    with refusing(ImageError):
        info = decoding.probe(data, LIMITS.max_pixels)
    whole = decoding.decode(data, LIMITS.max_pixels)
    assert (whole.mode, whole.size) == ("RGB", (info.width, info.height))
    seen = decoding.preview(data, LIMITS.max_pixels, fingerprint.SIDE)
    assert (seen.width, seen.height) == whole.size
    fingerprint.describe({sha256(data): seen}, 8)
    assert editing._photo(data, 16).shape == (16, 16, 3)


def archive(name: str, data: bytes) -> None:
    path = Path(name)
    path.write_bytes(data)
    spec = params.ArchiveSource(
        kind="archive", path=name, url=None, sha256=None, max_bytes=10**8, licence="CC0"
    )
    with refusing(SourceError):
        rows = sources.candidates("mine", spec, CONTEXT)
        read = sources.module("archive").reader(spec, CONTEXT)
    refused = 0
    for row in rows:
        try:
            with refusing(FetchError, ImageError):
                decoding.probe(read(row.url), LIMITS.max_pixels)
        except Refused:
            refused += 1
    if refused == len(rows):
        raise Refused("no member of it can be read")


class Here(Executor):
    """Replaces the worker processes of ``fetch``, whose start would slow down the trials."""

    def __init__(self, workers: int, context: Any, start: Callable[..., None], job: Any) -> None:
        start(*job)

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*arguments, **named))
        except Exception as error:
            done.set_exception(error)
        return done


def candidates(name: str, data: bytes) -> None:
    path = Path(name)
    path.write_bytes(data)
    common = {"licence": "CC0"}
    specs: dict[str, params.Source] = {
        "folder": params.FolderSource(kind="folder", path="pictures", **common),
        "archive": params.ArchiveSource(
            kind="archive", path="intact.zip", url=None, sha256=None, max_bytes=10**6, **common
        ),
        "digits": params.DigitsSource(kind="digits", path="."),
        "kene": TINY.sources["kene"].model_copy(update={"designs": 1}),
    }
    job = fetch.Job(specs, LIMITS, CONTEXT, Path("raw"), Path("kept"), {})
    with refusing(SourceError, TableError):
        rows = fetch.merge(tables.read(path, Candidate))
        results = fetch.fetch(rows, job, 1, lambda: None)
    with refusing(fetch.LostError):
        fetch.require_reached(results, LIMITS)
    tables.write(Path("made.csv"), ManifestRow, [result.manifest for result in results])


def address_list(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    with refusing(SourceError):
        rows = sources.candidates("mine", params.UrlsSource(kind="urls", path=name), CONTEXT)
    for row in rows:
        with refusing(client.WebError):
            client.web_url(row.url)


def curation_list(name: str, data: bytes) -> None:
    """The stage curate, and the studio, which writes to the list and must not lose a line."""
    path = Path("data/curation") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with refusing(curate.CurationError):
        curate.read_list(path, DIGESTS)
    before = decisions.read(path, DIGESTS).decisions
    change = decisions.Change(DIGESTS[0], "drop", 'so, "it" is')
    decisions.write(path, DIGESTS, [change], Path("lock"))
    expected = before | {DIGESTS[0]: ("drop", change.reason)}
    assert decisions.read(path, DIGESTS).decisions == expected


def table(name: str, data: bytes) -> None:
    """Viewing a collection, and its credits."""
    intact = {seed.name: seed.data for seed in hostile.tables()} | {name: data}
    for each, content in intact.items():
        (Path("data") / each).write_bytes(content)
    with refusing(SystemExit):
        cli.main(["credits"])
    with refusing(collection.CollectionError):
        found = collection.load(Path())
    collection.as_json(found)


def params_file(name: str, data: bytes) -> None:
    path = Path("other.yaml")
    path.write_bytes(data)
    with refusing(params.ParamsError):
        params.load(path)
    with refusing(params.ParamsError):
        recipes.whole(path, ROOT)


def weights(name: str, data: bytes) -> None:
    path = Path("results/models/hostile/generator.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    Generators(Path()).listing()
    with refusing(ModelError):
        if name.startswith("generator"):
            models.load_generator(path, "cpu")
        elif name.startswith("discriminator"):
            models.load_discriminator(path, "cpu")
        else:
            load_predictor(path, Inputs(16, 2, (3,), 1))


def bundled(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)
    with refusing(bundle.BundleError), bundle.opened(Path(name)) as found:
        assert set(found) == {"cats"}


def saved(name: str, data: bytes) -> None:
    (Path("work") / name).write_bytes(data)
    model = TINY.models["dcgan"]
    training = state.fresh(model, Inputs(16, 0, (), 0), torch.device("cpu"))
    with refusing(checkpoint.DamagedError):
        training.load(Path("work"))


def shard(name: str, data: bytes) -> None:
    Path("shards", name).write_bytes(data)
    with refusing(ShardError):
        found = Shards(Path("shards"))
        for digest in found:
            assert sha256(found[digest]) == digest


def sample(name: str, data: bytes) -> None:
    Path("samples", name).write_bytes(data)
    kept = Samples(Path("samples"))
    kept.kept()
    with refusing(SampleError):
        kept._read(Path(name).stem)


class Kind(NamedTuple):
    """A kind of file, with its generator and its readers.

    Attributes:
    seeds: Function that makes the intact files.
    judge: Function that passes a file to ganloom; raises Refused.
    share: Trials per trial of an image.
    """

    seeds: Callable[[], list[Seed]]
    judge: Callable[[str, bytes], None]
    share: float = 0.05


KINDS = {
    "picture": Kind(hostile.pictures, picture, 0.8),
    "other_picture": Kind(hostile.other_pictures, picture, 0.2),
    "archive": Kind(hostile.archives, archive),
    "candidates": Kind(hostile.candidates, candidates),
    "address_list": Kind(hostile.address_lists, address_list),
    "curation_list": Kind(hostile.curation_lists, curation_list),
    "table": Kind(hostile.tables, table),
    "params": Kind(hostile.params_files, params_file),
    "weights": Kind(hostile.weights, weights),
    "bundle": Kind(hostile.bundles, bundled),
    "checkpoint": Kind(hostile.checkpoints, saved),
    "shard": Kind(hostile.shards, shard),
    "sample": Kind(hostile.samples, sample),
}

Trial = tuple[str, int]


def trials(count: int) -> list[Trial]:
    """All trials for a number of images."""
    return [
        (name, number) for name, kind in KINDS.items() for number in range(int(count * kind.share))
    ]


# --- one child process ---------------------------------------------------------------------------


class Watch:
    """Audit hook that records forbidden actions. It cannot be removed, only paused.

    Connections to other machines are blocked as well.
    """

    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    STARTING = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn")
    CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink")

    def __init__(self, folder: Path) -> None:
        self._inside = (str(folder), os.devnull)
        self._secret = str(folder / SECRET)
        self.is_on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = self._absolute(arguments[0])
            is_write = arguments[2] & self.WRITING
            if path == self._secret or (is_write and not path.startswith(self._inside)):
                self.seen.append(f"opened {path}")
        elif event.startswith(self.CHANGING):
            paths = [self._absolute(path) for path in arguments if isinstance(path, (str, bytes))]
            if not all(path.startswith(self._inside) for path in paths):
                self.seen.append(f"{event} {paths}")
        elif event.startswith(self.STARTING) or event == "pickle.find_class":
            self.seen.append(f"{event} {arguments!r}")
        elif event == "socket.getaddrinfo":
            host = arguments[0]
            if re.fullmatch(r"[\d.]+|.*:.*", str(host)):  # a number is looked up nowhere
                return
            raise OSError(f"{host!r} is not looked up in a trial")
        elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            if not Guard(loopback=False).allows(arguments[1][0]):
                self.seen.append(f"asked {arguments[1]}")
            raise OSError("nothing is asked in a trial")

    @staticmethod
    def _absolute(path: str | bytes) -> str:
        return os.path.realpath(os.fsdecode(path))


def prepare(folder: Path) -> None:
    """Intact files that surround the hostile one, in a folder for all trials of the process."""
    os.chdir(folder)
    for name in ("pictures", "data", "work", "shards", "samples", "temporary"):
        Path(name).mkdir()
    tempfile.tempdir = str(folder / "temporary")
    Path("pictures/a.png").write_bytes(MEMBERS["cat/a.png"])
    SECRET.write_bytes(encoding.png(np.zeros((8, 8, 3), np.uint8)))
    Path("intact.zip").write_bytes(hostile._zip(MEMBERS))
    Path("params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    write_shards(Path("data/raw"), [(sha256(data), "png", data) for data in MEMBERS.values()])
    vars(fetch)["ProcessPoolExecutor"] = Here


def attempt(kind: Kind, seed: Seed, watch: Watch) -> str:
    """Result of a file: "read", "refused: MESSAGE" or "FAULT: REASON"."""
    watch.seen.clear()
    signal.setitimer(signal.ITIMER_PROF, 2 * CPU_SECONDS)  # kills what would not end
    before, watch.is_on = time.process_time(), True
    try:
        kind.judge(seed.name, seed.data)
        outcome = "read"
    except Refused as refusal:
        outcome = f"refused: {refusal}"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "ganloom" in frame.filename] or frames
        place = f"{Path(own[-1].filename).name}:{own[-1].lineno}"
        outcome = f"FAULT: {type(error).__name__} at {place}: {error}"
    finally:
        watch.is_on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - before
    if seconds > CPU_SECONDS:
        outcome = f"FAULT: {seconds:.1f} s of processor; {outcome}"
    if watch.seen:
        outcome = f"FAULT: {watch.seen[0]}; {outcome}"
    return " ".join(outcome.split())[:400].encode("ascii", "backslashreplace").decode()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def child(chosen: Sequence[Trial]) -> None:
    """Try files one by one; print a line with the number before each, and the result after it."""
    faulthandler.enable()
    # ganloom's own words must not come between.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        prepare(folder)
        watch = Watch(folder)
        used = dict.fromkeys(kind for kind, _ in chosen)
        seeds = {kind: KINDS[kind].seeds() for kind in used}
        for kind in used:  # what an intact file needs is imported before the watch begins
            first = seeds[kind][0]
            with contextlib.suppress(Refused):
                KINDS[kind].judge(first.name, first.seal(first.data))
        limit = _virtual() + (4 << 30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        most = peak()
        print("ready", file=lines, flush=True)
        for place, (kind, number) in enumerate(chosen):
            print(place, file=lines, flush=True)
            seed = hostile.mutated(seeds[kind], number)
            outcome = attempt(KINDS[kind], seed, watch)
            if peak() > most + MEMORY:
                outcome = f"FAULT: {(peak() - most) >> 20} MiB of memory; {outcome}"
                most = peak()
            print(outcome, file=lines, flush=True)
        os.chdir("/")


def _virtual() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


# --- all of them ---------------------------------------------------------------------------------


class Outcomes(NamedTuple):
    """Results of all trials.

    Attributes:
    counts: Number of files of a kind that were "read" or "refused".
    faults: A line for each fault.
    """

    counts: collections.Counter[tuple[str, str]]
    faults: list[str]


def run(chosen: Sequence[Trial]) -> Outcomes:
    """Try files in child processes; after a death or a hang, the next one continues after it."""
    outcomes, start = Outcomes(collections.Counter(), []), 0
    while start < len(chosen):
        start += asyncio.run(_run_child(chosen[start:], outcomes)) + 1
    return outcomes


async def _run_child(chosen: Sequence[Trial], outcomes: Outcomes) -> int:
    """Try files in one process; return how many were completed, without the one that killed it."""
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "--child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
        assert process.stdin is not None
        process.stdin.write("".join(f"{kind}:{number}\n" for kind, number in chosen).encode())
        process.stdin.close()
        done = -1  # that it was ready
        with contextlib.suppress(TimeoutError):
            while done < len(chosen):
                lines = await _lines(process, 1 if done < 0 else 2)
                if not lines[-1]:
                    break
                if done >= 0:
                    _note(*chosen[done], lines[-1], outcomes)
                done += 1
        if done < len(chosen):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        status = await process.wait()
        said.seek(0)
        last = "\n".join(said.read().decode(errors="replace").splitlines()[-20:])
    if done < 0:
        raise RuntimeError(f"the trials could not begin:\n{last}")
    if done < len(chosen):
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        _note(*chosen[done], f"FAULT: no answer, {how}\n{last}", outcomes)
    return done


async def _lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    """The next lines of a process; TimeoutError if it prints nothing for too long."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return [(await process.stdout.readline()).decode().strip() for _ in range(count)]


def _note(kind: str, number: int, outcome: str, outcomes: Outcomes) -> None:
    if outcome.startswith("FAULT"):
        outcomes.faults.append(f"{kind} {number}: {outcome}")
        print(outcomes.faults[-1], file=sys.stderr, flush=True)
    outcomes.counts[kind, outcome.partition(":")[0]] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="how many pictures (2000)")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"), help="one trial alone")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        lines = sys.stdin.read().split()
        child([(kind, int(number)) for kind, number in (line.split(":") for line in lines)])
        return
    chosen = trials(options.count)
    if options.only:
        chosen = [(options.only[0], int(options.only[1]))]
    outcomes = run(chosen)
    for (kind, outcome), count in sorted(outcomes.counts.items()):
        print(f"{kind:16}{outcome:8}{count:8}")
    sys.exit(bool(outcomes.faults))


if __name__ == "__main__":
    main()
