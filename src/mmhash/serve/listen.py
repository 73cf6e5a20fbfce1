"""The application on 127.0.0.1, and on no other address."""

import errno
import json
import socket
from typing import Any

from flask import Flask
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from mmhash.errors import InputError
from mmhash.serve.app import TOO_LARGE, UPLOAD_BYTES

HOST = "127.0.0.1"
THREADS = 6  # one predicts, two wait, the others show the page and send requests away
CONNECTIONS = 32
IDLE_SECONDS = 30
# A request that is somewhat too large is read to its end, so that the sender reads the answer
# instead of a broken connection; beyond this the connection is cut.
DRAINED_BYTES = 4 * UPLOAD_BYTES


def open_socket(port: int) -> socket.socket:
    """Return a socket that listens at ``port`` (0: any that is free).

    Raises :class:`InputError` where the port is taken or not for this user.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = {
            errno.EADDRINUSE: "is in use; end what listens there, or choose another with --port",
            errno.EACCES: "is not for this user; choose one above 1023 with --port",
        }.get(error.errno or 0, f"cannot be opened ({error.strerror})")
        raise InputError(f"port {port} {why}") from None


def serve_until_interrupted(app: Flask, listening: socket.socket) -> None:
    """Answer requests until Ctrl-C; raises KeyboardInterrupt then, with everything closed."""
    server = create_server(
        app,
        sockets=[listening],
        threads=THREADS,
        connection_limit=CONNECTIONS,
        channel_timeout=IDLE_SECONDS,
        max_request_body_size=DRAINED_BYTES,
        max_request_header_size=32_768,
        ident="mmhash",
    )
    server.channel_class = _Channel
    server.run()  # returns on Ctrl-C
    server.close()
    raise KeyboardInterrupt


class _JsonErrorTask(ErrorTask):
    """What waitress itself refuses, as the errors of the application look."""

    def execute(self) -> None:
        """Answer the request that could not be read."""
        error: Any = self.request.error
        line = TOO_LARGE if error.code == 413 else f"the request cannot be read ({error.reason})"
        body = json.dumps({"error": line}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", "application/json"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Channel(HTTPChannel):
    error_task_class = _JsonErrorTask
