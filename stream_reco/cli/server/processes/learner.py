"""The process that learns: the engine, its log and its folder, behind a socket for the scorers beside it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from stream_reco.cli.server.embedded import check_folder
from stream_reco.cli.server.processes.child import Lifeline, Report
from stream_reco.config import Settings
from stream_reco.embedded.learning_engine import LearningEngine
from stream_reco.embedded.mirror import Mirror
from stream_reco.embedded.publishing_apart import PublishingApart
from stream_reco.embedded.threads.learner_service import LearnerService
from stream_reco.embedded.user_states import UserStates
from stream_reco.serve.http.learner_api import LearnerApi
from stream_reco.serve.http.server import SocketServer
from stream_reco.serve.pulse import Pulse
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.storage.event_log_errors import LogError
from stream_reco.storage.shared_users import SharedUsers
from stream_reco.sync.folder_channel import FolderChannel
from stream_reco.terminal.errors import Failure, Misuse

EXPECTED = (Failure, Misuse, LogError, CheckpointError, ValueError, OSError)
"""What a wrong folder, setting or machine raises; anything else is a mistake of the program."""


@dataclass(frozen=True)
class ServerParts:
    """What the processes of one server share."""

    settings: Settings
    data: Path
    sync_seconds: float
    accept_loss: bool
    pulse: Pulse
    listener: socket.socket
    """Where clients connect; all scorers accept."""
    learner_socket: socket.socket
    """Where scorers connect to the learner."""
    shared: Path
    """Folder of files that all processes map; it lives as long as the server."""

    @property
    def publications(self) -> Path:
        """Folder of publications that scorers read."""
        return self.shared / "publications"

    @property
    def users(self) -> Path:
        """Folder of users' states."""
        return self.shared / "users"


def run_learner(parts: ServerParts, lifeline: Lifeline) -> None:
    """Learn until told to stop; reports when it takes events, or why it cannot."""
    try:
        check_folder(parts.data, parts.accept_loss)
    except EXPECTED as error:
        lifeline.report(Report(str(error)))
        return
    service = LearnerService(
        lambda: _engine(parts), sync_seconds=parts.sync_seconds, mirror=lambda engine: _mirror(engine, parts)
    )
    with SocketServer(parts.learner_socket).start(LearnerApi(service)):
        service.start()
        try:
            failure = lifeline.report_when_done(service.opened)
            if failure is None:
                lifeline.stop.wait()
            elif not isinstance(failure, EXPECTED):
                raise failure
        finally:
            parts.pulse.closed()
            service.close()


def _engine(parts: ServerParts) -> LearningEngine:
    channel, settings = FolderChannel.cleared(parts.publications), parts.settings
    return LearningEngine(
        parts.data,
        settings,
        lambda journaled: PublishingApart(journaled.learner, settings, journaled.epoch, channel),
        accept_loss=parts.accept_loss,
    )


def _mirror(engine: LearningEngine, parts: ServerParts) -> Mirror:
    states = UserStates(engine.learner, SharedUsers(parts.users, writes=True))
    return Mirror(engine, states, parts.pulse)
