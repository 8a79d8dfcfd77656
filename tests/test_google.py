"""Google Images from saved pages and from SearXNG; test_google_browser.py has the window."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from google_pages import deeper, entry, har, numbers, page, record, response, script
from hypothesis import given
from hypothesis import strategies as st

from ganloom import adding, params, sources, tables
from ganloom.cli import main, search
from ganloom.sources import Context, SourceError, SourceWarning, google, google_records, saved
from ganloom.tables import Candidate, SearchResult

ROOT = Path(__file__).parents[1]
NETWORK = params.load(ROOT / "params.yaml").network.model_copy(
    update={"loopback": True, "attempts": 1}
)
ADDRESS = "https://www.google.com/search?q=shipibo+textiles&udm=2&hl=en"
MORE = "https://www.google.com/search?vet=12ahUKE&ved=2ahUKE&start=100"


def found(way: str, network: params.Network = NETWORK, **more: Any) -> list[Candidate]:
    section = {"kind": "google", "way": way, "path": "src/ganloom/sources/google.py"} | more
    spec = params.GoogleSource.model_validate(section)
    return sources.candidates("web", spec, Context(1, network))


def from_file(file: Path, text: str | bytes) -> list[Candidate]:
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return found("saved", path=str(file))


@contextlib.contextmanager
def memory(most: int) -> Iterator[None]:
    """Let the process allocate at most ``most`` bytes more than it has."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# --- the parser ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [page, response, deeper])
def test_every_record_is_read_once_with_address_page_title_and_size(
    form: Callable[..., str],
) -> None:
    results = google_records.parse(form(*range(100)))
    assert len(results) == 100
    for number, result in enumerate(results.values()):
        assert result == SearchResult(
            url=f"https://example.org/kené%20{number}.jpg?a=1&b=[2]",
            page=f"https://example.org/page/{number}?q=a&r=b",
            title=f'Kené "textile" \\ {number} </b> 布',
            width="800",
            height=f"{600 + number}",
        )


def test_addresses_that_were_escaped_twice_are_read() -> None:
    text = script(record(1)).replace("\\u00", "\\\\u00")
    [result] = google_records.parse(text).values()
    assert result.url == "https://example.org/kené%201.jpg?a=1&b=[2]"
    assert result.page == "https://example.org/page/1?q=a&r=b"


@pytest.mark.parametrize(
    "url",
    [
        "https://encrypted-tbn0.gstatic.com/images?q=tbn:1",
        "https://www.google.com/logos/doodles/banner.png",
        "https://example.org/page/1?q=a&r=b",  # the page itself
        "x-raw-image:///1",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://user:secret@example.org/1.jpg",
        "https://[::1/1.jpg",
        None,
        ["https://example.org/1.jpg"],
    ],
)
def test_a_result_without_a_usable_address_is_counted_but_not_listed(url: Any) -> None:
    """Complaints: the search engine's banner, or a page, as a result."""
    text = script([record(1, url=url), record(2)])
    assert [bool(r.url) for r in google_records.parse(text).values()] == [False, True]
    counts = google_records.count([text])
    assert (counts.records, counts.addresses, counts.pages, counts.sizes) == (2, 1, 2, 2)


def test_addresses_with_blanks_and_bars_are_percent_encoded() -> None:
    [result] = google_records.parse(script(record(1, url=" https://a.org/b c|d.jpg"))).values()
    assert result.url == "https://a.org/b%20c%7Cd.jpg"


def test_a_record_that_is_cut_off_does_not_hide_its_other_copy() -> None:
    whole = script(record(1))
    for cut in range(80, len(whole), 7):
        results = google_records.parse(f"{whole[:cut]}</script>{response(1)}{script(record(2))}")
        assert numbers(result.url for result in results.values()) == [1, 2]


@pytest.mark.parametrize(
    "changed", [[], [0], [0] * 9, [0, 1, 2, 3], [0, 1, 2, [], {"2003": 1}], [0, 1, 2, [1, "x", -3]]]
)
def test_records_of_another_form_give_no_result_and_no_error(changed: list[Any]) -> None:
    value = [*record(1)[:3], *changed]
    assert all(not result.url for result in google_records.parse(script(value)).values())


@given(st.text(st.sampled_from('[]01,"\\u003d/:{}a') | st.characters(), max_size=200), st.data())
def test_arbitrary_text_is_read_without_an_error(noise: str, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([page(1, 2), response(1, 2), deeper(1)]))
    at = data.draw(st.integers(0, len(whole)))
    for result in google_records.parse(f"{whole[:at]}{noise}{whole[at:]}").values():
        assert result.url.startswith(("https://", "http://")) or not result.url
        assert result.title.isprintable()


def test_hostile_text_needs_neither_long_nor_much_memory() -> None:
    start = '[0,"Id_00001-xyz",["https://encrypted-tbn0'
    for text in (
        start * 200_000,
        start + "[" * 5_000_000,
        start + '",1,1],' + "{}," * 9_000_000,
        start.replace('"', "\\" * 7 + '"') + "\\" * 5_000_000,
        '[0,"' * 1_000_000,
        '[0,\\\\\\"Id_00001-xyz\\\\\\",[\\\\\\"https:' + "\\/" * 3_000_000,
    ):
        with memory(400 << 20):
            assert not any(result.url for result in google_records.parse(text).values())


# --- saved files ---------------------------------------------------------------------------------


def test_a_saved_page_gives_all_results(tmp_path: Path) -> None:
    rows = from_file(tmp_path / "shipibo textiles - Google Search.html", page(*range(100)))
    assert numbers(row.url for row in rows) == list(range(100))
    assert {row.query for row in rows} == {"shipibo textiles"}
    [row] = [row for row in rows if "%207." in row.url]
    assert (row.page, row.title) == (
        "https://example.org/page/7?q=a&r=b",
        'Kené "textile" \\ 7 </b> 布',
    )
    assert row.licence == ""


def test_keywords_are_those_of_the_address_that_chrome_writes(tmp_path: Path) -> None:
    mark = f"<!-- saved from url=({len(ADDRESS):04d}){ADDRESS} -->"
    rows = from_file(tmp_path / "x.htm", page(1).replace("<html>", f"<html>{mark}"))
    assert [row.query for row in rows] == ["shipibo textiles"]


@pytest.mark.parametrize("is_base64", [False, True])
def test_a_network_record_of_a_scrolled_page_gives_each_result_once(
    tmp_path: Path, is_base64: bool
) -> None:
    """Complaint: never more than 98 results."""
    text = har(
        entry("https://www.google.com/complete/search?q=shipi", "[]"),
        entry(ADDRESS, page(*range(100)), is_base64=is_base64),
        entry(MORE, response(*range(90, 200)), is_base64=is_base64),
        entry(MORE, deeper(*range(200, 300)), is_base64=is_base64),
        entry("https://encrypted-tbn0.gstatic.com/x", "\xff\xd8\xff" * 999, is_base64=True),
        entry("https://www.google.com/gen_204?q=no", ""),
    )
    rows = from_file(tmp_path / "www.google.com.har", text)
    assert numbers(row.url for row in rows) == list(range(300))
    assert {row.query for row in rows} == {"shipibo textiles"}


def test_a_network_record_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    text = har(entry(ADDRESS, page(*range(100))), entry(MORE, response(*range(100, 200))))
    rows = from_file(tmp_path / "x.har", text[: len(text) - 9_000])
    assert numbers(row.url for row in rows) == list(range(100))


def test_files_of_several_searches_are_merged(tmp_path: Path) -> None:
    (tmp_path / "shipibo art - Google Search_files").mkdir()
    (tmp_path / "shipibo art - Google Search_files" / "frame.html").write_text("<p>")
    (tmp_path / "shipibo art - Google Search.html").write_text(page(1, 2))
    (tmp_path / "b.HAR").write_text(har(entry(ADDRESS, page(2, 3))))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "consent - Google.html").write_text("<html>Before you continue</html>")
    with pytest.warns(SourceWarning) as told:
        rows = found("saved", path=str(tmp_path))
    assert {numbers([row.url])[0]: row.query for row in rows} == {
        1: "shipibo art",
        2: "shipibo textiles; shipibo art",
        3: "shipibo textiles",
    }
    [warning] = [str(one.message) for one in told]
    assert "consent - Google.html: no results" in warning


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.html", "", "no results with an address"),
        ("x.html", "<noscript>enablejs</noscript>", "no results with an address"),
        ("x.html", b"\xff\xfe\x00\xd8", "no results with an address"),
        ("x.har", "", "without the bodies"),
        ("x.har", "{", "without the bodies"),
        ("x.har", '{"a":' * 100_000, "without the bodies"),
        ("x.har", '{"log": {"entries": [{"url": "https://a.org/"}]}}', "without the bodies"),
        ("x.har", '{"text": "' + "\\" * 9_999_999, "without the bodies"),
        ("x.har", '{"text": "\\ud800 \\q"}', "without the bodies"),
        ("x.har", '{"text": "AAAAA"}', "no results with an address"),
        ("x.mhtml", "MIME-Version: 1.0", "an archive without scripts"),
        ("x.png", b"\x89PNG", "neither a page"),
        ("x.csv", "url\nhttps://a.org/1.jpg\n", "no column 'page'.*kind `urls`"),
        ("x.csv", b"\x00\xff", "UTF-8"),
    ],
)
def test_a_file_without_results_is_an_error_with_the_reason(
    tmp_path: Path, name: str, text: str | bytes, reason: str
) -> None:
    """Complaint: 0 results without a reason."""
    with pytest.raises(SourceError, match=rf"(?s)sources\.web: .*{name}.*{reason}"):
        from_file(tmp_path / name, text)
    with pytest.raises(SourceError, match=r"x has no \*\.html, \*\.har or \*\.csv"):
        (tmp_path / "x").mkdir()
        found("saved", path=str(tmp_path / "x"))


def test_files_need_little_memory_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "MAX_TEXT", 4 << 20)
    large = tmp_path / "large.html"
    with large.open("wb") as file:
        file.truncate(1 << 30)
    with memory(100 << 20), pytest.raises(SourceError, match="larger than 4 MiB"):
        found("saved", path=str(large))
    record = tmp_path / "large.har"
    with record.open("w") as file:
        file.write('{"a": ' + "[{}," * 5_000_000)  # half a gigabyte, if it were parsed
        file.write('{"text": "' + "x\\n" * 1_000_000 + '"}, ')
        file.write(f'{{"text": {json.dumps(response(*range(20)))}}}, {{"text": "')
        file.write("x" * (80 << 20) + '"}')
    with memory(record.stat().st_size + (100 << 20)):
        assert len(found("saved", path=str(record))) == 20


def test_bing_reads_saved_pages_as_well(tmp_path: Path) -> None:
    tile = '<a class="iusc" m="{&quot;murl&quot;:&quot;https://a.org/1.webp&quot;,'
    text = f'{tile}&quot;purl&quot;:&quot;https://a.org/1&quot;,&quot;t&quot;:&quot;Kené&quot;}}">'
    (tmp_path / "shipibo - Bing images.html").write_text(text)
    address = "https://www.bing.com/images/async?q=kene&first=36"
    (tmp_path / "b.har").write_text(har(entry(address, text.replace("1.webp", "2.gif"))))
    spec = params.BingSource(kind="bing", way="saved", path=str(tmp_path))
    rows = sources.candidates("web", spec, Context(1, NETWORK))
    assert {(row.url, row.page, row.title, row.query) for row in rows} == {
        ("https://a.org/1.webp", "https://a.org/1", "Kené", "shipibo"),
        ("https://a.org/2.gif", "https://a.org/1", "Kené", "kene"),
    }


def test_a_table_of_results_is_continued_and_read(tmp_path: Path) -> None:
    file = tmp_path / "searches" / "google.csv"
    results = list(google_records.parse(page(*range(9))).values())
    saved.Collection(file).add("a", results[:3], 5)
    collection = saved.Collection(file)
    collection.add("a", results, 5)
    collection.add("b", results[4:6], 9)
    assert (collection.count("a"), collection.count("b")) == (5, 2)
    rows = tables.read(file, SearchResult)
    assert [row.query for row in rows] == ["a"] * 5 + ["b"] * 2
    assert (rows[0].width, rows[0].height) == ("800", "600")
    assert sorted(row.query for row in found("saved", path=str(file))) == ["a"] * 4 + ["a; b", "b"]
    assert [path.name for path in file.parent.iterdir()] == ["google.csv"]


# --- SearXNG -------------------------------------------------------------------------------------


def instance(server: Any, answer: Callable[[dict[str, str]], Any], status: int = 200) -> str:
    """SearXNG on loopback."""

    async def respond(request: web.Request) -> web.Response:
        query = dict(request.query)
        assert (query["format"], query["engines"]) == ("json", "google images")
        return web.json_response(answer(query), status=status)

    server.routes["/search"] = respond
    return str(server.url(""))


def results(first: int, count: int) -> dict[str, Any]:
    """A response of SearXNG, as its description says."""
    return {
        "results": [
            {
                "img_src": f"https://example.org/{number}.jpg",
                "url": f"https://example.org/page/{number}",
                "title": f"Kené {number}",
                "resolution": "1920 x 1080",
                "engine": "google images",
            }
            for number in range(first, first + count)
        ],
        "unresponsive_engines": [],
    }


def ask(address: str, most: int, **more: Any) -> list[Candidate]:
    keywords = [{"text": "shipibo art", "max": most}]
    return found("searxng", instance=f"{address}/", keywords=keywords, **more)


def test_searxng_is_asked_page_by_page(server: Any, outside: Any) -> None:
    address = instance(server, lambda query: results(int(query["pageno"]) * 100, 100))
    rows = ask(address, 250)
    assert len(rows) == 250
    [row] = [row for row in rows if row.url.endswith("/100.jpg")]
    assert (row.page, row.title) == ("https://example.org/page/100", "Kené 100")
    assert server.asked()["/search"] == 3
    address = instance(server, lambda _: results(0, 84))  # complaint: the same 84 repeated
    with pytest.warns(SourceWarning, match="SearXNG has 84 of 1000 works for 'shipibo art'"):
        assert len(ask(address, 1000)) == 84


def test_engines_that_do_not_answer_searxng_are_named(server: Any, outside: Any) -> None:
    failed = {"unresponsive_engines": [["google images", "Suspended: CAPTCHA"]]}
    address = instance(server, lambda _: {"results": []} | failed)
    with pytest.raises(SourceError, match=r"google images: Suspended: CAPTCHA; try again in an"):
        ask(address, 9)
    address = instance(server, lambda _: results(0, 5) | failed)
    with pytest.warns(SourceWarning, match="CAPTCHA, after 5 results"):
        assert len(ask(address, 9)) == 5


def test_searxng_that_refuses_json_is_an_error_with_the_setting(server: Any, outside: Any) -> None:
    address = instance(server, lambda _: {}, status=403)
    with pytest.raises(SourceError, match=r"HTTP 403.*formats: \[html, json\]"):
        ask(address, 9)
    network = NETWORK.model_copy(update={"loopback": False})
    with pytest.raises(SourceError, match=r"refused address.*network\.loopback: true"):
        ask(address, 9, network=network)
    server.serve("/search", b"<html>")
    with pytest.raises(SourceError, match="SearXNG did not answer with JSON"):
        ask(address, 9)


@given(st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=9))
def test_arbitrary_responses_of_searxng_are_handled(value: Any) -> None:
    for answer in ({"results": value}, {"results": [{"img_src": value, "url": value}]}):
        assert google.pictures(answer) == []
        list(google._failed({"unresponsive_engines": value}))


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "sources.web.way: missing key .*allowed: 'saved', 'browser', 'searxng'"),
        ({"way": "auto"}, "sources.web.way: 'auto' is not possible.*'saved', 'browser' or"),
        ({"way": "saved"}, "sources.web.path: .*a folder or file: what you saved"),
        ({"way": "saved", "path": "x"}, r"sources.web.keywords: \['art'\] .*null, with `way: sav"),
        ({"way": "browser"}, "network.robots: True .*false, at your own resp.*'web'.*way: saved"),
        ({"way": "searxng"}, "sources.web.instance: None .*the address of your instance"),
        ({"way": "searxng", "instance": "localhost"}, "instance: 'localhost' is not possible"),
        ({"way": "browser", "instance": "http://a"}, "instance: 'http://a' .*null, with `way: b"),
        ({"way": "browser", "keywords": None}, "sources.web.keywords: None .*a list of searches"),
        ({"way": "browser", "path": "x"}, "sources.web.path: 'x' .*google.py"),
    ],
)
def test_the_way_has_to_be_named_with_what_it_needs(change: dict[str, Any], words: str) -> None:
    data = params.loading.read(ROOT / "params.yaml")
    data["sources"]["web"] = {
        "kind": "google",
        "path": "src/ganloom/sources/google.py",
        "keywords": [{"text": "art", "max": 9}],
    } | change
    with pytest.raises(params.ParamsError, match=words):
        params.parse(data)


# --- ganloom doctor google -----------------------------------------------------------------------


def doctor(file: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[bool, str]:
    file.write_text(text)
    try:
        main(["doctor", "google", str(file)])
    except SystemExit:
        return False, capsys.readouterr().out
    return True, capsys.readouterr().out


def test_doctor_counts_what_a_page_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    is_well, text = doctor(tmp_path / "x.html", page(*range(100)), capsys)
    assert is_well
    for words in ("results: 100 of 100", "with address: 100 of 100", "with size: 100 of 100"):
        assert f"✓ {words}" in text
    record = har(entry(ADDRESS, page(1, 2)), entry(MORE, response(2, 3)))
    is_well, text = doctor(tmp_path / "x.har", record, capsys)
    assert is_well
    assert "✓ with page: 3 of 3" in text


def test_doctor_tells_a_changed_page_from_one_without_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_well, text = doctor(tmp_path / "x.html", page(1, 2).replace("encrypted-tbn", "new"), capsys)
    assert not is_well
    assert "✕ results: 0 of 2\n      → Google has changed its pages" in text
    is_well, text = doctor(tmp_path / "x.html", page(1, 2).replace('"2003"', '"3003"'), capsys)
    assert is_well
    assert "· with page: 0 of 2\n      → Google has changed its pages" in text
    is_well, text = doctor(tmp_path / "x.html", "<html>", capsys)
    assert not is_well
    assert "✕ results: 0 of 0\n      → docs/sources.md" in text
    is_well, text = doctor(tmp_path / "x.png", "", capsys)
    assert not is_well
    assert "neither a page" in text


# --- ganloom search, as far as it needs no browser; test_google_browser.py has the rest ----------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("robots: true", "robots: false"), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["art", "--max", "0"], "--max 0 is not possible; allowed: 1 to 10000"),
        (["art", "--max", "x"], "--max x is not possible"),
        ([" "], r"' ' is not possible; allowed: words, on one line"),
        (["a\nb"], r"'a\\nb' is not possible"),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(
    project: Path, arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit, match=words):
        main(["search", *arguments])


def test_a_search_by_a_program_has_to_be_allowed(project: Path) -> None:
    Path("params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    with pytest.raises(SystemExit, match=r"off by default.*network\.robots: false.*docs/sources"):
        main(["search", "art"])
    with pytest.raises(SystemExit):
        main(["doctor", "google"])
    Path("params.yaml").unlink()
    with pytest.raises(SystemExit, match=r"params\.yaml: no such file"):
        main(["search", "art"])


def test_a_search_without_playwright_names_the_extra(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ganloom.sources.google_browser", raising=False)
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(SystemExit, match=r"playwright.* is not installed: .*\.\[browser\]"):
        main(["search", "art"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # A comment belongs to the source below it, and quotes stay.
        (
            "seed: 1\nsources:  # all\n    # mine\n    a: {kind: 'folder'}\nx: [1,\n  2]\n",
            "seed: 1\nsources:  # all\n    google:\n      kind: google\n      way: saved\n"
            "      path: data/searches/google.csv\n    # mine\n    a: {kind: 'folder'}\n"
            "x: [1,\n  2]\n",
        ),
        ("sources: {a: {kind: folder}}\n", None),  # in one line: left to the user
        ("sources: &s\n  a: {kind: folder}\ny: *s\n", None),  # would change y as well
    ],
)
def test_a_source_is_added_without_any_other_edit(project: Path, old: str, new: str | None) -> None:
    Path("params.yaml").write_text(old)
    entry = {"kind": "google", "way": "saved", "path": "data/searches/google.csv"}
    assert adding.insert(Path("params.yaml"), "google", entry) == (new is not None)
    assert Path("params.yaml").read_text() == (new or old)
    assert [path.name for path in project.iterdir()] == ["params.yaml"]


def test_a_name_that_is_taken_is_not_replaced(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = google_records.parse(page(1)).values()
    saved.Collection(search.TABLE).add("art", results, 9)
    text = Path("params.yaml").read_text(encoding="utf-8")
    own = "sources:\n  google: {kind: google, way: saved, path: pages}"
    Path("params.yaml").write_text(text.replace("sources:", own, 1), encoding="utf-8")
    search._add_source(params.load())
    assert "Added sources.google_2 to params.yaml, next to: google, kene" in capsys.readouterr().out
    sections = params.load().sources
    assert [sections[name].path for name in ("google", "google_2")] == ["pages", str(search.TABLE)]
