"""`python -m analyses.notebooks [NAME...]`: execute the notebooks' sources, and write each beside its source as .ipynb.

What is committed is what this gives: cells of the source, their numbers, what they printed and showed. What is of one
moment (times, progress, versions) is left out, so that the same numbers give the same bytes.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

FOLDER = Path(__file__).parent
#: In reading order.
NAMES = ("own_data", "importance_study", "rank_study", "prefix_study")
# seconds that a notebook may take
_MOST_SECONDS = 300
# of a picture
_COLOURS = 64
_INDENT = re.compile(r"^ +", re.MULTILINE)
# numbers of a drawing; those that are written out in it have fewer digits
_DECIMALS = re.compile(r"-?\b\d+[.]\d{5,}")
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def write(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="all by default")] = None,
) -> None:
    """Execute notebooks, and write what they give."""
    import nbformat

    for name in names or NAMES:
        nbformat.write(executed(FOLDER / f"{name}.py"), FOLDER / f"{name}.ipynb")


def executed(source: Path) -> Any:
    """The notebook of a source, executed in the source's folder by a kernel of its own."""
    import jupytext
    import nbclient

    book = jupytext.read(source)
    client = nbclient.NotebookClient(
        book,
        timeout=_MOST_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(source.parent)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.execute()
    book.metadata = {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": _KERNEL}
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = list(_kept(cell.outputs))
    return book


def _kept(outputs: list[Any]) -> Iterator[Any]:
    """Outputs without progress, which goes to standard error; of two forms of a picture or table the first is kept."""
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if "data" in output:
            forms = ("image/svg+xml", "image/png", "text/html", "text/plain")
            kind = next(form for form in forms if form in output.data)
            output.data = {kind: _SMALLER.get(kind, str)(output.data[kind])}
        yield output


def _compact(drawing: str) -> str:
    """An SVG without indents, in hundredths of a point, which nobody sees."""
    return _DECIMALS.sub(lambda number: f"{float(number[0]):.2f}", _INDENT.sub("", drawing))


def _fewer_colours(picture: str) -> str:
    """A PNG of few colours, which is a third as large."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        image.convert("RGB").quantize(_COLOURS, method=Image.Quantize.MEDIANCUT).save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode()


_SMALLER = {"image/png": _fewer_colours, "image/svg+xml": _compact}


if __name__ == "__main__":
    typer.run(write)
