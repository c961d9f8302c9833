"""prunekit: train, score, prune and analyse soft prompts on frozen language models.

    import prunekit as pk

    run = pk.prune(model, tokenizer, "sst2", data="path/to/sst2", rounds=3)
    run.best.attach(model).generate(**tokenizer(texts, padding=True, return_tensors="pt"))

Settings are the flags of `prunekit prune --help-all`, with underscores. What `__all__` names is imported when it is
first asked for, so that importing prunekit is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prunekit.analysis.measure import score as score
    from prunekit.experiment.api.compare import compare as compare
    from prunekit.experiment.api.evaluate import evaluate as evaluate
    from prunekit.experiment.api.load import load as load
    from prunekit.experiment.api.predict import predict as predict
    from prunekit.experiment.api.prune import prune as prune
    from prunekit.experiment.api.run import Run as Run
    from prunekit.experiment.api.search import search as search
    from prunekit.experiment.api.ticket import Ticket as Ticket
    from prunekit.experiment.api.tune import tune as tune
    from prunekit.experiment.sweep.sweep import sweep as sweep
    from prunekit.export.attach import attach as attach
    from prunekit.plots.report.report import report as report
    from prunekit.support.errors import ArtifactError as ArtifactError
    from prunekit.support.errors import BusyError as BusyError
    from prunekit.support.errors import ConfigError as ConfigError
    from prunekit.support.errors import DataError as DataError
    from prunekit.support.errors import DivergedError as DivergedError
    from prunekit.support.errors import PrunekitError as PrunekitError

__version__ = "0.1.0"

# where each name comes from
_MODULES = {
    "ArtifactError": "support.errors",
    "BusyError": "support.errors",
    "ConfigError": "support.errors",
    "DataError": "support.errors",
    "DivergedError": "support.errors",
    "PrunekitError": "support.errors",
    "Run": "experiment.api.run",
    "Ticket": "experiment.api.ticket",
    "attach": "export.attach",
    "compare": "experiment.api.compare",
    "evaluate": "experiment.api.evaluate",
    "load": "experiment.api.load",
    "predict": "experiment.api.predict",
    "prune": "experiment.api.prune",
    "report": "plots.report.report",
    "score": "analysis.measure",
    "search": "experiment.api.search",
    "sweep": "experiment.sweep.sweep",
    "tune": "experiment.api.tune",
}

__all__ = [
    "ArtifactError",
    "BusyError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "PrunekitError",
    "Run",
    "Ticket",
    "__version__",
    "attach",
    "compare",
    "evaluate",
    "load",
    "predict",
    "prune",
    "report",
    "score",
    "search",
    "sweep",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"prunekit.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'prunekit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
