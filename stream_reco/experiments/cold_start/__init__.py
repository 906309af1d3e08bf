"""`stream-reco reproduce cold_start`: what features are worth for users and items of whom little is known."""
