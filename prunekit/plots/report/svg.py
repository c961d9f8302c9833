"""A drawing made fit for a page: its ids its own, nothing in it that a page should not hold.

matplotlib writes SVG as a document: with addresses of namespaces, metadata, a style sheet for everything, ids such as
`figure_1`. Several of them in one page would fight over ids and styles, so each is rebuilt from an allow list.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from markupsafe import Markup

from prunekit.plots import style

_DROPPED = {"metadata", "style", "title", "desc"}
_ELEMENTS = {
    "svg", "g", "defs", "use", "clipPath", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "image",
    "text", "tspan", "linearGradient", "radialGradient", "stop", "pattern", "mask",
}  # fmt: skip
# of `style`; written as attributes, so that the page's policy may forbid inline styles
_PROPERTIES = {
    "fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity", "stroke-linejoin",
    "stroke-linecap", "stroke-miterlimit", "stroke-dasharray", "stroke-dashoffset", "opacity", "clip-path",
    "image-rendering", "stop-color", "stop-opacity", "text-anchor", "font-size", "font-family", "font-weight",
    "font-style",
}  # fmt: skip
_ATTRIBUTES = _PROPERTIES | {
    "id", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy", "width", "height", "viewBox",
    "points", "transform", "clipPathUnits", "gradientUnits", "gradientTransform", "offset", "patternUnits",
    "preserveAspectRatio", "mask", "version",
}  # fmt: skip
# Verdana has the widths of DejaVu Sans, in which matplotlib sets its text, and is found on more machines
_FAMILY = "'DejaVu Sans', Verdana, sans-serif"
# Colours of the house, by what the page's style sheet calls them: it has another set of them for the dark.
_THEMED = {
    "#ffffff": "ground", style.INK: "ink", "#000000": "ink", style.QUIET: "quiet", style.FAINT: "faint",
    style.BLUE: "blue", style.RED: "red", style.SKY: "sky", style.SAND: "sand", style.GREEN: "green",
    **{color: f"heat-{place}" for place, color in enumerate(style.HEAT)},
    **{color: f"grey-{place}" for place, color in enumerate(style.GREYS)},
}  # fmt: skip
# matplotlib's own style sheet, by inheritance
_DEFAULTS = {"stroke-linejoin": "round", "stroke-linecap": "butt"}


def inline(drawing: str, prefix: str, label: str) -> Markup:
    """An SVG document as an element of an HTML page.

    Args:
        drawing: the document.
        prefix: put before every id, one per drawing of a page.
        label: what is to be seen, for those who cannot see it.

    Raises:
        ValueError: where the drawing holds what no drawing of ours does: a script, an address, an event handler.
    """
    root = _copied(ElementTree.fromstring(drawing), prefix)  # noqa: S314 (drawn here, by matplotlib)
    root.attrib |= {"role": "img", "aria-label": label, "focusable": "false"} | _DEFAULTS
    # every character that HTML takes for markup is escaped by the serialiser
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704


def _copied(element: ElementTree.Element, prefix: str) -> ElementTree.Element:
    name = _local(element.tag)
    if name not in _ELEMENTS:
        raise ValueError(f"a drawing holds <{name}>")
    copy = ElementTree.Element(name, _themed(_attributes(element, prefix)))
    copy.text = element.text.strip() if element.text and element.text.strip() else None
    for child in element:
        if not isinstance(child.tag, str) or _local(child.tag) in _DROPPED:
            continue
        copy.append(_copied(child, prefix))
    return copy


def _attributes(element: ElementTree.Element, prefix: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        name = _local(key)
        if name == "style":
            attributes |= _properties(value)
        elif name == "href":
            attributes["href"] = _reference(value, prefix)
        elif name == "id":
            attributes |= {"id": f"{prefix}{value}"} | _marks(value)
        elif name in _ATTRIBUTES:
            attributes[name] = value
        elif name not in {"type", "space"}:
            raise ValueError(f"a drawing holds the attribute {name}")
    if any("url(" in value.replace(" ", "").lower() and not _INSIDE.fullmatch(value) for value in attributes.values()):
        raise ValueError("a drawing refers to something outside itself")
    return {name: _INSIDE.sub(rf"url(#{prefix}\1)", value) for name, value in attributes.items()}


def _themed(attributes: dict[str, str]) -> dict[str, str]:
    """With a class for each colour of the house; the colour itself stays, for who has no style sheet."""
    colors = {name: _THEMED.get(attributes.get(name, "").lower()) for name in ("fill", "stroke")}
    classes = " ".join(f"{name}-{color}" for name, color in colors.items() if color)
    return attributes | ({"class": classes} if classes else {})


def _marks(name: str) -> dict[str, str]:
    """For the page's script: of which seed a line is, and which group holds the ground of cells."""
    if seed := _SEED.search(name):
        return {"data-seed": seed[1]}
    return {"data-cells": ""} if _CELLS.search(name) else {}


# names that figures give by `style.name_seed` and `cells.draw`
_SEED, _CELLS = re.compile(r"\bseed\.(\d+)_\d+$"), re.compile(r"\bcells_\d+$")
_INSIDE = re.compile(r"url\(#([\w-]+)\)")


def _properties(declared: str) -> dict[str, str]:
    properties: dict[str, str] = {}
    for part in filter(str.strip, declared.split(";")):
        name, _, value = map(str.strip, part.partition(":"))
        if name == "font":
            properties |= _font(value)
        elif name in _PROPERTIES:
            properties[name] = value
        else:
            raise ValueError(f"a drawing holds the style {name}")
    return properties


def _font(short: str) -> dict[str, str]:
    """The parts of a `font` property such as `italic 700 7.5px 'DejaVu Sans', sans-serif`."""
    font = re.fullmatch(r"(?P<kind>(?:(?:italic|oblique|bold|normal|\d+) )*)(?P<size>[\d.]+px) [^<>]+", short)
    if font is None:
        raise ValueError(f"a drawing holds the font {short}")
    properties = {"font-size": font["size"], "font-family": _FAMILY}
    for word in font["kind"].split():
        properties |= {"font-style": word} if word in ("italic", "oblique") else {"font-weight": word}
    return properties


def _reference(value: str, prefix: str) -> str:
    if value.startswith("#"):
        return f"#{prefix}{value[1:]}"
    if value.startswith("data:image/png;base64,"):
        return value
    raise ValueError("a drawing refers to something outside itself")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
