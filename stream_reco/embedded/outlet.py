"""A channel within the process whose publications go to scorers of other processes too."""

from __future__ import annotations

from stream_reco.sync import Channel, InProcessChannel, Publication


class ChannelWithOutlet(InProcessChannel):
    """What the outlet refuses is not taken here either, so that what is measured here is what others serve."""

    def __init__(self, outlet: Channel) -> None:
        # What the replica here has applied is not kept.
        super().__init__(capacity=1, for_one_reader=True)
        self._outlet = outlet

    def send(self, publication: Publication) -> None:
        self._outlet.send(publication)
        super().send(publication)

    def snapshot_wanted(self) -> bool:
        return super().snapshot_wanted() or self._outlet.snapshot_wanted()
