"""A server on this machine that speaks the Hub's download protocol, as huggingface_hub uses it.

It has repositories of models and data sets with commits, branches and tags; some of them gated. It can cut connections
short and answer slowly. What it does not know it refuses, and remembers in `unknown`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".parquet", ".bin")  # kept beside git, behind a redirect


@dataclass
class Repository:
    """Commits by their sha, each with its files; branches and tags that stand for one of them.

    gated: None, or the tokens that may download.
    cuts: how many downloads of a large file are still broken off in the middle.
    seconds: that an answer takes.
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: tuple[str, ...] | None = None
    cuts: int = 0
    seconds: float = 0.0

    def commit(self, *refs: str, **files: bytes) -> str:
        """A new commit of these files, which the refs stand for from now on."""
        digest = hashlib.sha1(repr(len(self.commits)).encode())
        for name, content in sorted(files.items()):
            digest.update(name.encode() + content)
        sha = digest.hexdigest()
        self.commits[sha] = files
        self.refs |= dict.fromkeys(refs, sha)
        return sha

    def commit_folder(self, folder: Path, *refs: str) -> str:
        """A new commit of what is in a folder."""
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return self.commit(*refs, **{path.relative_to(folder).as_posix(): path.read_bytes() for path in paths})

    def sha(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


class Hub:
    """The server, running as long as the context; `repositories` are by kind and name, such as "models/maker/tiny"."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.unknown: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Hub:
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), type("Bound", (Answer,), {"hub": self}))
        self.server.daemon_threads, self.port = True, self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *ended: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens meanwhile."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def new(self, name: str, **how) -> Repository:
        """A new repository, such as "datasets/maker/moods"."""
        return self.repositories.setdefault(name, Repository(**how))


class Answer(BaseHTTPRequestHandler):
    """One request."""

    hub: Hub
    protocol_version = "HTTP/1.1"
    _API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/([^/]+))?(/.*)?)?$")
    _FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")

    def log_message(self, *ignored: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.form = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query, path = parse_qs(url.query), url.path
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if match := self._API.match(path):
                self.describe(
                    match[1], match[2], match[3], unquote(match[4] or "main"), unquote(match[5] or "").strip("/")
                )
            elif match := self._FILE.match(path):
                self.resolve(match[1] or "models/", match[2], unquote(match[3]), unquote(match[4]))
            elif path.startswith("/large/"):
                self.large(*path.removeprefix("/large/").rsplit("/", 1))
            else:
                if path != "/api/agent-harnesses":  # the client's own, about programs that call it
                    self.hub.unknown.append(f"{self.command} {self.path}")
                self.refuse(404, "")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # ---- what a repository is

    def repository(self, name: str, revision: str) -> tuple[Repository, str] | None:
        """The repository and the commit; where one is missing, that is answered."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(401, "RepoNotFound", "Invalid username or password.")
            return None
        time.sleep(repository.seconds)
        sha = repository.sha(revision)
        if sha is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return repository, sha

    def describe(self, kind: str, name: str, what: str | None, revision: str, path: str) -> None:
        named = self.repository(f"{kind}/{name}", revision)
        if named is None:
            return
        repository, sha = named
        files = repository.commits[sha]
        if what == "refs":
            refs = [
                {"name": ref, "ref": f"refs/heads/{ref}", "targetCommit": at} for ref, at in repository.refs.items()
            ]
            self.give({"branches": refs, "converts": [], "tags": []})
        elif what == "tree":
            below = [entry for entry in entries(files) if entry["path"].startswith(f"{path}/" if path else "")]
            level = path.count("/") + 1 if path else 0
            if self.query.get("recursive") != ["true"] and self.query.get("recursive") != ["True"]:
                below = [entry for entry in below if entry["path"].count("/") == level]
            if path and not below:
                self.refuse(404, "EntryNotFound", f"{path} does not exist")
            else:
                self.give(below)
        elif what == "paths-info":
            form = parse_qs(self.form.decode()) if b"=" in self.form else json.loads(self.form)
            self.give([entry for entry in entries(files) if entry["path"] in form["paths"]])
        else:
            siblings = [{"rfilename": file} for file in files]
            self.give({"id": name, "sha": sha, "private": False, "gated": bool(repository.gated), "siblings": siblings})

    # ---- its files

    def resolve(self, kind: str, name: str, revision: str, file: str) -> None:
        named = self.repository(f"{kind}{name}", revision)
        if named is None:
            return
        repository, sha = named
        if repository.gated is not None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token not in repository.gated:
                why = "Access to this repository is restricted"
                self.refuse(403 if token else 401, "GatedRepo", why)
                return
        content = repository.commits[sha].get(file)
        if content is None:
            self.refuse(404, "EntryNotFound", "Entry not found", sha)
        elif file.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            # of another origin, as storage is: who follows must not send a token there
            place = f"http://localhost:{self.hub.port}/large/{kind}{name}/{digest}"
            facts = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Location": place}
            self.answer(302, b"", {"X-Repo-Commit": sha, **facts})
        else:
            self.answer(200, content, {"X-Repo-Commit": sha, "ETag": f'"{git_id(content)}"'})

    def large(self, name: str, digest: str) -> None:
        """A large file by its digest, whole or from some byte on; broken off in the middle where that is due."""
        if "Authorization" in self.headers:
            self.refuse(400, "", "only one auth mechanism allowed")
            return
        repository = self.hub.repositories[name]
        every = (content for files in repository.commits.values() for content in files.values())
        content = next(content for content in every if hashlib.sha256(content).hexdigest() == digest)
        start, end = span(self.headers.get("Range"), len(content))
        cut = None
        if repository.cuts and self.command == "GET":
            repository.cuts -= 1
            cut = (end - start) // 2
        facts = {"ETag": f'"{digest}"', "Accept-Ranges": "bytes"}
        if "Range" in self.headers:
            facts["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        self.answer(206 if "Range" in self.headers else 200, content[start:end], facts, cut)

    # ---- answers

    def give(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, message: str = "", sha: str | None = None) -> None:
        facts = {"X-Error-Code": code, "X-Error-Message": message} | ({"X-Repo-Commit": sha} if sha else {})
        self.answer(status, b"", {name: value for name, value in facts.items() if value})

    def answer(self, status: int, content: bytes, facts: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in facts.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True


def entries(files: dict[str, bytes]) -> list[dict]:
    """Files and folders as the Hub lists them."""
    folders = {parent.as_posix() for name in files for parent in Path(name).parents} - {"."}
    listed: list[dict] = [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
    for name, content in files.items():
        entry = {"type": "file", "path": name, "oid": git_id(content), "size": len(content)}
        if name.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
        listed.append(entry)
    return listed


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def span(asked: str | None, size: int) -> tuple[int, int]:
    """The bytes of a Range header, from and to."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "bytes=0-")
    return int(match[1]), int(match[2]) + 1 if match[2] else size
