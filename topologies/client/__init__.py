"""Clients of Kafka: settings, connections, outages."""
