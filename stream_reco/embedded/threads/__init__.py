"""Ingestion and learning on threads of their own, while requests are served."""
