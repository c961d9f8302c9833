"""Runs on disk to long tables and matrices: the one place of the analyses that reads files.

Whatever is missing, half finished or damaged is one ArtifactError, or a row of `gaps`; nothing here trains, or loads a
model.
"""

from prunekit.analysis.tables.importance import measured, scores
from prunekit.analysis.tables.prompts import lineages, snapshots, subjects
from prunekit.analysis.tables.results import gaps, logs, opened, prunings, rounds
from prunekit.analysis.tables.stages import ARM_COLUMNS, arms, cells, curves, joined, predictions

__all__ = [
    "ARM_COLUMNS",
    "arms",
    "cells",
    "curves",
    "gaps",
    "joined",
    "lineages",
    "logs",
    "measured",
    "opened",
    "predictions",
    "prunings",
    "rounds",
    "scores",
    "snapshots",
    "subjects",
]
