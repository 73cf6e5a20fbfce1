"""Downloads over a server that cuts, lies and refuses."""

import hashlib
import io
import random
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from mmhash.data.download import _HttpRedirects, fetch

from .conftest import answering, fails_with, send

BODY = random.Random(0).randbytes(300_000)
SUM = hashlib.sha256(BODY).hexdigest()

Reply = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers request after request with ``replies``; the last of them goes on for ever."""

    def __init__(self) -> None:
        self.replies: list[Reply] = [whole]
        self.ranges: list[str | None] = []
        self.url = ""

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        self.ranges.append(handler.headers["Range"])
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        reply(handler)


def whole(handler: BaseHTTPRequestHandler) -> None:
    send(handler, BODY)


def cut_after(count: int) -> Reply:
    return lambda handler: send(handler, BODY, count)


def reset_after(count: int) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        send(handler, BODY, count)
        handler.wfile.flush()
        option = b"\1\0\0\0\0\0\0\0"  # linger 0: the connection ends with a reset
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        handler.connection.close()

    return reply


def ignore_range(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY)


def answer(status: int, body: bytes = b"", **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    with answering(running.reply) as address:
        running.url = f"{address}/archive.zip"
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def get(server: Server, tmp_path: Path, waits: list[float]) -> Callable[..., Path]:
    def call(**options) -> Path:
        target = tmp_path / "downloads" / "archive.zip"
        fetch(options.pop("url", server.url), target, sleep=waits.append, timeout=10, **options)
        return target

    return call


def part_of(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "archive.zip.part"


def start_part(tmp_path: Path, content: bytes) -> None:
    part_of(tmp_path).parent.mkdir(exist_ok=True)
    part_of(tmp_path).write_bytes(content)


def test_a_file_arrives_whole_and_its_checksum_is_returned(server, tmp_path):
    target = tmp_path / "archive.zip"
    assert fetch(server.url, target, sha256=SUM.upper(), size=len(BODY)) == SUM
    assert target.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [target]
    assert server.ranges == [None]


@pytest.mark.parametrize("cut", [cut_after, reset_after])
def test_a_cut_connection_goes_on_where_it_stopped(server, get, waits, cut):
    server.replies = [cut(100_000), cut(50_000), whole]
    assert get(sha256=SUM).read_bytes() == BODY
    assert len(server.ranges) == 3
    if cut is cut_after:  # after a reset, what stood in the receiver's buffer may be lost
        assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
        assert waits == [1.0, 1.0]  # each attempt brought something: no growing wait


def test_what_had_arrived_before_a_break_is_kept(server, get):
    def cut_chunks(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"2710\r\n" + BODY[:10_000] + b"\r\n2710\r\n" + BODY[10_000:10_500])
        handler.close_connection = True

    server.replies = [cut_chunks, whole]
    assert get(sha256=SUM).read_bytes() == BODY
    assert 10_000 <= int(server.ranges[1][6:-1]) <= 10_500


def test_a_later_call_goes_on_where_the_last_one_was_killed(server, get, tmp_path):
    start_part(tmp_path, BODY[:1234])
    assert get(sha256=SUM, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == ["bytes=1234-"]
    assert not part_of(tmp_path).exists()


def test_a_server_that_ignores_ranges_sends_it_all_again(server, get, tmp_path):
    start_part(tmp_path, BODY[:1234])
    server.replies = [ignore_range]
    assert get(sha256=SUM).read_bytes() == BODY
    assert server.ranges == ["bytes=1234-"]


def test_another_range_than_asked_for_is_not_appended(server, get, tmp_path):
    start_part(tmp_path, BODY[:1234])
    wrong_range = answer(206, b"not what was asked", Content_Range=f"bytes 0-17/{len(BODY)}")
    server.replies = [wrong_range, whole]
    assert get(sha256=SUM).read_bytes() == BODY
    assert server.ranges == ["bytes=1234-"] * 2


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_a_part_longer_than_the_file_is_thrown_away(get, tmp_path, size):
    start_part(tmp_path, BODY + b"more")
    assert get(sha256=SUM, size=size).read_bytes() == BODY


def test_a_complete_part_is_checked_without_asking_again(server, get, tmp_path):
    start_part(tmp_path, BODY)
    assert get(sha256=SUM, size=len(BODY)).read_bytes() == BODY
    assert server.ranges == []


def test_waits_double_while_nothing_arrives_and_then_it_gives_up(server, get, tmp_path, waits):
    start_part(tmp_path, BODY[:1000])
    server.replies = [answer(503)]
    fails_with(lambda: get(retries=7), "503", "8 times", "1,000 bytes", "run again")
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    assert part_of(tmp_path).read_bytes() == BODY[:1000]
    assert not (tmp_path / "downloads" / "archive.zip").exists()


def test_a_server_error_that_passes_is_waited_for(server, get, waits):
    server.replies = [answer(500), answer(429), whole]
    assert get(sha256=SUM).read_bytes() == BODY
    assert waits == [1.0, 2.0]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_repeated(server, get, waits, status):
    server.replies = [answer(status)]
    fails_with(get, str(status), "check the address")
    assert waits == []
    assert len(server.ranges) == 1


def test_nobody_listening_is_one_line(get, waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fails_with(lambda: get(url=f"http://127.0.0.1:{port}/x.zip", retries=1), "no connection")
    assert waits == [1.0]


def test_a_body_that_stays_short_is_never_taken_for_the_file(server, get, tmp_path):
    server.replies = [lambda handler: ignore_and_cut(handler)]
    fails_with(lambda: get(retries=2), "ended at 10 of 300,000 bytes", "3 times")
    assert not (tmp_path / "downloads" / "archive.zip").exists()


def ignore_and_cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(BODY)))
    handler.end_headers()
    handler.wfile.write(BODY[:10])


def test_wrong_bytes_are_thrown_away_and_both_sums_named(server, get, tmp_path):
    wrong = BODY[:-1] + bytes([BODY[-1] ^ 1])
    server.replies = [lambda handler: send(handler, wrong)]
    fails_with(lambda: get(sha256=SUM), SUM, hashlib.sha256(wrong).hexdigest())
    assert list((tmp_path / "downloads").iterdir()) == []


def test_another_size_than_expected_is_refused_before_it_is_loaded(server, get, tmp_path):
    fails_with(lambda: get(size=len(BODY) + 1), "300,000", "300,001")
    assert not (tmp_path / "downloads" / "archive.zip").exists()


def test_without_a_length_more_than_the_expected_size_is_refused(server, get):
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY)

    server.replies = [endless]
    assert get(sha256=SUM).read_bytes() == BODY
    fails_with(lambda: get(size=1000), "more than the 1,000 bytes")


def test_redirects_are_followed_and_keep_the_range(server, get, tmp_path):
    start_part(tmp_path, BODY[:1234])
    server.replies = [answer(302, Location="/moved"), answer(301, Location=server.url), whole]
    assert get(sha256=SUM).read_bytes() == BODY
    assert server.ranges == ["bytes=1234-"] * 3


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/hostname"])
def test_redirects_leave_the_web_nowhere(server, get, waits, target):
    server.replies = [answer(302, Location=target)]
    fails_with(get, "302" if target.startswith("file") else target)
    assert waits == []


def test_a_redirect_from_https_to_http_is_refused():
    def redirect(origin: str, target: str) -> urllib.request.Request | None:
        request = urllib.request.Request(origin)
        return _HttpRedirects().redirect_request(
            request, io.BytesIO(), 302, "Found", Message(), target
        )

    fails_with(lambda: redirect("https://host/x", "http://host/x"), "http://host/x")
    assert redirect("https://host/x", "https://other/x").full_url == "https://other/x"
    assert redirect("http://host/x", "https://host/x").full_url == "https://host/x"


def test_a_redirect_loop_ends(server, get):
    server.replies = [answer(302, Location=server.url)]
    fails_with(get, "302")


@pytest.mark.parametrize("url", ["ftp://host/x.zip", "file:///etc/hostname", "/etc/hostname"])
def test_only_web_addresses_are_downloaded(get, url):
    fails_with(lambda: get(url=url), "only http and https")


def test_a_full_disk_is_noticed_before_the_download(server, get, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=299_999))
    fails_with(get, "300,000", "299,999", "make room")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    assert get(sha256=SUM).read_bytes() == BODY


def test_a_part_that_cannot_be_written_is_one_line_and_not_repeated(get, tmp_path, waits):
    part_of(tmp_path).mkdir(parents=True)
    (part_of(tmp_path) / "inside").touch()
    fails_with(get, "archive.zip.part", "cannot be written")
    assert waits == []
