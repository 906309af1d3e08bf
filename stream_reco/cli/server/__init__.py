"""What `serve` starts, embedded or as a replica, and the client that sends logs to it."""
