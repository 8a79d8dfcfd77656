"""Lists of addresses, and a complete search and fetch with them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from ganloom import params, sources, tables
from ganloom.images import encoding
from ganloom.images.shards import sha256
from ganloom.sources import Context, SourceError, SourceWarning
from ganloom.tables import Candidate

ROOT = Path(__file__).parents[1]
CONTEXT = Context(1, params.load(ROOT / "params.yaml").network)
HASH = "ab" * 32


def listed(path: Path) -> list[Candidate]:
    return sources.candidates("mine", params.UrlsSource(kind="urls", path=str(path)), CONTEXT)


def put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_columns_are_read(tmp_path: Path) -> None:
    path = put(
        tmp_path / "list.csv",
        "\ufeffurl,class,license,license_url,author,sha256,more\n"
        f"https://a.org/1.jpg,cat,CC0,https://cc.org/0,Ana,{HASH.upper()},x\n"
        "https://a.org/2.jpg,,,not a page,,,\n",
    )
    rows = {row.url: row for row in listed(path)}
    first, second = rows["https://a.org/1.jpg"], rows["https://a.org/2.jpg"]
    assert (first.label, first.licence, first.creator) == ("cat", "CC0", "Ana")
    assert (first.licence_url, first.sha256) == ("https://cc.org/0", HASH)
    assert (second.label, second.licence_url, second.sha256) == ("", "", "")
    # The same id, whatever else is in the list.
    alone = put(tmp_path / "alone.csv", "url\nhttps://a.org/2.jpg\n")
    assert [row.id for row in listed(alone)] == [second.id]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("start", ["", "sep={}\r\n"])
def test_a_list_of_any_spreadsheet_is_read(
    separator: str, encoding: str, start: str, tmp_path: Path
) -> None:
    rows = ["title", "url", "class"], ['"Kené, a; b\t|"', "https://a.org/1.jpg?a,b;c", "ä"]
    text = start.format(separator) + "".join(f"{separator.join(row)}\r\n" for row in rows)
    text = text.replace("?a,b;c", "") if separator in ",;" else text
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    (row,) = listed(path)
    assert row.url.startswith("https://a.org/1.jpg")
    assert row.label == "ä"
    assert row.title.startswith("Kené, a; b")


def test_a_row_in_an_old_code_page_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes("url;title\nhttps://a.org/1;Kené\n".encode("latin-1"))
    with pytest.warns(SourceWarning, match="not UTF-8 text: line 2: save the list as CSV UTF-8"):
        listed(tmp_path / "list.csv")


def test_jsonl_equals_csv(tmp_path: Path) -> None:
    lines = [{"url": "https://a.org/1.jpg", "label": 3, "sha256": HASH}, {"url": "http://b.org/"}]
    path = put(tmp_path / "list.jsonl", "\n\n".join(json.dumps(line) for line in lines))
    rows = {row.url: row for row in listed(path)}
    assert rows["https://a.org/1.jpg"].label == "3"
    assert rows["https://a.org/1.jpg"].sha256 == HASH
    assert "http://b.org/" in rows


def test_manifest_rows_outside_the_web_are_left_out(tmp_path: Path) -> None:
    path = put(
        tmp_path / "manifest.csv",
        "id,source,url,error\na/1,a,https://a.org/1,\nb/2,b,file:///home/b/2.png,\n",
    )
    with pytest.warns(SourceWarning, match="1 rows .* are not on the web"):
        [row] = listed(path)
    assert row.url == "https://a.org/1"


def test_repeated_addresses_are_merged(tmp_path: Path) -> None:
    path = put(
        tmp_path / "list.csv",
        f"url,title,sha256\nhttps://a.org/1,,{HASH}\nhttps://a.org/1,One,\nhttps://a.org/1,Two,\n",
    )
    [row] = listed(path)
    assert (row.title, row.sha256) == ("One", HASH)


GOOD = "https://a.org/1.jpg", "https://a.org/2.jpg"


def refusals(path: Path) -> dict[str, str]:
    """Invalid rows with their reasons; asserts that the valid ones are listed as well."""
    with pytest.warns(SourceWarning, match=r"rows of .* cannot be used") as warned:
        rows = listed(path)
    usable = [row.url for row in rows if not row.refusal]
    assert sorted(usable) == list(GOOD)
    assert len(warned) == 1
    found = {row.id: row.refusal for row in rows if row.refusal}
    # What the stage writes and `fetch` reads.
    tables.write(path.with_suffix(".out"), Candidate, rows)
    assert tables.read(path.with_suffix(".out"), Candidate) == rows
    return found


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"file:///etc/passwd,,", "not a web address: line 3: 'file:///etc/passwd'; allowed: http"),
        (b"htp://a.org/1,,", "not a web address: line 3: 'htp://a.org/1'"),
        (b"https://me:s3cret@a.org/1,,", "not a web address: line 3: 'https://...@a.org/1'"),
        (b"https://a.org/\0.jpg,,", "not a web address: line 3: 'https://a.org/\\\\x00.jpg'"),
        (b"https://a.org/%b,," % (b"x" * 3000), "not a web address: line 3"),
        (b",cat,", "no address: line 3"),
        (b",,", "no address: line 3"),
        (b"https://a.org/3.jpg,,abc", "not a sha256: line 3: 'abc'; it has 64 hexadecimal digits"),
        (b"https://a.org/3.jpg,", "not a row of the table: line 3: 2 cells, but the header has 3"),
        (b"https://a.org/3.jpg,,,,", "not a row of the table: line 3: 5 cells"),
        (b'https://a.org/3.jpg,"cat"s,', "not a row of the table: line 3: "),
        (b'https://a.org/3.jpg,"cat,', "not a row of the table: line 3: "),  # never closed
        (b"https://a.org/3.jpg,caf\xe9,", "not UTF-8 text: line 3"),
        (
            f"https://a.org/1.jpg,,{'0' * 64}".encode(),
            "another sha256 than an earlier row has for this address: line 3",
        ),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_invalid_csv_row_does_not_stop_others(
    line: bytes, reason: str, end: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    first = f"{GOOD[0]},one,{HASH}".encode()
    path.write_bytes(end.join([b"url,title,sha256", first, line, GOOD[1].encode() + b",,", b""]))
    [(key, found)] = refusals(path).items()
    assert key == "mine/line-000003"
    assert found.startswith(reason.replace("\\\\", "\\"))
    assert "s3cret" not in found


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"url": ', "not JSON: line 2: Expecting value"),
        (b'["https://a.org/3.jpg"]', "not an object with a 'url': line 2"),
        (b'{"url": ["https://a.org/3.jpg"]}', "not a web address: line 2: "),
        (b'{"url": "ftp://a.org/3.jpg"}', "not a web address: line 2: 'ftp://a.org/3.jpg'"),
        (b'{"title": "no url"}', "no address: line 2"),
        (b'{"url": null}', "no address: line 2"),
        (b'{"id": 1, "source": "a", "error": ""}', "no address: line 2"),
        (b"[" * 100_000, "not JSON: line 2"),
        (b'{"url": "https://a.org/3.jpg", "title": "caf\xe9"}', "not UTF-8 text: line 2"),
        (b"\0", "not JSON: line 2"),
    ],
)
def test_invalid_jsonl_line_does_not_stop_others(line: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    first, last = (json.dumps({"url": url}).encode() for url in GOOD)
    path.write_bytes(b"\n".join([first, line, last]))
    [(key, found)] = refusals(path).items()
    assert key == "mine/line-000002"
    assert found.startswith(reason)


def test_unclosed_quote_affects_only_its_row(tmp_path: Path) -> None:
    rows = [GOOD[0], "https://a.org/x", 'https://a.org/y","b"', GOOD[1], "https://a.org/z"]
    lines = [
        f'{url},"{n}' if "x" in url or "z" in url else f"{url},{n}" for n, url in enumerate(rows)
    ]
    path = put(tmp_path / "list.csv", "\n".join(["url,title", *lines]))
    assert list(refusals(path)) == ["mine/line-000003", "mine/line-000004", "mine/line-000006"]
    path = put(tmp_path / "title.csv", 'url,title\nhttps://a.org/1,"two\nlines"\n')
    assert [row.title for row in listed(path)] == ["two lines"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("address\nhttps://a.org/1\n", r"line 1: no column 'url', only \['address'\]"),
        (
            "url:title\nhttps://a.org/1:x\n",
            r"only \['url:title'\]; .*separated by commas, semicolons",
        ),
        ("", r"line 1: no column 'url'"),
        ("x" * 200_000, r"line 1: field larger than field limit"),
        ("url\n", "holds no pictures"),
    ],
)
def test_file_that_is_not_a_list_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"sources\.mine: .*{message}"):
        listed(put(tmp_path / "list.csv", text))
    (tmp_path / "utf16.csv").write_bytes("url\nhttps://a.org/1\n".encode("utf-16") + b"x")
    with pytest.raises(SourceError, match="damaged utf-16: save the list as CSV UTF-8"):
        listed(tmp_path / "utf16.csv")
    with pytest.raises(SourceError, match=r"\.xlsx; a list is \.csv, \.tsv or \.jsonl"):
        listed(put(tmp_path / "list.xlsx", ""))


@pytest.mark.filterwarnings("ignore::ganloom.sources.SourceWarning")
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.binary(max_size=200)
    | st.text(max_size=200).map(str.encode)
    | st.lists(st.lists(st.text(max_size=20) | st.just("https://a.org/1"), max_size=4)).map(
        lambda rows: "\n".join(["url,sha256,title", *map(",".join, rows)]).encode(
            "utf-8", "replace"
        )
    ),
    suffix=st.sampled_from(["csv", "jsonl"]),
)
def test_arbitrary_lists_are_handled(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"list.{suffix}"
    path.write_bytes(data)
    try:
        rows = listed(path)
    except SourceError as error:
        assert "sources.mine" in str(error)
        return
    assert all(row.url.startswith("http") != bool(row.refusal) for row in rows)


# --- the stages ----------------------------------------------------------------------------------


def run(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "workflow" / "scripts" / f"{script}.py"), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def write_params(project: Path, found: dict[str, Any]) -> None:
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["sources"] = found
    values["network"] |= {"loopback": True, "attempts": 1}
    values["fetch"]["max_lost"] = 0.5
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["url"].rpartition("/")[2]: row for row in csv.DictReader(file)}


def test_collection_is_replayed_from_its_manifest(server: Any, tmp_path: Path) -> None:
    pictures = {
        f"{n}.png": encoding.png(np.random.default_rng(n).integers(0, 256, (20, 30, 3), np.uint8))
        for n in range(4)
    }
    urls = {name: server.serve(f"/{name}", data) for name, data in pictures.items()}
    urls["late.png"] = server.url("/late.png")
    lines = [f"{url},weaving,CC BY 4.0" for url in urls.values()]
    odd = "htp://a.org/1.png,weaving,CC0"
    put(tmp_path / "list.csv", "\n".join(["url,label,licence", odd, *lines, lines[0]]))
    write_params(tmp_path, {"mine": {"kind": "urls", "path": "list.csv"}})

    done = run("search", "mine", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "mine: 6 candidates\n"), done.stderr
    assert "warning: sources.mine: 1 rows of list.csv cannot be used" in done.stderr
    done = run("fetch", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "fetched 4 of 6 candidates (4 different files); failed: 1 HTTP 404, 1 not a web"
        in done.stdout
    )
    first = table(tmp_path / "data/manifest.csv")
    assert first["1.png"]["sha256"] == sha256(pictures["1.png"])
    assert first["1.png"]["licence"] == "CC BY 4.0"

    # The manifest is a list: with hashes of what was there, and what failed comes again.
    again = tmp_path / "again"
    again.mkdir()
    (tmp_path / "data/manifest.csv").rename(again / "earlier.csv")
    write_params(again, {"mine": {"kind": "urls", "path": "earlier.csv"}})
    server.serve("/late.png", pictures["0.png"])
    server.serve("/1.png", pictures["2.png"])
    assert run("search", "mine", cwd=again).returncode == 0
    done = run("fetch", cwd=again)
    assert done.returncode == 0, done.stderr
    second = table(again / "data/manifest.csv")
    assert second["late.png"]["error"] == ""
    assert second["1.png"]["error"].startswith("changed since it was listed")
    same = {key: row for key, row in second.items() if key not in ("late.png", "1.png")}
    assert same == {key: first[key] for key in same}


def test_search_without_results_does_not_stop_others(tmp_path: Path) -> None:
    class_folder = tmp_path / "pictures" / "a.png"
    class_folder.parent.mkdir()
    class_folder.write_bytes(encoding.png(np.zeros((20, 30, 3), np.uint8)))
    (tmp_path / "src/ganloom/sources").mkdir(parents=True)
    (tmp_path / "src/ganloom/sources/bing.py").touch()
    write_params(
        tmp_path,
        {
            "mine": {"kind": "folder", "path": "pictures", "licence": "CC0"},
            "bing": {
                "kind": "bing",
                "way": "requests",
                "path": "src/ganloom/sources/bing.py",
                "keywords": [{"text": "art", "max": 5}],
            },
        },
    )
    # In the place of Bing a page without results: nothing leaves the machine.
    code = (
        "import runpy, sys; sys.argv = ['search.py', 'bing']\n"
        f"sys.path.insert(0, {str(ROOT / 'workflow/scripts')!r})\n"
        f"sys.path.insert(0, {str(ROOT / 'src')!r})\n"
        "from ganloom.sources import bing\n"
        "bing._content = lambda *_: '<noscript>enable JavaScript</noscript>'\n"
        f"runpy.run_path({str(ROOT / 'workflow/scripts/search.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "bing: 0 candidates\n"
    assert done.stderr == (
        "warning: sources.bing: Bing, 'art': search page not understood: 0 results; the kinds "
        "`commons` and `openverse` are made for this, and dependable\n"
    )
    header = (tmp_path / "data/candidates/bing.csv").read_text()
    assert header == ",".join(tables.columns(Candidate)) + "\n"
    assert run("search", "mine", cwd=tmp_path).returncode == 0
    done = run("fetch", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fetched 1 of 1 candidates" in done.stdout
