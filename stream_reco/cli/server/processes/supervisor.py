"""The parent of a server's processes: it starts them, starts again what ends, and ends all of them in order."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from stream_reco import metrics
from stream_reco.cli.server.processes.child import Child, Lifeline, start
from stream_reco.cli.server.processes.compilation import compile_apart, load_kernels
from stream_reco.cli.server.processes.learner import ServerParts, run_learner
from stream_reco.cli.server.processes.scorer import run_front, run_scorer
from stream_reco.metrics.exposition import forget_process
from stream_reco.serve.status import Status
from stream_reco.terminal.errors import Failure

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 0.05
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process is started again: doubled each time that it ends before it was ready."""
_STOP_SECONDS = 25.0
"""How long processes may take to end, of the 30 s that a service manager usually gives."""
_LEAST_SECONDS = 0.1
LEARNER = "learner"


@dataclass(eq=False)
class _Place:
    """One process of the server, whichever it is at present."""

    name: str
    run: Callable[[Lifeline], None]
    child: Child | None = None
    is_ready: bool = False
    was_ready: bool = False
    pause: float = _FIRST_PAUSE
    not_before: float = 0.0
    problem: str | None = None
    """What its last process reported."""

    @property
    def kind(self) -> str:
        """Of the process: there may be several scorers."""
        return self.name.partition("-")[0]


@dataclass(eq=False)
class Supervisor:
    """Keeps a learner and scorers running; all methods are called by the main thread, which has no other beside it.

    What is forked shares the memory of what was imported before.
    """

    parts: ServerParts
    url: str
    places: list[_Place] = field(default_factory=list)
    front: Child | None = None
    """Answers while nothing else can."""

    @classmethod
    def of(cls, parts: ServerParts, url: str, workers: int) -> Supervisor:
        """With so many scorers; nothing runs yet."""
        places = [_Place(LEARNER, partial(run_learner, parts))]
        places += [_Place(f"scorer-{number}", partial(run_scorer, parts)) for number in range(1, workers + 1)]
        return cls(parts, url, places)

    def start(self) -> None:
        """Answer that the server is being started."""
        self.front = start("front", partial(run_front, self.parts), [])

    def _begin(self, stop: threading.Event) -> None:
        """Load what all processes share, then start them."""
        compile_apart(self.parts.settings, stop.is_set, self._children())
        if stop.is_set():
            return
        load_kernels(self.parts.settings)
        gc.collect()
        gc.freeze()
        for place in self.places:
            self._start(place)
        self._end_front()

    def _end_front(self) -> None:
        if self.front is not None:
            self._end([self.front], time.monotonic() + _STOP_SECONDS)
            self.front = None

    def _start(self, place: _Place) -> None:
        place.child, place.is_ready = start(place.name, place.run, self._children()), False

    def _children(self) -> list[Child]:
        return [one for one in (self.front, *(place.child for place in self.places)) if one is not None]

    def wait_until_ready(self, stop: threading.Event) -> bool:
        """Wait until all can answer; False if `stop` is set before that. Raises `Failure` where one cannot start."""
        self._begin(stop)
        while not all(place.is_ready for place in self.places):
            if stop.wait(_LOOK_SECONDS):
                return False
            self.look()
            for place in self.places:
                if place.problem is not None and not place.was_ready:
                    raise Failure(place.problem)
        return True

    def wait(self, stop: threading.Event) -> None:
        """Start again what ends, until `stop` is set."""
        while not stop.wait(_LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Hear what processes report, and start those again that have ended."""
        for place in self.places:
            if place.child is not None:
                self._hear(place, place.child)
            elif time.monotonic() >= place.not_before:
                metrics.PROCESS_RESTARTS.labels(place.kind).inc()
                self._start(place)

    def _hear(self, place: _Place, child: Child) -> None:
        alive = child.process.is_alive()
        while (report := child.heard()) is not None:
            place.problem = report.problem
            if report.problem is None:
                place.is_ready = place.was_ready = True
                place.pause = _FIRST_PAUSE
        if alive:
            return
        code = child.process.exitcode
        if place.problem is None and not place.was_ready:
            place.problem = f"the process {place.name} ended with status {code} before it was ready; its log says why"
        self._ended(place, child, code)

    def _ended(self, place: _Place, child: Child, code: int | None) -> None:
        if place.name == LEARNER:
            self.parts.pulse.closed()
        forget_process(child.pid)
        child.release()
        place.child, place.is_ready = None, False
        place.not_before = time.monotonic() + place.pause
        if place.was_ready:
            why = place.problem or f"status {code}"
            _LOGGER.error("%s ended (%s); it is started again in %.1f s", place.name, why, place.pause)
        place.pause = min(2 * place.pause, _LONGEST_PAUSE)

    def status(self) -> Status:
        """The learner's facts."""
        return self.parts.pulse.status()

    def close(self) -> None:
        """End the scorers, which finish what they are answering, then the learner, which writes a checkpoint."""
        deadline = time.monotonic() + _STOP_SECONDS
        self._end_front()
        for places in (self.places[1:], self.places[:1]):
            self._end([place.child for place in places if place.child is not None], deadline)

    def _end(self, children: list[Child], deadline: float) -> None:
        for child in children:
            child.tell_to_stop()
        for child in children:
            child.process.join(max(_LEAST_SECONDS, deadline - time.monotonic()))
            if child.process.is_alive():
                _LOGGER.error("%s did not end in time and is killed; nothing acknowledged is lost", child.name)
                child.process.kill()
                child.process.join()
            child.release()
