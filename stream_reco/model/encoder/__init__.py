"""Vectors of items from what is said of them alone, learned from what the same people act on within hours."""
