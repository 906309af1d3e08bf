"""From a request to a slate: score, filter, re-rank."""
