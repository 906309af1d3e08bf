"""Ingestion and learning on threads, around requests."""
