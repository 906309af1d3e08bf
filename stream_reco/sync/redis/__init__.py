"""Publications over Redis."""
