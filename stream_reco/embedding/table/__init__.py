"""The table: rows that grow, leave by idleness or budget, and are saved."""
