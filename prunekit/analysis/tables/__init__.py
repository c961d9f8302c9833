"""Runs on disk to long tables and matrices: the one place of the analyses that reads files.

Whatever is missing, half finished or damaged is one ArtifactError, or a row of `gaps`; nothing here trains, or loads a
model. Each function takes runs as `opened` hands them out: every file of theirs is read and checked once.
"""

from prunekit.analysis.tables.answers import answers
from prunekit.analysis.tables.arms import ARM_COLUMNS, arms, joined
from prunekit.analysis.tables.directions import directions
from prunekit.analysis.tables.gaps import gaps
from prunekit.analysis.tables.heads import heads, parts_of
from prunekit.analysis.tables.kept_shares import KEPT_SHARES, kept_shares
from prunekit.analysis.tables.logs import logs
from prunekit.analysis.tables.measured import measured, measured_groups
from prunekit.analysis.tables.predictions import predictions
from prunekit.analysis.tables.prompts import dense_and_pruned, snapshots, subjects, trial_subjects
from prunekit.analysis.tables.rounds import rounds
from prunekit.analysis.tables.run_columns import opened, prunings
from prunekit.analysis.tables.scores import scores
from prunekit.analysis.tables.trials import chosen, trial_curves, trials
from prunekit.analysis.tables.words import words

__all__ = [
    "ARM_COLUMNS",
    "KEPT_SHARES",
    "answers",
    "arms",
    "chosen",
    "dense_and_pruned",
    "directions",
    "gaps",
    "heads",
    "joined",
    "kept_shares",
    "logs",
    "measured",
    "measured_groups",
    "opened",
    "parts_of",
    "predictions",
    "prunings",
    "rounds",
    "scores",
    "snapshots",
    "subjects",
    "trial_curves",
    "trial_subjects",
    "trials",
    "words",
]
