"""The whole loop in one process, durable on local disk."""
