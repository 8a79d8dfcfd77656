"""Searches by keyword, against recorded and hostile responses on loopback."""

from __future__ import annotations

import html
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from conftest import full_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from ganloom import params, sources
from ganloom.images.shards import sha256
from ganloom.sources import (
    Context,
    SourceError,
    SourceWarning,
    api,
    archive,
    bing,
    commons,
    keywords,
    openverse,
)
from ganloom.tables import Candidate

ROOT = Path(__file__).parents[1]
NETWORK = params.load(ROOT / "params.yaml").network.model_copy(
    update={"loopback": True, "contact": "me@example.org", "attempts": 2}
)
CONTEXT = Context(1, NETWORK)

Query = dict[str, str]


class Answer(NamedTuple):
    data: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Web:
    """Test server with a response for each query."""

    def __init__(self, server: Any) -> None:
        self.url, self.stop = server.url("").rstrip("/"), server.stop
        self.asked: list[tuple[str, Query]] = []
        self.agents: set[str] = set()
        self._routes = server.routes

    def __setitem__(self, path: str, answer: Callable[[Query], Answer]) -> None:
        async def respond(request: web.Request) -> web.Response:
            query = dict(request.query)
            if path != "/robots.txt":
                self.asked.append((path, query))
                self.agents.add(request.headers["User-Agent"])
            data, status, headers = answer(query)
            return web.Response(body=data, status=status, headers=dict(headers))

        self._routes[path] = respond


@pytest.fixture
def site(server: Any, outside: Any, monkeypatch: pytest.MonkeyPatch) -> Web:
    """Commons and Openverse on loopback; other requests fail the test."""
    made = Web(server)
    monkeypatch.setattr(commons, "API", f"{made.url}/w/api.php")
    monkeypatch.setattr(commons, "_PAUSE", 0)
    monkeypatch.setattr(openverse, "API", f"{made.url}/v1/images/")
    return made


def as_json(answer: Any, **more: Any) -> Answer:
    return Answer(json.dumps(answer).encode(), **more)


def source(kind: str, *searches: tuple[str, int], **more: Any) -> Any:
    section = {
        "commons": params.CommonsSource,
        "openverse": params.OpenverseSource,
        "bing": params.BingSource,
    }[kind]
    usual: dict[str, dict[str, Any]] = {"commons": {"width": None}, "bing": {"way": "requests"}}
    return section(
        kind=kind,
        path=str(ROOT / f"src/ganloom/sources/{kind}.py"),
        keywords=[params.Keyword(text=text, max=most) for text, most in searches],
        **usual.get(kind, {}) | more,
    )


def found(spec: Any, context: Context = CONTEXT) -> list[Candidate]:
    return sources.candidates("web", spec, context)


# --- Wikimedia Commons -------------------------------------------------------------------------


def file_page(number: int, **changes: Any) -> dict[str, Any]:
    """A file as API:Imageinfo describes it with formatversion=2."""
    name = f"Kené_{number}.jpg"
    host = "https://upload.wikimedia.org/wikipedia/commons"
    info = {
        "size": 1353326,
        "width": 3746,
        "height": 2400,
        "thumburl": f"{host}/thumb/a/a2/{name}/960px-{name}",
        "thumbwidth": 960,
        "thumbheight": 615,
        "url": f"{host}/a/a2/{name}",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{name}",
        "descriptionshorturl": f"https://commons.wikimedia.org/w/index.php?curid={number}",
        "sha1": f"{number:040x}",
        "extmetadata": {
            "LicenseShortName": {"value": "CC BY-SA 4.0", "source": "commons-desc-page"},
            "Artist": {
                "value": '<style data-x="1">.a{}</style><a href="//w.org/U">Ana  María</a> &amp; B',
                "source": "commons-desc-page",
            },
            "LicenseUrl": {
                "value": "https://creativecommons.org/licenses/by-sa/4.0",
                "source": "commons-desc-page",
                "hidden": "",
            },
        },
    }
    return {
        "pageid": number,
        "ns": 6,
        "title": f"File:Kené {number}.jpg",
        "index": number,
        "imagerepository": "local",
        "imageinfo": [info | changes],
    }


def commons_search(total: int, page: int = 50) -> Callable[[Query], Answer]:
    def answer(query: Query) -> Answer:
        start = int(query.get("gsroffset", 0))
        numbers = range(start + 1, min(start + page, total) + 1)
        shown: dict[str, Any] = {"batchcomplete": True}
        if start + page < total:
            shown["continue"] = {"gsroffset": start + page, "continue": "gsroffset||"}
        if numbers:
            # In the order of page ids, not of the search.
            shown["query"] = {"pages": [file_page(number) for number in reversed(numbers)]}
        return as_json(shown)

    return answer


def test_commons_returns_author_licence_and_page(site: Web) -> None:
    site["/w/api.php"] = commons_search(1)
    [row] = found(source("commons", ("shipibo art", 5)))
    assert row == Candidate(
        id=f"web/{keywords.url_key(row.url)}",
        source="web",
        query="shipibo art",
        url="https://upload.wikimedia.org/wikipedia/commons/a/a2/Kené_1.jpg",
        page="https://commons.wikimedia.org/wiki/File:Kené_1.jpg",
        title="Kené 1.jpg",
        creator="Ana María & B",
        licence="CC BY-SA 4.0",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0",
        label="",
        sha1=f"{1:040x}",
        bytes="1353326",
    )
    [(_, query)] = site.asked
    assert query["gsrsearch"] == "filetype:bitmap shipibo art"
    assert (query["gsrnamespace"], query["maxlag"], query["formatversion"]) == ("6", "5", "2")
    assert "iiurlwidth" not in query
    [agent] = site.agents
    assert "ganloom" in agent
    assert "me@example.org" in agent


def test_commons_includes_drawings_only_with_a_width(site: Web) -> None:
    site["/w/api.php"] = commons_search(1)
    [row] = found(source("commons", ("art", 5), width=960))
    assert row.url.endswith("/960px-Kené_1.jpg")
    assert row.bytes == ""  # the scaled one's size nobody knows
    [(_, query)] = site.asked
    assert (query["iiurlwidth"], query["gsrsearch"]) == ("960", "filetype:bitmap|drawing art")


def test_commons_continues_until_the_maximum(site: Web) -> None:
    site["/w/api.php"] = commons_search(130)
    assert len(found(source("commons", ("art", 1000)))) == 130
    assert [query.get("gsroffset") for _, query in site.asked] == [None, "50", "100"]
    site.asked.clear()
    rows = found(source("commons", ("art", 60)))
    assert len(site.asked) == 2
    # The best sixty of the search, whatever the order in the answer.
    assert {row.title for row in rows} == {f"Kené {n}.jpg" for n in range(1, 61)}


def test_commons_merges_split_responses(site: Web) -> None:
    bare = {key: value for key, value in file_page(1).items() if key != "imageinfo"}
    first = {
        "continue": {"iistart": "2010-04-16T22:53:21Z", "continue": "||info"},
        "query": {"pages": [bare, file_page(2)]},
    }
    second = {"batchcomplete": True, "query": {"pages": [file_page(1), file_page(2)]}}
    site["/w/api.php"] = lambda query: as_json(second if "iistart" in query else first)
    rows = found(source("commons", ("art", 2)))
    assert sorted(row.title for row in rows) == ["Kené 1.jpg", "Kené 2.jpg"]


def test_keywords_are_merged_by_url(site: Web) -> None:
    site["/w/api.php"] = lambda query: commons_search(
        3 if query["gsrsearch"].endswith("art") else 2
    )(query)
    rows = found(source("commons", ("art", 9), ("weaving", 9), ("weaving art", 1)))
    assert {row.title: row.query for row in rows} == {
        "Kené 1.jpg": "art; weaving; weaving art",
        "Kené 2.jpg": "art; weaving",
        "Kené 3.jpg": "art",
    }
    assert rows == found(source("commons", ("art", 9), ("weaving", 9), ("weaving art", 1)))


def test_keyword_without_results_causes_a_warning(site: Web) -> None:
    site["/w/api.php"] = lambda query: commons_search(
        1 if query["gsrsearch"].endswith(" art") else 0
    )(query)
    with pytest.warns(
        SourceWarning, match=r"sources\.web: Wikimedia Commons has nothing for 'xyz'"
    ):
        assert len(found(source("commons", ("xyz", 9), ("art", 9)))) == 1


def test_commons_waits_for_lagging_databases(site: Web) -> None:
    lag = as_json(
        {"error": {"code": "maxlag", "info": "Waiting for 10.64.16.7: 5.1 seconds lagged."}},
        headers=(("Retry-After", "0"), ("X-Database-Lag", "5")),
    )
    answers = iter([lag, commons_search(1)({})])
    site["/w/api.php"] = lambda _: next(answers)
    assert len(found(source("commons", ("art", 9)))) == 1
    site["/w/api.php"] = lambda _: lag
    with pytest.raises(SourceError, match=r"sources\.web: .*too busy to answer \(maxlag\)"):
        found(source("commons", ("art", 9)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Answer(b"<!DOCTYPE html><title>Wikimedia Error</title>"),
            "not answer with JSON.*Wikimedia",
        ),
        (Answer(b"[]"), "answered with list"),
        (as_json({"error": {"code": "badvalue", "info": "Unrecognized"}}), "badvalue: Unrecog"),
        (Answer(b"{}", 403), "cannot be asked now: HTTP 403"),
        (Answer(b"{}", 429, (("Retry-After", "0"),)), "HTTP 429"),
        (Answer(b"{" * 100_000), "not answer with JSON"),
    ],
)
def test_commons_api_error_fails_the_search(site: Web, answer: Answer, message: str) -> None:
    site["/w/api.php"] = lambda _: answer
    with pytest.raises(SourceError, match=rf"sources\.web: Wikimedia Commons.*{message}"):
        found(source("commons", ("art", 9)))


def test_commons_stops_at_endless_continuation(site: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commons, "_MOST_ANSWERS", 7)
    site["/w/api.php"] = lambda query: as_json(
        {"continue": {"gsroffset": int(query.get("gsroffset", 0)) + 50}}
    )
    with pytest.warns(SourceWarning, match="nothing for 'art'"):
        assert found(source("commons", ("art", 9))) == []
    assert len(site.asked) == 7
    # Nor does one that says the same again.
    site.asked.clear()
    site["/w/api.php"] = lambda _: as_json({"continue": {"gsroffset": 50}})
    with pytest.warns(SourceWarning, match="nothing for 'art'"):
        found(source("commons", ("art", 9)))
    assert len(site.asked) == 2


def test_api_requests_ignore_robots_txt(site: Web) -> None:
    site["/robots.txt"] = lambda _: Answer(b"User-agent: *\nDisallow: /w/\nDisallow: /v1/")
    site["/w/api.php"] = commons_search(1)
    site["/v1/images/"] = openverse_search(1)
    assert found(source("commons", ("art", 9)))
    assert found(source("openverse", ("art", 9)))


# --- Openverse ---------------------------------------------------------------------------------


def work(number: int, **changes: Any) -> dict[str, Any]:
    """A work as the documentation of /v1/images/ shows it."""
    return {
        "id": f"7f40b358-0000-4000-8000-{number:012d}",
        "title": f"Tapestry {number}",
        "url": f"https://live.staticflickr.com/3080/{number}_b.jpg",
        "foreign_landing_url": f"https://www.flickr.com/photos/someone/{number}",
        "creator": "Some One",
        "license": "by-nc-sa",
        "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by-nc-sa/2.0/",
        "provider": "flickr",
        "source": "flickr",
        "attribution": '"Tapestry" by Some One is licensed under CC BY-NC-SA 2.0.',
        "filetype": None,
        "width": 1024,
        "height": 768,
        "mature": False,
        "tags": [{"name": "peru", "accuracy": None}],
    } | changes


def openverse_search(total: int) -> Callable[[Query], Answer]:
    def answer(query: Query) -> Answer:
        assert query["page_size"] == "20"
        page, shown = int(query["page"]), min(total, 240)
        works = [work(n) for n in range(1, shown + 1)][20 * (page - 1) : 20 * page]
        return as_json(
            {
                "result_count": shown,
                "page_count": -(-shown // 20),
                "page_size": 20,
                "page": page,
                "results": works,
            }
        )

    return answer


def test_openverse_returns_author_licence_and_page(site: Web) -> None:
    site["/v1/images/"] = openverse_search(1)
    [row] = found(source("openverse", ("tapestry", 9)))
    assert row.url == "https://live.staticflickr.com/3080/1_b.jpg"
    assert row.page == "https://www.flickr.com/photos/someone/1"
    assert (row.title, row.creator) == ("Tapestry 1", "Some One")
    assert row.licence == "CC BY-NC-SA 2.0"
    assert row.licence_url == "https://creativecommons.org/licenses/by-nc-sa/2.0/"


@pytest.mark.parametrize(
    ("code", "version", "words"),
    [
        ("cc0", "1.0", "CC0 1.0"),
        ("pdm", "1.0", "Public Domain Mark 1.0"),
        ("by", "4.0", "CC BY 4.0"),
        ("by-nd", None, "CC BY-ND"),
        (None, "4.0", ""),
        (7, {}, ""),
    ],
)
def test_openverse_licences_are_written_in_full(code: Any, version: Any, words: str) -> None:
    assert api.licence(code, version) == words


def test_openverse_warns_about_its_result_limit(site: Web) -> None:
    site["/v1/images/"] = openverse_search(5000)
    with pytest.warns(SourceWarning, match="has 240 of 300 works for 'art'; it gives 240 of"):
        assert len(found(source("openverse", ("art", 300)))) == 240
    assert len(site.asked) == 12  # and no page beyond, which would be refused
    site.asked.clear()
    assert len(found(source("openverse", ("art", 30)))) == 30
    assert len(site.asked) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            as_json({"detail": "Request was throttled."}, status=429),
            "cannot be asked now: HTTP 429",
        ),
        (as_json({"detail": {"page_size": "may not exceed 20"}}, status=401), "HTTP 401"),
        (as_json({"detail": "Invalid input."}), "refuses: Invalid input"),
        (Answer(b"<html>Just a moment...</html>"), "JSON.*Just a moment"),
    ],
)
def test_openverse_api_error_fails_the_search(site: Web, answer: Answer, message: str) -> None:
    site["/v1/images/"] = lambda _: answer._replace(headers=(("Retry-After", "0"),))
    with pytest.raises(SourceError, match=f"Openverse.*{message}"):
        found(source("openverse", ("art", 9)))


# --- Bing, requested; test_google.py has saved pages ---------------------------------------------


def tile(number: int, **changes: str) -> str:
    """A tile of Bing Images, as its description says."""
    known = {
        "cid": f"{number}",
        "murl": f"https://example.org/{number}.webp",
        "purl": f"https://example.org/page/{number}",
        "t": f"Kené \ue000textile\ue001 & {number}",
        "turl": f"https://tse1.mm.bing.net/th?id={number}",
    }
    value = html.escape(json.dumps(known | changes))
    return f'<li><div class="imgpt"><a class="iusc" m="{value}" href="/search"></a></div></li>'


def tiles(*numbers: int) -> bytes:
    return f"<html><ul>{''.join(map(tile, numbers))}<a href='/no-m'></a></ul></html>".encode()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, site: Web) -> Web:
    """Bing on loopback."""
    real = bing.addresses

    def on_loopback(words: str, most: int) -> Iterator[str]:
        for address in real(words, most):
            assert address.startswith("https://www.bing.com/images/async?")
            yield address.replace("https://www.bing.com", site.url)

    monkeypatch.setattr(bing, "addresses", on_loopback)
    return site


def paged(*contents: bytes, last: bytes = b"<html></html>") -> Callable[[Query], Answer]:
    answers = iter(contents)
    return lambda _: Answer(next(answers, last))


@pytest.mark.parametrize("page", [b"", b"\xff\xfe<script>", b"<![", b"x" * 9999, b'<a m="{[">'])
def test_page_without_results_causes_a_warning_with_a_remedy(engine: Web, page: bytes) -> None:
    engine["/images/async"] = lambda _: Answer(page)
    with pytest.warns(SourceWarning) as told:
        assert found(source("bing", ("shipibo art", 300))) == []
    [text] = [str(warning.message) for warning in told]
    assert "search page not understood: 0 results" in text
    assert "'shipibo art'" in text
    assert "`commons` and `openverse`" in text


def test_bing_lists_images_of_all_formats_with_page_and_title(engine: Web) -> None:
    engine["/images/async"] = paged(tiles(1))
    [row] = found(source("bing", ("shipibo & kené", 9)))
    assert (row.url, row.page) == ("https://example.org/1.webp", "https://example.org/page/1")
    assert row.title == "Kené textile & 1"
    assert engine.asked[0][1]["q"] == "shipibo & kené"


def test_bing_continues_until_the_maximum(engine: Web) -> None:
    engine["/images/async"] = lambda query: Answer(
        tiles(*range(start := int(query["first"]), start + 35))
    )
    assert len(found(source("bing", ("art", 80)))) == 80
    assert [query["first"] for _, query in engine.asked] == ["0", "20", "40", "60"]
    with pytest.warns(SourceWarning, match="Bing shows 1000 results, not 1001"):
        assert len(found(source("bing", ("art", 1001)))) == 1000


def test_page_that_bing_repeats_ends_the_search(engine: Web) -> None:
    """Complaint: 9,789 of 10,000 images were duplicates."""
    engine["/images/async"] = lambda _: Answer(tiles(*range(84)))
    assert len(found(source("bing", ("art", 1000)))) == 84
    assert len(engine.asked) == 2


def test_images_of_bing_itself_and_pages_are_no_results(engine: Web) -> None:
    """Complaints: a banner of the search engine, or a page, as a result."""
    hostile = [
        tile(1, murl="https://www.bing.com/rp/banner.png"),
        tile(2, murl="https://example.org/page/2"),
        tile(3, murl="file:///etc/passwd"),
        tile(4, murl="https://example.org/a b|c.gif", purl="javascript:alert(1)"),
    ]
    engine["/images/async"] = paged("".join(hostile).encode())
    [row] = found(source("bing", ("art", 9)))
    assert (row.url, row.page) == ("https://example.org/a%20b%7Cc.gif", "")


def test_search_pages_respect_robots_txt(engine: Web) -> None:
    engine["/robots.txt"] = lambda _: Answer(b"User-agent: *\nDisallow: /images/\n")
    engine["/images/async"] = paged(tiles(1, 2))
    with pytest.warns(SourceWarning) as told:
        assert found(source("bing", ("art", 9), ("weaving", 9))) == []
    [text] = [str(warning.message) for warning in told]  # said once
    assert "forbidden by robots.txt; network.robots: false ignores that" in text
    assert "at your own responsibility" in text
    assert "`commons` and `openverse`" in text
    assert engine.asked == []
    ignoring = Context(1, NETWORK.model_copy(update={"robots": False}))
    assert len(found(source("bing", ("art", 9)), ignoring)) == 2


def test_engine_refusal_is_a_warning_but_no_network_is_an_error(engine: Web) -> None:
    engine["/images/async"] = lambda _: Answer(b"unusual traffic", 403)
    with pytest.warns(SourceWarning, match="HTTP 403: Forbidden: 0 results"):
        assert found(source("bing", ("art", 9))) == []
    engine.stop()
    with pytest.raises(SourceError, match=r"sources\.web: Bing cannot be asked now"):
        found(source("bing", ("art", 9)))


@pytest.mark.parametrize(
    "location, reason",
    [
        ("/images/async", "redirects in a circle"),
        ("ftp://example.org/", "not a web address"),
        ("http://10.0.0.1/", "refused address"),
        ("http://127.0.0.1:1/", "cannot connect"),
    ],
)
def test_invalid_redirect_causes_a_warning(engine: Web, location: str, reason: str) -> None:
    engine["/images/async"] = lambda _: Answer(b"", 302, (("Location", location),))
    once = Context(1, NETWORK.model_copy(update={"attempts": 1}))
    with pytest.warns(SourceWarning, match=f"{reason}.*: 0 results"):
        assert found(source("bing", ("art", 9)), once) == []


def test_unreadable_robots_txt_of_an_engine_causes_a_warning(engine: Web) -> None:
    engine["/robots.txt"] = lambda _: Answer(b"", 503)
    once = Context(1, NETWORK.model_copy(update={"attempts": 1}))
    with pytest.warns(SourceWarning, match="robots.txt cannot be read: HTTP 503.*: 0 results"):
        assert found(source("bing", ("art", 9)), once) == []


def test_engine_that_asks_to_wait_is_not_requested_again(engine: Web) -> None:
    engine["/images/async"] = lambda _: Answer(b"", 429, (("Retry-After", "3600"),))
    with pytest.warns(SourceWarning) as told:
        assert found(source("bing", *((text, 9) for text in ("art", "bag", "cup", "dye")))) == []
    first, second = [str(warning.message) for warning in told]
    assert "'art': HTTP 429: Too Many Requests: 0 results" in first
    assert "'bag': host is busy" in second  # said once
    assert len(engine.asked) == 1


# --- hostile answers -----------------------------------------------------------------------------

NAMES = (
    *("query", "pages", "imageinfo", "extmetadata", "Artist", "value", "index", "url", "thumburl"),
    *("results", "title", "license", "license_version", "page_count", "detail"),
    *("error", "code", "continue", "gsroffset"),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["https://example.org/a.jpg", "file:///etc/passwd", "<b>x", "<![CDATA["]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
        )
    ),
    max_leaves=30,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["query", "results", "continue", "detail"]), JSON), JSON)
def test_arbitrary_api_responses_are_handled(answer: dict[str, Any], part: Any) -> None:
    shown = answer | {"query": {"pages": [{"imageinfo": [part]}, part]}, "results": [part]}
    found_rows = commons.pictures(answer, scaled=True) + commons.pictures(shown, scaled=False)
    for page in (answer, shown):
        try:
            found_rows += openverse.pictures(page)
        except SourceError as error:
            assert "Openverse" in str(error)
    assert all(isinstance(value, (str, int)) for value in commons.continuation(answer).values())
    for row in found_rows:
        assert row.url.startswith(("http://", "https://"))
        cells = [value for value in asdict(row).values() if value is not None]
        assert all(isinstance(value, str) for value in cells)
        assert all(len(value) <= 2048 and value.isprintable() for value in cells)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300) | st.text().map(str.encode) | JSON.map(lambda v: json.dumps(v).encode())
)
def test_arbitrary_search_pages_are_handled(data: bytes) -> None:
    try:
        assert isinstance(keywords.parsed(data, "Who"), dict)
    except SourceError as error:
        assert "Who" in str(error)


@pytest.mark.parametrize(
    "url",
    [
        "",
        None,
        7,
        "ftp://example.org/a.jpg",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//example.org/a.jpg",
        "https://",
        "https:///a.jpg",
        "https://user@example.org/a.jpg",
        "https://user:pw@example.org/a.jpg",
        "https://example.org/a b.jpg",
        "https://example.org/a.jpg\nX: y",
        "https://example.org/\u202egpj.a",
        "https://[::1/a.jpg",
        "https://example.org:99999/a.jpg",
        "https://example.org/" + "a" * 2048,
    ],
)
def test_non_web_addresses_are_ignored(url: Any) -> None:
    assert keywords.web_url(url) == ""


def test_text_is_shortened_to_one_line() -> None:
    assert keywords.text("a\r\n\tb\x00c\x1b[31m\u202e d" + "e" * 9999).startswith("a b c [31m d")
    assert len(keywords.text("e" * 9999)) == 500
    assert commons.plain("<p>A<script>x()</script> <i>B</i></p>" * 3) == "A B A B A B"


# --- archives, and the stage ---------------------------------------------------------------------


def test_archive_download_happens_once_and_is_verified(
    site: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("a.png", b"a picture")
    data = file.getvalue()
    site["/a.zip"] = lambda _: Answer(data)
    monkeypatch.chdir(tmp_path)
    spec = params.ArchiveSource(
        kind="archive",
        path=str(ROOT / "src/ganloom/sources/archive.py"),
        url=f"{site.url}/a.zip",
        sha256=sha256(data),
        max_bytes=10_000,
        licence="CC0",
    )
    [row] = found(spec)
    assert archive.reader(spec, CONTEXT)(row.url) == b"a picture"
    assert len(site.asked) == 1
    assert [p.name for p in (tmp_path / "work/archives").iterdir()] == [spec.sha256]

    (tmp_path / "work/archives" / str(spec.sha256)).write_bytes(b"cut")
    with full_disk(10), pytest.raises(OSError, match="File too large"):
        found(spec)
    assert [p.name for p in (tmp_path / "work/archives").iterdir()] == [spec.sha256]
    assert found(spec) == [row]  # again
    with pytest.raises(SourceError, match=r"a\.zip has the sha256 .*another file"):
        found(spec.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(SourceError, match=r"a\.zip: file too large: more than 10 bytes"):
        found(spec.model_copy(update={"sha256": "1" * 64, "max_bytes": 10}))
    with pytest.raises(SourceError, match=r"b\.zip: HTTP 404"):
        found(spec.model_copy(update={"sha256": "1" * 64, "url": f"{site.url}/b.zip"}))
