"""Commands and options in messages and documentation exist."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = [path for name in ("src", "workflow") for path in sorted((ROOT / name).rglob("*.py"))]
STAGES = set(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"])


def commands() -> Iterator[str]:
    """All commands in shell blocks of the documentation, without comments."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        for line in lines:
            yield from re.split(r" && | &$", re.sub(r"(^|\s)#.*", "", line.strip()))


@pytest.mark.parametrize("command", sorted({c for c in commands() if c.startswith("dvc ")}))
def test_documented_dvc_commands_and_options_exist(command: str) -> None:
    _, *arguments = shlex.split(command)
    get_main_parser().parse_args(arguments)  # fails the test by SystemExit


def test_documented_snakemake_commands_are_valid() -> None:
    """Snakemake refuses to start without cores, and `--config` takes all arguments after it."""
    parser, found = get_argument_parser(), 0
    for path in [*PAGES, *SOURCES]:
        text = path.read_text(encoding="utf-8").replace("$SLURM_CPUS_ON_NODE", "8")
        for command in re.findall(r"snakemake (--(?:cores|config)[^`'\n#\"{]*)", text):
            given, _ = parser.parse_known_args(command.split())
            assert given.cores, f"{path.name}: {command}"
            assert all("=" in setting for setting in given.config or []), f"{path.name}: {command}"
            found += 1
    assert found > 5


def test_stages_and_extras_in_messages_and_docs_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stages, extras = set(), set()
    for path in [*PAGES, *SOURCES]:
        text = path.read_text(encoding="utf-8")
        stages |= set(re.findall(r"dvc (?:repro|push|pull)(?: --[a-z-]+)* ([a-z]+)\b", text))
        extras |= set(re.findall(r"'\.\[(\w+)\]'", text))
    assert {"curate", "dedup", "train", "search"} <= stages
    assert stages - STAGES == set()
    assert {"studio", "s3"} <= extras
    assert extras - set(project["optional-dependencies"]) == set()
