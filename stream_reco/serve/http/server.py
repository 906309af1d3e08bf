"""The HTTP server: uvicorn on its own thread, over a socket that is bound beforehand."""

from __future__ import annotations

import errno
import socket
import threading
from typing import Any, Self, cast

import uvicorn

from stream_reco.serve.http.app import Api
from stream_reco.serve.http.connection import BoundedConnection
from stream_reco.serve.http.learner_api import LearnerApi

CONNECTIONS_WAITING = 2048
"""Backlog of the listening socket; uvicorn's default."""
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s for which load balancers usually keep idle connections, so that they close first."""
GRACE_SECONDS = 10
"""For requests under way when the server stops."""
START_SECONDS = 30.0
"""How much longer a stop waits for a server that is still starting."""


class CannotListenError(OSError):
    """The address cannot be listened on."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `CannotListenError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as problem:
        raise CannotListenError(
            f"cannot listen on {host!r}: {problem.strerror}; set serve.host to an address of this machine"
        ) from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(CONNECTIONS_WAITING)
    except OSError as problem:
        opened.close()
        fix = "check the setting serve.host"
        if problem.errno == errno.EADDRINUSE:
            fix = "another program listens there: stop it, or choose another port with --port (0 takes a free one)"
        raise CannotListenError(f"cannot listen on {host}:{port}: {problem.strerror}; {fix}") from None
    return opened


class SocketServer:
    """Answers what connects to a listening socket, on an event loop of its own, on a thread, from `start` to `stop`.

    Connections made before `start` wait.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._socket = listener
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, api: Api | LearnerApi) -> Self:
        """Answer requests from now on."""
        config = uvicorn.Config(
            cast(Any, api),  # uvicorn's type for applications names every message; ours are plain mappings
            http=BoundedConnection if isinstance(api, Api) else "httptools",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nobody asks for a client's address
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="http", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish requests under way, for `GRACE_SECONDS` at most, and close the port. Idempotent."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(GRACE_SECONDS + START_SECONDS)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def url_of(host: str, listener: socket.socket) -> str:
    """Where clients reach what listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"


class HttpServer(SocketServer):
    """Serves an API at an address, as a context manager.

    The constructor binds the socket, so that a port in use is reported before anything else is started.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(listen(host, port))
        self.port: int = self._socket.getsockname()[1]
        self.url = url_of(host, self._socket)
