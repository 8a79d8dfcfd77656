"""Command line: errors are one sentence that names the cause, and nothing is lost."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ganloom import recipes
from ganloom.cli import main

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipes").symlink_to(ROOT / "recipes")
    return tmp_path


def text(name: str) -> str:
    """The whole params file of a recipe."""
    return recipes.whole(ROOT / "recipes" / Path(name).with_suffix(".yaml").name, ROOT)


def test_a_recipe_is_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recipe", "tiny"])
    assert capsys.readouterr().out == text("tiny")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("knee", "knee: no such recipe; did you mean 'kene'? (in recipes: animals, batik, "),
        ("base.yaml", "base.yaml: no such recipe"),
        ("a.yaml", "a.yaml:1: seeds: unknown key; did you mean 'seed'?"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_named(name: str, words: str) -> None:
    Path("a.yaml").write_text("seeds: 1\n")
    with pytest.raises(SystemExit, match=re.escape(words)):
        main(["recipe", name, "--out", "params.yaml"])
    assert not Path("params.yaml").exists()


def test_another_recipe_keeps_a_copy_of_what_was_edited() -> None:
    """Also through a link, whose target keeps its mode."""
    Path("target").write_text("first")
    Path("target").chmod(0o640)
    Path("params.yaml").symlink_to("target")

    def switch(name: str, whole: str = "") -> None:
        main(["recipe", name, "--out", "params.yaml"])
        assert Path("params.yaml").read_text(encoding="utf-8") == whole or text(name)

    switch("digits")
    switch("tiny.yaml")
    switch("recipes/tiny.yaml")
    Path("params.yaml").write_text(f"{text('tiny')}# second\n", encoding="utf-8")
    switch("digits")
    switch("params.yaml.~2~", f"{text('tiny')}# second\n")
    kept = {path.name: path.read_text(encoding="utf-8") for path in Path().glob("params.yaml.*")}
    assert kept == {"params.yaml.~1~": "first", "params.yaml.~2~": f"{text('tiny')}# second\n"}
    assert Path("params.yaml").is_symlink()
    assert Path("target").stat().st_mode & 0o777 == 0o640


def test_make_writes_the_recipe_that_it_is_given() -> None:
    command = ["make", "--silent", "-o", ".venv/installed", f"BIN={Path(sys.executable).parent}"]
    make = functools.partial(
        subprocess.run,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    Path("Makefile").symlink_to(ROOT / "Makefile")
    assert make([*command, "recipe", "RECIPE=tiny.yaml"]).returncode == 0
    assert Path("params.yaml").read_text(encoding="utf-8") == text("tiny")
    assert "no such recipe" in make([*command, "recipe", "RECIPE=no.yaml"]).stderr
    assert "which recipe?" in make([*command, "recipe"]).stderr


def test_docs_writes_the_generated_pages_of_a_clone() -> None:
    with pytest.raises(SystemExit, match=r"docs/params\.md does not exist: run this in a clone"):
        main(["docs"])
    pages = {name: (ROOT / name).read_text() for name in ("docs/metrics.md", "docs/params.md")}
    stale = re.sub(r"\|.*`kid_lite2`.*\n", "", pages["docs/metrics.md"])
    assert stale != pages["docs/metrics.md"]
    Path("docs").mkdir()
    Path("docs/metrics.md").write_text(stale)
    Path("docs/params.md").touch()
    main(["docs"])
    assert {name: Path(name).read_text() for name in pages} == pages


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of a process")
def test_comment_on_a_full_disk_changes_nothing(folder: Path) -> None:
    Path("params.yaml").write_text(text("digits"), encoding="utf-8")
    code = (
        "import resource; from ganloom.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "main(['recipe', 'tiny', '--out', 'params.yaml'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == "params.yaml cannot be written: File too large\n"
    assert done.returncode == 1
    assert Path("params.yaml").read_text(encoding="utf-8") == text("digits")
    assert {path.name for path in folder.iterdir()} == {"params.yaml", "recipes"}
