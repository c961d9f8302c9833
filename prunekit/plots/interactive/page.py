"""A chart as a page that needs nothing but itself: the libraries that draw it stand inside, and it asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from prunekit.plots.figure import Figure
from prunekit.plots.interactive.chart import Chart, altair, look
from prunekit.plots.offline_page import policy
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ConfigError


@dataclass(frozen=True)
class InteractiveFigure(Figure):
    """A figure that is a page to hover over.

    Attributes:
        chart: its interactive form.
    """

    chart: Chart = field(kw_only=True)

    @classmethod
    def of(cls, figure: Figure, chart: Chart) -> InteractiveFigure:
        """A figure with its interactive form."""
        return cls(**vars(figure), chart=chart)

    def table(self, runs: Sequence[RunReader], **chosen: Any) -> pd.DataFrame:
        """The table of runs, with what is told of each mark beyond it."""
        return self.chart.detailed(runs, super().table(runs, **chosen))

    def render(self, table: pd.DataFrame, suffix: str, columns: int | None = None, note: str = "") -> bytes:
        """The bytes of the page, which is as wide as its window; the other arguments are those of any figure."""
        return page(self, self.chart, table, note)


def page(figure: Figure, chart: Chart, table: pd.DataFrame, note: str = "") -> bytes:
    """The bytes of the page of a figure's interactive form, about 1 MB of them libraries.

    Args:
        table: of `InteractiveFigure.table`.
        note: what a reader must know, such as that the run is unfinished.

    Raises:
        ConfigError: where Altair or vl-convert is not installed.
    """
    specification = chart.draw(table).to_dict()
    del specification["config"]  # the page chooses between two
    facts = {"chart": specification, "light": look(), "dark": look(dark=True)}
    style, script = _beside("page.css"), _script()
    # Vega writes styles beside what it draws; nothing else than what stands here is run or asked for
    may = policy(style, script, "img-src data:").replace("style-src ", "style-src-elem 'unsafe-inline'; style-src ")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    text = environment.from_string(_beside("page.html.j2")).render(
        title=figure.name.replace("_", " ").capitalize(), name=figure.name, shows=figure.shows, hint=chart.hint,
        note=note, policy=may, style=Markup(style), script=Markup(script), facts=Markup(_inside(facts)),  # noqa: S704
    )  # fmt: skip
    return text.encode()


def _inside(facts: dict[str, Any]) -> str:
    """JSON that can stand in a page: nothing in it ends the element around it."""
    return json.dumps(facts).replace("<", "\\u003c")


@cache
def _script() -> str:
    """Vega, Vega-Lite and Vega-Embed with the page's own lines, as one script."""
    try:
        import vl_convert
    except ImportError as error:
        raise ConfigError(
            "a page of an interactive figure needs vl-convert: pip install altair vl-convert-python"
        ) from error
    version = ".".join(altair().SCHEMA_VERSION.split(".")[:2])
    bundle: str = vl_convert.javascript_bundle(_beside("page.js"), vl_version=version)
    # in a script of a page these end it
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _beside(name: str) -> str:
    return files("prunekit.plots.interactive").joinpath(name).read_text(encoding="utf-8")
