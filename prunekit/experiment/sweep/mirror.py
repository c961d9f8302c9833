"""What a sweep's table is made of, brought from the store that holds its runs."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from prunekit.experiment.sweep.jobs import read_receipt, receipt_name
from prunekit.runs.paths import FACTS, PREDICTIONS, RESULT
from prunekit.runs.store import Store, fetch


def mirror(store: Store, keys: Collection[str], folder: Path) -> None:
    """Bring receipts, and of the runs that they name settings, manifests, results and answers; no tensors.

    What is brought agrees with its manifest; a receipt whose rounds do not counts for nothing then, as in a folder.

    Raises:
        ConfigError: where the store cannot be reached.
    """
    names = store.names()
    for name, content in store.read(name for key in keys if (name := receipt_name(key)) in names).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    by_run: dict[str, set[str]] = {}
    for name in names:
        by_run.setdefault(name.partition("/")[0], set()).add(name)
    receipts = [read_receipt(folder, key) for key in keys]
    runs = {receipt.run for receipt in receipts if receipt is not None}
    for run in sorted(runs & by_run.keys()):
        fetch(store, run, folder, by_run[run], only={RESULT, FACTS, PREDICTIONS})
