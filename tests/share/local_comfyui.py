"""A hub on this machine: the handful of addresses that an upload asks for, with its refusals and its memory."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_right"
LARGE = (".safetensors", ".png")


@dataclass
class Repo:
    """A repository: what is in it, by path."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0


@dataclass
class StandIn:
    """What the hub remembers, and how it is made to fail."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    sent: list[int] = field(default_factory=list)
    """Sizes of the blobs that came over the wire."""
    spoil: set[int] = field(default_factory=set)
    """Sizes of blobs that are refused once."""
    hang_up: set[str] = field(default_factory=set)
    """Ends of paths where the connection is cut once."""


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A running hub that is empty."""
    hub = StandIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answering", (Answers,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


class Answers(BaseHTTPRequestHandler):
    """One request each."""

    hub: StandIn
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/api/whoami-v2":
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            return self.answer(*((200, {"name": "me"}) if known else (401, {"error": "Invalid username or password."})))
        repo = self.hub.repos.get(self.path.removeprefix("/api/models/").removesuffix("/revision/main"))
        if repo is None:
            return self.answer(404, {}, "RepoNotFound")
        return self.answer(200, {"id": "x/y", "private": repo.private, "sha": "0" * 40, "siblings": []})

    def do_PUT(self) -> None:
        blob = self.body()
        if len(blob) in self.hub.spoil:
            self.hub.spoil.remove(len(blob))
            return self.answer(400, {})
        self.hub.sent.append(len(blob))
        self.hub.blobs[sha256(blob).hexdigest()] = blob
        return self.answer(200, {})

    def do_POST(self) -> None:
        body = self.body()
        for end in [end for end in self.hub.hang_up if self.path.endswith(end)]:
            self.hub.hang_up.remove(end)
            self.close_connection = True
            return None
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid username or password."})
        if self.path == "/api/repos/create":
            return self.create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.path.endswith("/objects/batch"):
            return self.answer(200, {"objects": [self.place(each) for each in json.loads(body)["objects"]]})
        kind, _, repo = self.path.removeprefix("/api/models/").rpartition("/main")[0].rpartition("/")[::-1]
        if kind == "preupload":
            return self.answer(200, {"files": [self.mode(repo, each) for each in json.loads(body)["files"]]})
        return self.commit(self.hub.repos[repo], [json.loads(line) for line in body.splitlines()])

    def create(self, asked: dict) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] == "others":
            return self.answer(403, {"error": "You don't have the rights to create a model under this namespace"})
        if asked["organization"] == "nobody":
            return self.answer(404, {"error": "not found"})
        there = name in self.hub.repos
        self.hub.repos.setdefault(
            name, Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
        )
        return self.answer(409 if there else 200, {"url": f"{self.hub.address}/{name}", "name": name})

    def mode(self, repo: str, file: dict) -> dict:
        there = self.hub.repos[repo].files.get(file["path"])
        large = file["path"].endswith(LARGE)
        known = None
        if there is not None:
            known = sha256(there).hexdigest() if large else sha1(b"blob %d\0" % len(there) + there).hexdigest()
        mode = "lfs" if large else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": known}

    def place(self, asked: dict) -> dict:
        if asked["oid"] in self.hub.blobs:
            return asked
        return {**asked, "actions": {"upload": {"href": f"{self.hub.address}/blob/{asked['oid']}"}}}

    def commit(self, repo: Repo, lines: list[dict]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                repo.files[value["path"]] = b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repo.files[value["path"]] = self.hub.blobs[value["oid"]]
        repo.commits += 1
        return self.answer(200, {"commitUrl": f"{self.hub.address}/c/1", "commitOid": "1" * 40, "pullRequestUrl": None})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, code: int, contents: dict, error: str = "") -> None:
        raw = json.dumps(contents).encode()
        self.send_response(code)
        if error:
            self.send_header("X-Error-Code", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
