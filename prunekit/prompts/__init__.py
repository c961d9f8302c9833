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

if TYPE_CHECKING:
    Method = str
else:  # settings check it and help texts list it
    Method = Literal[tuple(METHODS)]

__all__ = ["METHODS", "Method"]
