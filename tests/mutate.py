"""Seeded damage to the bytes of a file."""

from __future__ import annotations

import random

KINDS = ("flip", "truncate", "splice", "delete", "overwrite", "insert", "swap")
#: What tends to break readers of text.
STRANGE = (
    b"\x00", b"\x1b[31m", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b'"', b"'''", b"{", b"[" * 3000, b"{}" * 99, b"]",
    b"9" * 5000, b"1e400", b"-1", b"NaN", b"null", b"true", b"\n", b"\r", b"=", b"\xe2\x80\xae", b"../../",
    b"a" * 70000, b"{self.__class__}", b"{0}", b"{a!r}", b"%s", b"<script>alert(1)</script>", b"\\", b"#", b",", b"inf",
    b"0x", b"1_0",
)  # fmt: skip


def mutated(content: bytes, other: bytes, kind: str, chance: random.Random) -> bytes:
    """The content after one mutation; `other` is what may be spliced in or swapped for it."""
    size = len(content)
    start = chance.randrange(size + 1)
    end = min(size, start + chance.choice((1, 2, 8, 64, 1024)))
    match kind:
        case "flip":
            bits = bytearray(content)
            for _ in range(chance.choice((1, 1, 1, 2, 8)) if size else 0):
                bits[chance.randrange(size)] ^= 1 << chance.randrange(8)
            return bytes(bits)
        case "truncate":
            return content[:start]
        case "splice":
            first = chance.randrange(len(other) + 1)
            return content[:start] + other[first : first + chance.choice((1, 8, 64, 1024))] + content[end:]
        case "delete":
            return content[:start] + content[end:]
        case "overwrite":
            return content[:start] + bytes(chance.randrange(256) for _ in range(end - start)) + content[end:]
        case "insert":
            return content[:start] + chance.choice(STRANGE) + content[start:]
        case "swap":
            return other
    raise ValueError(kind)


MEMORY = """
import resource, sys, pathlib, torch
from prunekit.support.errors import PrunekitError
folder = pathlib.Path(sys.argv[1])

def refused(path):
    try: read(path)
    except PrunekitError as error: assert path.name in str(error), error
    else: raise AssertionError(path)

refused(folder / sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(folder.iterdir()): refused(path)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, len(list(folder.iterdir())))
"""


def refuses_without_memory(forks, reader, folder, first, capsys):
    """All in the folder is refused by name, in a process of its own, by a function `read` whose code is given.

    first: what is read before the memory is counted, so that imports are not.
    """
    process = forks.run([folder, first], folder.with_name(f"{folder.name}-process"), code=reader + MEMORY)
    assert process.code == 0, process.said
    grown, count = map(int, process.wrote.split())
    with capsys.disabled():
        print(f"\n{count} forged files refused, {grown} MB more memory")
    assert grown < 100
