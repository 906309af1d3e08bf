"""What the joiner remembers until a label comes, in memory or on disk."""
