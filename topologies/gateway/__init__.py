"""From outside into Kafka: events, slates, deletions."""
