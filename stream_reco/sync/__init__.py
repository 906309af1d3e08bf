"""From the trainer to the scorers: numbered publications, the channels that carry them, the replicas that follow."""

from stream_reco.embedding import Precision
from stream_reco.sync.channel import Channel, ChannelRefused, ChannelUnreachable, Delivery, InProcessChannel
from stream_reco.sync.folder_channel import FolderChannel
from stream_reco.sync.publication import BadPublication, Parts, Publication
from stream_reco.sync.publisher import PublicationDraft, Publisher, drain_tables
from stream_reco.sync.replica import CarefulFollower, Follower, Replica
from stream_reco.sync.wire import decode, encode

__all__ = [
    "BadPublication",
    "CarefulFollower",
    "Channel",
    "ChannelRefused",
    "ChannelUnreachable",
    "Delivery",
    "FolderChannel",
    "Follower",
    "InProcessChannel",
    "Parts",
    "Precision",
    "Publication",
    "PublicationDraft",
    "Publisher",
    "Replica",
    "decode",
    "drain_tables",
    "encode",
]
