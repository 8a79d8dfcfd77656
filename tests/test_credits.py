"""Attribution lists: complete, sorted, and safe for hostile text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ganloom import params, tables
from ganloom.cli import main
from ganloom.credits import attribution, credits, is_web_address, markdown
from ganloom.images.encoding import save_png
from ganloom.sources import Context, folder
from ganloom.tables import KeptRow, ManifestRow


def row(sha256: str, **known: str) -> ManifestRow:
    return ManifestRow(id=f"a/{sha256}", source="a", sha256=sha256, **known)


HEADER = ",".join(tables.columns(ManifestRow)).encode()
CLOTH = row(
    "1",
    title="Cloth",
    creator="R. Vasquez",
    page="https://example.org/File:Cloth_(Peru).jpg",
    licence="CC BY-SA 4.0",
    licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
)


def test_credit_line_has_title_author_source_and_licence() -> None:
    text = markdown(credits([CLOTH], {"1"}))
    assert (
        "- [Cloth](<https://example.org/File:Cloth_(Peru).jpg>), by R. Vasquez, "
        "[CC BY-SA 4.0](<https://creativecommons.org/licenses/by-sa/4.0/>)\n"
    ) in text
    assert "Without a known licence" not in text


def test_only_used_images_are_credited_and_only_once() -> None:
    again = replace(CLOTH, id="b/1", title="Another name for it")
    other = row("2", title="Not kept")
    failed = row("3", title="Never came", error="HTTP 404")
    found = credits([CLOTH, again, other, failed], {"1", "3"})
    assert [credit.title for credit in found] == ["Cloth"]


@pytest.mark.parametrize("licence", ["", "unknown"])
def test_images_without_a_licence_are_listed_separately(licence: str) -> None:
    found = row("2", title="Found", creator="?", licence=licence)
    text = markdown(credits([CLOTH, found], {"1", "2"}))
    assert text.index("Cloth") < text.index("## Without a known licence") < text.index("Found")


@pytest.mark.parametrize(
    ("rows", "how"),
    [
        ([("1", 0, 0, 0.0)], ""),
        ([("1", 0, 0, 0.0), ("1", 1, 0, 0.0)], " (cut)"),
        ([("1", 0, 4, 0.0)], " (mirrored)"),
        ([("1", 0, 1, 0.0)], " (rotated)"),
        ([("1", 0, 0, 0.0), ("1", 1, 5, -3.5)], " (cut, rotated, mirrored)"),
    ],
)
def test_credits_describe_only_training_originals_and_applied_changes(
    rows: list[tuple[str, int, int, float]], how: str, tmp_path: Path
) -> None:
    manifest = [CLOTH, row("2", title="Held"), row("3", title="Too small for a slice")]
    splits = {"1": "train", "2": "holdout", "3": "train"}
    kept = [KeptRow(sha256=sha256, label="", split=split) for sha256, split in splits.items()]
    columns = ["sha256", "image", "symmetry", "angle"]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / "index.parquet")
    text = attribution(manifest, kept, tmp_path)
    assert f"# Credits\n\nA generator was trained on this image{how}.\n\n- [Cloth]" in text
    assert "## Held out\n\nThe generator was not trained on this image" in text
    assert text.index("## Held out") < text.index("- Held")
    assert "Too small" not in text
    before = attribution(manifest, kept[:1], tmp_path / "missing")
    assert before.startswith("# Credits\n\nA generator was trained on this image.\n")
    assert "Held out" not in before


def test_folder_has_the_configured_author(tmp_path: Path) -> None:
    save_png(np.zeros((8, 8, 3), np.uint8), tmp_path / "a.png")
    spec = params.FolderSource(kind="folder", path=str(tmp_path), licence="CC0-1.0")
    named = spec.model_copy(update={"creator": "R. Vasquez"})
    context = Context(1, params.load(Path(__file__).parents[1] / "params.yaml").network)
    assert folder.search("mine", spec, context)[0].creator == ""
    assert folder.search("mine", named, context)[0].creator == "R. Vasquez"


def test_local_file_is_credited_by_title_without_path() -> None:
    [credit] = credits([row("1", title="me.jpg", url="file:///home/me/private/me.jpg")], {"1"})
    assert credit.page == ""
    assert "/home" not in markdown([credit])


def test_markup_in_credits_is_escaped() -> None:
    hostile = row(
        "1",
        title="](https://evil.example) <script>\n\n# News",
        creator="[x](javascript:alert(1))",
        page="javascript:alert(1)",
        licence="CC0",
    )
    [line] = [x for x in markdown(credits([hostile], {"1"})).splitlines() if "News" in x]
    assert line.startswith("- \\](https://evil.example) \\<script\\> \\# News, by \\[x\\]")
    assert "](<" not in line


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.org/a", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//example.org", False),
        ("https:", False),
        ("http://[", False),
        ("file:///etc/passwd", False),
        ("https://example.org/File:Cloth_(Peru).jpg", True),
        ("https://example.org/a b", False),
        ("https://example.org/>", False),
        ("", False),
    ],
)
def test_only_web_addresses_become_links(url: str, good: bool) -> None:
    assert is_web_address(url) is good


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (b"id,url\na,b\n", r"manifest.csv, line 1: no column 'source', only \['id', 'url'\]"),
        (
            ",".join(tables.columns(ManifestRow)).encode() + b"\na,b\n",
            "manifest.csv, line 2: more or fewer cells",
        ),
        (b"\xff\xfe", "manifest.csv: cannot be read as UTF-8 text"),
    ],
)
def test_credits_name_a_damaged_manifest(
    manifest: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.csv").write_bytes(manifest)
    (tmp_path / "data/kept.csv").write_text("sha256,label,split\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=message):
        main(["credits"])
