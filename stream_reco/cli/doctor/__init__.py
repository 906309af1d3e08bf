"""The checks of `doctor`: this machine, and the servers that the settings name."""
