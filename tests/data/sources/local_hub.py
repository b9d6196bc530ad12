"""A small Hub on this machine: the few answers that `datasets` asks for before it has a dataset."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "c0ffee" + "0" * 34
BROKEN = "owner/broken"
"""Its files stop in the middle."""


def answers_of(name: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Every place of a dataset that is asked for, and what is there."""
    listed = [{"type": "file", "path": each, "size": len(files[each]), "oid": "0" * 40} for each in files]
    about = {"id": name, "sha": COMMIT, "private": False, "gated": False, "tags": [], "downloads": 0, "likes": 0}
    about["siblings"] = [{"rfilename": each} for each in files]
    for place in ("", "/revision/main", f"/revision/{COMMIT}"):
        yield f"/api/datasets/{name}{place}", json.dumps(about).encode()
    yield f"/api/datasets/{name}/tree/{COMMIT}", json.dumps(listed).encode()
    for each, content in files.items():
        yield f"/datasets/{name}/resolve/{COMMIT}/{each}", content


@contextmanager
def hub(sets: Mapping[str, Mapping[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    """Its address and what it is asked for, as "GET /place"."""
    asked: list[str] = []
    answers = {place: content for name, files in sets.items() for place, content in answers_of(name, files)}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            place = self.path.partition("?")[0]
            asked.append(f"{self.command} {place}")
            content = answers.get(place, b"")
            known = any(f"/{name}" in place for name in sets)
            self.send_response(200 if place in answers else 404)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("ETag", f'"{sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[:100] if f"{BROKEN}/resolve" in place else content)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format, *args):  # noqa: A002
            """Nothing; what was asked is kept instead."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
