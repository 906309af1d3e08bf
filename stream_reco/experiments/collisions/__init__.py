"""What rows cost that several keys share."""
