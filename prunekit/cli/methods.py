"""`prunekit methods`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prunekit.cli.options import Json
from prunekit.experiment import settings_io
from prunekit.support import terminal


@settings_io.with_settings("model")
def methods(
    prompt_tokens: Annotated[int, typer.Option(min=1, max=10_000, help="prompt tokens P")] = 20,
    json: Json = False,
    **settings: Any,
) -> None:
    """List the parameterisations of a prompt, with what each trains on the chosen model."""
    from prunekit.experiment.prepare import model_of
    from prunekit.experiment.prompt_method import list_methods

    flags = {name: value for name, value in settings.items() if value is not None}
    # any task does: only the model is asked
    width = model_of(settings_io.experiment(None, {"task": "testbed/first-animal"} | flags)).width
    descriptions = list_methods(prompt_tokens, width)
    if json:
        terminal.write_json(descriptions)
        return
    rows = [[method["method"], str(method["parameters"]), method["description"]] for method in descriptions]
    title = f"trained parameters of {prompt_tokens} prompt tokens on a model {width} wide"
    terminal.show(["method", "parameters", "what it is"], rows, title=title)
