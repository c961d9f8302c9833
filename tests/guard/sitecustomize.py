"""Sees every attempt to reach another machine: of the suite, and of each Python process that a test starts.

Python imports a `sitecustomize` that it finds on PYTHONPATH by itself; what such a process tries goes into one log.
"""

import os
import sys
from contextlib import suppress

LOG = "PRUNEKIT_CONNECTIONS"

#: (test, address) of every attempt of a process that runs tests.
attempts = []
_here = {"127.0.0.1", "::1", "localhost", b"localhost", "0.0.0.0", "", None}
_known = []


def watch():
    """Look at all that this process does from now on."""
    sys.addaudithook(_see)


def lines():
    """What the log holds: a line "process" for each that was watched, and one for every attempt."""
    from pathlib import Path

    return Path(os.environ[LOG]).read_text(encoding="utf-8").splitlines()


def write(line):
    """A line of the log, by any process."""
    handle = os.open(os.environ[LOG], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, (line + "\n").encode())
    os.close(handle)


def _see(event, facts):
    if event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    address = facts[1] if event in ("socket.connect", "socket.sendto") else facts[0]
    if event == "socket.connect" and (isinstance(address, str | bytes) or _sends_nothing(facts[0])):
        return  # a path is a socket of this machine's own
    host = address[0] if isinstance(address, tuple) else address
    if host in _here or host in _own():
        return
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if __name__ != "sitecustomize":
        attempts.append((test, address))
    elif "_pytest" not in sys.modules:  # where tests are run, the suite itself looks
        write(f"{test}: {address!r}")


def _sends_nothing(one):
    """Whether connecting only asks which of this machine's addresses would be used (a datagram socket)."""
    import socket

    return one.type == socket.SOCK_DGRAM


def _own():
    """Names and addresses of this machine; asked for once something else than the loopback is named."""
    if not _known:
        import socket

        _known.append(name := socket.gethostname())  # first, since looking it up comes back here
        with suppress(OSError):
            _known.extend(socket.gethostbyname_ex(name)[2])
        # the address that would be used to reach others; a datagram socket sends nothing when it connects
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("198.51.100.1", 9))
            _known.append(one.getsockname()[0])
    return _known


if __name__ == "sitecustomize" and LOG in os.environ:
    write("process")
    watch()
