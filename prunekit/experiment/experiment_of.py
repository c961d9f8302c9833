"""The experiment that a run is of."""

from __future__ import annotations

from pydantic import ValidationError

from prunekit.experiment.settings import Experiment
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError


def experiment_of(run: RunReader) -> Experiment:
    """The experiment that a run's settings describe.

    Raises:
        ArtifactError: where they describe none.
    """
    settings = run.settings()
    try:
        return Experiment.model_validate({name: settings[name] for name in Experiment.model_fields if name in settings})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{run.path}: its settings are not of this version ({where}: {first['msg']})") from error
