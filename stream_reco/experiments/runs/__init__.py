"""Many runs of one experiment: planned, run side by side, kept."""
