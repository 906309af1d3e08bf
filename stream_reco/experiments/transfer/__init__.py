"""`stream-reco reproduce transfer`: what a second shop has from a first one that has other items and other people."""
