"""The journal of accepted events: deduplicated, appended, replayed after a restart."""
