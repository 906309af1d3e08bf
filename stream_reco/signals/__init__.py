"""What is going on right now: counters, trends, co-visits, histories and the catalogue of items."""
