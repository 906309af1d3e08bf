"""The simulated users of `demo`, and its terminal output."""
