"""Versions and machine that each round of a run was made with: `environment.json`.

None of it is part of a run's identity, but all of it can change last digits: it is recorded and noted, never refused.
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
from prunekit.runs.paths import ENVIRONMENT, RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError

_PACKAGES = (
    "torch", "transformers", "tokenizers", "accelerate", "bitsandbytes", "datasets", "numpy", "pandas", "safetensors",
    "scikit-learn",
)  # fmt: skip
_REMEDY = "delete it; the versions that rounds were made with are then no longer recorded"


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
    """Versions, and what of the machine numbers may depend on: processor, its instructions, threads, device."""
    packages = {"prunekit": __version__} | {name: installed for name in _PACKAGES if (installed := _version(name))}
    return {
        "python": platform.python_version(),
        "machine": platform.platform(),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "packages": packages,
    }


def environments(run: RunReader) -> list[dict[str, Any]]:
    """Every environment that rounds of a run were made in, in the order of their first use, with `rounds` of each.

    Raises:
        ArtifactError: where the file is damaged or another run's.
    """
    path = run.path / ENVIRONMENT
    if not path.exists():
        return []
    facts = run.environment(_REMEDY)
    if facts.get("run") != run.id:
        raise ArtifactError(f"{path}: belongs to another run; {_REMEDY}")
    try:
        return [_Environment.model_validate(entry).model_dump() for entry in facts["environments"]]
    except (KeyError, TypeError, ValidationError) as error:
        raise ArtifactError(f"{path}: not the environments of a run of this version; {_REMEDY}") from error


def record(run: Run, keys: Iterable[RunKey], device: str = "cpu") -> None:
    """Record that rounds are made in this environment; called before they are committed, so that each has a record.

    A round that is made again belongs to the environment that made it last.
    """
    now, names = current(device), sorted(map(str, keys))
    others = [entry | {"rounds": [key for key in entry["rounds"] if key not in names]} for entry in environments(run)]
    entry_now = next((entry for entry in others if _facts(entry) == now), None)
    if entry_now is None:
        others.append(now | {"rounds": names})
    else:
        entry_now["rounds"] = sorted([*entry_now["rounds"], *names])
    run.write_environment({"run": run.id, "environments": [entry for entry in others if entry["rounds"]]})


def notes(run: RunReader, keys: Sequence[RunKey] | None = None, device: str = "cpu") -> list[str]:
    """A line with the differences between this environment and those of a run's rounds; none where there are none.

    Args:
        keys: of these rounds alone; None for all.
    """
    names = None if keys is None else set(map(str, keys))
    now = _flat(current(device))
    earlier: dict[str, set[str]] = {}
    try:
        entries = environments(run)
    except ArtifactError as error:  # a use of the run can do without
        return [f"note: {error}"]
    for entry in entries:
        if names is None or names & set(entry["rounds"]):
            for name, value in _flat(entry).items():
                if value != now.get(name, "none"):
                    earlier.setdefault(name, set()).add(value)
    if not earlier:
        return []
    changes = (
        f"{name} {' and '.join(sorted(values))} (now {now.get(name, 'none')})" for name, values in earlier.items()
    )
    subject = "it was" if keys is not None and len(keys) == 1 else "rounds of this run were"
    return [f"note: {subject} made with {', '.join(changes)}; numbers can differ in their last digits"]


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
