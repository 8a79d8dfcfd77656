"""`ganloom search`: search Google Images in a browser window, and add the source to params.yaml."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ganloom.cli.common import Commands, whole

if TYPE_CHECKING:
    from ganloom.params import Params

TABLE = Path("data/searches/google.csv")
ROBOTS = (
    "Google's robots.txt and terms disallow searches by programs, so they are off by default. To "
    "allow them at your own responsibility, set network.robots: false in params.yaml. To search by "
    "hand instead, save the page of results in your browser: docs/sources.md explains how."
)


def add(commands: Commands) -> None:
    """Add the command to a parser."""
    search = commands.add_parser(
        "search", help="search Google Images in a browser window, and add a source to params.yaml"
    )
    search.add_argument("text", nargs="+", help="keywords of a search, in quotes")
    search.add_argument("--max", default="300", metavar="N", help="results per search (300)")
    search.set_defaults(run=_search)


def _search(options: argparse.Namespace) -> None:
    most = whole("--max", options.max, 1, 10_000)

    from pydantic import ValidationError

    from ganloom import params
    from ganloom.sources import SourceError

    try:
        known = params.load()
        searches = [params.Keyword(text=text, max=most) for text in dict.fromkeys(options.text)]
    except params.ParamsError as error:
        sys.exit(str(error))
    except ValidationError as error:
        sys.exit(f"{error.errors()[0]['input']!r} is not possible; allowed: words, on one line")
    if known.network.robots:
        sys.exit(ROBOTS)
    try:
        from ganloom.sources.google_browser import collect
        from ganloom.sources.saved import Collection

        collect(searches, TABLE, known.network.deadline)
    except SourceError as error:
        _add_source(known)
        sys.exit(str(error))
    except KeyboardInterrupt:
        _add_source(known)
        kept = f"the results so far are kept in {TABLE}" if TABLE.exists() else "no results"
        print(f"\nStopped; {kept}. To go on, run the same command again.", file=sys.stderr)
        sys.exit(130)
    found = Collection(TABLE)
    for search in searches:
        count = found.count(search.text)
        more = "" if count >= most else "; Google shows no more" if count else "; try other words"
        print(f"{search.text}: {count} of {most} results{more}")
    _add_source(known)


def _add_source(known: Params) -> None:
    """Add a source that reads the table to params.yaml, unless it has one or there is no table."""
    from ganloom import adding
    from ganloom.params import PARAMS_FILE, GoogleSource

    entry = {"kind": "google", "way": "saved", "path": str(TABLE)}
    if not TABLE.exists():
        return
    for name, source in known.sources.items():
        if isinstance(source, GoogleSource) and source.path == str(TABLE):
            print(f"{TABLE} is read by sources.{name} in {PARAMS_FILE}")
            return
    name = adding.free_name("google", known.sources)
    if adding.insert(PARAMS_FILE, name, entry):
        print(f"Added sources.{name} to {PARAMS_FILE}, next to: {', '.join(known.sources)}")
    else:
        print(f"Add this to `sources` in {PARAMS_FILE}:\n  {name}: {entry}")
