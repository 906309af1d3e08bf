"""Slates that are still being made."""

from __future__ import annotations

from collections.abc import Callable

from stream_reco.serve.slate.slate import Slate


class PendingSlates:
    """The slates of some requests, as of the moment these were asked, whenever they are looked at.

    `finish` gives the slates and the seconds that threads worked on them; it is called once.
    """

    def __init__(self, finish: Callable[[], tuple[list[Slate], float]]) -> None:
        self._finish = finish
        self._done: tuple[list[Slate], float] | None = None

    @property
    def made(self) -> bool:
        """Whether `slates` gives them at once."""
        return self._done is not None

    @property
    def seconds(self) -> float:
        """What the threads that ranked have spent on them together; waits."""
        return self._wait()[1]

    def slates(self) -> list[Slate]:
        """One slate for each request, in their order; waits. Raises whatever went wrong while they were ranked."""
        return self._wait()[0]

    def _wait(self) -> tuple[list[Slate], float]:
        if self._done is None:
            self._done = self._finish()
        return self._done
