"""`prunekit methods`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prunekit.cli.options import Json
from prunekit.experiment import settings_io
from prunekit.prompts import METHODS, summary
from prunekit.support import terminal


@settings_io.with_settings("model")
def methods(
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="prompt tokens P; also counts what each method trains")
    ] = None,
    json: Json = False,
    **settings: Any,
) -> None:
    """List the parameterisations of a prompt; with --model or --prompt-tokens also how many numbers each trains."""
    flags = {name: value for name, value in settings.items() if value is not None}
    if prompt_tokens is None and not flags:
        descriptions: list[dict[str, Any]] = [{"method": name, "description": summary(name)} for name in METHODS]
        title = "how the vectors of a prompt are made (--prompt-tokens 20: how many numbers each trains)"
    else:
        tokens = prompt_tokens or 20
        width, descriptions = _counted(tokens, flags)
        title = f"trained parameters of {tokens} prompt tokens on a model {width} wide"
    if json:
        terminal.write_json(descriptions)
        return
    columns = {"method": "method", "parameters": "parameters", "description": "what it is"}
    names = [name for name in columns if name in descriptions[0]]
    rows = [[str(method[name]) for name in names] for method in descriptions]
    terminal.show([columns[name] for name in names], rows, title=title)


def _counted(tokens: int, flags: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
    """The width of the model that the flags name, and every method with what it trains there."""
    from prunekit.experiment.prepare import model_of
    from prunekit.experiment.prompt_method import list_methods

    # any task does: only the model is asked
    width = model_of(settings_io.experiment(None, {"task": "testbed/first-animal"} | flags)).width
    return width, list_methods(tokens, width)
