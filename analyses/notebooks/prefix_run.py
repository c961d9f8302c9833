"""`python -m analyses.notebooks.prefix_run MODEL`: train and pack the run that `prefix_study` opens by default.

MODEL is a folder of a small decoder (the committed run is of stories260K, whose weights are not part of it). A prefix
of 8 tokens learns to tell good days from bad ones in two sentences as of a children's story, and is pruned in three
rounds.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pandas as pd
import typer

import prunekit as pk
from analyses.notebooks.packing import packed
from prunekit.support import atomic

PACKED = Path(__file__).parent / "prefix_run.tar.xz"
NAME = "prefix"
_MOODS = {"good": ("happy", "glad", "proud", "excited"), "bad": ("sad", "scared", "angry", "upset")}
_NAMES = ("Lily", "Tim", "Tom", "Mia", "Ben", "Sue")
_THINGS = ("dog", "cat", "bird", "ball", "car", "tree", "cake")
_PLACES = ("park", "house", "garden", "box", "shop")


def make(model: str) -> None:
    """Train, prune and score the prefix, and pack its run."""
    with tempfile.TemporaryDirectory() as folder:
        run = pk.prune(
            model, data=stories(360), text="story", label="day", position="prefix-kv", prompt_tokens=8, rounds=3,
            keep_tokens=4, keep_pieces=0.25, train_steps=120, evaluate_every=20, threads=1, out=Path(folder) / NAME,
        )  # fmt: skip
        dense = run.path / "seed=0" / "round=00"
        for level in ("token", "layer", "head"):
            pk.score(dense, level=level, data=stories(360))
        atomic.replace(PACKED, packed(Path(folder), [NAME]))


def stories(count: int, seed: int = 0) -> pd.DataFrame:
    """So many different beginnings of stories.

    Columns:
        story; day ("good" or "bad", by how the first sentence says that somebody is).
    """
    draw = random.Random(seed)
    days: dict[str, str] = {}
    while len(days) < count:
        day, name = draw.choice(list(_MOODS)), draw.choice(_NAMES)
        seen = f"{name} saw a {draw.choice(_THINGS)} in the {draw.choice(_PLACES)}."
        days[f"{name} was {draw.choice(_MOODS[day])}. {seen}"] = day
    return pd.DataFrame(list(days.items()), columns=["story", "day"])


if __name__ == "__main__":
    typer.run(make)
