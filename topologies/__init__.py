"""The rooms of stream_reco wired as workers over Kafka."""
