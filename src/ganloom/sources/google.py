"""Google Images, searched with icrawler.

Google has required JavaScript since January 2025: expect "search page not understood: 0 results".
"""

from __future__ import annotations

from icrawler.builtin.google import GoogleFeeder, GoogleParser

from ganloom import params
from ganloom.sources import Context, pages
from ganloom.tables import Candidate

ENGINE = pages.Engine("Google", GoogleFeeder, GoogleParser, own=("google.com", "gstatic.com"))


def search(name: str, spec: params.GoogleSource, context: Context) -> list[Candidate]:
    """List the results of the keywords; see ``pages.search``."""
    return pages.search(name, ENGINE, [(k, k.text) for k in spec.keywords], context)
