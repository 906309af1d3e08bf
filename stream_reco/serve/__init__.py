"""What answers people: ranking, re-ranking, the HTTP API and its dashboard."""
