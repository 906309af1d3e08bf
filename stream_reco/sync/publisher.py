"""The trainer's end: numbers what it collects and hands it to a channel, without ever losing a touched row."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stream_reco import metrics
from stream_reco.embedding import Delta, EmbeddingTable
from stream_reco.sync.channel import Channel, ChannelRefused
from stream_reco.sync.publication import Parts, Publication


@dataclass(frozen=True, eq=False)
class PublicationDraft:
    """What goes into one publication, and how to take it back.

    The arrays belong to the publication from here on: the collector must not write to them afterwards.
    restore: called once if the channel does not accept; makes everything that was drained touched again.
    """

    tables: tuple[Delta, ...]
    dense: Parts
    signals: Parts
    catalogue: Parts
    watermark: int
    created: int
    restore: Callable[[], None] = field(repr=False)
    examples: int | None = None
    shift: float = 0.0


class Publisher:
    """Numbers the publications of one trainer's life: consecutive versions from 1, the first of them a snapshot.

    A number that the channel certainly refused is used again. Where the outcome is unknown the number may live on in
    the channel with other contents, so it is given up and a snapshot follows, which any replica can apply.
    """

    def __init__(self, model: str, epoch: int, settings: str | None = None) -> None:
        """settings: a digest of the settings that shape the model, which replicas compare with theirs."""
        self.model = model
        self.epoch = epoch
        self._settings = settings
        self.version = 0
        """Newest version that a channel accepted; 0 before the first."""
        self._tried = 0
        self._whole = True

    def publish(self, channel: Channel, collect: Callable[[bool], PublicationDraft]) -> Publication:
        """Collect and send one publication: a snapshot to begin with or when a replica asked, else a delta.

        `collect(snapshot)` drains the sources: all state if `snapshot`, else what changed since the last accepted one.
        Whatever the channel raises is raised again, after `restore` where something was collected.
        """
        with metrics.PUBLICATION_SECONDS.time():
            try:
                snapshot = self._whole or channel.snapshot_wanted()
                publication = self._collect_and_send(channel, collect, snapshot)
            except BaseException:
                metrics.PUBLICATION_FAILURES.inc()
                raise
        metrics.PUBLICATION_BYTES.labels("snapshot" if snapshot else "delta").observe(publication.nbytes)
        metrics.PUBLISHED_VERSION.set(self.version)
        return publication

    def _collect_and_send(
        self, channel: Channel, collect: Callable[[bool], PublicationDraft], snapshot: bool
    ) -> Publication:
        contents = collect(snapshot)
        try:
            publication = self._number(contents, snapshot)
            self._send(channel, publication)
        except BaseException:
            contents.restore()
            raise
        return publication

    def _number(self, contents: PublicationDraft, snapshot: bool) -> Publication:
        return Publication(
            model=self.model,
            epoch=self.epoch,
            version=self._tried + 1,
            base_version=0 if snapshot else self._tried,
            tables=contents.tables,
            dense=contents.dense,
            signals=contents.signals,
            catalogue=contents.catalogue,
            watermark=contents.watermark,
            created=contents.created,
            examples=contents.examples,
            shift=contents.shift,
            settings=self._settings,
        )

    def _send(self, channel: Channel, publication: Publication) -> None:
        try:
            channel.send(publication)
        except ChannelRefused:
            raise
        except BaseException:
            self._tried, self._whole = publication.version, True
            raise
        self.version = self._tried = publication.version
        self._whole = False


def drain_tables(tables: Iterable[EmbeddingTable], snapshot: bool) -> tuple[tuple[Delta, ...], Callable[[], None]]:
    """What `PublicationDraft` needs of the tables: their deltas (all rows if `snapshot`), and how to touch the rows
    again.
    """
    drained: list[tuple[EmbeddingTable, Delta]] = []

    def restore() -> None:
        for table, delta in drained:
            table.restore_touched(delta)

    try:
        deltas = []
        for table in tables:
            drained.append((table, table.drain_touched()))
            metrics.TABLE_TOUCHED.labels(table.name).set(len(drained[-1][1].keys))
            # A snapshot says what is there, so what was drained is in it, and what is gone needs no tombstone.
            deltas.append(table.snapshot() if snapshot else drained[-1][1])
    except BaseException:
        restore()
        raise
    return tuple(deltas), restore
