"""The web application: ``GET /`` shows the page, ``POST /predict`` tags uploaded pictures.

There is nothing else: no file is served by its name, no cookie set, nothing kept between requests.
Uploads are decoded from memory within the bounds of :mod:`mmhash.data.picture`; what goes back
are texts and thumbnails that were encoded here. Errors are ``{"error": one line}``.
"""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from mmhash.errors import InputError
from mmhash.serve.answer import RefusedError, answers
from mmhash.serve.guard import from_own_page, known_host
from mmhash.serve.watched import Watched
from mmhash.trained import TrainedRun

logger = logging.getLogger(__name__)

UPLOAD_BYTES = 20_000_000  # of a request; a photograph has 2 to 12 MB
CAPTION_BYTES = 500_000  # of all fields of a request that are no files
PICTURES = 8  # of a request
WAITING = 2  # requests that may wait for the one at work; more are sent away at once
TOO_LARGE = (
    f"too much for one request: at most {UPLOAD_BYTES / 1e6:.0f} MB, {PICTURES} pictures and "
    f"{CAPTION_BYTES:,} bytes of captions"
)
MESSAGES = {
    RequestEntityTooLarge: TOO_LARGE,
    NotFound: "there is nothing here; the page is at /",
    MethodNotAllowed: "the page is read with GET /, pictures are sent with POST /predict",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"


def make_app(run: TrainedRun, page: str, port: int) -> Flask:
    """Return the application that shows ``page`` and predicts with ``run`` at ``port``."""
    app = Flask("mmhash", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = UPLOAD_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = CAPTION_BYTES
    app.config["MAX_FORM_PARTS"] = 4 * PICTURES
    content, policy = page.encode(), f"{policy_of(page)}; frame-ancestors 'none'"
    turns, watched = _Turns(), Watched(run)

    @app.before_request
    def refuse_strangers() -> Response | None:
        told = request.headers
        host = told.get("Host", "")
        if not known_host(host, port):
            return _error(403, f"not the address of this server; open http://127.0.0.1:{port}/")
        if request.method not in ("GET", "HEAD") and not from_own_page(
            host, told.get("Origin"), told.get("Sec-Fetch-Site")
        ):
            return _error(403, "requests of other pages are not answered")
        return None

    @app.get("/")
    def show() -> Response:
        return Response(content, mimetype="text/html", headers={"Content-Security-Policy": policy})

    @app.post("/predict")
    def predict() -> Response:
        pictures, captions = _uploaded()
        with turns.taken():
            found = answers(watched, pictures, captions)
        return jsonify(predictions=found)

    @app.after_request
    def guard_answer(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", NOTHING)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    app.register_error_handler(Exception, _failed)
    return app


def policy_of(page: str) -> str:
    """Return the Content-Security-Policy that ``page`` states in its head."""
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    if found is None:
        raise InputError("not a page of mmhash report; run mmhash report again")
    return found[1]


def _uploaded() -> tuple[list[tuple[str, bytes]], list[str | None]]:
    """Return name and content of the pictures of the request, and a caption or None for each."""
    files = [file for file in request.files.getlist("picture") if file.filename]
    if not files:
        raise RefusedError("no picture came with the request; send it as the field picture")
    if len(files) > PICTURES:
        raise RefusedError(f"{len(files)} pictures; at most {PICTURES} go into one request")
    texts = request.form.getlist("caption")
    if sum(len(text.encode()) for text in texts) > CAPTION_BYTES:
        raise RequestEntityTooLarge  # the bound that werkzeug keeps is that of a single field
    if any("\ufffd" in text for text in texts):  # what werkzeug puts for bytes that are no UTF-8
        raise RefusedError("a caption is no valid UTF-8; send it as UTF-8")
    captions = [text.strip() or None for text in texts]
    captions = captions or [None] * len(files)
    if len(captions) != len(files):
        raise RefusedError(
            f"{len(captions)} captions for {len(files)} pictures; send one field caption for each, "
            "empty where there is none"
        )
    return [(file.filename or "", file.read()) for file in files], captions


class _Turns:
    """One request at work, a few that wait: a queue that grows would answer nobody in time."""

    def __init__(self) -> None:
        self._at_work = threading.Lock()
        self._places = threading.BoundedSemaphore(1 + WAITING)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn; raises :class:`BusyError` where too many wait already."""
        if not self._places.acquire(blocking=False):
            raise BusyError
        try:
            with self._at_work:
                yield
        finally:
            self._places.release()


class BusyError(Exception):
    """Too many requests wait already."""


def _error(status: int, line: str) -> Response:
    response: Response = jsonify(error=line)
    response.status_code = status
    return response


def _failed(error: Exception) -> Response:
    """Answer with one line; what is a bug of ours goes to the log with its traceback."""
    if isinstance(error, RefusedError):
        return _error(400, str(error))
    if isinstance(error, BusyError):
        return _error(503, "other predictions are at work; try again in a moment")
    if isinstance(error, HTTPException):
        line = MESSAGES.get(type(error), f"the request cannot be read ({error.name})")
        return _error(error.code or 400, line)
    logger.error("a request failed", exc_info=error)
    return _error(500, "the prediction failed; the terminal of mmhash serve says why")
