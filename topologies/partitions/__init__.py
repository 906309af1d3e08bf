"""Workers that share the partitions of a topic."""
