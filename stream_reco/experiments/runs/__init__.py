"""Many runs of one experiment: planned, run in parallel, stored."""
