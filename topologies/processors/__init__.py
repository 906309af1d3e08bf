"""What workers do with each record: labelling, interests."""
