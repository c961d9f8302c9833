"""Fuzzing of one reader by libFuzzer, which looks at what of prunekit each input reaches.

`python tests/coverage_guided.py KIND SECONDS FOLDER`; needs atheris. Ends with code 0 unless a reader raises what is no
PrunekitError, or one that does not name the file; the input is then in FOLDER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

with atheris.instrument_imports(include=["prunekit"]):
    import test_fuzz

    from prunekit.support.errors import PrunekitError


def main(kind: str, seconds: str, folder: Path) -> None:
    """Does not return: libFuzzer ends the process."""
    pool, name, reads = test_fuzz.seeds_of(kind, folder)
    corpus, path = folder / "corpus", folder / name
    corpus.mkdir()
    for number, content in enumerate(pool):
        (corpus / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            reads(path)
        except PrunekitError as error:
            assert name in str(error), error

    os.chdir(folder)
    limits = [f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=4096", "-timeout=60"]
    atheris.Setup([sys.argv[0], *limits, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
