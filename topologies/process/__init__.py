"""A worker as a process: group member, heartbeat, metrics."""
