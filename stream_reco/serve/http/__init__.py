"""The HTTP API: server, routes, messages, description, authentication."""
