"""What commands share: options, settings, errors, signals, JSON files."""
