"""The people of the demo, and what its terminal shows."""
