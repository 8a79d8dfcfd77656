"""Bing Images, searched with icrawler, whose parser finds only the JPEG files of a page."""

from __future__ import annotations

from urllib.parse import quote_plus

from icrawler.builtin.bing import BingFeeder, BingParser

from ganloom import params
from ganloom.sources import Context, pages
from ganloom.tables import Candidate

ENGINE = pages.Engine("Bing", BingFeeder, BingParser, own=("bing.com", "bing.net"))


def search(name: str, spec: params.BingSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``pages.search``."""
    # Unlike Google's, this feeder does not quote the keywords.
    return pages.search(name, ENGINE, [(k, quote_plus(k.text)) for k in spec.keywords], context)
