"""Candidate sources over a vector index, and how they are blended."""
