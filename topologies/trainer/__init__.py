"""The trainer: election, leader, standby, checkpoints."""
