"""The tree: one section a room, each defined by the room itself, and one for each external server."""

from __future__ import annotations

from dataclasses import dataclass, field

from stream_reco.config.servers import KafkaSettings, RedisSettings, StateSettings, WorkSettings
from stream_reco.events.settings import FileSettings
from stream_reco.interests.settings import InterestSettings
from stream_reco.labels.settings import LabelSettings
from stream_reco.model.settings import ModelSettings
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.settings import ServeSettings, SlateSettings
from stream_reco.signals.content.settings import FeatureSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.train.settings import TrainSettings


@dataclass(frozen=True)
class Settings:
    """All settings; a section's name is its table in the TOML file and the first part of its environment variables."""

    labels: LabelSettings = field(default_factory=LabelSettings)
    signals: SignalSettings = field(default_factory=SignalSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    interests: InterestSettings = field(default_factory=InterestSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainSettings = field(default_factory=TrainSettings)
    retrieve: RetrieveSettings = field(default_factory=RetrieveSettings)
    slate: SlateSettings = field(default_factory=SlateSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    files: FileSettings = field(default_factory=FileSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    state: StateSettings = field(default_factory=StateSettings)
    work: WorkSettings = field(default_factory=WorkSettings)
