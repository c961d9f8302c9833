"""Train what `trials` lists for one model, a line of JSON each when it is done; what the file holds is left out.

python -m benchmarks.defaults.run MODEL --models FOLDER --data FOLDER --out results.jsonl [--device cuda] [--minutes 5]
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

import prunekit as pk
from benchmarks.defaults.trials import SEEDS, Trial, trials
from prunekit.runs.paths import RunKey, Stage

#: examples of each split, and the updates between two looks at validation
SIZES = dict(train_examples=256, validation_examples=128, test_examples=512)
LOOKS = 10


def train(trial: Trial, model: Any, tokenizer: Any, data: Path, device: str, out: Path, auto: float | None) -> pk.Run:
    """The run of a trial; nothing stops early, so that the course of the loss is whole.

    Args:
        auto: the learning rate of auto, None where it is not measured yet.
    """
    settings = SIZES | dict(
        position=trial.position, batch_size=trial.batch, train_steps=trial.steps, pieces=trial.pieces, patience=1000,
        evaluate_every=trial.steps // LOOKS, seeds=",".join(map(str, SEEDS)), device=device, precision="float32",
        width=len(SEEDS), out=out, quiet=True,
    )  # fmt: skip
    settings["data"] = None if trial.task.startswith("testbed/") else data / trial.task
    if trial.factor != 1:
        assert auto is not None, "the trials at auto come first"
        settings["learning_rate"] = float(f"{trial.factor * auto:.3g}")
    if trial.rounds:
        return pk.prune(model, tokenizer, trial.task, rounds=trial.rounds, **settings)
    return pk.tune(model, tokenizer, trial.task, **settings)


def courses(run: pk.Run) -> list[dict[str, Any]]:
    """Of each seed, and each round where it was pruned: validation at every look, and the end."""
    results = run.results
    return [
        {
            "seed": int(row["seed"]),
            "round": int(row["round"]),
            "status": row["status"],
            "kept_step": row["kept_step"],
            "density": row["density"],
            "validation": row[f"validation_{run.metric}"],
            "test": row[f"test_{run.metric}"],
            "course": course(run, int(row["seed"])) if row["round"] == 0 and row["status"] == "done" else [],
        }
        for _, row in results[results["arm"] == ""].iterrows()
    ]


def course(run: pk.Run, seed: int) -> list[list[float]]:
    """Step, validation loss and metric of every look at validation in the dense round."""
    log = run.directory.table(RunKey(Stage(""), seed, 0), "log.parquet")
    wide = log[log["split"] == "validation"].pivot_table(index="step", columns="metric", values="value")
    return [[int(step), round(row["loss"], 5), row[run.metric]] for step, row in wide.iterrows()]


def load(name: str, folder: Path | None, device: str) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer; None and None for the embedded testbed."""
    if name == "testbed":
        return None, None
    assert folder is not None
    config = AutoConfig.from_pretrained(folder)
    kind = AutoModel if config.model_type == "bert" else AutoModelForCausalLM
    model = kind.from_pretrained(folder, dtype="float32").to(device).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def main(
    model: str,
    models: Annotated[list[Path], typer.Option(help="folders that hold model folders")],
    data: Annotated[Path, typer.Option(help="folder that holds a folder for each task's data")],
    out: Annotated[Path, typer.Option(help="lines of JSON are added here")],
    *,
    task: Annotated[str | None, typer.Option(help="this task alone")] = None,
    position: Annotated[str | None, typer.Option(help="this position alone")] = None,
    device: str = "cpu",
    minutes: Annotated[float, typer.Option(help="begin nothing later than this")] = 1e9,
) -> None:
    """Train the trials of a model that the results do not hold yet."""
    began = time.monotonic()
    folder = next((path / model for path in models if (path / model).is_dir()), None)
    frozen, tokenizer = load(model, folder, device)
    lines = out.read_text().splitlines() if out.exists() else []
    records = [record for line in lines if (record := json.loads(line))["trial"]["model"] == model]
    for trial in trials(model):
        if task not in (None, trial.task) or position not in (None, trial.position):
            continue
        if any(trial.facts == record["trial"] for record in records) or time.monotonic() - began > 60 * minutes:
            continue
        started = time.monotonic()
        auto = next((record["rate"] for record in records if record["trial"]["factor"] == 1), None)
        with tempfile.TemporaryDirectory() as runs:
            run = train(trial, frozen, tokenizer, data, device, Path(runs), auto)
            settings = run.directory.settings()["training"]
            record = {"trial": trial.facts, "rate": settings["learning_rate"], "seeds": courses(run)}
        records.append(record)
        record["seconds"] = round(time.monotonic() - started, 1)
        with out.open("a") as file:
            file.write(json.dumps(record, default=float) + "\n")
        last = pd.DataFrame(record["seeds"])
        typer.echo(f"{trial} {record['seconds']} s: test {last['test'].mean():.3f}", err=True)


if __name__ == "__main__":
    typer.run(main)
