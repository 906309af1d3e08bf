"""The scorer's end: follows one model's publications, and always serves exactly one published version."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Protocol, Self, runtime_checkable

from stream_reco import metrics
from stream_reco.embedding import Delta, Precision, ReplicaTable
from stream_reco.sync.channel import Channel, ChannelUnreachable
from stream_reco.sync.publication import FOLLOWED, BadPublication, Parts, Publication
from stream_reco.sync.read_write_lock import ReadersWriterLock

_BATCH = 16
# These come from a late or doubled message: what the replica has is newer, a snapshot would help nobody.
_HARMLESS = frozenset({"repeated", "epoch"})
_FOR_PEOPLE = frozenset({"model", "schema"})
_LOGGER = logging.getLogger(__name__)


class Follower(Protocol):
    """Keeps one kind of parts ("dense", "signals", "catalogue") as of the replica's version.

    Both are called while no request reads. The arrays may be shared with other replicas: never write to them. A
    follower that cannot take the parts raises BadPublication before it changes anything.
    """

    def reset(self, parts: Parts) -> None:
        """Forget everything and take the whole state in `parts`."""

    def apply(self, parts: Parts) -> None:
        """Take what changed since the version before; not called for a delta that has no such parts."""


@runtime_checkable
class CarefulFollower(Protocol):
    """A follower that can check parts before any follower has begun to apply them."""

    def check(self, parts: Parts, snapshot: bool) -> None:
        """Raise BadPublication if `reset` (of a snapshot) or `apply` would; change nothing."""


class Replica:
    """Holds the tables of one model at one version, and leads the followers of everything else.

    A publication that does not fit is refused and counted; after a gap, damage or another model's publication the
    replica asks for a snapshot, again at every poll until one came, and goes on serving what it has.
    """

    def __init__(
        self,
        model: str,
        followers: Mapping[str, Follower] | None = None,
        applied: Callable[[Publication], None] = lambda _: None,
        precision: Precision = "float32",
        *,
        settings: str | None = None,
        former_names: frozenset[str] = frozenset(),
    ) -> None:
        """`applied` is called after each publication with the new tables in place, while no request reads.

        precision: what the rows of all tables are kept in. settings: a digest of the settings that shape the model;
        publications that carry another are refused. former_names: what earlier releases called the model.
        """
        unknown = set(followers or ()) - set(FOLLOWED)
        if unknown:
            raise ValueError(f"followers of {sorted(unknown)}: a publication has only the parts {FOLLOWED}")
        self.model = model
        self._settings, self._former_names = settings, former_names
        self.epoch = 0
        self.version = 0
        """Version served, 0 before the first."""
        self.watermark = 0
        self.created = 0
        self.examples: int | None = 0
        """Labelled examples that the trainer had taken as of the version served; None where it does not say."""
        self.waiting = False
        """Whether it has asked for a snapshot that has not come yet."""
        self.torn = False
        """Whether a follower failed in the middle of a publication: only a snapshot is applied then."""
        self.away = False
        """Whether the channel could not be reached when it was polled last."""
        self.problem: str | None = None
        """Why publications are refused that no snapshot would put right; None where they are applied."""
        self._followers = dict(followers or {})
        self._applied = applied
        self._precision = precision
        self._tables: dict[str, ReplicaTable] = {}
        self._cursor = ""
        self._ahead = (0, 0)
        self._lock = ReadersWriterLock()
        self._polling = threading.Lock()

    @property
    def tables(self) -> Mapping[str, ReplicaTable]:
        """The tables by name; look rows up inside `reading()` only."""
        return MappingProxyType(self._tables)

    @contextmanager
    def reading(self) -> Iterator[Self]:
        """Keep the version as it is: all that one request reads belongs together. Many may read at once."""
        with self._lock.reading():
            yield self

    def staleness(self, now: int) -> float:
        """Seconds from the creation of the served publication to `now` (ms); infinite before the first."""
        seconds = max(now - self.created, 0) / 1000 if self.version else float("inf")
        metrics.REPLICA_STALENESS_SECONDS.set(seconds)
        return seconds

    def poll(self, channel: Channel) -> int:
        """Apply what is new in the channel; returns how many publications that were.

        Not while the same thread is `reading()`. A channel that cannot be reached is counted, not raised. Whatever a
        follower raises other than BadPublication is raised on.
        """
        applied = 0
        with self._polling:
            try:
                while deliveries := channel.read(self._cursor, _BATCH):
                    for delivery in deliveries:
                        self._cursor = delivery.cursor
                        applied += self._take(delivery.publication)
                if self.waiting:
                    channel.ask_for_snapshot()
                    metrics.REPLICA_SNAPSHOT_REQUESTS.inc()
                self.away = False
            except ChannelUnreachable:
                self.away = True
                metrics.REPLICA_REFUSED.labels("unreachable").inc()
        return applied

    def _take(self, publication: Publication | BadPublication) -> bool:
        try:
            if isinstance(publication, BadPublication):
                raise publication
            self._check(publication)
            self._apply(publication)
        except BadPublication as error:
            metrics.REPLICA_REFUSED.labels(error.reason).inc()
            self._warn(error)
            self.waiting = self.waiting or error.reason not in _HARMLESS
            return False
        except BaseException:
            self.waiting = True
            raise
        metrics.REPLICA_APPLIED.labels("snapshot" if publication.snapshot else "delta").inc()
        metrics.REPLICA_VERSION.set(self.version)
        return True

    def _check(self, publication: Publication) -> None:
        """Raise BadPublication unless the publication follows from what is served; change nothing of that."""
        have, come = (self.epoch, self.version), (publication.epoch, publication.version)
        self._check_model(publication)
        if publication.epoch < self.epoch:
            raise BadPublication("epoch", f"epoch {publication.epoch} is over, {self.epoch} is served")
        if come <= have:
            raise BadPublication("repeated", f"version {come} came again, {have} is served")
        if not publication.snapshot and (self.torn or have != (publication.epoch, publication.base_version)):
            self._ahead = max(self._ahead, come)
            raise BadPublication("gap", f"version {come} builds on {publication.base_version}, {have} is served")
        for delta in () if publication.snapshot else publication.tables:
            table = self._tables.get(delta.name)
            if table is not None and table.dim != delta.dim:
                raise BadPublication("schema", f"table {delta.name!r} has dim {table.dim}, its delta {delta.dim}")
        for place, follower in self._followers.items():
            if isinstance(follower, CarefulFollower):
                follower.check(publication.parts[place], publication.snapshot)

    def _warn(self, error: BadPublication) -> None:
        """Log what only people can put right, once for each sentence; everything else a snapshot puts right."""
        if error.reason in _FOR_PEOPLE and str(error) != self.problem:
            self.problem = str(error)
            _LOGGER.warning("%s; version %d is served on", error, self.version)

    def _check_model(self, publication: Publication) -> None:
        if publication.model != self.model and publication.model not in self._former_names:
            raise BadPublication("model", f"publication is of model {publication.model!r}, replica of {self.model!r}")
        theirs = publication.settings
        if None not in (theirs, self._settings) and theirs != self._settings:
            raise BadPublication(
                "model",
                f"publication is of model {publication.model!r} with other settings ({theirs} instead of"
                f" {self._settings}): give trainer and scorers the same settings in [model.{self.model}]",
            )

    def _apply(self, publication: Publication) -> None:
        # New tables are built, and rows packed, before requests have to wait.
        known = {} if publication.snapshot else dict(self._tables)
        fresh = {delta.name: self._table_of(delta) for delta in publication.tables if delta.name not in known}
        packed = {delta.name: known[delta.name].pack(delta) for delta in publication.tables if delta.name in known}
        with metrics.REPLICA_APPLY_SECONDS.time(), self._lock.writing():
            self._change(self._steps(publication))
            for name, rows in packed.items():
                known[name].put(rows)
            self._tables = known | fresh
            self._applied(publication)
            self.epoch, self.version = publication.epoch, publication.version
            self.watermark, self.created = publication.watermark, publication.created
            self.examples = publication.examples
            self.torn, self.problem = False, None
            # A snapshot that was sent before the gap does not close it.
            arrived = publication.snapshot and (self.epoch, self.version) >= self._ahead
            self.waiting = self.waiting and not arrived

    def _steps(self, publication: Publication) -> list[tuple[Callable[[Parts], None], Parts]]:
        followed = [
            (self._followers[place], publication.parts[place]) for place in FOLLOWED if place in self._followers
        ]
        if publication.snapshot:
            return [(follower.reset, parts) for follower, parts in followed]
        return [(follower.apply, parts) for follower, parts in followed if parts]

    def _change(self, steps: list[tuple[Callable[[Parts], None], Parts]]) -> None:
        was_torn, self.torn = self.torn, True
        for number, (step, parts) in enumerate(steps):
            try:
                step(parts)
            except BadPublication:
                self.torn = was_torn or number > 0
                raise

    def _table_of(self, delta: Delta) -> ReplicaTable:
        table = ReplicaTable(delta.dim, name=delta.name, precision=self._precision)
        table.apply_delta(delta)
        return table
