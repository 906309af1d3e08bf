"""What the commands share: options, settings, errors, signals, files of figures."""
