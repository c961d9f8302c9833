"""Study J: the study of transfer, on a real model and at one point of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies import transfer
from analyses.studies.effects import POINT
from analyses.studies.study import PartRuns, Study

QUESTIONS = transfer.questions(POINT, "SST-2 and Subj: ")


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """As in the study of transfer."""
    return transfer.collect(parts, QUESTIONS)


STUDY = Study(
    "real-transfer", "Transfer, on a real model", Path(__file__).parent, QUESTIONS, collect, transfer.describe,
    transfer.prompts,
)  # fmt: skip
