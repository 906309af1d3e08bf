"""Messages and their keys."""
