"""States of users in Redis, as `RemoteUserContexts` asks for them."""

from __future__ import annotations

from stream_reco.events import Id
from stream_reco.redis.connection import RedisFailure
from stream_reco.redis.user_store import RedisUsers, StoredUser


class RedisStates:
    """Says in Python's own words that Redis is unavailable: contexts of users know no store."""

    source = "redis"

    def __init__(self, users: RedisUsers) -> None:
        self._users = users

    def get(self, user: Id) -> StoredUser:
        """The state that was written last. Raises ConnectionError."""
        try:
            return self._users.get(user)
        except RedisFailure as error:
            raise ConnectionError(str(error)) from error
