"""Bing Images, by icrawler; of what a page shows, its parser knows the JPEG files."""

from __future__ import annotations

from urllib.parse import quote_plus

from icrawler.builtin.bing import BingFeeder, BingParser

from ganloom import params
from ganloom.sources import Context, Row, pages

ENGINE = pages.Engine("Bing", BingFeeder, BingParser, own=("bing.com", "bing.net"))


def search(name: str, spec: params.BingSource, context: Context) -> list[Row]:
    """List what the keywords find; see ``pages.search``."""
    # Unlike Google's, this feeder puts the words into the address as they are.
    return pages.search(name, ENGINE, [(k, quote_plus(k.text)) for k in spec.keywords], context)
