"""Setup of each stage script: the import path, parameters, threads, signals and error messages.

The source is located relative to this file. With an installed or exported absolute path, an
experiment that runs in a copy of the project would use the code of the original.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import fcntl
import os
import re
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.dont_write_bytecode = True

# libgomp spins while it waits, so that two trainings on the same cores starve each other. It reads
# these variables once, when torch is imported.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

if TYPE_CHECKING:
    from ganloom.params import Params

PR_SET_PDEATHSIG = 1
ROOM = (
    "make room (dvc gc --all-branches --all-tags --all-experiments removes what no branch, tag or "
    "experiment uses)"
)
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EROFS: "make it writable",
    errno.EACCES: "make it yours, readable and writable",
}
MAIN = "GANLOOM_STAGE_PID"  # process id of the stage
CHECKED = "GANLOOM_CHECKED"  # set if Snakemake has checked all stages already


def begin() -> Params:
    """Read the parameters and fix the number of threads.

    Exits with a message if ``params.yaml`` is invalid. Later errors that only the user can resolve,
    such
    as a full disk, end the stage with a single sentence.
    """
    sys.excepthook = _say
    if problem := misplaced():
        sys.exit(f"error: {problem}")
    try:
        from ganloom.params import ParamsError, load
    except ModuleNotFoundError as error:
        sys.exit(
            f"error: {error.name} is not installed for {sys.executable}; "
            "use the project's environment: source .venv/bin/activate"
        )

    die_with_parent()
    main = os.environ.setdefault(MAIN, str(os.getpid()))  # workers run this function, too
    is_worker = main != str(os.getpid())
    if is_worker and main != str(os.getppid()):
        # The parent died before the call above, so this worker would never get work nor end.
        signal.raise_signal(signal.SIGTERM)
    try:
        params = load()
    except ParamsError as error:
        sys.exit(f"error: {error}")
    stage = os.environ.get("DVC_STAGE")
    if stage and not is_worker:
        if CHECKED not in os.environ:
            _require_recordable(stage)
        atexit.register(_require_unchanged, stage, inputs(stage))
    # The results of BLAS and torch depend on the number of threads. Snakemake exports
    # OMP_NUM_THREADS, DVC does not.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(params.threads)
    return params


def misplaced() -> str:
    """Explain why no engine can work in this folder; "" if they can."""
    place = str(Path.cwd())
    if "{" in place or "}" in place:
        return f"{place}: Snakemake and DVC fill in what stands in braces; rename that folder"
    return ""


def _require_recordable(stage: str) -> None:
    """Exit before the work if DVC would refuse to record its result."""
    from dvc.repo import Repo

    from ganloom import git, preflight

    try:
        with Repo() as repo:
            outputs = repo.stage.get_target(stage).outs
            problems = preflight.conflicts(Path()) + preflight.rejections(repo, outputs)
    except git.GitError as error:
        problems = [str(error)]
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the message for an unhandled error."""
    if issubclass(kind, KeyboardInterrupt):
        print("\nStopped; the same command continues.", file=sys.stderr)
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


def inputs(stage: str) -> dict[str, object]:
    """Return the state of all dependencies that users may edit, by their name in dvc.yaml.

    Parameters are given by value, source code and lists by content, and other files, such as images
    of a source, by size and time. Outputs of other stages are left out, since DVC does not run
    these meanwhile.
    """
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    params = yaml.load(Path("params.yaml"))
    name, _, key = stage.partition("@")
    spec = yaml.load(Path("dvc.yaml"))["stages"][name]
    values = params | {"key": key}
    if "foreach" in spec:
        values["item"] = _at(params, spec["foreach"].strip("${}"))[key]
        spec = spec["do"]

    def filled(text: str) -> str:
        return re.sub(r"\$\{(.*?)\}", lambda match: str(_at(values, match[1])), text)

    edited = [
        path
        for path in map(filled, spec["deps"])
        if path == "data/curation" or not path.startswith(("data/", "results/"))
    ]
    optional = re.findall(r"\$\{(\w+)\}", spec["cmd"])  # sections that are part of the command
    listed = map(filled, [*spec.get("params", []), *(k for k in optional if k in params)])
    return {path: _state(Path(path)) for path in edited} | {k: _at(params, k) for k in listed}


def _at(data: Any, key: str) -> Any:
    """Return the value under a dotted key; None if there is none."""
    for part in key.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _state(path: Path) -> object:
    if path.is_dir():
        inside = (p for p in sorted(path.rglob("*")) if "__pycache__" not in p.parts)
        return [(str(p), _state(p)) for p in inside if p.is_file()]
    if not path.is_file():
        return None
    if path.suffix in (".py", ".yaml", ".csv", ".md"):
        return path.read_bytes()
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _require_unchanged(stage: str, before: dict[str, object]) -> None:
    """Fail at the end of a stage if a dependency was edited while it ran.

    DVC hashes dependencies after the stage has run, so it would record the result of the old ones
    for the new ones.
    """
    _wait_for_dvc()
    try:
        after = inputs(stage)
    except Exception:  # a file may be invalid in the middle of an edit
        after = {}
    changed = [name for name in before if after.get(name) != before[name]]
    if changed:
        sys.stdout.flush()
        print(
            f"error: {', '.join(changed)}: edited while {stage} ran; what came of it does not "
            "count: run the same command again",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)  # the only way to report a failure to DVC from atexit


def _wait_for_dvc() -> None:
    """Wait until no DVC command holds the lock, as `dvc push` does for minutes.

    The DVC process that runs this stage needs the lock next, and would soon give up.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in atexit, a KeyboardInterrupt has no effect
    with contextlib.suppress(OSError), Path(".dvc/tmp/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies.

    Otherwise a stage would survive SIGKILL of its engine, and write at the same time as the next
    run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
