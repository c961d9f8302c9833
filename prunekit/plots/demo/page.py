"""The demonstration as one HTML page that needs nothing but itself: a run's rounds behind a slider.

What it shows lies beside this file in run.json, which `python -m figures.demo` makes anew. The page may do what the
report's may: run its own script and style, named by their sha256, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

#: By which a page that may be replaced is known.
GENERATOR = "prunekit demo"


def render() -> str:
    """The page."""
    style, script = _beside("page.css"), _beside("page.js")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    run: dict[str, Any] = json.loads(_beside("run.json"))
    # all three are of this package; of the data nothing can end its element
    data = Markup(json.dumps(run, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704
    parts = {"style": Markup(style), "script": Markup(script), "data": data}  # noqa: S704
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_beside("page.html.j2")).render(run=run, policy=policy, generator=GENERATOR, **parts)


def _beside(name: str) -> str:
    return files("prunekit.plots.demo").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
