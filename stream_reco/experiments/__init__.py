"""Replays of logs and reproductions of experiments, with the pages that they write."""
