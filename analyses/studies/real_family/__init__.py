"""Study H: the study of the family, on a real model and at one point of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analyses.studies import family
from analyses.studies.effects import POINT
from analyses.studies.study import PartRuns, Study

QUESTIONS = family.questions(POINT, "SST-2: ")


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """As in the study of the family."""
    return family.collect(parts, QUESTIONS)


STUDY = Study("real-family", "The family, on a real model", Path(__file__).parent, QUESTIONS, collect, family.describe)
