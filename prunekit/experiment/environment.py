"""Under which versions, on which machine each round of a run was made: `environment.json`.

None of it decides what a round is of, but all of it can move its last digits: it is recorded and said, never refused.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from prunekit import __version__
from prunekit.runs import checksums
from prunekit.runs.paths import ENVIRONMENT, RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError

_PACKAGES = (
    "torch", "transformers", "tokenizers", "accelerate", "bitsandbytes", "datasets", "numpy", "pandas", "safetensors",
    "scikit-learn",
)  # fmt: skip
_CURE = "delete it; under which versions rounds were made is then no longer known"


class _Environment(BaseModel):
    """One environment, and the rounds that were made in it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    python: str
    machine: str
    processor: str
    instructions: str
    threads: int
    device: str
    packages: dict[str, str]
    rounds: list[str]


def current(device: str = "cpu") -> dict[str, Any]:
    """Versions, machine, and what of it numbers may depend on: processor, its instructions, threads, device."""
    packages = {"prunekit": __version__} | {name: found for name in _PACKAGES if (found := _version(name))}
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "packages": packages,
    }


def of_rounds(run: Run) -> list[dict[str, Any]]:
    """Every environment that rounds of a run were made in, in the order of their first use, with `rounds` of each.

    Raises:
        ArtifactError: where the file is damaged or another run's.
    """
    path = run.path / ENVIRONMENT
    if not path.exists():
        return []
    facts = checksums.read_stamped(path, _CURE, run.path)
    if facts.get("run") != run.id:
        raise ArtifactError(f"{path}: belongs to another run; {_CURE}")
    try:
        return [_Environment.model_validate(entry).model_dump() for entry in facts["environments"]]
    except (KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(f"{path}: not the environments of a run of this version; {_CURE}") from error


def record(run: Run, keys: Iterable[RunKey], device: str = "cpu") -> None:
    """Write down that rounds are made in this environment; called before they are committed, so that none goes without.

    A round that is made again belongs to the environment that made it last.
    """
    now, names = current(device), sorted(map(str, keys))
    others = [entry | {"rounds": [one for one in entry["rounds"] if one not in names]} for entry in of_rounds(run)]
    same = next((entry for entry in others if _facts(entry) == now), None)
    if same is None:
        others.append(now | {"rounds": names})
    else:
        same["rounds"] = sorted([*same["rounds"], *names])
    run.write_environment({"run": run.id, "environments": [entry for entry in others if entry["rounds"]]})


def notes(run: Run, keys: Sequence[RunKey] | None = None, device: str = "cpu") -> list[str]:
    """A line that says in what this environment differs from those of a run's rounds; none where it does not.

    places: of these rounds alone.
    """
    names = None if keys is None else set(map(str, keys))
    now = _flat(current(device))
    before: dict[str, set[str]] = {}
    try:
        entries = of_rounds(run)
    except ArtifactError as error:  # what is asked for can do without
        return [f"note: {error}"]
    for entry in entries:
        if names is None or names & set(entry["rounds"]):
            for name, value in _flat(entry).items():
                if value != now.get(name, "none"):
                    before.setdefault(name, set()).add(value)
    if not before:
        return []
    told = (f"{name} {' and '.join(sorted(values))} (now {now.get(name, 'none')})" for name, values in before.items())
    which = "it was" if keys is not None and len(keys) == 1 else "rounds of this run were"
    return [f"note: {which} made under {', '.join(told)}; numbers can differ in their last digits"]


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "rounds"}


def _flat(entry: Mapping[str, Any]) -> dict[str, str]:
    """What numbers may depend on, by name; the system's own name moves none."""
    plain = {name: str(entry.get(name)) for name in ("python", "processor", "instructions", "threads", "device")}
    return plain | {str(name): str(value) for name, value in entry.get("packages", {}).items()}


@cache
def _version(name: str) -> str | None:
    """Read once: a package's metadata is a long text, and no process gets another version of it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
