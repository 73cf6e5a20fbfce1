"""Downloads that can be cut at any byte."""

import http.client
import math
import os
import queue
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import IO

from mmhash.errors import InputError
from mmhash.files import require_space, sha256_file
from mmhash.progress import track

BLOCK = 1 << 20
LONGEST_WAIT = 60.0  # seconds between two attempts
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})


class _BrokenTransferError(Exception):
    """The transfer broke off in a way that another attempt may mend."""


def fetch(
    url: str,
    destination: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    retries: int = 5,
    timeout: float = 60.0,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Download ``url`` to ``destination`` and return the SHA-256 of what arrived.

    Bytes go to ``destination.part``; a broken transfer, or a later call, goes on where it stopped.
    After ``retries`` attempts in a row that brought nothing new it gives up, having waited
    1, 2, 4, … seconds between them. ``destination`` appears only complete, with the right
    ``size`` in bytes and checksum where those are given.

    Raises :class:`InputError` for another scheme than http(s), an address that refuses, a network
    that stays broken, a full disk, and a wrong size or checksum (the part file is then removed).
    """
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise InputError(f"{url}: only http and https addresses are downloaded")
    destination.parent.mkdir(parents=True, exist_ok=True)
    part = destination.with_name(destination.name + ".part")
    most = _length(part)
    failures = 0
    while True:
        try:
            _receive(url, part, size, timeout)
            break
        except _BrokenTransferError as broken:
            failures = 1 if _length(part) > most else failures + 1
            most = max(most, _length(part))
            if failures > retries:
                raise InputError(
                    f"{url}: {broken}, {failures} times in a row; check the network and run again "
                    f"(it goes on after {most:,} bytes), or put the file at {destination}"
                ) from None
            sleep(min(2.0 ** (failures - 1), LONGEST_WAIT))
    got = _verified(url, part, sha256, size)
    part.replace(destination)
    return got


def side_by_side(tasks: Sequence[Callable[[], object]]) -> None:
    """Run ``tasks`` at the same time; the first exception is raised at once.

    The others are then left to end with the process (Ctrl-C does not wait for a slow server
    either): what they had received is on disk, and the next call goes on from there.
    """
    ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # the caller raises it
            ended.put(error)
        else:
            ended.put(None)

    for task in tasks:
        threading.Thread(target=run, args=(task,), daemon=True).start()
    for _ in tasks:
        error = ended.get()
        if error is not None:
            raise error


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http(s) only, and never from https back to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or req.type == "https"):
            raise InputError(f"{req.full_url}: redirects to {newurl}, which is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _receive(url: str, part: Path, size: int | None, timeout: float) -> None:
    """Bring ``part`` to its full length; :class:`_BrokenTransferError` keeps what came so far."""
    offset = _length(part)
    if size is not None and offset == size:
        return  # complete already; the checksum decides
    request = urllib.request.Request(url, headers={"User-Agent": "mmhash"})  # noqa: S310 http(s) only
    if offset:
        request.add_header("Range", f"bytes={offset}-")
    try:
        response = urllib.request.build_opener(_HttpRedirects).open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        answer = f"the server answers {error.code} {' '.join(str(error.reason).split())}"
        if error.code == 416:  # the part is not a beginning of what the server has now
            part.unlink(missing_ok=True)
            raise _BrokenTransferError("the partial file did not fit the server's") from None
        if error.code in _WORTH_RETRYING:
            raise _BrokenTransferError(answer) from None
        raise InputError(f"{url}: {answer}; check the address") from None
    except urllib.error.URLError as error:
        raise _BrokenTransferError(f"no connection ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenTransferError(f"no answer ({type(error).__name__})") from None
    with response:
        start, total = _extent(response, offset)
        if size is not None and total is not None and total != size:
            raise InputError(f"{url}: has {total:,} bytes, expected {size:,}; the file changed")
        expected = size if total is None else total
        remaining = None if expected is None else expected - start
        require_space(part.parent, remaining or 0, url)
        count = None if remaining is None else math.ceil(remaining / BLOCK)
        blocks = track(_blocks(response), count, part.name, unit="MiB")
        got = start + _append(blocks, part, start, url, size)
    if expected is not None and got < expected:
        raise _BrokenTransferError(f"the connection ended at {got:,} of {expected:,} bytes")


def _extent(response: http.client.HTTPResponse, offset: int) -> tuple[int, int | None]:
    """Return (first byte that follows, total length or None) of a response to a range request."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers["Content-Range"] or "")
        if found and int(found[1]) == offset:
            return offset, None if found[2] == "*" else int(found[2])
        raise _BrokenTransferError("the server sent another part of the file than was asked for")
    length = response.headers["Content-Length"]  # 200: the whole file, whatever was asked for
    return 0, int(length) if length and length.isdigit() else None


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the body in whole blocks; before a break is raised, what had arrived is yielded too."""
    while True:
        block = bytearray()
        try:
            while len(block) < BLOCK and (piece := response.read1(BLOCK - len(block))):
                block += piece
        except (OSError, http.client.HTTPException) as error:
            if block:
                yield bytes(block)
            raise _BrokenTransferError(f"the connection broke ({type(error).__name__})") from None
        if block:
            yield bytes(block)
        if len(block) < BLOCK:
            return


def _append(blocks: Iterator[bytes], part: Path, start: int, url: str, size: int | None) -> int:
    """Write ``blocks`` from byte ``start`` of ``part`` on; return how many bytes they were."""
    received = 0
    try:
        with part.open("ab" if start else "wb") as stream:
            for block in blocks:
                received += len(block)
                if size is not None and start + received > size:
                    raise InputError(f"{url}: sends more than the {size:,} bytes expected")
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:  # of the disk: those of the network are named otherwise by now
        raise InputError(f"{part}: cannot be written ({error.strerror}); make room") from None
    return received


def _verified(url: str, part: Path, sha256: str | None, size: int | None) -> str:
    got = sha256_file(part)
    if size is not None and _length(part) != size:
        length = _length(part)
        part.unlink()
        raise InputError(f"{url}: {length:,} bytes arrived, expected {size:,}; run again")
    if sha256 is not None and got != sha256.lower():
        part.unlink()
        raise InputError(
            f"{url}: SHA-256 is {got}, expected {sha256}; the partial file is removed: run again, "
            "or correct the checksum if the file was meant to change"
        )
    return got


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
