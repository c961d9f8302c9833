"""`prunekit.compare`: parameterisations on one budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prunekit.experiment.call import check_tokenizer, experiment_of, frozen_model
from prunekit.experiment.method_comparison import Comparison, compare_methods, factors_of, methods_of
from prunekit.experiment.progress import progress_of


def compare(
    model: Any = None,
    tokenizer: Any = None,
    task: str | None = None,
    *,
    methods: str | Sequence[str] | None = None,
    learning_rates: str | Sequence[float] | None = None,
    out: Path | str = "runs",
    minutes: float | None = None,
    quiet: bool = False,
    **settings: Any,
) -> Comparison:
    """Train every parameterisation on one budget, each at its best learning rate; what is done already is loaded.

    Args:
        model: a loaded model with its `tokenizer`, or a name; None for the embedded testbed.
        methods: such as ("direct", "dpt"); None for all that need no further setting.
        learning_rates: multiples of each method's own rate to choose from; None for 0.3, 1 and 3.
        out: folder that holds runs.
        minutes: that all may take; updates and examples that are not set are chosen to fit, alike for every method.
        quiet: report no progress.
        settings: flags of `prunekit compare --help-all`, with underscores.

    Returns:
        its `table` has a row for each method, at the rate chosen on validation; its `trainings` a row for each.

    Raises:
        ConfigError: in one line, before anything is trained.
    """
    check_tokenizer(model, tokenizer)
    names, factors = methods_of(methods), factors_of(learning_rates)
    experiment, progress = experiment_of(model, task, settings), progress_of(quiet)
    with frozen_model(model, tokenizer, experiment) as frozen:
        return compare_methods([experiment], Path(out), names, factors, progress, frozen, minutes)
