"""The real server on a port of this machine, asked with raw requests."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmhash.errors import InputError
from mmhash.serve.app import UPLOAD_BYTES
from mmhash.serve.listen import DRAINED_BYTES, open_socket

PROGRAM = """
import sys
from pathlib import Path
from mmhash.errors import exit_code
from mmhash.serve.app import make_app
from mmhash.serve.listen import open_socket, serve_until_interrupted

class Run:
    root = Path()
    def stream(self, images, captions):
        yield f"{len(images[0])} bytes are no picture"

PAGE = '<meta http-equiv="Content-Security-Policy" content="default-src none">'

def main():
    with open_socket(0) as listening:
        port = listening.getsockname()[1]
        print(port, flush=True)
        serve_until_interrupted(make_app(Run(), PAGE, port), listening)

sys.exit(exit_code(main))
"""
HEAD = (
    "POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    "Content-Type: multipart/form-data; boundary=x\r\n"
)
PART = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.jpg"\r\n\r\n'
END = b"\r\n--x--\r\n"


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server's process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONPATH": str(repository / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield process, int(process.stdout.readline())
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def ask(server: tuple[subprocess.Popen[str], int]) -> Callable[..., tuple[int, dict]]:
    """Send a head and pieces of a body as they are; return status and JSON of the answer."""

    def ask(head: str, *body: bytes) -> tuple[int, dict]:
        port = server[1]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall((head.format(port=port) + "\r\n").encode("latin-1"))
            for piece in body:
                connection.sendall(piece)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return answer.status, json.loads(answer.read())

    return ask


def multipart(content: bytes) -> bytes:
    return PART + content + END


def test_a_body_with_its_length_or_in_chunks_is_read(ask) -> None:
    body = multipart(b"five!")
    expected = (400, {"error": "a.jpg: 5 bytes are no picture"})
    assert ask(HEAD + f"Content-Length: {len(body)}\r\n", body) == expected
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:50], body[50:], b""))
    assert ask(HEAD + "Transfer-Encoding: chunked\r\n", chunked) == expected


def test_a_body_without_a_length_is_none(ask) -> None:
    status, found = ask(HEAD)
    assert status == 400
    assert found["error"].startswith("no picture came with the request")


def test_an_upload_that_is_too_large_is_answered_with_a_line(ask) -> None:
    body = multipart(bytes(UPLOAD_BYTES))
    status, found = ask(HEAD + f"Content-Length: {len(body)}\r\n", body)
    assert status == 413
    assert found["error"].startswith("too much for one request: at most 20 MB")


def test_an_upload_far_too_large_is_not_read_to_its_end(ask) -> None:
    status, found = ask(HEAD + f"Content-Length: {DRAINED_BYTES + 1}\r\n")  # nothing was sent yet
    assert status == 413
    assert found["error"].startswith("too much for one request: at most 20 MB")


def test_chunks_without_end_are_cut_off(ask) -> None:
    piece = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    sent = [piece] * (DRAINED_BYTES // (1 << 20) + 1)
    try:
        status, _ = ask(HEAD + "Transfer-Encoding: chunked\r\n", *sent)
    except (ConnectionError, http.client.HTTPException):
        return  # cut while we were sending
    assert status == 413


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
        "GET / HTTP/1.1\r\nHost 127.0.0.1\r\n",
        "POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: -1\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX: " + "x" * 40_000 + "\r\n",
    ],
)
def test_a_request_that_is_no_http_is_one_line_of_json(ask, head: str) -> None:
    status, found = ask(head)
    assert 400 <= status <= 501
    assert found["error"].startswith("the request cannot be read (")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET / HTTP/1.0\r\n", 403),  # no Host at all
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n", 403),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", 404),
        ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", 404),
        ("GET /a%00b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", 404),
        ("GET //etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n", 404),
    ],
)
def test_strangers_and_paths_are_refused_on_the_wire(ask, head: str, expected: int) -> None:
    status, found = ask(head)
    assert status == expected
    assert set(found) == {"error"}


def test_it_listens_on_this_machine_only(server: tuple[subprocess.Popen[str], int]) -> None:
    with open_socket(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
    with socket.socket() as other:  # another address of this machine's loopback is not answered
        assert other.connect_ex(("127.0.0.2", server[1])) != 0


def test_a_port_that_is_taken_is_one_line(server: tuple[subprocess.Popen[str], int]) -> None:
    with pytest.raises(InputError, match=f"port {server[1]} is in use; .* --port"):
        open_socket(server[1])


def test_ctrl_c_ends_it_within_seconds(server: tuple[subprocess.Popen[str], int], ask) -> None:
    process, _ = server
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
