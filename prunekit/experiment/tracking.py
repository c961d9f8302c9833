"""The numbers of a run while it runs, sent elsewhere: TensorBoard, Weights & Biases, or what can begin, log and end.

The run's own files are the truth; a tracker is shown what each round wrote there as soon as it is finished, so that
nothing of training depends on it. `--track tensorboard` and `--track wandb` use those packages; another tracker is a
class of your own, in a file my_tracker.py beside you, with the three methods of `Tracker`:
`prunekit prune --track my_tracker:MyTracker`, or `prunekit.prune(..., track=MyTracker())`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from prunekit.experiment.round_runner import Progress
from prunekit.runs.paths import LOG, SETTINGS, TRACKED, RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ConfigError
from prunekit.support.terminal import Tick
from prunekit.support.user_code import imported

# of a finished round, beside its metrics
_COUNTS = ("tokens", "pieces", "density", "parameters")


class Tracker(Protocol):
    """Keeps the numbers of a run elsewhere; called from one thread."""

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """A run begins or is resumed; rounds that it finished before are logged again."""

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Values after `step` updates, named such as train/loss; series: a round, such as seed=0/round=00."""

    def end(self) -> None:
        """The run has ended."""


class TensorBoard:
    """Event files in the run's folder `tensorboard`, a series each; one that is there already is left alone.

    Raises:
        ConfigError: where tensorboard is not installed.
    """

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("--track tensorboard needs the package of that name: pip install tensorboard") from error
        self._writer: Callable[[str], Any] = SummaryWriter
        self._open: dict[str, Any] = {}
        self._folder = Path()

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Set the folder of the event files."""
        self._folder = run / TRACKED

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        if series not in self._open:
            folder = self._folder / series
            self._open[series] = None if folder.exists() else self._writer(str(folder))
        writer = self._open[series]
        if writer is not None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Flush and close every file."""
        for writer in self._open.values():
            if writer is not None:
                writer.close()
        self._open.clear()


class WeightsAndBiases:
    """A run of Weights & Biases in the project "prunekit", its curves by the round that they show.

    Raises:
        ConfigError: where wandb is not installed.
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--track wandb needs the package of that name: pip install wandb") from error
        self._wandb: Any = wandb
        self._run: Any = None

    def begin(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Open the run by its name, with its settings."""
        self._run = self._wandb.init(project="prunekit", name=run.name, config=dict(settings))

    def log(self, series: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve; rounds begin at step 0 again, so that the update is a value of its own."""
        self._run.log({f"{series}/{name}": value for name, value in values.items()} | {f"{series}/update": step})

    def end(self) -> None:
        """Close the run, where it was begun."""
        if self._run is not None:
            self._run.finish()


#: Trackers by name, each of the package of that name.
TRACKERS: Mapping[str, Callable[[], Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def tracker(name: str) -> Tracker:
    """The tracker that `--track` names: one of `TRACKERS`, or module:class of one of the user's own.

    Raises:
        ConfigError: where there is none.
    """
    if name in TRACKERS:
        return TRACKERS[name]()
    instance: Tracker = imported(name, "--track", f"use {', '.join(TRACKERS)}, or module:class of your own tracker")()
    missing = [part for part in ("begin", "log", "end") if not callable(getattr(instance, part, None))]
    if missing:
        raise ConfigError(f"--track {name}: a tracker has begin, log and end; this one lacks {', '.join(missing)}")
    return instance


@contextmanager
def with_tracker(progress: Progress, run: Path, tracker: Tracker | None) -> Iterator[Progress]:
    """Progress that also logs every finished round to a tracker; the given one itself where there is no tracker."""
    if tracker is None:
        yield progress
        return
    tracked = _TrackedProgress(progress, run, tracker)
    try:
        yield tracked
        tracked.catch_up()
    finally:
        tracker.end()


class _TrackedProgress:
    """Progress that looks for finished rounds at each line, since one is printed after every round."""

    def __init__(self, progress: Progress, run: Path, tracker: Tracker) -> None:
        self._progress, self._run, self._tracker = progress, Run(run), tracker
        self._seen: set[RunKey] = set()
        self._begun = False

    def say(self, line: str) -> None:
        """Print one line, and log what was finished since the last."""
        self._progress.say(line)
        self.catch_up()

    def track(self, title: str, total: int, unit: str = "updates") -> AbstractContextManager[Tick]:
        """The progress of the wrapped one."""
        return self._progress.track(title, total, unit)

    def catch_up(self) -> None:
        """Log the rounds that were not logged yet."""
        if not (self._run.path / SETTINGS).exists():
            return
        if not self._begun:
            self._tracker.begin(self._run.path, self._run.settings())
            self._begun = True
        for key in self._run.tickets():
            if key not in self._seen:
                self._seen.add(key)
                self._show(key)

    def _show(self, key: RunKey) -> None:
        table = self._run.table(key, LOG)
        points: dict[int, dict[str, float]] = defaultdict(dict)
        for row in table.to_dict("records"):
            points[int(row["step"])][f"{row['split']}/{row['metric']}"] = float(row["value"])
        result = self._run.result(key)
        last = points[int(result["kept_step"])]
        last |= {f"report/{name}": float(value) for name, value in result["test"].items()}
        last |= {f"kept/{name}": float(result[name]) for name in _COUNTS}
        for step in sorted(points):
            self._tracker.log(str(key), step, points[step])
