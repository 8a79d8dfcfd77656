"""Self-contained HTML pages, with styles, script and images inside.

All text from the data is untrusted: the templates escape it, only http(s) addresses become links,
and the content security policy of the page forbids all requests.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import jinja2

from ganloom.credits import is_web_address
from ganloom.report.figures import counted, number

HERE = Path(__file__).parent


def page(template: str, **context: object) -> str:
    """Render a template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["web_address"] = is_web_address
    environment.filters |= {"number": number, "counted": counted}
    script = (HERE / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=f"sha256-{digest}",
        **context,
    )
