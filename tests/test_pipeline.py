"""dvc.yaml: its stages depend on exactly what they use."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from dvc.lock import make_lock
from ruamel.yaml import YAML

from ganloom import recipes

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage)
    for name, stage in YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"].items()
}
# Values enter as `params`, the version is no code, and what may only refuse or fail a stage
# changes no byte.
SCHEMA = {str(path.relative_to(ROOT)) for path in (SRC / "ganloom/params").glob("*.py")}
EXEMPT = SCHEMA | {f"src/ganloom/{name}.py" for name in ("__init__", "preflight", "git")}
AROUND = {f"workflow/{name}.py" for name in ("edits", "messages", "process")}


def imports(path: Path) -> Iterator[str]:
    """Project files that a Python file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            for base in (SRC, ROOT / "workflow", ROOT / "workflow" / "scripts"):
                module = base / name.replace(".", "/")
                for found in (module.with_suffix(".py"), module / "__init__.py"):
                    if found.exists():
                        yield str(found.relative_to(ROOT))


def code(name: str) -> set[str]:
    """All modules that a stage's script imports, directly, indirectly or by kind."""
    by_kind = [dep for dep in STAGES[name]["deps"] if "kind}" in dep]
    pending = [f"workflow/scripts/{name}.py"]
    pending += [str(p.relative_to(ROOT)) for dep in by_kind for p in ROOT.glob(wildcard(dep))]
    if not any("discriminator.kind}" in dep for dep in by_kind):
        pending = [path for path in pending if makes_pictures(path)]
    found: set[str] = set()
    while pending:
        path = pending.pop()
        if path not in found | EXEMPT | AROUND:
            found.add(path)
            pending += imports(ROOT / path)
            package = Path(path).parent / "__init__.py"
            if (ROOT / package).exists():
                pending.append(str(package))
    return found


def makes_pictures(path: str) -> bool:
    """False for a network that is only a discriminator: no stage but `train` imports it."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return "/nets/" not in path or "def discriminator(" not in text or "def generator(" in text


def wildcard(dep: str) -> str:
    """`src/ganloom/nets/${item.generator.kind}.py` -> `src/ganloom/nets/*.py`."""
    return re.sub(r"\$\{.*\}", "*", dep)


@pytest.mark.parametrize("name", STAGES)
def test_stages_depend_on_exactly_the_code_they_use(name: str) -> None:
    patterns = [wildcard(dep) for dep in STAGES[name]["deps"] if dep.startswith(("src/", "work"))]
    patterns = [p if p.endswith(".py") else f"{p}/*" for p in patterns]
    reached = code(name)
    missing = {path for path in reached if not any(fnmatch(path, p) for p in patterns)}
    unused = {p for p in patterns if not any(fnmatch(path, p) for path in reached | EXEMPT)}
    assert (missing, unused) == (set(), set())


def stale_after(path: str) -> set[str]:
    """Stages that an edit of a source file makes stale."""
    return {
        name
        for name, stage in STAGES.items()
        if any(
            fnmatch(path, pattern) or path.startswith(f"{pattern}/")
            for pattern in map(wildcard, stage["deps"])
            if pattern.startswith(("src/", "workflow"))
        )
    }


PICTURES = {"search", "fetch", "dedup", "augment", "enlarger", "weave", "report"}
GENERATORS = {"train", "sample", "evaluate", "invert", "weave"}


@pytest.mark.parametrize(
    "pattern, stages",
    [
        ("geometry.py", GENERATORS | {"reference"}),
        ("objectives.py", {"train"}),
        ("matching.py", {"train"}),
        ("nets/blocks.py", GENERATORS | {"enlarger"}),
        ("nets/dcgan.py", GENERATORS),
        ("slices.py", {"train", "evaluate", "invert", "reference"}),
        ("training/[!_cer]*.py", {"train"}),
        ("metrics/kid.py", {"train", "enlarger", "weave", "reference", "evaluate"}),
        ("metrics/prdc.py", {"train", "reference", "evaluate"}),
        ("metrics/frechet.py", {"reference", "evaluate"}),
        ("metrics/protocol.py", {"reference", "evaluate"}),
        ("metrics/catalogue.py", {"reference", "evaluate", "report"}),
        ("params/*.py", {"check"}),
        ("images/decoding.py", PICTURES),
        ("images/formats.py", PICTURES),
        ("web/*.py", {"search", "fetch", "reference", "evaluate"}),
        ("report/*.py", {"report"}),
        ("git.py", {"report"}),
        ("docs_tables.py", set()),
        ("recipes.py", {"report"}),
        ("bundle/*.py", set()),
        ("cli/*.py", set()),
        ("doctor.py", set()),
        ("params_docs.py", set()),
        ("preflight.py", set()),
        ("studio/*.py", set()),
        ("../../workflow/*.py", set()),
        ("../../workflow/scripts/prelude.py", set(STAGES)),
    ],
)
def test_edits_make_exactly_the_affected_stages_stale(pattern: str, stages: set[str]) -> None:
    paths = [os.path.relpath(path, ROOT) for path in (SRC / "ganloom").glob(pattern)]
    assert paths
    for path in paths:
        assert stale_after(path) == stages, path


def test_a_new_module_of_metrics_retrains_nothing() -> None:
    assert stale_after("src/ganloom/metrics/new.py") == {"reference", "evaluate"}


def test_the_report_does_not_wait_for_torch() -> None:
    assert not imports_torch("report")


def test_irrelevant_edit_keeps_checkpoints_valid() -> None:
    from ganloom.training import checkpoint

    exempt = {Path(path).relative_to("src/ganloom").parts[0] for path in EXEMPT}
    assert {f.removesuffix(".py") for f in exempt} == checkpoint.EXEMPT | {"__init__"}


def parameter(node: ast.AST) -> list[str] | None:
    """`params.fetch.max_pixels` -> fetch, max_pixels; `params.models[name]` -> models, ${key}."""
    match node:
        case ast.Name(id="params", ctx=ast.Load()):
            return []
        case ast.Attribute(value=inner, attr=last):
            pass
        case ast.Subscript(value=inner):
            last = "${key}"
        case _:
            return None
    above = parameter(inner)
    return None if above is None else [*above, last]


def parameters(name: str) -> set[str]:
    """Parameters that a stage's script reads, in the form of dvc.yaml."""
    tree = ast.parse((ROOT / "workflow" / "scripts" / f"{name}.py").read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    inner = [node.value for node in nodes if isinstance(node, ast.Attribute | ast.Subscript)]
    found = [parameter(node) for node in nodes if node not in inner]
    read = {".".join(path) for path in found if path is not None}
    # Where one entry is read, of the others no more than the names is.
    read -= {path.removesuffix(".${key}") for path in read if path.endswith(".${key}")}
    return {path for path in read if not any(path.startswith(f"{other}.") for other in read)}


# DVC wants what is listed to be there; of what may be missing, the section is listed.
MAY_BE_MISSING = {"train.judge": "train"}


@pytest.mark.parametrize("name", STAGES)
def test_stages_read_exactly_the_listed_parameters(name: str) -> None:
    read = {MAY_BE_MISSING.get(path, path) for path in parameters(name)}
    listed = set(STAGES[name].get("params", []))
    listed |= set(re.findall(r"\$\{(enlarge|weave)\}", STAGES[name]["cmd"]))
    if "params.yaml" in STAGES[name]["deps"]:
        assert not listed  # watches the file as a whole
        return
    # The number of processes that share the work changes no byte.
    allowed = {"threads"} if not imports_torch(name) else set()
    if name in ("search", "evaluate", "reference"):
        allowed |= {"network"}  # how the web is asked changes nothing in what it offers
    assert read - allowed == listed - allowed


ORPHAN = """
import multiprocessing, os, sys, time

sys.path.insert(0, {scripts!r})
import prelude

if __name__ == "__main__":
    prelude.begin()
    multiprocessing.get_context("spawn").Process(target=print).start()
    os._exit(0)
while str(os.getppid()) == os.environ[prelude.process.STAGE_PID]:
    time.sleep(0.01)
print("alone", flush=True)
prelude.begin()
print("lives on", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels tell nobody of a parent's death")
def test_worker_exits_if_its_parent_died_before_the_start(tmp_path: Path) -> None:
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN.format(scripts=str(ROOT / "workflow/scripts")))
    (tmp_path / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "alone\n", done.stderr


TENSORS = """
import resource, sys

sys.path.insert(0, {scripts!r})
import prelude

prelude.begin()

import torch

size = 10_000_000
for _ in range(50):
    torch.ones(size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(size)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults * resource.getpagesize() / (4 * size))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_memory_of_tensors_is_used_again(tmp_path: Path) -> None:
    """Otherwise the kernel clears all pages of each new tensor."""
    (tmp_path / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    script = TENSORS.format(scripts=str(ROOT / "workflow/scripts"))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 1, done.stderr


def test_watched_files_of_a_stage_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edits import inputs

    for name in ("src", "workflow", "recipes", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "params.yaml").write_text(
        recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8"
    )
    (tmp_path / "data/curation").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name, stage in STAGES.items():
        key = {"search": "@kene"}.get(name, "@dcgan" if "${key}" in stage["cmd"] else "")
        found = inputs(name + key)
        assert None not in found.values()
        assert not any("$" in each for each in found)
        assert len(found) >= len(stage.get("params", [])) + 2
        Path("data/curation/mine.csv").write_text(f"sha256,decision,reason\n{name},keep,\n")
        assert (inputs(name + key) != found) == (name == "curate")
    assert inputs("train@dcgan")["models.dcgan"]["kimg"] == 0.5


ENDING = """
import os, sys

sys.path.insert(0, {scripts!r})
import prelude

prelude.begin()
sys.addaudithook(lambda event, _: event == "fcntl.flock" and print("waits", flush=True))
"""


def test_edit_while_a_stage_waits_for_dvc_is_noticed(tmp_path: Path) -> None:
    for name in ("src", "workflow", "recipes", "dvc.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    parameters = tmp_path / "params.yaml"
    parameters.write_text(recipes.whole(ROOT / "recipes/tiny.yaml", ROOT), encoding="utf-8")
    with make_lock(str(tmp_path / ".dvc/tmp/lock")):
        stage = subprocess.Popen(
            [sys.executable, "-c", ENDING.format(scripts=str(ROOT / "workflow/scripts"))],
            cwd=tmp_path,
            env={**os.environ, "DVC_STAGE": "train@dcgan"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert stage.stdout is not None
        said = stage.stdout.readline()
        parameters.write_text(parameters.read_text().replace("seed: 1", "seed: 2"))
    assert said == "waits\n"
    assert "error: seed: edited while train@dcgan ran" in stage.communicate()[1]


def imports_torch(name: str) -> bool:
    return any("import torch\n" in (ROOT / path).read_text() for path in code(name))


def test_imports_point_one_way() -> None:
    """The table of modules in docs/architecture.md gives their order."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("| modules of `ganloom` |")[2].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    level = {name: number for number, names in enumerate(rows) for name in names}
    for path in (SRC / "ganloom").rglob("*.py"):
        here = path.relative_to(SRC / "ganloom").parts[0].removesuffix(".py")
        for other in imports(path):
            there = Path(other).relative_to("src/ganloom").parts[0].removesuffix(".py")
            if "__init__" not in (here, there) and here != there:
                assert level[there] < level[here], f"{path.name} imports {other}"


@pytest.mark.parametrize("name", STAGES)
def test_a_script_is_short_since_the_library_has_the_logic(name: str) -> None:
    text = (ROOT / f"workflow/scripts/{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "def main(" in text


def test_dvc_shows_only_the_key_metrics() -> None:
    """A table of all metrics, including those of real images, would have hundreds of columns."""
    shown = {path for stage in STAGES.values() for path in stage.get("metrics", [])}
    assert shown == {"results/key_metrics/${key}.json"}


def test_no_stage_disables_the_run_cache() -> None:
    for name, stage in STAGES.items():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            assert not (isinstance(out, dict) and "persist" in str(out)), name
        assert "always_changed" not in stage
        assert "frozen" not in stage
