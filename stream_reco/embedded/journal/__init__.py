"""What was accepted, in order: deduplicated, appended, read again after a restart."""
