"""A server of several processes: one that learns, others that answer, and their parent, which starts them again."""
