"""Pages of results: tables, plots, writing."""
