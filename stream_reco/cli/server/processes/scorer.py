"""A process that answers: the HTTP API over a replica of what the learner beside it publishes."""

from __future__ import annotations

import sys
from contextlib import closing
from uuid import uuid4

from stream_reco.cli.server.processes.child import Lifeline
from stream_reco.cli.server.processes.learner import ServerParts
from stream_reco.cli.server.replica import SWITCH_SECONDS
from stream_reco.clock import SystemClock
from stream_reco.embedded.threads.opened_memory import settle
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.learner_link import LearnerLink
from stream_reco.serve.http.server import SocketServer
from stream_reco.serve.replica.beside_learner import ScorerBesideLearner
from stream_reco.serve.replica.shared_active_time import FollowedActiveTime
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.storage.shared_users import SharedUsers
from stream_reco.sync.folder_channel import FolderChannel
from stream_reco.train.threads import bind_threads


def run_scorer(parts: ServerParts, lifeline: Lifeline) -> None:
    """Answer until told to stop; reports when the first version is served."""
    sys.setswitchinterval(SWITCH_SECONDS)
    service, scorer = _service(parts)
    api = Api(service, SystemClock(), parts.settings.serve)
    with closing(scorer), SocketServer(parts.listener).start(api):
        service.start()
        try:
            lifeline.report_when_done(service.opened)
            settle()
            lifeline.stop.wait()
        finally:
            service.close()


def run_front(parts: ServerParts, lifeline: Lifeline) -> None:
    """Answer until told to stop that the server is being started, while kernels are compiled and loaded."""
    service, scorer = _service(parts)
    with closing(scorer), SocketServer(parts.listener).start(Api(service, SystemClock(), parts.settings.serve)):
        lifeline.stop.wait()


def _service(parts: ServerParts) -> tuple[ScorerBesideLearner, Scorer]:
    settings = parts.settings
    served = ServingState(settings.model, settings.signals, settings.serve.row_precision)
    states = SharedUsers(parts.users, writes=False)
    users = RemoteUserContexts(
        served,
        states,
        settings.interests,
        history_days=None,  # the learner takes out what is too old
        active_time=FollowedActiveTime(states.note),
        seed=settings.training.seed,
    )
    scorer = Scorer(
        served, users, settings.retrieve, settings.slate, settings.training.seed, name=f"{uuid4().hex[:8]}-"
    )

    service = ScorerBesideLearner(
        served,
        scorer,
        users,
        FolderChannel(parts.publications),
        lateness_ms=settings.labels.lateness_ms,
        now_ms=SystemClock().now_ms,
        prepare=lambda: bind_threads(settings.training.threads),
        sink=LearnerLink(parts.learner_socket.getsockname(), lambda: parts.pulse.is_open),
        limits=settings.serve,
        retrieve=settings.retrieve,
        pulse=parts.pulse,
    )
    return service, scorer
