"""Against a real server on this machine that refuses as the hub does; the hub's address is read once per process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

FETCH = """
import sys
from flux_lora.errors import ModelError
from flux_lora.models.hub import fetched
try:
    fetched(sys.argv[1], ["vae/*"])
except ModelError as error:
    print(error)
"""


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        gated = "gated" in self.path
        self.send_response(403 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def asked(name: str, home: os.PathLike[str], **settings: str) -> str:
    surroundings = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", **settings}
    asking = [sys.executable, "-c", FETCH, name]
    return subprocess.run(asking, env=surroundings, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_gated_model_asks_for_its_licence(hub, tmp_path):
    said = asked("someone/gated-model", tmp_path, HF_ENDPOINT=hub)
    assert "someone/gated-model needs an accepted licence" in said
    assert "hf auth login" in said


def test_a_model_the_hub_does_not_have_is_a_spelling_to_check(hub, tmp_path):
    said = asked("someone/mispelt", tmp_path, HF_ENDPOINT=hub)
    assert "no model someone/mispelt" in said
    assert "spelling" in said


def test_without_a_network_a_model_that_is_not_here_says_so(tmp_path):
    said = asked("someone/model", tmp_path, HF_HUB_OFFLINE="1")
    assert "is not on this disk, and the hub cannot be reached" in said
