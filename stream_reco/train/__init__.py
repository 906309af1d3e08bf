"""Learning: negatives, one training step, checkpoints."""
