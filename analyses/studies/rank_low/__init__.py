"""Study D: is what is learned of low rank: in its spectrum, to the model that reads it, and because of the task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analyses.studies.effects import Question, units
from analyses.studies.rank_shares import DIRECTIONS, MARGIN, NEEDED, RANK, SOURCE, beside, needed, of_noise
from analyses.studies.study import UNITS, PartRuns, Study, Tables, runs_of, short_models
from prunekit.analysis import tables, training

#: Of the entries of Sigma.
_SHARE = 0.05
#: What is compared.
_ALIVE = "share of entries"
_MATRICES = ("values", "values centred", "change")
_EXAMPLES = 100
# what every run has unless the part "settings" gives it another value
_STANDARD = {
    "prompt.tokens": 20,
    "prompt.init": "vocabulary",
    "training.learning_rate": "auto",
    "training.train_steps": 200,
}

QUESTIONS = (
    Question(
        "prompt", "The learned prompt is of low rank, beside noise", SOURCE, "prompt", "noise", MARGIN, -1, RANK,
    ),
    Question(
        "change", "What training adds is of low rank, beside noise", SOURCE, "change", "noise", MARGIN, -1, RANK,
    ),
    Question(
        "functional", "The model needs at most a quarter of the prompt's directions", SOURCE,
        "needed", "a quarter", DIRECTIONS, -1, NEEDED,
    ),
    Question(
        "task", "The task makes the change low: true labels end lower than shuffled ones", SOURCE,
        "true labels", "shuffled labels", MARGIN, -1, RANK,
    ),
    Question(
        "sigma", "Entries of ReLU(Sigma) die in training", SOURCE, "alive at the end", "at the start", _SHARE, -1,
        _ALIVE,
    ),
    Question(
        "sigma and the task", "The task makes entries of Sigma die: fewer die on shuffled labels", SOURCE,
        "true labels", "shuffled labels", _SHARE, -1, _ALIVE,
    ),
)  # fmt: skip


def collect(parts: Mapping[str, PartRuns]) -> dict[str, pd.DataFrame]:
    """Ranks as shares of noise's, directions that the model needs, entries of Sigma alive, and all of it by setting."""
    # the pilot has neither other settings nor pruned prompts, about which there is no question
    names = [name for name in ("true", "shuffled", "settings", "pruned") if name in parts]
    spectra = pd.concat([_shares(parts[name], name) for name in names], ignore_index=True)
    directions = _needed(parts["true"])
    sigma = pd.concat([_alive(parts[f"singular {name}"], name) for name in ("true", "shuffled")], ignore_index=True)
    true = spectra[spectra["part"] == "true"]
    change = spectra[spectra["matrix"] == "change"]
    labels = {"true": "true labels", "shuffled": "shuffled labels"}
    both = change[change["part"].isin(labels)].assign(arm=lambda table: table["part"].map(labels))
    ended = sigma.assign(arm=sigma["part"].map(labels))
    of_questions = [
        units("prompt", beside(true[true["matrix"] == "values"], "prompt", "noise", 1.0), "arm", "share"),
        units("change", beside(true[true["matrix"] == "change"], "change", "noise", 1.0), "arm", "share"),
        units("functional", beside(_by_loss(directions), "needed", "a quarter", 0.25), "arm", "share"),
        units("task", both, "arm", "share"),
        units("sigma", beside(ended[ended["part"] == "true"], "alive at the end", "at the start", 1.0), "arm", "share"),
        units("sigma and the task", ended, "arm", "share"),
    ]
    return {UNITS: pd.concat(of_questions, ignore_index=True), "spectra": spectra, "needed": directions, "sigma": sigma}


def describe(results: Tables) -> list[tuple[str, pd.DataFrame]]:
    """Shares of noise's rank, by task and by setting, and what the model needs; Sigma is in the effects alone."""
    spectra = results["spectra"]
    by_task = spectra[spectra["part"].isin(["true", "shuffled"])].pivot_table(
        index=["part", "matrix"], columns="task", values="share", sort=False
    )
    others = spectra[spectra["part"].isin(["settings", "pruned"])]
    by_setting = others.pivot_table(index="setting", columns="matrix", values="share", sort=False)
    by_setting["test"] = others.groupby("setting")["test"].mean()
    directions = results["needed"].pivot_table(index=["of", "criterion"], columns="task", values="share", sort=False)
    return [
        ("Effective rank as a share of noise's, means over seeds", by_task.reset_index()),
        ("The same by setting, all others standard, and pruned to a quarter of the tokens", by_setting.reset_index()),
        ("Share of directions that the model needs", directions.reset_index()),
    ]


def _shares(part_runs: PartRuns, part: str) -> pd.DataFrame:
    """Columns: part, setting, task, model, seed, matrix; rank (entropy), share (of the hardest noise null's), test.

    Of pruned prompts the kept cells alone, after the last round.
    """
    by_run = []
    for path, settings, stage in part_runs.runs:
        run = tables.opened(path)
        subjects = tables.subjects(run, stage if part == "pruned" else "")
        last = max(subject.keys["round"] for subject in subjects)
        measured = of_noise([subject for subject in subjects if subject.keys["round"] == last], _MATRICES)
        setting = {"settings": _setting(settings), "pruned": "pruned"}.get(part, "standard")
        measured = measured.assign(setting=setting, part=part)
        arms = tables.arms(run, stage)
        arms = arms[arms["arm"] == ("ticket" if part == "pruned" else "dense")]
        by_run.append(measured.merge(arms[["seed", "test"]], on="seed").rename(columns={"value": "rank"}))
    columns = ["part", "setting", "task", "model", "seed", "matrix", "rank", "share", "test"]
    table = short_models(pd.concat(by_run, ignore_index=True)[columns])
    return table.sort_values([*columns[:3], "seed", "matrix"], kind="stable", ignore_index=True)


def _setting(settings: Mapping[str, Any]) -> str:
    """What of a run is not as usual, in the words of its settings."""
    other = {name: settings[name] for name, usual in _STANDARD.items() if settings.get(name, usual) != usual}
    named = [f"{name.rpartition('.')[2]} {value}" for name, value in other.items()]
    return ", ".join(named) or "standard"


def _needed(part_runs: PartRuns) -> pd.DataFrame:
    """Columns: task, model, seed, of, criterion; rank and share of directions from which on nothing is lost."""
    table = short_models(needed(part_runs, ("values", "change"), _EXAMPLES))
    return table[["task", "model", "seed", "of", "criterion", "rank", "share"]]


def _by_loss(directions: pd.DataFrame) -> pd.DataFrame:
    """What the values need by the loss, which the question is about."""
    return directions[(directions["of"] == "values") & (directions["criterion"] == "loss")]


def _alive(part_runs: PartRuns, part: str) -> pd.DataFrame:
    """Columns: part, task, model, seed, share (of Sigma's entries that are positive after the last update)."""
    by_run = []
    for run in runs_of(part_runs):
        seeds = [int(str(subject.keys["seed"])) for subject in tables.subjects(run)]
        counts = training.positive([tables.snapshots(run, seed) for seed in seeds])
        last = counts.sort_values("step").groupby("seed").tail(1)
        by_run.append(last.assign(part=part, share=last["positive"] / last["largest"]))
    return short_models(pd.concat(by_run, ignore_index=True))[["part", "task", "model", "seed", "share"]]


def prompts(results: Tables) -> pd.DataFrame:
    """Those on true labels, a row each."""
    spectra = results["spectra"]
    return spectra[(spectra["part"] == "true") & (spectra["matrix"] == "change")]


STUDY = Study(
    "rank-low", "Is the learned prompt of low rank?", Path(__file__).parent, QUESTIONS, collect, describe, prompts
)
