# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A stand-in for the Hugging Face Hub on 127.0.0.1, held in memory: `python tests/hub_server.py --port 8765`."""

import argparse
import base64
import hashlib
import json
import re
import tempfile
import threading
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


API = "/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
PAGE = "/(?:(?P<kind>dataset|space)s/)?(?P<name>[^/]+/[^/]+?)"  # a model's address has no prefix
ROUTES = []


@dataclass(frozen=True)
class Blob:
    """A file's content, and whether it came through LFS."""

    data: bytes
    lfs: bool = False

    @cached_property
    def oid(self) -> str:
        """What the client compares: the git hash, or the SHA-256 of what LFS holds."""
        if self.lfs:
            return hashlib.sha256(self.data).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    def facts(self, oid_key: str) -> dict:
        size = len(self.data)
        lfs = {"oid": self.oid, "sha256": self.oid, "size": size, "pointerSize": 134}
        return {oid_key: self.oid, "size": size} | ({"lfs": lfs} if self.lfs else {})


@dataclass
class Repo:
    """Every commit keeps the whole set of its files by their paths; a branch is the name of a commit."""

    kind: str
    name: str
    private: bool = False
    sdk: str | None = None
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return f"/{self.name}" if self.kind == "model" else f"/{self.kind}s/{self.name}"

    def commit(self, branch: str, files: dict[str, Blob]) -> str:
        listing = sorted((path, blob.oid) for path, blob in files.items())
        sha = hashlib.sha1(f"{self.page} {len(self.commits)} {listing}".encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str:
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha


class Refusal(Exception):
    """An error told as the Hub tells it: in the body and in the headers."""

    def __init__(self, status: int, message: str, code: str | None = None, body=(), headers=()):
        super().__init__(message)
        self.status, self.body = status, {"error": message, **dict(body)}
        header = message.encode("ascii", "replace").decode()  # a file's name may be in any script
        self.headers = {"X-Error-Message": header} | ({"X-Error-Code": code} if code else {}) | dict(headers)


class HubServer:
    """Serves from a thread of this process while its `with` block runs."""

    def __init__(self, lfs: bool = False, token: str | None = "hf_test", port: int = 0):
        self.lfs = lfs  # whether *.safetensors go through LFS
        self.token = token  # the only one taken; None takes any
        self.refuse_commits = False
        self.repos: dict[tuple[str, str], Repo] = {}  # by ("model", "user/name")
        self.objects: dict[str, bytes] = {}  # what LFS holds, by SHA-256
        self.requests: list[tuple[str, str]] = []  # (method, path without its query), in order
        self.lock = threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", port), type("HubHandler", (Handler,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception) -> None:
        self.http.shutdown()
        self.http.server_close()

    def environment(self, home) -> dict[str, str]:
        """Variables to lay over a client's own, so that it talks to this server and caches under `home`."""
        # HF_HUB_CACHE would win over HF_HOME where the caller has it.
        places = {"HF_ENDPOINT": self.endpoint, "HF_HOME": f"{home}", "HF_HUB_CACHE": f"{home}/hub"}
        disabled = dict.fromkeys([f"HF_HUB_DISABLE_{what}" for what in ("XET", "TELEMETRY", "PROGRESS_BARS")], "1")
        online = {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        return {**places, "HF_TOKEN": self.token or "hf_test", **disabled, **online}

    def files(self, name: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        """What a repo holds, as a download would give it."""
        repo = self.repos[repo_type, name]
        return {path: blob.data for path, blob in repo.commits[repo.resolve(revision)].items()}


def route(methods: str, pattern: str, signed_in: bool = False):
    """Marks the method that answers `methods` of the paths that match; it gets the named groups."""

    def register(function):
        ROUTES.append((methods.split(), re.compile(pattern), signed_in, function))
        return function

    return register


class Handler(BaseHTTPRequestHandler):
    """One client's connection. A route returns the body, bytes or what becomes JSON, or that and headers."""

    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the body, written after the headers, would wait for the client's receipt

    def handle_any(self) -> None:
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        self.body = self.read_body()  # always, or the rest of it would be taken for the next request
        try:
            with self.hub.lock:
                self.hub.requests.append((self.command, parts.path))
                answer = self.answer(parts.path)
            status, body, headers = 200, *(answer if isinstance(answer, tuple) else (answer, {}))
        except Refusal as refusal:
            status, body, headers = refusal.status, refusal.body, refusal.headers
        except Exception:
            status, body, headers = 500, traceback.format_exc().encode(), {"Content-Type": "text/plain; charset=utf-8"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        content_type = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_response(status)
        for key, value in {"Content-Type": content_type, **headers, "Content-Length": len(data)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *args) -> None:
        """Prints nothing: the server's `requests` has it all."""

    def answer(self, path: str):
        if self.token and self.hub.token not in (None, self.token):
            raise Refusal(401, "Invalid credentials in Authorization header")
        for methods, pattern, signed_in, function in ROUTES:
            if self.command in methods and (match := pattern.fullmatch(path)):
                # Unquoted only now: a branch or a folder comes with its slashes quoted.
                groups = {key: unquote(value) for key, value in match.groupdict().items() if value}
                if signed_in and self.token is None:
                    # On an address of a repo the client takes any 401 for a missing one, but knows only https ones.
                    raise Refusal(401, "Invalid username or password.", "RepoNotFound" if "name" in groups else None)
                return function(self, **groups)
        raise Refusal(404, f"hub_server.py does not know {self.command} {path}")

    def repo(self, kind: str, name: str) -> Repo:
        repo = self.hub.repos.get((kind, name))
        if self.token is None and (repo is None or repo.private):
            raise Refusal(401, "Invalid username or password.", "RepoNotFound")  # a stranger is not told which
        if repo is None:
            raise Refusal(404, "Repository not found", "RepoNotFound")
        return repo

    @route("GET", "/api/whoami-v2", signed_in=True)
    def whoami(self):
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        return {"type": "user", "id": "0", "name": "user", "fullname": "User", "orgs": [], "auth": token}

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        bare = not json.loads(self.body)["content"].startswith("---")
        return {"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}] * bare}

    @route("POST", "/api/repos/create", signed_in=True)
    def create_repo(self):
        asked = json.loads(self.body)
        kind, name = asked.get("type") or "model", f"{asked.get('organization') or 'user'}/{asked['name']}"
        repo = Repo(kind, name, asked.get("visibility") == "private" or asked.get("private") is True, asked.get("sdk"))
        address = {"url": self.hub.endpoint + repo.page, "name": name}
        if (kind, name) in self.hub.repos:
            raise Refusal(409, f"You already created this {kind} repo: {name}", body=address)
        files = {".gitattributes": Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n")}
        if kind == "space":
            files["README.md"] = Blob(f"---\ntitle: {asked['name']}\nsdk: {repo.sdk}\n---\n".encode())
        repo.commit("main", files)  # the Hub's own first commit
        self.hub.repos[kind, name] = repo
        return address

    @route("GET", API + "(?:/revision/(?P<revision>[^/]+))?")
    def info(self, kind: str, name: str, revision: str = "main"):
        repo = self.repo(kind, name)
        sha = repo.resolve(revision)
        details = "blobs" in self.query
        files = sorted(repo.commits[sha].items())
        siblings = [{"rfilename": path} | (blob.facts("blobId") if details else {}) for path, blob in files]
        told = {"id": name, "author": name.split("/")[0], "sha": sha, "private": repo.private, "siblings": siblings}
        return told | {"gated": False, "disabled": False, "tags": []} | ({"sdk": repo.sdk} if repo.sdk else {})

    @route("GET", API + "/refs")
    def refs(self, kind: str, name: str):
        branches = self.repo(kind, name).branches.items()
        listed = [{"name": branch, "ref": f"refs/heads/{branch}", "targetCommit": sha} for branch, sha in branches]
        return {"branches": listed, "tags": [], "converts": [], "pullRequests": []}

    @route("POST", API + "/branch/(?P<branch>[^/]+)", signed_in=True)
    def create_branch(self, kind: str, name: str, branch: str):
        repo = self.repo(kind, name)
        if branch in repo.branches:
            raise Refusal(409, f"Reference already exists: refs/heads/{branch}")
        repo.branches[branch] = repo.resolve(json.loads(self.body).get("startingPoint", "main"))
        return {}

    @route("GET", API + "/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
    def tree(self, kind: str, name: str, revision: str, folder: str = ""):
        repo = self.repo(kind, name)
        sha = repo.resolve(revision)
        start = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in repo.commits[sha].items() if path.startswith(start)}
        if folder and not inside:
            message = f'{folder} does not exist on "{revision}"'
            raise Refusal(404, message, "EntryNotFound", headers={"X-Repo-Commit": sha})
        entries = {}
        for path, blob in sorted(inside.items()):
            for slash in re.finditer("/", path[len(start) :]):
                parent = path[: len(start) + slash.start()]
                oid = hashlib.sha1(parent.encode()).hexdigest()
                entries[parent] = {"type": "directory", "oid": oid, "size": 0, "path": parent}
            entries[path] = {"type": "file", "path": path, **blob.facts("oid")}
        recursive = self.query.get("recursive") in (["true"], ["1"])
        return [entry for path, entry in entries.items() if recursive or "/" not in path[len(start) :]]

    @route("HEAD GET", PAGE + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve(self, name: str, revision: str, path: str, kind: str = "model"):
        repo = self.repo(kind, name)
        headers = {"X-Repo-Commit": repo.resolve(revision)}
        blob = repo.commits[headers["X-Repo-Commit"]].get(path)
        if blob is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers=headers)
        # The Hub redirects to its storage for LFS; the client would follow a redirect that stays on the same host
        # and miss these headers, so the content is given here.
        linked = {"X-Linked-Etag": f'"{blob.oid}"', "X-Linked-Size": len(blob.data)} if blob.lfs else {}
        return blob.data, {"ETag": f'"{blob.oid}"', **headers, **linked}

    @route("POST", API + "/preupload/(?P<revision>[^/]+)", signed_in=True)
    def preupload(self, kind: str, name: str, revision: str):
        repo = self.repo(kind, name)
        held = repo.commits[repo.resolve(revision)]
        files = []
        for path in (file["path"] for file in json.loads(self.body)["files"]):
            mode = "lfs" if self.hub.lfs and path.endswith(".safetensors") else "regular"
            # The client leaves a file out of its commit if this is its hash.
            oid = {"oid": held[path].oid} if path in held else {}
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        return {"files": files}

    @route("POST", PAGE + r"\.git/info/lfs/objects/batch", signed_in=True)
    def lfs_batch(self, name: str, kind: str = "model"):
        self.repo(kind, name)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            upload = {"actions": {"upload": {"href": f"{self.hub.endpoint}/lfs/{asked['oid']}"}}}
            # Without an action the client knows that the object is here.
            objects.append(asked | ({} if asked["oid"] in self.hub.objects else upload))
        return {"transfer": "basic", "objects": objects}

    @route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")  # without a token: the Hub's storage is another host, its links signed
    def lfs_put(self, oid: str):
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, f"The content's SHA-256 is not {oid}")
        self.hub.objects[oid] = self.body
        return b""

    @route("POST", API + "/commit/(?P<branch>[^/]+)", signed_in=True)
    def commit(self, kind: str, name: str, branch: str):
        repo = self.repo(kind, name)
        if self.hub.refuse_commits:
            raise Refusal(403, "Forbidden: you must use a write token to upload to a repository.")
        if "create_pr" in self.query:
            raise Refusal(501, "hub_server.py has no pull requests")
        if branch not in repo.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        head = repo.branches[branch]
        files = dict(repo.commits[head])
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            path = value.get("path")
            match line["key"]:
                case "header":
                    if value.get("parentCommit", head) != head:
                        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[path] = Blob(base64.b64decode(value["content"]))
                case "lfsFile":
                    if value["oid"] not in self.hub.objects:
                        raise Refusal(400, f"LFS pointer pointed to a file that does not exist: {path}")
                    files[path] = Blob(self.hub.objects[value["oid"]], lfs=True)
                case "deletedFile" | "deletedFolder" as key:
                    start = path.rstrip("/") + "/"
                    gone = [
                        held for held in files if held == path or key == "deletedFolder" and held.startswith(start)
                    ]
                    if not gone:
                        raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
                    files = {held: blob for held, blob in files.items() if held not in gone}
                case key:
                    raise ValueError(f"hub_server.py does not know the operation {key}")
        sha = repo.commit(branch, files)
        url = f"{self.hub.endpoint}{repo.page}/commit/{sha}"
        return {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--lfs", action="store_true", help="take *.safetensors through LFS")
    parser.add_argument("--home", default=f"{tempfile.gettempdir()}/hf_home", help="where clients keep their cache")
    options = parser.parse_args()
    with HubServer(lfs=options.lfs, port=options.port) as server:
        variables = "\n".join(f"export {key}={value}" for key, value in server.environment(options.home).items())
        print(f"# {server.endpoint} answers as the Hub until Ctrl-C. Its clients need:\n{variables}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
