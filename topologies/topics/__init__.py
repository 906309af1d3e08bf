"""Topics: declared, created, validated."""
