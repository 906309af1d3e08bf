"""How a scorer's process hands events to the learner beside it, over a socket of this server alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import aiohttp
import msgspec

from stream_reco.events import Event, Id
from stream_reco.events.packed import PackedEvents
from stream_reco.serve.http.learner_api import EVENTS, FORGET, Refusal
from stream_reco.serve.service import Accepted, UnavailableError

_ANSWER_SECONDS = 30.0
"""How long the learner may take to make events durable: as long as a slow disk may take for the largest batch."""
_ORIGIN = "http://learner"
"""The socket is known by its path; HTTP wants a name."""
_ENDED = (
    "the learner ended while it took this: whether it is durable is unknown; send it again, events that carry an"
    " event_id count once"
)


class LearnerLink:
    """An `EventSink` over a Unix socket; used from one event loop."""

    def __init__(self, path: str, is_open: Callable[[], bool]) -> None:
        """`is_open` tells whether the learner takes events: while it is started again nobody waits for it."""
        self._path = path
        self._is_open = is_open
        self._session: aiohttp.ClientSession | None = None

    async def accept(self, events: Sequence[Event]) -> Accepted:
        """Resolves once they are durable. Raises UnavailableError where the learner is away or cannot take them."""
        packed = events if isinstance(events, PackedEvents) else PackedEvents(events)
        return msgspec.json.decode(await self._post(EVENTS, packed.to_bytes()), type=Accepted)

    async def forget(self, user_id: Id) -> None:
        """Resolves once the deletion is durable. Raises UnavailableError."""
        await self._post(FORGET, msgspec.json.encode(user_id))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _post(self, path: str, body: bytes) -> bytes:
        if not self._is_open():
            raise UnavailableError("learner", "the learner is being started: send it again in a moment", 1)
        try:
            async with self._opened().post(_ORIGIN + path, data=body) as response:
                answer = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError("learner", _ENDED, 1) from error
        if response.status != 200:
            refusal = msgspec.json.decode(answer, type=Refusal)
            raise UnavailableError(refusal.reason, refusal.message, refusal.retry_after)
        return answer

    def _opened(self) -> aiohttp.ClientSession:
        """The session, which belongs to the event loop that asks first."""
        if self._session is None:
            connector = aiohttp.UnixConnector(self._path, limit=0)
            timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session
