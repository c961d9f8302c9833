"""The demonstration as one HTML page that needs nothing but itself: a run's rounds behind a slider.

What it shows lies beside this file in run.json, which `python -m figures.demo` makes anew.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prunekit.plots.offline_page import policy

#: By which a page that may be replaced is known.
GENERATOR = "prunekit demo"


def render() -> str:
    """The page."""
    style, script = _beside("page.css"), _beside("page.js")
    run: dict[str, Any] = json.loads(_beside("run.json"))
    # all three are of this package; of the data nothing can end its element
    data = Markup(json.dumps(run, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704
    parts = {"style": Markup(style), "script": Markup(script), "data": data}  # noqa: S704
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_beside("page.html.j2")).render(
        run=run, policy=policy(style, script), generator=GENERATOR, **parts
    )


def _beside(name: str) -> str:
    return files("prunekit.plots.demo").joinpath(name).read_text(encoding="utf-8")
