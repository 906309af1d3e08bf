"""A recommender that learns while people click."""
