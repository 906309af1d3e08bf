"""The embedded loop as a service behind its HTTP API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream_reco.cli.server.running import RunningServer, answering
from stream_reco.cli.server.warm_up_content import warm_up_content_in_background
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.journal.recovery import Storage
from stream_reco.embedded.threads.service import EngineService
from stream_reco.embedded.warm_up import warm_up
from stream_reco.measure.progressive import MOST_MEASURED, ProgressiveQuality
from stream_reco.storage.event_log_errors import LogError
from stream_reco.terminal.errors import Failure
from stream_reco.terminal.logs import log_to_stderr


@contextmanager
def serving(settings: Settings, data: Path, sync_seconds: float, accept_loss: bool = False) -> Iterator[RunningServer]:
    """Serve the loop whose state is in `data`; raises Failure or Misuse for a wrong folder or setting at once.

    `accept_loss`: open a damaged folder with what can be read of it.
    """
    log_to_stderr()
    check_folder(data, accept_loss)
    with answering(
        settings, EngineService(lambda: open_engine(data, settings, accept_loss), sync_seconds=sync_seconds)
    ) as running:
        yield running


def check_folder(data: Path, accept_loss: bool) -> None:
    """Raise Failure where the folder cannot be opened, or another process has it."""
    try:
        Storage(data, accept_loss).close()
    except (LogError, OSError) as error:
        raise Failure(str(error)) from error


def open_engine(data: Path, settings: Settings, accept_loss: bool) -> Engine:
    """The engine of a data folder, with all kernels loaded that its first requests and events need."""
    warm_up(settings)
    engine = Engine(data, settings, observer=ProgressiveQuality(), accept_loss=accept_loss, most_measured=MOST_MEASURED)
    warm_up_content_in_background()
    return engine
