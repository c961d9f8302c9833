"""Initialisers: where the values of a fresh prompt start. One file each, whose `start` makes it from a `Source`."""

from typing import TYPE_CHECKING, Literal

#: Every initialiser by the name of its file here. One of your own is a file and a line.
INITIALISERS = ("vocabulary", "uniform", "text", "labels")

if TYPE_CHECKING:
    Init = str
else:  # settings check it and help texts list it
    Init = Literal[INITIALISERS]

__all__ = ["INITIALISERS", "Init"]
