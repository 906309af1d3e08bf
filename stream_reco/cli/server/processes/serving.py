"""The whole loop in several processes, behind one port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from stream_reco.cli.server.processes.learner import ServerParts
from stream_reco.cli.server.processes.supervisor import Supervisor
from stream_reco.cli.server.running import wrong_addresses
from stream_reco.config import Settings
from stream_reco.serve.http.auth import Guard
from stream_reco.serve.http.server import listen, url_of
from stream_reco.serve.pulse import Pulse
from stream_reco.terminal.logs import log_to_stderr


@contextmanager
def serving_in_processes(
    settings: Settings, data: Path, sync_seconds: float, accept_loss: bool, folder: Path, workers: int
) -> Iterator[Supervisor]:
    """Serve the loop whose state is in `data` with so many scorers; raises Failure or Misuse for a wrong setting.

    `folder` takes what the processes share while they run.
    """
    log_to_stderr()
    with wrong_addresses():
        Guard(settings.serve)
        listener = listen(settings.serve.host, settings.serve.port)
    with listener, _learner_socket(folder) as learner_socket:
        parts = ServerParts(settings, data, sync_seconds, accept_loss, Pulse(), listener, learner_socket, folder)
        with closing(Supervisor.of(parts, url_of(settings.serve.host, listener), workers)) as supervisor:
            supervisor.start()
            yield supervisor


def _learner_socket(folder: Path) -> socket.socket:
    """Scorers reach the learner by it. It outlives the learner, so that who connects meanwhile waits for the next."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "learner.sock"))
    listener.listen()
    return listener
