"""A repository of the Hub: which commit a branch or tag of it stands for, and one line for whatever goes wrong.

The Hub's client and the libraries on top of it raise some twenty kinds of error for a handful of things that a user can
do something about. Where the Hub cannot be reached, its cache on this machine answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from prunekit.support.errors import DataError, PrunekitError, nearest

# a file that a repository of the kind has, and that is small
_CARD = {"model": "config.json", "dataset": "README.md", "adapter": "adapter_config.json"}
_NAME = {"model": "model", "dataset": "data set", "adapter": "adapter"}
_FOLDER = {"model": "a local folder with --model", "dataset": "a local folder with --data", "adapter": "a local folder"}
_UNKNOWN = "no such folder, and not in the local cache"
_MISSING = {"model": _UNKNOWN, "dataset": "not in the local cache", "adapter": _UNKNOWN}
_PATIENCE = 10.0  # seconds that the Hub may take to say which commit it has
_ERRORS = 40  # the level of logging
_SHORT = 7  # digits by which a reader knows a commit
# whose errors are those of a connection, whichever version of the client is installed
_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")


Kind = Literal["model", "dataset", "adapter"]


def short(commit: str) -> str:
    """A commit as a line shows it."""
    return commit[:_SHORT]


@dataclass(frozen=True)
class Commit:
    """The commit that a revision stands for.

    Attributes:
        sha: its forty digits.
        online: whether the Hub said so; else its cache on this machine, and only what that holds can be read.
    """

    sha: str
    online: bool


@dataclass(frozen=True)
class Repository:
    """A model or data set of the Hub.

    Attributes:
        name: such as "org/name".
        revision: a branch, tag or commit; None: the branch main.
    """

    kind: Kind
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        revision = f', revision "{self.revision}"' if self.revision else ""
        return f'{_NAME[self.kind]} "{self.name}"{revision}'

    @property
    def branch(self) -> str:
        """The revision by its name."""
        return self.revision or "main"

    @property
    def type(self) -> str:
        """The Hub's own word for what it is: an adapter is kept as a model."""
        return "dataset" if self.kind == "dataset" else "model"

    @property
    def page(self) -> str:
        """Where a reader finds it."""
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.name}"

    def commit(self) -> Commit:
        """The commit that the revision stands for, by the Hub, or where that cannot be reached by the cache.

        Raises:
            DataError: in one line, where there is none that may be read.
        """
        with self.one_line_errors():
            commit = self.current_commit()
            if commit is None:
                return Commit(self._cached_commit(), online=False)
            self._remember()
            return Commit(commit, online=True)

    def current_commit(self) -> str | None:
        """The commit that the revision stands for on the Hub now; None where the Hub is not to be reached.

        Raises:
            HfHubHTTPError: where the Hub refuses.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            info = HfApi().repo_info(self.name, repo_type=self.type, revision=self.revision, timeout=_PATIENCE)
        except HfHubHTTPError as error:
            if error.response.status_code < 500:
                raise
            return None
        except HFValidationError:
            raise
        except Exception:  # offline by a setting, no network, a proxy's answer
            return None
        return info.sha

    @contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn errors of the Hub and of the way to it into one line, beside which its client says nothing; others pass.

        Raises:
            DataError: saying what is wrong and what to do.
        """
        try:
            with _quiet_client():
                yield
        except PrunekitError:
            raise
        except Exception as error:
            reason = self._reason(error)
            if reason is None:
                raise
            raise DataError(f"{self}: {reason}") from error

    def _cached_commit(self) -> str:
        """The commit of the cache."""
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        where: dict[str, Any] = {
            "repo_type": self.type,
            "revision": self.revision,
            "allow_patterns": [_CARD[self.kind]],
        }
        try:
            return Path(snapshot_download(self.name, local_files_only=True, **where)).name
        except LocalEntryNotFoundError as error:
            reason = "downloads are off (HF_HUB_OFFLINE is set)"
            if not constants.HF_HUB_OFFLINE:
                reason = f"the Hub ({constants.ENDPOINT}) is not to be reached"
            raise DataError(
                f"{self}: {_MISSING[self.kind]} ({constants.HF_HUB_CACHE}); {reason}: download it where there is a "
                f"network, or name {_FOLDER[self.kind]}"
            ) from error

    def _remember(self) -> None:
        """Let the cache know which commit the revision stands for; done by whatever is downloaded under its name."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        with suppress(EntryNotFoundError):
            hf_hub_download(self.name, _CARD[self.kind], repo_type=self.type, revision=self.revision)

    def _reason(self, error: Exception) -> str | None:
        """What is wrong and what to do, where the error or one that led to it is of the Hub or of a connection."""
        return next(filter(None, map(self._reason_of, _causes(error))), None)

    def _reason_of(self, error: BaseException) -> str | None:
        """The same of one error, whatever led to it."""
        from huggingface_hub import errors

        match error:
            case errors.LocalEntryNotFoundError():  # what led to it says more
                return None if error.__cause__ else "not whole in the local cache; download it where there is a network"
            case errors.GatedRepoError():
                return self._gated(error.response.status_code)
            case errors.RevisionNotFoundError():
                return f"no such branch, tag or commit; {self._revisions()}"
            case errors.RepositoryNotFoundError():
                return (
                    f"not on the Hub ({self.page}), or private; check the name, give a token (`hf auth login`, or "
                    f"HF_TOKEN), or name {_FOLDER[self.kind]}"
                )
            case errors.HFValidationError():
                return "no such folder, and not a name of the Hub, which has the form org/name"
            case errors.HfHubHTTPError():
                return self._refused(error.response.status_code)
            case _ if _of_a_connection(error):
                what = " ".join(str(error).split())[:160] or type(error).__name__
                return f"the connection to the Hub was lost ({what}); run the same command again, whole files are kept"
        return None

    def _refused(self, status: int) -> str:
        """What an answer of the Hub asks for that names no reason."""
        if status == 401:
            return "the Hub refuses the token (401); log in anew (`hf auth login`), or unset HF_TOKEN"
        return f"the Hub answers {status} ({self.page}); try again later"

    def _gated(self, status: int) -> str:
        """What a repository asks for that wants to know who reads it."""
        if status == 401:
            return f"accept its conditions at {self.page} and give a token (`hf auth login`, or HF_TOKEN)"
        return f"the token has no access to it; accept its conditions, or ask for access, at {self.page}"

    def _revisions(self) -> str:
        """Which one may have been meant."""
        from huggingface_hub import HfApi

        try:
            refs = HfApi().list_repo_refs(self.name, repo_type=self.type)
            return nearest(self.branch, [ref.name for ref in (*refs.branches, *refs.tags)])
        except Exception:  # a hint alone
            return f"see {self.page}"


@contextmanager
def _quiet_client() -> Iterator[None]:
    """The Hub's client says nothing of attempts that it makes again."""
    from huggingface_hub.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(_ERRORS)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _of_a_connection(error: BaseException) -> bool:
    """Whether a connection failed, took too long or brought less than was promised."""
    client = type(error).__module__.partition(".")[0] in _CLIENTS
    return client or isinstance(error, ConnectionError | TimeoutError) or "Consistency check failed" in str(error)
