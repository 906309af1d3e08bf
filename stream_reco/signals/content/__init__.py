"""What is said of items and users, as numbers that a model can read."""
