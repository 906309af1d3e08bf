"""The dashboard page and its scripts."""
