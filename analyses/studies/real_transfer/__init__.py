"""Study J: the study of transfer, on a real model and at one point of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies import transfer
from analyses.studies.effects import POINT
from analyses.studies.study import Found, Study

QUESTIONS = transfer.questions(POINT, "SST-2 and Subj: ")


def collect(found: Mapping[str, Found]) -> dict[str, pd.DataFrame]:
    """As in the study of transfer."""
    return transfer.collect(found, QUESTIONS)


STUDY = Study(
    "real-transfer", "Transfer, on a real model", Path(__file__).parent, QUESTIONS, collect, transfer.describe
)
