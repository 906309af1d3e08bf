"""Numeric features of candidates, for training and serving alike."""
