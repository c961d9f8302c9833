"""`prunekit.prune`: iterative rewind-and-prune."""

from __future__ import annotations

from typing import Any

from prunekit.experiment.api.run import Run
from prunekit.experiment.api.train import train_one


def prune(model: Any = None, tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """Train a prompt, then score, prune, rewind and retrain it, round after round; what is done already is loaded.

        import prunekit as pk

        run = pk.prune(model, tokenizer, "sst2", data="path/to/sst2", rounds=3)
        run.best.attach(model).generate(**tokenizer(texts, padding=True, return_tensors="pt"))

    Args:
        model: a loaded Hugging Face model with its `tokenizer`, or a name; None for the embedded testbed.
        task: a name from `prunekit tasks`, or the path of a task file; None with `data=` for a task made of columns.
        settings: the flags of `prunekit prune --help-all` with underscores, and of this call: out ("runs"), controls
            (False), tolerance (0.01), track ("tensorboard" or a Tracker), quiet (False: progress on standard error).
            data may be rows in memory too: a `datasets.Dataset` or `DatasetDict`, a pandas DataFrame, a list of dicts,
            or a dict of these by split; text and label name its columns. A later use of the run is given them again.

    Raises:
        ConfigError: in one line, before anything is written.
        DataError: in one line, before anything is written.
    """
    return train_one("prune", model, tokenizer, task, settings)
