"""Museums, Europeana, iNaturalist and collections of Openverse, against stand-ins on loopback.

The stand-ins answer in the shapes that the services document.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from aiohttp import web
from conftest import Server
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from ganloom import curate, fetch, params, sources, tables
from ganloom.dedup import analysis
from ganloom.images import encoding
from ganloom.images.shards import Shards
from ganloom.sources import (
    Context,
    SourceError,
    SourceWarning,
    api,
    artic,
    cleveland,
    europeana,
    inaturalist,
    keywords,
    openverse,
    smithsonian,
)
from ganloom.tables import Candidate, ManifestRow
from ganloom.web import client

ROOT = Path(__file__).parents[1]
PARAMS = params.load(ROOT / "params.yaml")
NETWORK = PARAMS.network.model_copy(
    update={"loopback": True, "contact": "me@example.org", "attempts": 2}
)
CONTEXT = Context(1, NETWORK)
KEY = "kEyOf40LettersAndDigits4567890123456789ab"
KEYS = ("EUROPEANA_KEY", "SMITHSONIAN_KEY")

Query = dict[str, str]
Record = dict[str, Any]


# --- the services as they document themselves --------------------------------------------------


def cleveland_work(n: int) -> Record:
    cdn = f"https://openaccess-cdn.clevelandart.org/1921.{n}/1921.{n}"
    return {
        "id": 100_000 + n,
        "accession_number": f"1921.{n}",
        "share_license_status": "CC0",
        "title": f"Textile {n}",
        "creation_date": "1400s",
        "creators": [
            {"id": 1, "description": "Ana  Quispe (Peruvian, 1400s)", "role": "artist"},
            {"id": 2, "description": "Workshop of Cusco", "role": "artist"},
        ],
        "type": "Textile",
        "url": f"https://clevelandart.org/art/1921.{n}",
        "images": {
            "annotation": None,
            "web": {"url": f"{cdn}_web.jpg", "width": "893", "height": "600"},
            "print": {"url": f"{cdn}_print.jpg", "width": "3400", "height": "2284"},
            "full": {"url": f"{cdn}_full.tif", "width": "9000", "height": "6046"},
        },
    }


def cleveland_page(query: Query, works: list[Any]) -> Record:
    start, limit = int(query["skip"]), int(query["limit"])
    return {"info": {"total": len(works), "parameters": {}}, "data": works[start : start + limit]}


def artic_work(n: int) -> Record:
    return {
        "_score": 100.0 - n,
        "id": n,
        "title": f"Panel {n}",
        "artist_title": "Ana Quispe",
        "is_public_domain": True,
        "image_id": f"9a0f888a-4818-302b-9d36-{n:012d}",
        "thumbnail": {"lqip": "data:image/gif;base64,R0lGOD", "width": 3153, "height": 2468},
    }


def artic_page(query: Query, works: list[Any]) -> Record:
    page, limit = int(query["page"]), int(query["limit"])
    return {
        "pagination": {
            "total": len(works),
            "limit": limit,
            "offset": (page - 1) * limit,
            "total_pages": -(-len(works) // limit),
            "current_page": page,
        },
        "data": works[(page - 1) * limit : page * limit],
        "info": {"license_text": "CC0", "version": "1.13"},
        "config": {
            "iiif_url": "https://www.artic.edu/iiif/2",
            "website_url": "https://www.artic.edu",
        },
    }


def observation(n: int) -> Record:
    photos = "https://inaturalist-open-data.s3.amazonaws.com/photos"
    return {
        "id": 10 * n,
        "uri": f"https://www.inaturalist.org/observations/{10 * n}",
        "quality_grade": "research",
        "taxon": {"id": 48662, "name": "Danaus plexippus", "preferred_common_name": "Monarch"},
        "user": {"id": 7, "login": "ana", "name": "Ana Quispe"},
        "photos": [
            {
                "id": 5 * n,
                "license_code": "cc-by-nc",
                "attribution": "(c) Ana Quispe, some rights reserved (CC BY-NC)",
                "url": f"{photos}/{5 * n}/square.jpg",
            },
            {
                "id": 5 * n + 1,
                "license_code": "cc-by",
                "attribution": "(c) Ana Quispe, some rights reserved (CC BY)",
                "url": f"{photos}/{5 * n + 1}/square.jpg",
            },
            {
                "id": 5 * n + 2,
                "license_code": "cc0",
                "attribution": "no rights reserved",
                "url": f"{photos}/{5 * n + 2}/square.jpg",
            },
        ],
    }


def inaturalist_page(query: Query, works: list[Any]) -> Record:
    after = [
        each
        for each in works
        if not isinstance(each, dict) or each.get("id", 1) > int(query["id_above"])
    ]
    size = int(query["per_page"])
    return {
        "total_results": len(after),
        "page": 1,
        "per_page": size,
        "results": after[:size],
    }


def europeana_item(n: int) -> Record:
    file = f"https://lh3.ggpht.com/{n}=s0"
    return {
        "id": f"/90402/RP_P_{n}",
        "title": [f"Prent {n}", "Print"],
        "dcCreator": ["Ana Quispe"],
        "dataProvider": ["Rijksmuseum"],
        "edmIsShownAt": [f"http://hdl.handle.net/10934/{n}"],
        "edmIsShownBy": [file],
        "edmPreview": [f"https://api.europeana.eu/thumbnail/v2/url.json?uri={n}&type=IMAGE"],
        "rights": ["http://creativecommons.org/publicdomain/mark/1.0/"],
        "type": "IMAGE",
        # The key of the one who asks is in both:
        "guid": f"https://www.europeana.eu/item/90402/RP_P_{n}?utm_source=api&utm_campaign={KEY}",
        "link": f"https://api.europeana.eu/record/90402/RP_P_{n}.json?wskey={KEY}",
    }


def europeana_page(query: Query, works: list[Any]) -> Record:
    start = 0 if query["cursor"] == "*" else int(query["cursor"].removeprefix("AoE/"))
    end = start + int(query["rows"])
    return {
        "apikey": query["wskey"],
        "success": True,
        "requestNumber": 999,
        "totalResults": len(works),
        "items": works[start:end],
    } | ({"nextCursor": f"AoE/{end}"} if end < len(works) else {})


def smithsonian_row(n: int) -> Record:
    return {
        "id": f"edanmdm-chndm_{n}",
        "title": f"Sampler {n}",
        "unitCode": "CHNDM",
        "type": "edanmdm",
        "content": {
            "descriptiveNonRepeating": {
                "record_link": f"https://collection.cooperhewitt.org/objects/{n}",
                "data_source": "Cooper Hewitt, Smithsonian Design Museum",
                "online_media": {
                    "mediaCount": 2,
                    "media": [
                        {
                            "type": "Images",
                            "usage": {"access": "Usage conditions apply"},
                            "content": "https://ids.si.edu/ids/deliveryService?id=CHSDM-0",
                        },
                        {
                            "type": "Images",
                            "usage": {"access": "CC0"},
                            "content": f"https://ids.si.edu/ids/deliveryService?id=CHSDM-{n}",
                            "idsId": f"CHSDM-{n}",
                        },
                    ],
                },
            },
            "freetext": {"name": [{"label": "Embroiderer", "content": "Ana Quispe"}]},
        },
    }


def smithsonian_page(query: Query, works: list[Any]) -> Record:
    start, rows = int(query["start"]), int(query["rows"])
    return {
        "status": 200,
        "responseCode": 1,
        "response": {
            "rows": works[start : start + rows],
            "rowCount": len(works),
            "message": "content found",
        },
    }


class Kind(NamedTuple):
    """A kind of source, and how its service answers."""

    module: ModuleType
    section: Any
    settings: Record
    record: Callable[[int], Record]
    page: Callable[[Query, list[Any]], Record]


KINDS = {
    "cleveland": Kind(
        cleveland,
        params.ClevelandSource,
        {"type": None, "size": "web"},
        cleveland_work,
        cleveland_page,
    ),
    "artic": Kind(artic, params.ArticSource, {"type": None, "width": 843}, artic_work, artic_page),
    "inaturalist": Kind(
        inaturalist,
        params.InaturalistSource,
        {"size": "medium", "licences": ["cc0", "cc-by"]},
        observation,
        inaturalist_page,
    ),
    "europeana": Kind(
        europeana, params.EuropeanaSource, {"width": None}, europeana_item, europeana_page
    ),
    "smithsonian": Kind(
        smithsonian, params.SmithsonianSource, {"size": 1024}, smithsonian_row, smithsonian_page
    ),
}
ALL = pytest.mark.parametrize("kind", KINDS)
WITH_KEY = pytest.mark.parametrize(
    "kind, variable", [("europeana", "EUROPEANA_KEY"), ("smithsonian", "SMITHSONIAN_KEY")]
)


class Site:
    """Stand-ins of all services on one server; ``asked`` are the queries in order."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.asked: list[Query] = []
        for kind, (module, *_) in KINDS.items():
            monkeypatch.setattr(module, "API", server.url(f"/{kind}"))

    def answer(self, kind: str, respond: Callable[[Query], Any]) -> None:
        """Answer with a response, or an object as JSON."""

        async def handle(request: web.Request) -> web.Response:
            query = dict(request.query)
            self.asked.append(query)
            answer = respond(query)
            return answer if isinstance(answer, web.Response) else web.json_response(answer)

        self.server.routes[f"/{kind}"] = handle

    def show(self, kind: str, works: list[Any]) -> None:
        self.answer(kind, lambda query: KINDS[kind].page(query, works))


@pytest.fixture
def site(server: Server, outside: Any, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The services on loopback, with both keys set; other requests fail the test."""
    for variable in KEYS:
        monkeypatch.setenv(variable, KEY)

    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr(client, "pause", at_once)
    return Site(server, monkeypatch)


def source(kind: str, most: int = 1000, **changes: Any) -> Any:
    return KINDS[kind].section(
        kind=kind,
        path=f"src/ganloom/sources/{kind}.py",
        keywords=[params.Keyword(text="woven silk", max=most)],
        **KINDS[kind].settings | changes,
    )


def found(spec: Any) -> list[Candidate]:
    return sources.candidates("web", spec, CONTEXT)


def works(kind: str, count: int) -> list[Any]:
    return [KINDS[kind].record(n) for n in range(1, count + 1)]


# --- fields --------------------------------------------------------------------------------------

CC0 = {"licence": "CC0 1.0", "licence_url": "https://creativecommons.org/publicdomain/zero/1.0/"}


@pytest.mark.parametrize(
    "kind, known",
    [
        (
            "cleveland",
            {
                "url": "https://openaccess-cdn.clevelandart.org/1921.1/1921.1_web.jpg",
                "page": "https://clevelandart.org/art/1921.1",
                "title": "Textile 1",
                "creator": "Ana Quispe (Peruvian, 1400s); Workshop of Cusco",
                **CC0,
            },
        ),
        (
            "artic",
            {
                "url": "https://www.artic.edu/iiif/2/9a0f888a-4818-302b-9d36-000000000001/full/843,"
                "/0/default.jpg",
                "page": "https://www.artic.edu/artworks/1",
                "title": "Panel 1",
                "creator": "Ana Quispe",
                **CC0,
            },
        ),
        (
            "inaturalist",
            {
                "url": "https://inaturalist-open-data.s3.amazonaws.com/photos/6/medium.jpg",
                "page": "https://www.inaturalist.org/observations/10",
                "title": "Danaus plexippus",
                "creator": "Ana Quispe",
                "licence": "CC BY 4.0",
                "licence_url": "https://creativecommons.org/licenses/by/4.0/",
            },
        ),
        (
            "europeana",
            {
                "url": "https://lh3.ggpht.com/1=s0",
                "page": "https://www.europeana.eu/item/90402/RP_P_1",
                "title": "Prent 1",
                "creator": "Ana Quispe",
                "licence": "Public Domain Mark 1.0",
                "licence_url": "http://creativecommons.org/publicdomain/mark/1.0/",
            },
        ),
        (
            "smithsonian",
            {
                "url": "https://ids.si.edu/ids/deliveryService?id=CHSDM-1&max=1024",
                "page": "https://collection.cooperhewitt.org/objects/1",
                "title": "Sampler 1",
                "creator": "Ana Quispe",
                **CC0,
            },
        ),
    ],
)
def test_a_work_has_creator_licence_and_page(site: Site, kind: str, known: Record) -> None:
    site.show(kind, works(kind, 1))
    [row] = found(source(kind, 1))
    key = keywords.url_key(known["url"])
    assert row == Candidate(id=f"web/{key}", source="web", query="woven silk", **known)
    [agent] = {headers["user-agent"] for _, headers in site.server.seen}
    assert "ganloom" in agent
    assert "me@example.org" in agent


@pytest.mark.parametrize(
    "kind, changes, query",
    [
        (
            "cleveland",
            {"type": "Textile"},
            {
                "q": "woven silk",
                "cc0": "1",
                "has_image": "1",
                "type": "Textile",
                "limit": "100",
                "skip": "0",
            },
        ),
        (
            "artic",
            {"type": "Textile"},
            {
                "q": "woven silk",
                "query[bool][must][0][term][is_public_domain]": "true",
                "query[bool][must][1][exists][field]": "image_id",
                "query[bool][must][2][term][artwork_type_title.keyword]": "Textile",
                "fields": "id,title,artist_title,is_public_domain,image_id,thumbnail",
                "limit": "100",
                "page": "1",
            },
        ),
        (
            "inaturalist",
            {},
            {
                "taxon_name": "woven silk",
                "quality_grade": "research",
                "photo_license": "cc0,cc-by",
                "order_by": "id",
                "order": "asc",
                "per_page": "100",
                "id_above": "0",
            },
        ),
        (
            "europeana",
            {},
            {
                "query": "woven silk",
                "qf": "TYPE:IMAGE",
                "reusability": "open",
                "media": "true",
                "profile": "rich",
                "rows": "100",
                "cursor": "*",
                "wskey": KEY,
            },
        ),
        (
            "smithsonian",
            {},
            {
                "q": '(woven silk) AND online_media_type:"Images"',
                "rows": "100",
                "start": "0",
                "api_key": KEY,
            },
        ),
    ],
)
def test_only_open_works_are_requested(
    site: Site, kind: str, changes: Record, query: Query
) -> None:
    site.show(kind, works(kind, 1))
    found(source(kind, 1, **changes))
    assert site.asked == [query]


@pytest.mark.parametrize(
    "kind, changes, end",
    [
        ("cleveland", {"size": "print"}, "/1921.1_print.jpg"),
        ("artic", {"width": 1686}, "/full/1686,/0/default.jpg"),
        ("inaturalist", {"size": "original"}, "/6/original.jpg"),
        ("europeana", {"width": 400}, "/url.json?uri=1&type=IMAGE&size=w400"),
        ("smithsonian", {"size": None}, "/deliveryService?id=CHSDM-1"),
    ],
)
def test_other_sizes(site: Site, kind: str, changes: Record, end: str) -> None:
    site.show(kind, works(kind, 1))
    [row] = found(source(kind, 1, **changes))
    assert row.url.endswith(end)


def test_images_are_not_enlarged(site: Site) -> None:
    site.show("artic", [artic_work(1) | {"thumbnail": {"width": 500, "height": 700}}])
    [row] = found(source("artic", 1))
    assert row.url.endswith("/full/500,/0/default.jpg")


@pytest.mark.parametrize(
    "url, expected",
    [
        (
            "https://ids.si.edu/ids/deliveryService/id/ark:/65665/m3",
            "https://ids.si.edu/ids/deliveryService/id/ark:/65665/m3/1024",
        ),
        ("https://collections.nmnh.si.edu/media/?irn=1", None),
    ],
)
def test_smithsonian_scales_images_of_its_own_server(url: str, expected: str | None) -> None:
    assert smithsonian.scaled(url, 1024) == (expected or url)


@pytest.mark.parametrize(
    "url, name",
    [
        ("http://creativecommons.org/licenses/by-sa/3.0/nl/", "CC BY-SA 3.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0 1.0"),
        ("http://creativecommons.org/publicdomain/mark/1.0", "Public Domain Mark 1.0"),
        ("http://rightsstatements.org/vocab/InC/1.0/", ""),
        ("https://creativecommons.org.example/licenses/by/4.0/", ""),
        (None, ""),
    ],
)
def test_licences_are_named_by_their_address(url: Any, name: str) -> None:
    assert api.licence_at(url) == name


def closed(kind: str) -> list[Record]:
    """Works that are not open, although a service listed them."""
    work = KINDS[kind].record(900)
    if kind == "cleveland":
        return [work | {"share_license_status": each} for each in ("Copyrighted", None, "")]
    if kind == "artic":
        return [work | {"is_public_domain": each} for each in (False, None, "true")]
    if kind == "inaturalist":
        photo = work["photos"][0]
        return [
            work | {"photos": [photo | {"license_code": each}]} for each in ("cc-by-nc", None, "")
        ]
    if kind == "europeana":
        addresses = (
            "http://rightsstatements.org/vocab/InC/1.0/",
            "http://creativecommons.org/licenses/by-nc/4.0/",
        )
        return [work | {"rights": rights} for rights in ([addresses[0]], [addresses[1]], None)]
    about = work["content"]["descriptiveNonRepeating"]
    media = about["online_media"]["media"][:1]
    inner = {"descriptiveNonRepeating": about | {"online_media": {"media": media}}}
    return [work | {"content": inner}]


@ALL
def test_works_that_are_not_open_are_left_out(site: Site, kind: str) -> None:
    site.show(kind, [*closed(kind), *works(kind, 1)])
    [row] = found(source(kind, 1))
    assert row.title.endswith(("1", "plexippus"))
    assert row.licence


# --- pages ---------------------------------------------------------------------------------------


@ALL
def test_pages_are_requested_until_the_maximum(site: Site, kind: str) -> None:
    site.show(kind, works(kind, 250))
    with pytest.warns(SourceWarning, match=r"sources\.web: .* has 250 of 1000 works for 'woven"):
        assert len(found(source(kind))) == 250
    assert len(site.asked) == (4 if kind == "inaturalist" else 3)
    site.asked.clear()
    rows = found(source(kind, 120))
    assert len(site.asked) == 2
    assert len(rows) == 120
    # The first ones, in the order of the search.
    site.show(kind, works(kind, 120))
    assert found(source(kind, 120)) == rows


@ALL
def test_search_without_results_is_a_warning(site: Site, kind: str) -> None:
    site.show(kind, [])
    with pytest.warns(SourceWarning, match=r"sources\.web: .* has nothing for 'woven silk'"):
        assert found(source(kind)) == []
    assert len(site.asked) == 1


@ALL
def test_service_that_repeats_its_page_is_left(site: Site, kind: str) -> None:
    """simple_image_download #4: the same 84 results on every page."""
    first = Query(skip="0", page="1", cursor="*", start="0", id_above="0", wskey=KEY)
    endless = {"info": {"total": 10**9}, "pagination": {"total_pages": 10**9}}

    def same(query: Query) -> Record:
        shown = KINDS[kind].page(query | first, works(kind, 84)) | endless
        if kind == "smithsonian":
            shown["response"]["rowCount"] = 10**9
        return shown | {"nextCursor": f"AoE/{len(site.asked)}"}

    site.answer(kind, same)
    with pytest.warns(SourceWarning, match="has 84 of 1000 works"):
        assert len(found(source(kind))) == 84
    assert len(site.asked) == 2


def test_most_results_may_be_the_same_works(site: Site) -> None:
    """bing_image_downloader #9: 9,789 of 10,000 results were duplicates."""
    numbers = np.random.default_rng(1).integers(0, 211, 10_000).tolist()
    distinct = works("cleveland", 211)
    site.show("cleveland", [distinct[n] for n in numbers])
    with pytest.warns(SourceWarning, match="has 211 of 10000 works"):
        assert len(found(source("cleveland", 10_000))) == 211


@ALL
def test_service_without_an_end_is_left(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KINDS[kind].module, "_MOST", 700)

    def empty(query: Query) -> Record:
        useless = [{"id": 10 * len(site.asked)}]
        return {
            "info": {"total": 10**9},
            "pagination": {"total_pages": 10**9},
            "data": useless,
            "results": useless,
            "items": useless,
            "nextCursor": f"AoE/{len(site.asked)}",
            "response": {"rows": useless, "rowCount": 10**9},
        }

    site.answer(kind, empty)
    with pytest.warns(SourceWarning, match="nothing for"):
        assert found(source(kind)) == []
    assert len(site.asked) == 7


# --- errors --------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize(
    "status, body, reason",
    [
        (429, b"{}", "cannot be asked now: HTTP 429: Too Many Requests"),
        (500, b"{}", "cannot be asked now: HTTP 500"),
        (
            200,
            b"<!DOCTYPE html><title>Before you continue</title>",
            "did not answer with JSON, but: '<!DOCTYPE",
        ),
        (200, b"[]", "answered with list, not an object"),
        (200, b'{"detail": "Bad query"}', "refuses: Bad query"),
        (200, b'{"data": {}, "items": 7}', r"refuses: no list of results \("),
    ],
)
def test_api_error_fails_the_search(
    site: Site, kind: str, status: int, body: bytes, reason: str
) -> None:
    headers = {"Retry-After": "0"}
    site.answer(kind, lambda _: web.Response(status=status, body=body, headers=headers))
    with pytest.raises(SourceError, match=rf"sources\.web: [A-Za-z ]+ {reason}"):
        found(source(kind))


@pytest.mark.parametrize("kind", ["cleveland", "artic", "inaturalist"])
def test_service_without_key_that_refuses_is_named(site: Site, kind: str) -> None:
    site.answer(kind, lambda _: web.Response(status=403))
    with pytest.raises(SourceError, match=r"cannot be asked now: HTTP 403: Forbidden$"):
        found(source(kind))


CHALLENGE = {"cf-mitigated": "challenge", "Content-Type": "text/html"}


@ALL
def test_browser_check_of_an_api_is_named(site: Site, kind: str) -> None:
    page = b"<!DOCTYPE html><title>Just a moment...</title>"
    site.answer(kind, lambda _: web.Response(status=403, body=page, headers=CHALLENGE))
    with pytest.raises(
        SourceError, match=r"now: browser check: 127\.0\.0\.1 lets only browsers in"
    ):
        found(source(kind))
    assert len(site.asked) == 1


def test_browser_check_of_an_image_host_is_a_reason_of_its_own(site: Site, tmp_path: Path) -> None:
    """Chicago's image server had such a check at times since December 2025."""
    url = site.server.serve("/a.jpg", b"<title>Just a moment...</title>", 403, **CHALLENGE)
    job = fetch.Job({}, PARAMS.fetch, CONTEXT, tmp_path / "raw", tmp_path / "kept", {})
    results = fetch.fetch([Candidate(id="web/a", source="web", url=url)], job, 1, lambda: None)
    assert [result.manifest.error for result in results] == [
        "browser check: 127.0.0.1 lets only browsers in at present (HTTP 403)"
    ]
    with pytest.raises(
        fetch.LostError, match=r"127\.0\.0\.1: 0 of 1 fetched; failed: 1 browser check"
    ):
        fetch.summary([], results, PARAMS.fetch)


HOSTILE = [
    "",
    None,
    7,
    ["https://example.org/a.jpg"],
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://user:pw@example.org/a.jpg",
    "https://example.org/a b.jpg",
    "https://example.org/" + "a" * 2048,
]


def with_address(kind: str, url: Any) -> Record:
    """A work whose image has the given address."""
    work = KINDS[kind].record(900)
    if kind == "cleveland":
        return work | {"images": {"web": {"url": url}}}
    if kind == "artic":
        return work | {"image_id": url if isinstance(url, str) and " " in url else None}
    if kind == "inaturalist":
        return work | {"photos": [{"license_code": "cc0", "url": url}]}
    if kind == "europeana":
        return work | {"edmIsShownBy": [url]}
    media = [{"type": "Images", "usage": {"access": "CC0"}, "content": url}]
    return work | {"content": {"descriptiveNonRepeating": {"online_media": {"media": media}}}}


@ALL
def test_malformed_records_and_hostile_addresses_are_skipped(site: Site, kind: str) -> None:
    bad: list[Any] = [None, 7, "x", [], {}, {"id": {}}, {"images": 1, "photos": 2, "content": []}]
    bad += [with_address(kind, url) for url in HOSTILE]
    if kind == "inaturalist":
        bad = [each | {"id": 5} if isinstance(each, dict) else each for each in bad]
    site.show(kind, [*bad, *works(kind, 1)])
    [row] = found(source(kind, 1))
    assert row.title.endswith(("1", "plexippus"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["https://example.org/square.jpg", "file:///etc/passwd", "CC0", "cc0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@ALL
@given(data=st.data())
def test_arbitrary_records_are_handled(kind: str, data: st.DataObject) -> None:
    """Any value in a work may be replaced by any other."""
    query = Query(skip="0", page="1", cursor="*", start="0", id_above="0", wskey=KEY)
    query |= dict.fromkeys(("limit", "per_page", "rows"), "9")
    answer: Any = json.loads(json.dumps(KINDS[kind].page(query, works(kind, 2))))
    place = answer
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(range(len(place)) if isinstance(place, list) else [*place]))
        if data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    spec = source(kind)
    settings = [value for name, value in spec if name in ("size", "width", "licences")]
    try:
        hits = KINDS[kind].module.pictures(answer, *settings)
    except SourceError:
        return
    for hit in hits:
        assert keywords.web_url(hit.url) == hit.url
        assert hit.licence
        assert all(value.isprintable() for value in asdict(hit).values() if value is not None)


# --- keys ----------------------------------------------------------------------------------------


@WITH_KEY
def test_missing_key_names_the_variable_and_where_to_get_one(
    site: Site, kind: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(
        SourceError, match=rf"sources\.web: needs a key.* at https://api.*export {variable}="
    ):
        found(source(kind))
    monkeypatch.setenv(variable, "my secret?")
    with pytest.raises(SourceError, match=f"{variable} holds no key") as raised:
        found(source(kind))
    assert "secret" not in str(raised.value)
    assert site.asked == []


@WITH_KEY
@pytest.mark.parametrize("status", [401, 403, 410])
def test_refused_key_is_named_by_its_variable(
    site: Site, kind: str, variable: str, status: int
) -> None:
    site.answer(kind, lambda query: web.json_response(query, status=status))
    with pytest.raises(SourceError, match=rf"refuses the key in {variable} \(HTTP {status}.*http"):
        found(source(kind))


@WITH_KEY
@pytest.mark.parametrize(
    "respond",
    [
        lambda query: {"success": False, "error": f"{KEY} is over its limit"},
        lambda query: web.Response(text=f"<html>{KEY} unknown"),
        lambda query: web.Response(status=302, headers={"Location": f"ftp://example.org/{KEY}"}),
    ],
)
def test_key_that_a_service_repeats_is_not_shown(
    site: Site, kind: str, variable: str, respond: Callable[[Query], Any]
) -> None:
    site.answer(kind, respond)
    with pytest.raises(SourceError) as raised:
        found(source(kind))
    assert "hidden" in str(raised.value)
    assert KEY not in str(raised.value)
    assert raised.value.__cause__ is None or KEY not in str(raised.value.__cause__)


@WITH_KEY
def test_key_is_written_nowhere(site: Site, kind: str, variable: str, tmp_path: Path) -> None:
    server, picture = site.server, png(1)

    def shown(query: Query) -> Record:
        rows = works(kind, 3)
        for n, row in enumerate(rows):
            row["title"] = [f"Work {n}"] if kind == "europeana" else f"Work {n} for {KEY}"
            row["edmIsShownBy"] = [server.serve(f"/{n}.png", picture)]
            for media in (
                row.get("content", {})
                .get("descriptiveNonRepeating", {})
                .get("online_media", {})
                .get("media", [])
            ):
                media["content"] = server.serve(f"/{n}.png", picture)
        return KINDS[kind].page(query, rows)

    site.answer(kind, shown)
    write_params(tmp_path, {"web": source(kind, 3)})
    outputs = [
        run_stage(tmp_path, kind, server.url(f"/{kind}"), stage, *arguments)
        for stage, arguments in (("search", ["web"]), ("fetch", []))
    ]
    assert "fetched 3 of 3 candidates" in outputs[1]
    assert any(KEY in query.values() for query in site.asked)
    # A refusal, with the key in the response.
    site.answer(kind, lambda query: web.json_response(query, status=403))
    outputs.append(run_stage(tmp_path, kind, server.url(f"/{kind}"), "search", "web", rc=1))
    assert variable in outputs[2]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not any(KEY.encode() in data for data in written)
    assert not any(KEY in output for output in outputs)


def write_params(project: Path, specs: dict[str, Any]) -> None:
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    values["sources"] = {name: spec.model_dump() for name, spec in specs.items()}
    values["network"] = NETWORK.model_dump()
    with (project / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(values, file)


def run_stage(project: Path, kind: str, url: str, script: str, *arguments: str, rc: int = 0) -> str:
    """Run the script of a stage, with a stand-in for the service."""
    path = ROOT / "workflow/scripts" / f"{script}.py"
    code = (
        "import runpy, sys\n"
        f"sys.argv = {[script, *arguments]!r}\n"
        f"sys.path[:0] = [{str(path.parent)!r}, {str(ROOT / 'src')!r}]\n"
        f"from ganloom.sources import {kind}\n"
        f"{kind}.API = {url!r}\n"
        f"runpy.run_path({str(path)!r}, run_name='__main__')\n"
    )
    main = project / "main.py"  # a file, because worker processes import it
    main.write_text(
        "if __name__ == '__main__':\n" + "".join(f"    {x}\n" for x in code.split("\n"))
    )
    done = subprocess.run(
        [sys.executable, str(main)], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == rc, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


# --- collections of Openverse ---------------------------------------------------------------------


def openverse_work(n: int, **changes: Any) -> Record:
    return {
        "id": f"7f40b358-0000-4000-8000-{n:012d}",
        "title": f"Tapestry {n}",
        "url": f"https://live.staticflickr.com/3080/{n}_b.jpg",
        "foreign_landing_url": f"https://www.flickr.com/photos/someone/{n}",
        "creator": "Some One",
        "license": "by",
        "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by/2.0/",
    } | changes


def openverse_page(query: Query, rows: list[Any]) -> Record:
    page, size, rows = int(query["page"]), int(query["page_size"]), rows[:240]
    return {
        "result_count": len(rows),
        "page_count": -(-len(rows) // size),
        "page_size": size,
        "page": page,
        "results": rows[(page - 1) * size : page * size],
    }


def openverse_source(most: int, collections: list[str] | None) -> params.OpenverseSource:
    return params.OpenverseSource(
        kind="openverse",
        path="src/ganloom/sources/openverse.py",
        keywords=[params.Keyword(text="woven silk", max=most)],
        collections=collections,
    )


def test_each_collection_of_openverse_has_its_own_limit(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openverse, "API", site.server.url("/openverse"))
    collections = {
        "flickr": [openverse_work(n) for n in range(5000)],
        "met": [openverse_work(n) for n in range(200, 300)],  # 40 of them are on Flickr, too
        "nasa": [openverse_work(n) for n in range(9000, 9010)],
    }
    site.answer(
        "openverse", lambda query: openverse_page(query, collections[query.get("source", "flickr")])
    )
    with pytest.warns(SourceWarning, match="Openverse has 310 of 1000 works for 'woven silk'"):
        rows = found(openverse_source(1000, ["flickr", "met", "nasa"]))
    assert len(rows) == 240 + 60 + 10
    asked = [query["source"] for query in site.asked]
    assert asked == ["flickr"] * 12 + ["met"] * 5 + ["nasa"]
    site.asked.clear()
    assert len(found(openverse_source(250, ["flickr", "met", "nasa"]))) == 250
    assert [query["source"] for query in site.asked] == ["flickr"] * 12 + ["met"] * 3
    # The same page of two collections is no end of the search.
    collections["met"] = collections["nasa"] = [openverse_work(9000)]
    with pytest.warns(SourceWarning, match="has 241 of 1000 works"):
        assert len(found(openverse_source(1000, ["met", "nasa", "flickr"]))) == 240 + 1
    site.asked.clear()
    with pytest.warns(SourceWarning, match="`collections` find more"):
        assert len(found(openverse_source(1000, None))) == 240
    assert not any("source" in query for query in site.asked)


@pytest.mark.parametrize(
    "kind, changes, reason",
    [
        ("openverse", {"collections": []}, "at least 1 item"),
        ("openverse", {"collections": ["met", "met"]}, "not name anything twice"),
        ("openverse", {"collections": ["met,flickr"]}, "should match pattern"),
        ("inaturalist", {"licences": ["cc0", "all"]}, "Input should be 'cc0', 'cc-by'"),
        ("artic", {"width": 1000}, "Input should be 400, 843 or 1686"),
        ("cleveland", {"type": " "}, "should be words"),
    ],
)
def test_settings_that_a_service_does_not_have_are_refused(
    kind: str, changes: Record, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        openverse_source(9, **changes) if kind == "openverse" else source(kind, **changes)


# --- from keywords to kept.csv --------------------------------------------------------------------


def png(seed: int, flipped: bool = False) -> bytes:
    """A picture of coloured squares, 48 px wide."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    squares = squares[:, ::-1] if flipped else squares
    return encoding.png(squares.repeat(8, axis=0).repeat(8, axis=1))


class Museum:
    """A stand-in at an address of its own, which serves works and their images."""

    def __init__(self, host: str) -> None:
        self.server = Server(host)

    def serve(self, path: str, respond: Callable[[Query], Any]) -> str:
        async def handle(request: web.Request) -> web.Response:
            for _ in range(50):  # let other requests in, if there are any
                await asyncio.sleep(0)
            answer = respond(dict(request.query))
            if isinstance(answer, bytes):
                return web.Response(body=answer)
            return web.json_response(answer)

        self.server.routes[path] = handle
        return self.server.url(path)

    def image(self, path: str, data: bytes) -> str:
        return self.serve(path, lambda _: data)


HOSTS = {
    "openaccess-api.clevelandart.org": "127.0.0.2",
    "api.artic.edu": "127.0.0.3",
    "www.artic.edu": "127.0.0.4",
    "api.inaturalist.org": "127.0.0.5",
    "api.openverse.org": "127.0.0.6",
    "photos.example": "127.0.0.7",
}


@pytest.fixture
def museums(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Museum]]:
    """Stand-ins by the host of the service, without the pauses between requests."""
    made = {host: Museum(address) for host, address in HOSTS.items()}
    limits = {HOSTS[host]: delay for host, delay in client.ONE_AT_A_TIME.items()}
    monkeypatch.setattr(client, "ONE_AT_A_TIME", limits)
    for variable in KEYS:
        monkeypatch.delenv(variable, raising=False)
    yield made
    for museum in made.values():
        museum.server.stop()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(client, "pause", note)
    return waited


def fill(museums: dict[str, Museum], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fill the museums with 500 works, and return the sources that find them.

    Ten works of Chicago are mirrored copies of Cleveland's; five of Openverse have a licence that
    is not allowed, and the file of another is a web page.
    """
    api_of = dict(
        zip(("cleveland", "artic", "web", "inaturalist", "openverse", "photos"), HOSTS, strict=True)
    )
    at = {name: museums[host] for name, host in api_of.items()}

    textiles = [cleveland_work(n) for n in range(150)]
    for n, work in enumerate(textiles):
        work["images"]["web"]["url"] = at["cleveland"].image(f"/{n}_web.png", png(n))
    panels = [artic_work(n) for n in range(1, 121)]
    for n, work in enumerate(panels):
        data = png(n, flipped=True) if n < 10 else png(1000 + n)
        at["web"].image(f"/iiif/2/{work['image_id']}/full/843,/0/default.jpg", data)
    monarchs = [observation(n) for n in range(1, 121)]
    for n, work in enumerate(monarchs):
        at["photos"].image(f"/{n}/medium.jpg", png(2000 + n))
        work["photos"][1]["url"] = at["photos"].server.url(f"/{n}/square.jpg")
    tapestries = []
    for n in range(110):
        data = b"<!doctype html><title>A page about it</title>" if n == 50 else png(3000 + n)
        url = at["photos"].image(f"/{n}_b.jpg", data)
        licence = {"license": "by-nc"} if n < 5 else {}
        tapestries.append(openverse_work(n, url=url, **licence))
    collections = {"flickr": tapestries[:60], "met": tapestries[50:]}

    answers: dict[str, Callable[[Query], Any]] = {
        "cleveland": lambda query: cleveland_page(query, textiles),
        "artic": lambda query: (
            artic_page(query, panels) | {"config": {"iiif_url": at["web"].server.url("/iiif/2")}}
        ),
        "inaturalist": lambda query: inaturalist_page(query, monarchs),
        "openverse": lambda query: openverse_page(query, collections[query["source"]]),
    }
    modules = {kind: module for kind, (module, *_) in KINDS.items()} | {"openverse": openverse}
    for kind, respond in answers.items():
        monkeypatch.setattr(modules[kind], "API", at[kind].serve("/api", respond))
    return {
        "cleveland": source("cleveland", 150),
        "artic": source("artic", 120),
        "inaturalist": source("inaturalist", 120),
        "openverse": openverse_source(110, ["flickr", "met"]),
    }


@pytest.mark.usefixtures("outside")
def test_from_keywords_to_training_images_with_museums_alone(
    museums: dict[str, Museum],
    waits: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs = fill(museums, monkeypatch)
    licences = ["CC0*", "CC BY [0-9]*"]
    limits = PARAMS.fetch.model_copy(update={"licences": licences, "max_lost": 0.01})

    listed = [
        row for name, spec in specs.items() for row in sources.candidates(name, spec, CONTEXT)
    ]
    assert len(listed) == 500
    assert all(row.creator and row.licence and row.page and row.title for row in listed)

    job = fetch.Job(specs, limits, CONTEXT, tmp_path / "raw", tmp_path / "kept", {})
    results = fetch.fetch(fetch.merge(listed), job, 1, lambda: None)
    text = "\n".join(fetch.summary(listed, results, limits))
    assert "fetched 494 of 500 candidates (494 different files)" in text
    assert "failed: 5 licence not allowed, 1 not an image" in text
    tables.write(tmp_path / "manifest.csv", ManifestRow, (result.manifest for result in results))

    shards = Shards(tmp_path / "raw")
    with ThreadPoolExecutor(1) as pool:
        groups = analysis.find(shards, PARAMS.dedup, limits.max_pixels, pool)
    analysis.write(groups, shards, limits.max_pixels, tmp_path)

    manifest = pd.read_csv(tmp_path / "manifest.csv", dtype=str, keep_default_na=False)
    pictures = curate.pictures(manifest, pd.read_csv(tmp_path / "clusters.csv"))
    section = PARAMS.curate.model_copy(update={"min_side": 48})
    curated = curate.curate(pictures, [], section, seed=1)
    curated.kept.to_csv(tmp_path / "kept.csv", index=False)
    kept = pd.read_csv(tmp_path / "kept.csv").merge(manifest, on="sha256")
    assert len(kept) == 484
    assert kept.split.value_counts().to_dict() == {"train": 387, "holdout": 97}
    assert set(kept.licence) == {"CC0 1.0", "CC BY 4.0", "CC BY 2.0"}
    assert set(kept.source) == {"cleveland", "artic", "inaturalist", "openverse"}

    most = {host: museum.server.most for host, museum in museums.items()}
    assert most["www.artic.edu"] == most["api.artic.edu"] == most["api.inaturalist.org"] == 1
    # The others at the same time, as far as the machine manages.
    assert 1 < most["photos.example"] <= NETWORK.connections_per_host
    # One image of Chicago a second: the last one, after robots.txt and 119 others. Waits are
    # skipped here, and shorter by the time that everything else takes.
    assert 60 < max(waits) <= 120
    # robots.txt is not counted among the works.
    assert museums["www.artic.edu"].server.asked()["/robots.txt"] == 1
