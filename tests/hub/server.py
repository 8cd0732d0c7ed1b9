"""A stand-in for the Hugging Face Hub on this machine: the part of its HTTP protocol that huggingface_hub uses.

Repositories with branches and commits, files in git or in LFS, private and gated repositories, collections. Contents
are kept in memory; a commit's hash is made up. Xet, pull requests and pages are left out. Written after the client's
requests and the OpenAPI page of the real one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
NOW = "2026-01-01T00:00:00.000Z"


@dataclass
class Repository:
    """Branches, and the files of each commit."""

    private: bool = False
    gated: bool = False
    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Files] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit_of(self, revision: str) -> str | None:
        """The commit that a branch or a hash names."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> Files:
        """What a revision holds; may be altered."""
        return self.commits[self.branches.get(revision, revision)]

    def commit(self, files: Files, *, branch: str = "main", message: str = "") -> str:
        """Makes files the content of a branch."""
        sha = hashlib.sha1(f"{len(self.commits)}{message}{sorted(files)}{id(self)}".encode()).hexdigest()
        self.commits[sha], self.branches[branch] = files, sha
        self.messages.append(message)
        return sha


@dataclass
class Hub:
    """What the server holds, and what it was asked for."""

    tokens: dict[str, str] = field(default_factory=lambda: {"hf_ann": "ann"})
    """Token to its owner, who may write repositories and collections of that name."""
    repositories: dict[str, Repository] = field(default_factory=dict)
    collections: dict[str, dict[str, Any]] = field(default_factory=dict)
    lfs: Files = field(default_factory=dict)
    """By SHA-256."""
    requests: list[str] = field(default_factory=list)
    """Method and path."""
    lock: Lock = field(default_factory=Lock)
    url: str = ""

    def fetched(self) -> set[str]:
        """The files that were downloaded."""
        found = (re.fullmatch(r"GET /[\w.-]+/[\w.-]+/resolve/[^/]+/(.+)", request) for request in self.requests)
        return {match[1] for match in found if match}


class Refused(Exception):
    """An answer that is an error: status and the Hub's code for it."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """Finds who answers, and sends that."""
        method = self.command
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.hub.lock:
            self.hub.requests.append(f"{method} {path}")
            try:
                for pattern, answer in ROUTES:
                    if match := re.fullmatch(pattern, f"{'GET' if method == 'HEAD' else method} {path}"):
                        self.send(*answer(self, body, **match.groupdict()))
                        return
                raise Refused(404, message=f"no route {method} {path}")
            except Refused as refusal:
                headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                content = json.dumps({"error": refusal.message}).encode()
                self.send(refusal.status, content, {key: value for key, value in headers.items() if value})

    do_HEAD = do_POST = do_PUT = do_GET

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        """The answer; of HEAD without its content."""
        self.send_response(status)
        for key, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # ---- who may do what

    @property
    def user(self) -> str | None:
        """Whose token came along."""
        return self.hub.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def may_write(self, owner: str) -> None:
        """Refuses strangers, as the Hub does."""
        if self.user is None:
            raise Refused(401, message="Invalid username or password.")
        if self.user != owner:
            raise Refused(403, message=f"You don't have the rights to create a model under the namespace {owner!r}")

    def repository(self, repo_id: str) -> Repository:
        """One that may be read: to strangers, a private one is not there, and what is not there may be private."""
        found = self.hub.repositories.get(repo_id)
        if found is None or (found.private and self.user != repo_id.partition("/")[0]):
            # The client takes a 401 of the real one, which has no code, for this by its https address.
            raise Refused(404 if self.user else 401, "RepoNotFound", "Repository not found")
        return found

    def commit_of(self, repo_id: str, revision: str) -> str:
        """The commit of a revision that is there."""
        commit = self.repository(repo_id).commit_of(revision)
        if commit is None:
            raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit


def _json(content: Any, status: int = 200) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(content).encode(), {}


def _is_lfs(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


def create(request: Handler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    asked = json.loads(body)
    owner = asked.get("organization") or request.user or ""
    repo_id = f"{owner}/{asked['name']}"
    request.may_write(owner)
    if repo_id in request.hub.repositories:
        return _json({"error": "You already created this model repo", **_named(request, repo_id)}, 409)
    made = Repository(private=bool(asked.get("private")) or asked.get("visibility") == "private")
    made.commit({".gitattributes": b"*.safetensors filter=lfs"}, message="initial commit")
    request.hub.repositories[repo_id] = made
    return _json(_named(request, repo_id))


def _named(request: Handler, repo_id: str) -> dict[str, str]:
    return {"url": f"{request.hub.url}/{repo_id}", "id": repo_id, "name": repo_id}


def info(request: Handler, body: bytes, repo_id: str, revision: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    commit, found = request.commit_of(repo_id, revision or "main"), request.repository(repo_id)
    siblings = [{"rfilename": path} for path in found.files(commit)]
    return _json({"id": repo_id, "sha": commit, "private": found.private, "siblings": siblings, "tags": []})


def tree(request: Handler, body: bytes, repo_id: str, revision: str) -> tuple[int, bytes, dict[str, str]]:
    files = request.repository(repo_id).files(request.commit_of(repo_id, revision))
    listed: list[dict[str, Any]] = []
    for path, content in files.items():
        entry = {"type": "file", "path": path, "size": len(content), "oid": _git_oid(content)}
        if _is_lfs(path):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        listed.append(entry)
    return _json(listed)


def branch(request: Handler, body: bytes, repo_id: str, revision: str) -> tuple[int, bytes, dict[str, str]]:
    request.may_write(repo_id.partition("/")[0])
    found = request.repository(repo_id)
    if revision in found.branches:
        raise Refused(409, message="Reference already exists")
    found.branches[revision] = found.branches["main"]
    return _json({})


def preupload(request: Handler, body: bytes, repo_id: str, revision: str) -> tuple[int, bytes, dict[str, str]]:
    request.may_write(repo_id.partition("/")[0])
    request.commit_of(repo_id, revision)
    files = [
        {"path": file["path"], "uploadMode": "lfs" if _is_lfs(file["path"]) else "regular", "shouldIgnore": False}
        for file in json.loads(body)["files"]
    ]
    return _json({"files": files})


def lfs_batch(request: Handler, body: bytes, repo_id: str) -> tuple[int, bytes, dict[str, str]]:
    request.may_write(repo_id.partition("/")[0])
    wanted = [
        {**one, "actions": {"upload": {"href": f"{request.hub.url}/lfs/{one['oid']}"}}}
        for one in json.loads(body)["objects"]
    ]
    return _json({"transfer": "basic", "objects": wanted})


def lfs_put(request: Handler, body: bytes, oid: str) -> tuple[int, bytes, dict[str, str]]:
    assert hashlib.sha256(body).hexdigest() == oid
    request.hub.lfs[oid] = body
    return _json({})


def commit(request: Handler, body: bytes, repo_id: str, revision: str) -> tuple[int, bytes, dict[str, str]]:
    request.may_write(repo_id.partition("/")[0])
    found = request.repository(repo_id)
    if revision not in found.branches:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    files, message = dict(found.files(revision)), ""
    for line in body.splitlines():
        operation = json.loads(line)
        value = operation["value"]
        match operation["key"]:
            case "header":
                message = value["summary"]
            case "file":
                files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                files[value["path"]] = request.hub.lfs[value["oid"]]
            case "deletedFile":
                del files[value["path"]]
    made = found.commit(files, branch=revision, message=message)
    return _json({"success": True, "commitOid": made, "commitUrl": f"{request.hub.url}/{repo_id}/commit/{made}"})


def resolve(request: Handler, body: bytes, repo_id: str, revision: str, path: str) -> tuple[int, bytes, dict[str, str]]:
    found, made = request.repository(repo_id), request.commit_of(repo_id, revision)
    if found.gated and request.user != repo_id.partition("/")[0]:
        raise Refused(403 if request.user else 401, "GatedRepo", "Access to this model is restricted.")
    content = found.files(made).get(path)
    if content is None:
        raise Refused(404, "EntryNotFound", "Entry not found")
    headers = {"X-Repo-Commit": made, "Content-Type": "application/octet-stream"}
    if not _is_lfs(path):
        return 200, content, headers | {"ETag": f'"{_git_oid(content)}"'}
    oid = hashlib.sha256(content).hexdigest()
    request.hub.lfs[oid] = content
    headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
    return 302, b"", headers | {"Location": f"{request.hub.url.replace('127.0.0.1', 'localhost')}/lfs/{oid}"}


def lfs_get(request: Handler, body: bytes, oid: str) -> tuple[int, bytes, dict[str, str]]:
    return 200, request.hub.lfs[oid], {"ETag": f'"{oid}"', "Content-Type": "application/octet-stream"}


def validate_yaml(request: Handler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    return _json({"errors": [], "warnings": []})


def create_collection(request: Handler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
    asked = json.loads(body)
    request.may_write(asked["namespace"])
    words = "-".join(re.findall(r"\w+", asked["title"].lower()))
    slug = f"{asked['namespace']}/{words}-{hashlib.md5(words.encode()).hexdigest()[:24]}"
    if slug in request.hub.collections:
        return _json({"slug": slug}, 409)
    request.hub.collections[slug] = {
        "slug": slug,
        "title": asked["title"],
        "owner": asked["namespace"],
        "items": [],
        "lastUpdated": NOW,
        "position": 0,
        "private": asked["private"],
        "theme": "green",
        "upvotes": 0,
    }
    return _json(request.hub.collections[slug])


def get_collection(request: Handler, body: bytes, slug: str) -> tuple[int, bytes, dict[str, str]]:
    found = request.hub.collections.get(slug)
    if found is None or (found["private"] and request.user != found["owner"]):
        raise Refused(404, message="Collection not found")
    return _json(found)


def add_item(request: Handler, body: bytes, slug: str) -> tuple[int, bytes, dict[str, str]]:
    found = request.hub.collections[slug]
    request.may_write(found["owner"])
    item = json.loads(body)["item"]
    if any(other["id"] == item["id"] for other in found["items"]):
        raise Refused(409, message="Item already in collection")
    found["items"].append({**item, "_id": str(len(found["items"])), "position": len(found["items"])})
    return _json(found)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


_MODEL = r"/api/models/(?P<repo_id>[\w.-]+/[\w.-]+)"
ROUTES = (
    (r"POST /api/repos/create", create),
    (r"POST /api/validate-yaml", validate_yaml),
    (rf"GET {_MODEL}(?:/revision/(?P<revision>.+))?", info),
    (rf"GET {_MODEL}/tree/(?P<revision>[^/]+)", tree),
    (rf"POST {_MODEL}/branch/(?P<revision>.+)", branch),
    (rf"POST {_MODEL}/preupload/(?P<revision>.+)", preupload),
    (rf"POST {_MODEL}/commit/(?P<revision>.+)", commit),
    (r"POST /(?P<repo_id>[\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch", lfs_batch),
    (r"PUT /lfs/(?P<oid>\w+)", lfs_put),
    (r"GET /lfs/(?P<oid>\w+)", lfs_get),
    (r"POST /api/collections", create_collection),
    (r"GET /api/collections/(?P<slug>[\w.-]+/[\w.-]+)", get_collection),
    (r"POST /api/collections/(?P<slug>[\w.-]+/[\w.-]+)/items", add_item),
    (r"GET /(?P<repo_id>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)", resolve),
)


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serves the hub on a free port of this machine."""
    handler = type("HandlerOfHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
