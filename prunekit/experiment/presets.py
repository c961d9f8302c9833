"""Settings as published, shipped as experiment files: `--experiment xprompt-t5-large`."""

from __future__ import annotations

from pathlib import Path

from prunekit.support.errors import ConfigError, nearest

_FOLDER = Path(__file__).with_name("published")


def names() -> list[str]:
    """What `--experiment` takes beside a path."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def text(name: str) -> str:
    """The experiment file of a name, with its comments: what is published, and where the paper is silent.

    Raises:
        ConfigError: where there is none.
    """
    if name not in names():
        raise ConfigError(f'no published settings "{name}"; {nearest(name, names())}')
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def description(name: str) -> str:
    """Its first line."""
    return text(name).partition("\n")[0].lstrip("# ")


def file_of(experiment: Path) -> Path:
    """The file that `--experiment` means: one that is there, or one of the published ones.

    Raises:
        ConfigError: where it is the name of neither.
    """
    if experiment.exists() or len(experiment.parts) != 1 or experiment.suffix:
        return experiment
    if experiment.name not in names():
        raise ConfigError(
            f"--experiment {experiment}: no such file, and no published settings of this name; "
            f"{nearest(experiment.name, names())} (`prunekit presets` lists them)"
        )
    return _FOLDER / f"{experiment.name}.toml"
