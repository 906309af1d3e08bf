"""Redis: its addresses, connections to it, and the copies of users' states that it holds."""
