"""Parameterisations of a soft prompt, one file per method, each named after its paper.

The lists of methods and initialisers are plain names, so that settings and help texts can show them without torch;
`prunekit.prompts.methods` makes prompts by these names.
"""

from typing import TYPE_CHECKING, Literal

#: Every method: the name of its file here -> the class in it. A method of your own is a file and a line.
METHODS = {
    "direct": "DirectPrompt",
    "dpt": "DptPrompt",
    "residual": "ResidualPrompt",
    "dept": "DeptPrompt",
    "adept": "AdeptPrompt",
    "ept": "EptPrompt",
    "bilinear": "BilinearPrompt",
    "structured": "StructuredPrompt",
    "intrinsic": "IntrinsicPrompt",
    "ulpt": "UlptPrompt",
    "singular": "SingularPrompt",
}
#: Every method that a ticket may be of: those, and what pruning makes of a prompt, which nobody begins with.
TICKET_METHODS = METHODS | {"low_rank": "LowRankPrompt"}

if TYPE_CHECKING:
    Method = str
else:  # settings check it and help texts list it
    Method = Literal[tuple(METHODS)]

__all__ = ["METHODS", "TICKET_METHODS", "Method", "summary"]


def summary(method: str) -> str:
    """What a method is: the first line of its class's docstring, from the source, since importing it takes torch."""
    import ast
    from pathlib import Path

    module = ast.parse(Path(__file__).with_name(f"{method}.py").read_text(encoding="utf-8"))
    (prompt_class,) = [node for node in module.body if getattr(node, "name", "") == METHODS[method]]
    assert isinstance(prompt_class, ast.ClassDef)
    return (ast.get_docstring(prompt_class) or "").partition("\n")[0]
