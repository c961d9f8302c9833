"""Runs in an object store (fsspec), made in a folder of the process that works on them.

A store has no renaming and no locks. So the files of a cohort's round go there one by one, and when all of them are
there its manifests: a round without a sound manifest is not there, and is done and written again. Who works on a run is
alone with it; the engine of a sweep sees to that.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from prunekit.runs import checksums
from prunekit.runs.paths import ENVIRONMENT, JOURNAL, MANIFEST, RESULTS, SETTINGS, STAGE_SETTINGS, RunKey
from prunekit.runs.run import Run
from prunekit.support import reading
from prunekit.support.errors import ArtifactError, ConfigError, PrunekitError


class Store:
    """A folder of an object store, by its URL; objects have names such as run/seed=0/round=00/result.json."""

    def __init__(self, url: str) -> None:
        """Nothing is asked of the store yet.

        Raises:
            ConfigError: where fsspec cannot make anything of the URL.
        """
        import fsspec

        self.url = url
        try:
            self._system, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(f"--store {url}: {_in_line(error)}") from error
        self._root = str(root).rstrip("/")
        self._folders: set[str] = set()

    def names(self, folder: str = "") -> set[str]:
        """Every object in a folder of the store.

        Raises:
            ConfigError: where the store cannot be reached.
        """
        try:
            self._system.invalidate_cache()
            paths = self._system.find(self._path(folder))
        except FileNotFoundError:
            return set()
        except Exception as error:  # every store has errors of its own
            raise ConfigError(f"--store {self.url}: cannot be reached: {_in_line(error)}") from error
        names = [str(path).removeprefix(f"{self._root}/") for path in paths]
        return {name for name in names if ".." not in PurePosixPath(name).parts}  # it is made a path here

    def read(self, names: Iterable[str]) -> dict[str, bytes]:
        """The content of those objects that there are, fetched side by side where the store can.

        Raises:
            PrunekitError: naming one that is there and cannot be read.
        """
        names = list(names)
        # whole, though by the call for ranges: the one for whole objects takes [ and * in a name for a pattern
        answers = self._system.cat_ranges([self._path(name) for name in names], None, None) if names else []
        contents = {}
        for name, content in zip(names, answers, strict=True):
            if isinstance(content, bytes):
                contents[name] = content
            elif not isinstance(content, FileNotFoundError):
                raise PrunekitError(f"{self.url}/{name}: cannot be read: {_in_line(content)}") from content
        return contents

    def write(self, contents: Mapping[str, bytes]) -> None:
        """Put objects, in any order."""
        paths = {self._path(name): content for name, content in contents.items()}
        for folder in sorted({path.rpartition("/")[0] for path in paths} - self._folders):
            self._system.makedirs(folder, exist_ok=True)  # on a local folder it is needed, elsewhere it does nothing
            self._folders.add(folder)
        self._system.pipe(paths)

    def remove(self, names: Iterable[str]) -> None:
        """Take objects away, those that are there."""
        for name in names:
            try:
                self._system.rm_file(self._path(name))
            except FileNotFoundError:
                continue

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root


def _in_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@dataclass(frozen=True)
class Stored:
    """Where a run is made: in a folder of this process alone, whose finished rounds go to a store."""

    folder: Path
    store: Store


class StoredRun(Run):
    """A run directory that writes to a store whatever it writes."""

    store: Store

    def _publish(self, keys: Sequence[RunKey]) -> None:
        """A cohort's files go to the store, and when all are there, its manifests."""
        folders = [self.folder(key) for key in keys]
        manifests = [folder / MANIFEST for folder in folders]
        self.store.remove(map(self._name, manifests))  # an earlier one does not vouch for files that now change
        self._copy(path for folder in folders for path in folder.iterdir() if path.name != MANIFEST)
        self._copy(manifests)

    def _put(self, name: str, content: bytes) -> None:
        """Here and in the store."""
        super()._put(name, content)
        self._copy([self.path / name])

    def settle_journal(self) -> None:
        """As every run; whatever the store has for a journal is replaced by this one."""
        super().settle_journal()
        if (self.path / JOURNAL).exists():
            self._copy([self.path / JOURNAL])

    def _copy(self, paths: Iterable[Path]) -> None:
        self.store.write({self._name(path): reading.content(path, reading.TENSORS, self.path) for path in paths})

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path.parent).as_posix()


def stored_at(out: Stored, name: str, run_id: str) -> Run:
    """As `Run.at`, with a store."""
    run = StoredRun.at(out.folder, name, run_id)
    run.store = out.store
    return run


def fetch(
    store: Store, run: str, folder: Path, names: Collection[str], only: Collection[str] | None = None
) -> list[str]:
    """Bring what a store holds of a run into a folder: its settings, and the rounds that agree with their manifests.

    Returns the rounds that are there with a manifest and do not agree; they were left out, and count as not done.

    Args:
        names: the objects of the store, as listed.
        only: files of a round to bring beside its manifest; None for all.
    """
    target = Run(folder / run)
    manifests = {name: key for name in names if (key := _key_of(name, run)) is not None}
    # who goes on with a run adds to its environments
    _bring(store, [f"{run}/{SETTINGS}", *([f"{run}/{ENVIRONMENT}"] if only is None else [])], folder)
    files, keys = [], []
    for name in _bring(store, manifests, folder):
        keys.append(manifests[name])
        listed = _listed(folder / name)
        files += [f"{name.removesuffix(MANIFEST)}{file}" for file in listed if only is None or file in only]
    _bring(store, files, folder)
    left_out = []
    for key in sorted(keys, key=lambda key: (key.round, key)):  # each follows one of an earlier round
        try:
            for file in target.manifest(key)["files"]:
                if only is None or file in only:
                    target.content(key, file)
        except ArtifactError:
            shutil.rmtree(target.folder(key))
            left_out.append(f"{run}/{key}")
    if len(left_out) == len(keys) and target.path.exists():
        shutil.rmtree(target.path)  # settings without a round are no run yet
    elif only is None and (target.path / SETTINGS).exists():
        _bring_rest(store, target, names)
    return left_out


def _bring_rest(store: Store, run: Run, names: Collection[str]) -> None:
    """The files of a run that belong to no round, as far as they are sound: a worker may have died as it put them."""
    inside = f"{run.path.name}/"
    stages = [name for name in names if name.startswith(inside) and name.endswith(f"/{STAGE_SETTINGS}")]
    _bring(store, [inside + name for name in (JOURNAL, ENVIRONMENT, RESULTS)] + sorted(stages), run.path.parent)
    _drop_unless(run.path / JOURNAL, run.journal)
    _drop_unless(run.path / ENVIRONMENT, partial(checksums.read_stamped, run.path / ENVIRONMENT))
    for name in stages:
        stage = name.removeprefix(inside).removesuffix(f"/{STAGE_SETTINGS}")
        _drop_unless(run.path / stage / STAGE_SETTINGS, partial(run.stage_settings, stage))
    run.settle_journal()
    results = run.path / RESULTS
    if results.exists() and hashlib.sha256(results.read_bytes()).hexdigest() != run.journal().results:
        results.unlink()


def _drop_unless(path: Path, read: Callable[[], object]) -> None:
    """Take a file away again that cannot be read: it is made anew."""
    try:
        read()
    except ArtifactError:
        path.unlink(missing_ok=True)


def _key_of(name: str, run: str) -> RunKey | None:
    """The key of a round, where an object is the manifest of one of a run."""
    inside = PurePosixPath(name.removeprefix(f"{run}/"))
    if not name.startswith(f"{run}/") or inside.name != MANIFEST:
        return None
    try:
        return RunKey.parse(Path(inside.parent))
    except ValueError:
        return None


def _listed(manifest: Path) -> list[str]:
    """The files of a round, by a manifest that may be torn."""
    try:
        return list(checksums.read_manifest(manifest)["files"])
    except ArtifactError:
        return []


def _bring(store: Store, names: Iterable[str], folder: Path) -> list[str]:
    """Objects as files under their names; returns those that there are."""
    contents = store.read(names)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return list(contents)
