"""The command line's entry: one line for every error, and the exit codes."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Any, ClassVar

import typer

from prunekit.cli.app import build_app
from prunekit.support import terminal
from prunekit.support.errors import ConfigError, PrunekitError

# torch and transformers are a million objects that stay: Python looks for garbage among them ten times while they load
# (1.7 s of a dry run); nothing of prunekit's leaves garbage that only such a look would find
_OBJECTS_BETWEEN_COLLECTIONS = (200_000, 30, 30)


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM came; not a KeyboardInterrupt, which typer would swallow."""

    words: ClassVar = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}

    def __init__(self, number: int) -> None:
        super().__init__()
        self.word, self.exit_code = self.words[signal.Signals(number)]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the run failed, 2 usage or configuration, 130 Ctrl-C, 143 SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    gc.set_threshold(*_OBJECTS_BETWEEN_COLLECTIONS)
    # waiting threads sleep instead of spinning, which on a shared machine takes the core that another thread needs
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    stops = _stops()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        words = [word for word in arguments if word != "--debug"]
        command = typer.main.get_command(build_app(words or _words_to_complete()))
        code = command.main(words, prog_name="prunekit", standalone_mode=False)
    except BaseException as error:
        if debug and not isinstance(error, SystemExit):
            sys.stderr.write(terminal.printable("".join(traceback.format_exception(error))))
        # a library may make another error of a stop that came while it was at work, as pydantic does
        sys.exit(_report(stops[0] if stops else error))
    sys.exit(code if isinstance(code, int) else 0)


def _words_to_complete() -> list[str]:
    """What a shell asks the end of, as typer's completion scripts hand it over; none where none does."""
    return os.environ.get("_TYPER_COMPLETE_ARGS", os.environ.get("COMP_WORDS", "")).split()


def _report(error: BaseException) -> int:
    """Write one line for the user; returns the exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case PrunekitError():
            return _say(str(error), error.exit_code)
        case _Stopped():
            return _say(f"{error.word}; finished rounds are kept, run the same command again to go on", error.exit_code)
        case OSError():
            return _say(f"{error.filename or ''}: {error.strerror or error}; nothing finished was lost", 1)
    if hasattr(error, "format_message"):  # typer's own, or click's under an older typer
        return _say(_usage(error), ConfigError.exit_code)
    return _say(f"{type(error).__name__}: {error} (this should not happen; --debug shows where)", 1)


def _usage(error: Any) -> str:
    """What is wrong with the words of a command, and whose help says more."""
    message, verb = error.format_message().rstrip("."), getattr(error.ctx, "command_path", "prunekit")
    return f"{message}{' See' if message.endswith('?') else '; see'} `{verb} --help`"


def _say(line: str, code: int) -> int:
    one_line = " ".join(terminal.printable(line).split())
    sys.stderr.write(f"prunekit: {one_line}\n")
    return code


def _stops() -> list[_Stopped]:
    """From now on Ctrl-C and SIGTERM raise what ends the command, and lay it into this list."""
    stops: list[_Stopped] = []

    def stop(number: int, frame: FrameType | None) -> None:
        for handled in _Stopped.words:  # a second one ends it at once, wherever it is; what is on disk stands that
            signal.signal(handled, signal.SIG_DFL)
        stops.append(_Stopped(number))
        raise stops[0]

    for number in _Stopped.words:
        signal.signal(number, stop)
    return stops


if __name__ == "__main__":
    main()
